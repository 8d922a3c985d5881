"""`doctor --offline`: settings and documents of several targets are checked without network."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from simulator import Simulator
    from tests.fdi_health.conftest import Run

DOCUMENT = """\
targets:
  - name: emea
    region: eu-west-101
    project_id: p
    token: file:///run/secrets/emea
    instances: {payments: id-1, crm: id-2}
"""
SECOND = """\
  - name: apac
    region: ap-southeast-3
    project_id: p
    token: env://APAC
    instances: "*"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "targets.yaml"
    path.write_text(DOCUMENT)
    return path


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, upstream: Simulator) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("connects")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize(
    ("document", "counts"),
    [
        (DOCUMENT, "1 target, 2 instances"),
        (DOCUMENT + SECOND, "2 targets, 2 instances, 1 target with every instance of the project"),
        (DOCUMENT.replace(", crm: id-2", ""), "1 target, 1 instance"),
    ],
)
def test_valid_document__is_counted(run: Run, file: Path, document: str, counts: str) -> None:
    file.write_text(document)
    assert run("doctor", "--config", str(file), "--offline", FDI_INSTANCES="", FDI_TOKEN="") == (
        0,
        f"{file}: {counts}\n",
        "",
    )


def test_faults_of_a_document__have_file_line_and_path(run: Run, file: Path) -> None:
    file.write_text(DOCUMENT.replace("file:///run/secrets/emea", "MIIs3cr3t") + "    FDI-OK: s3cr3t\n")
    code, out, err = run("doctor", "--config", str(file), "--offline")
    assert (code, err) == (10, "")
    first, second = out.splitlines()
    assert first.startswith(f"{file}:5: targets[0].token: must be a secret URL with one of ")
    assert second.startswith(f"{file}:7: targets[0].FDI_OK: is not a field of a target: the fields are ")
    assert "s3cr3t" not in out


def test_faults_of_a_document_without_line_or_path__have_the_file(run: Run, file: Path) -> None:
    file.write_text("")
    code, out, _ = run("doctor", "--config", str(file), "--offline")
    assert (code, out.startswith(f"{file}: is empty: ")) == (10, True)
    file.write_text("---\n@")
    code, out, _ = run("doctor", "--config", str(file), "--offline")
    assert (code, out.startswith(f"{file}:2: begins with a character")) == (10, True)


def test_faults_of_a_document__as_json__are_one_object_a_line(run: Run, file: Path) -> None:
    assert json.loads(run("doctor", "--config", str(file), "--offline", "--json")[1]) == {
        "file": str(file),
        "targets": 1,
        "instances": 2,
        "discovering": 0,
    }
    file.write_text(DOCUMENT.replace("region", "regin"))
    code, out, _ = run("doctor", "--config", str(file), "--offline", "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert code == 10
    assert [(each["line"], each["path"]) for each in found] == [(2, "targets[0].region"), (3, "targets[0].regin")]


def test_document_that_cannot_be_read__is_a_fault(run: Run, tmp_path: Path) -> None:
    missing = tmp_path / "no\nfile"
    shown = str(missing).replace("\n", "?")
    assert run("doctor", "--config", str(missing), "--offline")[:2] == (
        10,
        f"{shown}: cannot be read: No such file or directory\n",
    )
    code, out, _ = run("doctor", "--config", str(tmp_path), "--offline")
    assert (code, out) == (10, f"{tmp_path}: cannot be read: Is a directory\n")


def test_document_without_offline__is_refused(run: Run, file: Path) -> None:
    code, out, err = run("doctor", "--config", str(file))
    assert (code, out, "--config needs --offline" in err) == (3, "", True)


def test_settings_of_the_environment__valid__are_the_only_step(run: Run) -> None:
    code, out, _ = run("doctor", "--offline")
    assert code == 0
    (line,) = out.splitlines()
    assert line.startswith("ok    settings")


def test_settings_of_the_environment__invalid__are_the_only_steps(run: Run) -> None:
    code, out, _ = run("doctor", "--offline", FDI_INSTANCES="{", FDI_TOKEN="x")
    assert code == 10
    assert [line[:14] for line in out.splitlines()] == ["FAIL  settings"] * 2


def test_settings_with_a_document__offline__say_that_it_is_not_read(run: Run, file: Path) -> None:
    file.write_text("targets: [")
    of_one = dict.fromkeys(("FDI_ENDPOINT", "FDI_PROJECT_ID", "FDI_INSTANCES", "FDI_TOKEN"), "")
    code, out, _ = run("doctor", "--offline", FDI_CONFIG=f"file://{file}", **of_one)
    (line,) = out.splitlines()
    assert (code, line.endswith("valid; the document of FDI_CONFIG is not read yet")) == (0, True)
