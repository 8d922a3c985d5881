"""`doctor --report FILE`: what the responses look like, and nothing of what they say."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest

from fdi_health.diagnostics import report as diagnostics_report
from simulator import MonitoredTask, SecretKey, error_response, json_response
from simulator.responses import body_response
from tests.conftest import CREDENTIALS, PROJECT_ID, TOKEN

if TYPE_CHECKING:
    from pathlib import Path

    from simulator import Iam, Simulator
    from tests.fdi_health.conftest import Run

ONE = {"FDI_INSTANCES": "wages-of-acme=id-payments"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "report.md"


def report(run: Run, file: Path, *words: str, **settings: str) -> str:
    """Run doctor with a report; return the report."""
    _, _, err = run("doctor", "--report", str(file), *words, **{**ONE, **settings})
    assert "It contains no secret, no value of a setting, no ID and no name of yours" in err
    return file.read_text()


def part(text: str, title: str) -> str:
    """Return the part of a report about one request."""
    return text.partition(f"### {title}")[2].partition("### ")[0]


def test_report__shows_versions_settings_and_steps(run: Run, file: Path) -> None:
    text = report(run, file)
    assert "- fdi-health " in text
    assert "requests 2." in text
    assert "FDI_DEADLINE_SECONDS, FDI_ENDPOINT, FDI_INSTANCES, FDI_PROJECT_ID, FDI_TOKEN" in text
    assert "| secret | ok |" in text
    assert "| instance (an instance) | warning |" in text
    assert "| tasks of (an instance) | ok |" in text


def test_report__of_a_small_installation__shows_the_packages_that_are_there(
    run: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnostics_report, "_PACKAGES", ("requests", "not-installed-anywhere"))
    text = report(run, file)
    assert "requests 2." in text
    assert "not-installed" not in text


def test_report__describes_the_four_responses(run: Run, file: Path) -> None:
    text = report(run, file)
    statistics = part(text, "CountTasks")
    assert "- HTTP 200, " in statistics
    assert "Content-Type" in statistics
    assert "\nobject\n" in statistics
    assert "  common_task_details: object\n    running_tasks_count: integer\n" in statistics
    assert "  instances: array of 4\n    object\n      id: string\n" in part(text, "ListInstances")
    assert "integer" in part(text, "the instance's own statistics")
    assert "  entities: array of 2\n    object\n" in part(text, "ListMonitorInfos")


def test_report__of_any_names_and_values__contains_none_of_them(run: Run, upstream: Simulator, file: Path) -> None:
    upstream.instances.names["id-payments"] = "Acme wages"
    upstream.monitors.put("id-payments", [MonitoredTask(task_name="nightly-export", remarks="disk of acme is full")])
    group = dict.fromkeys(("running_tasks_count", "abnormal_tasks_count", "terminated_tasks_count"), 918273)
    document = {
        "common_task_details": {**group, "completed_tasks_count": 1.5, "c53626012ba84727b938": True, "x" * 300: None},
        "Acme-Wages": [[[[[[[[[["deep"]]]]]]]]], "acme"],
        "empty": "",
    }
    answer = json_response(document, headers=(("X-Acme-7", "a"), ("X-Request-Id", "r-4711")))
    upstream.play("id-payments", answer)
    text = report(run, file)
    for word in (
        "Acme",
        "acme",
        "wages",
        "nightly",
        "918273",
        "4711",
        PROJECT_ID,
        "id-payments",
        TOKEN,
        "127.0.0.1",
        "c5362601",
    ):
        assert word not in text, word
    statistics = part(text, "CountTasks")
    assert "(a name of another form): array of 2" in statistics
    assert "completed_tasks_count: number" in statistics
    assert "(a name of another form): boolean" in statistics
    assert "(a name of another form): null" in statistics
    assert "empty string" in statistics
    assert "…" in statistics
    assert "deep" not in statistics
    assert "X-Request-Id" in statistics


@pytest.mark.parametrize(
    ("play", "expected"),
    [
        (error_response("APIG.0301"), "Error code: APIG.0301"),
        (json_response({"error_code": "acme secret", "error_msg": "acme"}, 500), "Error code: of another form"),
        (body_response(b"<html>acme</html>", 502), "The body is not JSON."),
        ("reset", "No response: `unreachable`."),
    ],
)
def test_report__of_a_failing_request__says_how_it_failed(
    run: Run, upstream: Simulator, file: Path, play: object, expected: str
) -> None:
    upstream.play("id-payments", play)  # type: ignore[arg-type] # a table of both kinds
    text = report(run, file)
    assert expected in part(text, "CountTasks")
    assert "acme" not in text.partition("## Target 1")[2]


def test_report__with_an_access_key__signs_its_requests(run: Run, upstream: Simulator, file: Path) -> None:
    upstream.access_keys.keys["HPUAEXAMPLE"] = SecretKey("made-up-secret")
    text = report(run, file, ROMA_TOKEN='{"access_key":"HPUAEXAMPLE","secret_key":"made-up-secret"}')
    assert "- HTTP 200, " in part(text, "CountTasks")
    assert "HPUA" not in text


def test_report__with_a_wrong_password__logs_in_no_more_than_doctor_itself(
    run: Run, upstream: Simulator, iam: Iam, file: Path
) -> None:
    wrong = json.dumps({**json.loads(CREDENTIALS), "password": "wrong"})
    text = report(run, file, ROMA_TOKEN=wrong, FDI_IAM_ENDPOINT=upstream.url)
    assert len(iam.logins) == 1
    assert "ROMA Connect was not asked: a step before it failed" in text


def test_report__with_a_wrong_access_key__sends_one_request_more_than_doctor_itself(
    run: Run, upstream: Simulator, file: Path
) -> None:
    upstream.access_keys.keys["HPUAEXAMPLE"] = SecretKey("made-up-secret")
    wrong = {"ROMA_TOKEN": '{"access_key":"HPUAEXAMPLE","secret_key":"another"}'}
    run("doctor", **{**ONE, **wrong})
    by_doctor = len(upstream.requests)
    upstream.forget()
    text = report(run, file, **wrong)
    assert len(upstream.requests) == by_doctor + 1
    assert "- HTTP 401, " in text
    assert "Nothing more is asked, because a request was refused." in text


def test_report__of_invalid_settings__has_the_steps(run: Run, file: Path) -> None:
    text = report(run, file, FDI_DEADLINE_SECONDS="never")
    assert "| settings | failed |" in text
    assert "## Target" not in text


def test_report__offline__asks_nothing(run: Run, upstream: Simulator, file: Path) -> None:
    assert "## Target" not in report(run, file, "--offline")
    assert upstream.requests == []


def test_report__of_several_targets__has_a_part_for_each(
    run: Run, upstream: Simulator, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {
        "endpoint": upstream.url,
        "iam_endpoint": upstream.url,
        "project_id": PROJECT_ID,
        "token": "env://ROMA_TOKEN",
    }
    targets = [
        {"name": "wages-of-acme", **fields, "instances": {"acme": "id-payments"}},
        {"name": "acme-sales", **fields, "instances": {"acme": "id-orders"}},
    ]
    document = tmp_path / "acme.json"
    document.write_text(json.dumps({"targets": targets}))
    for name in ("FDI_ENDPOINT", "FDI_PROJECT_ID", "FDI_TOKEN", "FDI_INSTANCES"):
        monkeypatch.setenv(name, "")
    settings = dict.fromkeys(("FDI_ENDPOINT", "FDI_PROJECT_ID", "FDI_TOKEN", "FDI_INSTANCES"), "")
    text = report(run, file, **settings, FDI_CONFIG=f"file://{document}", ROMA_TOKEN=CREDENTIALS)
    assert text.count("- HTTP 200, ") == 8
    assert "## Target 2" in text
    assert "acme" not in text


def test_report__file_exists__is_not_overwritten(run: Run, file: Path) -> None:
    file.write_text("mine")
    code, _, err = run("doctor", "--offline", "--report", str(file), **ONE)
    assert (code, file.read_text()) == (3, "mine")
    assert "cannot be written: File exists" in err


def test_report__file__may_be_read_by_its_owner_only(run: Run, file: Path) -> None:
    report(run, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
