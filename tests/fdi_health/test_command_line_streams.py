"""What the command line writes where: streams of any encoding, and monitoring systems that read stdout alone."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from fdi_health.service import Service
from simulator.responses import json_response
from tests.conftest import PROJECT_ID, TOKEN
from tests.servers import ROOT, clean_environ

if TYPE_CHECKING:
    from pathlib import Path

    from simulator import Simulator
    from tests.fdi_health.conftest import Run

FOREIGN = json_response({"error_code": "FDI.9999 数据é", "error_msg": "текст"}, 500)

STREAMS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "ascii, strict": {"PYTHONIOENCODING": "ascii:strict"},
    "Latin-1": {"PYTHONIOENCODING": "latin-1:strict"},
    "the C locale": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "the C locale as Python takes it": {"LC_ALL": "C"},
    "UTF-8": {"PYTHONIOENCODING": "utf-8"},
}


def program(settings: dict[str, str], folder: Path, *words: str, line: str = '"$@"') -> tuple[int, bytes, bytes]:
    """Run the command line as a program of its own; `line`, for a shell, may redirect its streams."""
    done = subprocess.run(  # noqa: S603 -- our own program
        ["/bin/sh", "-c", line, "sh", sys.executable, "-m", "fdi_health", *words],
        env=clean_environ({"PYTHONPATH": str(ROOT), **settings}, folder),
        cwd=ROOT,
        capture_output=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def settings(upstream: Simulator) -> dict[str, str]:
    upstream.play("id-payments", "doc_example")
    upstream.play("id-crm", FOREIGN)
    return {
        "FDI_ENDPOINT": upstream.url,
        "FDI_PROJECT_ID": PROJECT_ID,
        "FDI_INSTANCES": "payments=id-payments,crm=id-crm",
        "FDI_TOKEN": "env://ROMA_TOKEN",
        "ROMA_TOKEN": TOKEN,
    }


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("form", ["text", "nagios"])
def test_foreign_text__does_not_change_the_exit_status(
    settings: dict[str, str], tmp_path: Path, stream: str, form: str
) -> None:  # H08
    code, out, err = program({**settings, **STREAMS[stream]}, tmp_path, "check", "--format", form)

    assert (code, err) == (2, b"")
    assert b"FDI-NOT-OK" in out
    assert b"FDI.9999" in out


@pytest.mark.parametrize(
    ("stream", "words"), [*zip(STREAMS, 2 * [["check", "--instance=数据"], ["check", "--数据"], ["数据"]], strict=True)]
)
def test_foreign_words_of_the_user__do_not_change_the_exit_status(
    settings: dict[str, str], tmp_path: Path, stream: str, words: list[str]
) -> None:  # H08
    code, out, err = program({**settings, **STREAMS[stream]}, tmp_path, *words)
    assert (code, out) == (3, b"")
    assert b"Traceback" not in err


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "</dev/null >/dev/full"])
@pytest.mark.parametrize(
    ("words", "expected"),
    [(["check"], 2), (["check", "--instance=nope"], 3), (["check", "--nope"], 3), (["check", "--format=nagios"], 2)],
)
def test_closed_stream__does_not_change_the_exit_status(
    settings: dict[str, str], tmp_path: Path, closed: str, words: list[str], expected: int
) -> None:  # H08
    assert program(settings, tmp_path, *words, line=f'exec "$@" {closed}')[0] == expected


@pytest.mark.parametrize("words", [["check"], ["check", "--nope"], ["check", "--instance=nope"]])
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_stream_that_was_closed_here__does_not_change_the_exit_status(
    run: Run, monkeypatch: pytest.MonkeyPatch, words: list[str], name: str
) -> None:  # H08
    stream = io.TextIOWrapper(io.BytesIO())
    stream.close()
    monkeypatch.setattr(sys, name, stream)
    assert run(*words, FDI_INSTANCES="payments=id-payments")[0] == (2 if words == ["check"] else 3)


def test_reader_of_usage_that_has_gone__leaves_the_exit_status(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone:
        monkeypatch.setattr(sys, "stderr", gone)
        assert run("check", "--nope")[0] == 3


@pytest.mark.parametrize(
    ("words", "changes", "first_line"),
    [
        (["check", "--format=nagios"], {"FDI_INSTANCES": "{"}, "UNKNOWN: the settings have one fault: FDI_INSTANCES"),
        (
            ["check", "--format", "nagios", "--instance=nope"],
            {},
            "UNKNOWN: 1 instance asked for is not in FDI_INSTANCES: nope",
        ),
        (["check", "--format", "nagios", "--deadline=0"], {}, "UNKNOWN: Invalid value for '--deadline': must be"),
        (["check", "--deadline=0", "--format=nagios"], {}, "UNKNOWN: Invalid value for '--deadline': must be"),
        (["check", "--format=nagios", "--nope"], {}, "UNKNOWN: No such option"),
        (["check", "--format=nagios", "a|b"], {}, "UNKNOWN: Got unexpected extra argument (a/b)"),
        (["--format=nagios", "check"], {}, "UNKNOWN: No such option"),
        (["check", "--format=nagios", "--instance"], {}, "UNKNOWN: Option '--instance' requires an argument"),
    ],
)
def test_plugin__says_on_stdout_why_it_has_no_verdict(
    run: Run, words: list[str], changes: dict[str, str], first_line: str
) -> None:  # E36
    code, out, err = run(*words, **changes)

    assert (code, err) == (3, "")
    assert out.splitlines()[0].startswith(first_line)
    assert "|" not in out


def test_plugin__says_on_stdout_that_it_failed_itself(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:  # E36
    def broken(*_: object) -> None:
        raise RuntimeError("boom s3cr3t")

    monkeypatch.setattr(Service, "open", broken)
    code, out, err = run("check", "--format=nagios")
    assert (code, out) == (3, "UNKNOWN: fdi-health itself failed; the line on stderr says where\n")
    assert "s3cr3t" not in out + err


def test_plugin__lists_the_faults_behind_the_first_line(run: Run) -> None:  # E36, H03
    _, out, _ = run("check", "--format=nagios", FDI_INSTANCES="FDI-OK=abc", FDI_TOKEN="MIIbare")
    assert "  FDI_INSTANCES, entry 1: must" in out
    assert "FDI-OK" not in out
    assert "MIIbare" not in out


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["nope"], "1 instance asked for is not in FDI_INSTANCES: nope"),
        (["nope", "orders"], "1 instance asked for is not in FDI_INSTANCES: nope"),
        (["nope", "nope", "no"], "2 instances asked for are not in FDI_INSTANCES: nope, no"),
        (["fdi-ok"], "1 instance asked for is not in FDI_INSTANCES: FDI_OK"),
        (["a\x1b[31m\nb\u202e"], "1 instance asked for is not in FDI_INSTANCES: a?[31m?b?"),
        (["x" * 70], f"1 instance asked for is not in FDI_INSTANCES: {'x' * 64}"),
        (
            [f"n{number}" for number in range(12)],
            "12 instances asked for are not in FDI_INSTANCES: n0, n1, n2, n3, n4, n5, n6, n7, n8, n9 and 2 more",
        ),
    ],
)
def test_unknown_instances__are_named_to_the_user_who_typed_them(run: Run, names: list[str], message: str) -> None:
    code, out, err = run("check", *(f"--instance={name}" for name in names))
    assert (code, out, err) == (3, "", f"UNKNOWN: {message}\n")
