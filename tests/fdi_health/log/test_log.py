"""One line of JSON for each verdict and each fault, in the fields that the platforms read."""

from __future__ import annotations

import json
import logging
import re
import tomllib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from fdi_health import __version__, log
from fdi_health.clock import Instant
from fdi_health.errors import CheckError, Fault
from fdi_health.evaluation import evaluate, hide_details
from fdi_health.log.request import Request, request_of
from fdi_health.models import Instance, ProbeResult
from fdi_health.policy import Policy
from tests.conformance.platform import settings_for
from tests.handlers.test_authentication import KEY
from tests.servers import ROOT, functions_framework

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from simulator import Simulator
    from tests.conftest import Function

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return our records as the lines that would be written."""
    texts = [log.line_of(record) for record in caplog.records if record.name == "fdi_health"]
    assert not [text for text in texts if "\n" in text]
    return [json.loads(text) for text in texts]


@pytest.fixture
def caplog_info(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="fdi_health")
    return caplog


def test_verdict__is_one_line_with_what_was_found(
    function: Callable[..., Function], caplog_info: pytest.LogCaptureFixture
) -> None:
    function("doc_example", "refuses_token", "healthy", FDI_ANONYMOUS="verdict").get(
        "/", headers={"traceparent": f"00-{TRACE}-{SPAN}-01"}
    )
    (line,) = lines(caplog_info)
    durations = [part.pop("duration_seconds") for part in line["instances"]]
    assert all(0 <= duration < 5 for duration in [*durations, line.pop("duration_seconds"), line.pop("age_seconds")])
    assert line.pop("time") == line.pop("timestamp")
    assert line["instances"][1].pop("next_step").startswith("ROMA Connect accepts this token for other instances.")
    assert len(line["instances"][1].pop("request_id")) == 32
    reason = "2 abnormal tasks in one; two unknown (token_rejected)"
    assert line == {
        "message": f"unhealthy: {reason}",
        "severity": "ERROR",
        "level": "ERROR",
        "status": "unhealthy",
        "healthy": False,
        "reason": reason,
        "instances_count": {"unhealthy": 1, "unknown": 1, "degraded": 0, "healthy": 1},
        "version": __version__,
        "credentials": {"kind": "token", "version": None},
        "instances": [
            {"name": "one", "status": "unhealthy", "reason": "2 abnormal common tasks"},
            {
                "name": "two",
                "status": "unknown",
                "reason": "the credentials were refused",
                "code": "token_rejected",
                "upstream_status": 401,
                "upstream_code": "APIGW.0301",
            },
        ],
        "task_counts": {
            "one": {
                "running_tasks_count": 3,
                "abnormal_tasks_count": 2,
                "terminated_tasks_count": 12,
                "completed_tasks_count": 8,
            },
            "three": {
                "running_tasks_count": 3,
                "abnormal_tasks_count": 0,
                "terminated_tasks_count": 12,
                "completed_tasks_count": 8,
            },
        },
        "trace": TRACE,
        "span": SPAN,
    }


def test_healthy_verdict__names_no_instance_but_their_counts(
    function: Callable[..., Function], caplog_info: pytest.LogCaptureFixture
) -> None:
    function("healthy").get()
    (line,) = lines(caplog_info)
    assert ("instances" in line, sorted(line["task_counts"])) == (False, ["one"])


def test_verdict_of_reused_results__has_no_task_counts(
    function: Callable[..., Function], caplog_info: pytest.LogCaptureFixture
) -> None:
    checked = function("healthy", FDI_CACHE_SECONDS="5")
    checked.get()
    checked.get()
    assert ["task_counts" in line for line in lines(caplog_info)] == [True, False]


@pytest.mark.parametrize("behaviour", ["healthy", "no_tasks", "doc_example", "error_code_odd", "status_503"])
@pytest.mark.parametrize("count", [1, 20, 60, 200])
def test_line__stays_below_8_kib(
    function: Callable[..., Function],
    upstream: Simulator,
    caplog_info: pytest.LogCaptureFixture,
    behaviour: str,
    count: int,
) -> None:  # E39
    names = [f"{'n' * 60}{number:04}" for number in range(count)]
    for name in names:
        upstream.play(name, behaviour)
    function(FDI_INSTANCES=",".join(names), FDI_DEADLINE_SECONDS="10").get()
    (record,) = [record for record in caplog_info.records if record.name == "fdi_health"]
    line = json.loads(log.line_of(record))
    assert len(log.line_of(record)) < 8 * 1024
    failing = sum(line["instances_count"].values()) - line["instances_count"]["healthy"]
    assert len(line.get("instances", [])) + line.get("more_instances", 0) == failing
    assert (len(line.get("instances", [])) > 0) is (failing > 0)


@pytest.mark.parametrize(
    ("play", "severity"),
    [("healthy", "INFO"), ("no_tasks", "WARNING"), ("doc_example", "ERROR"), ("refuses_token", "ERROR")],
)
def test_severity__follows_the_status_for_both_clouds(
    function: Callable[..., Function], caplog_info: pytest.LogCaptureFixture, play: str, severity: str
) -> None:  # E26
    function(play).get()
    (line,) = lines(caplog_info)
    assert (line["severity"], line["level"]) == (severity, severity.replace("WARNING", "WARN"))


def test_time__is_rfc_3339_under_both_names(
    function: Callable[..., Function], caplog_info: pytest.LogCaptureFixture
) -> None:  # E26
    function("healthy").get()
    (line,) = lines(caplog_info)
    assert line["time"] == line["timestamp"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["time"])


def test_callers_name__is_in_the_line_and_no_key(
    function: Callable[..., Function], caplog_info: pytest.LogCaptureFixture
) -> None:
    checked = function("healthy", FDI_CALLERS="env://CALLERS", CALLERS=json.dumps({"prometheus": KEY}))
    checked.get("/", headers={"X-Api-Key": KEY})
    checked.get("/metrics")
    assert [line.get("caller") for line in lines(caplog_info)] == ["prometheus", None]
    assert KEY not in caplog_info.text


@pytest.mark.parametrize(
    ("headers", "trace", "span"),
    [
        ({"traceparent": f"00-{TRACE}-{SPAN}-01"}, TRACE, SPAN),
        ({"traceparent": f" 00-{TRACE}-{SPAN}-00 "}, TRACE, SPAN),
        ({"x-cloud-trace-context": f"{TRACE}/123;o=1"}, TRACE, "000000000000007b"),
        ({"x-cloud-trace-context": TRACE.upper()}, TRACE, None),
        ({"traceparent": f"00-{TRACE}-{SPAN}-01", "x-cloud-trace-context": f"{'a' * 32}/1"}, TRACE, SPAN),
        ({"traceparent": "nonsense", "x-cloud-trace-context": f"{TRACE}/1"}, TRACE, "0000000000000001"),
        ({"traceparent": f"00-{'0' * 32}-{SPAN}-01"}, None, None),
        ({"traceparent": f"00-{TRACE}-{SPAN}-01\n"}, TRACE, SPAN),
        ({"traceparent": f"00-{TRACE[:-1]}-{SPAN}-01"}, None, None),
        ({}, None, None),
    ],
)
def test_trace__is_taken_from_the_headers(headers: dict[str, str], trace: str | None, span: str | None) -> None:
    found = request_of(None, headers, None)
    assert (found.trace, found.span) == (trace, span)


@given(parent=st.text(max_size=60), cloud=st.text(max_size=60))
def test_trace__of_any_header_is_hexadecimal_or_none(parent: str, cloud: str) -> None:
    found = request_of(None, {"traceparent": parent, "x-cloud-trace-context": cloud}, None)
    assert found.trace is None or int(found.trace, 16)


def test_trace__is_named_in_google_clouds_form_where_the_project_is_known(
    function: Callable[..., Function], caplog_info: pytest.LogCaptureFixture
) -> None:
    checked = function("healthy", GOOGLE_CLOUD_PROJECT="acme")
    checked.get("/", headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
    checked.get("/")
    first, second = lines(caplog_info)
    assert first["logging.googleapis.com/trace"] == f"projects/acme/traces/{TRACE}"
    assert first["logging.googleapis.com/spanId"] == SPAN
    assert "logging.googleapis.com/trace" not in second


class Lambda:
    aws_request_id = "8f507cfc-xmpl-4697-b07a-ac58fc914c95"


class FunctionGraph:
    def getRequestID(self) -> str:  # noqa: N802 -- the platform's name
        return "4d2e4b0d-xmpl"


class Odd:
    aws_request_id = "a\nb"


@pytest.mark.parametrize(
    ("context", "request_id"),
    [(Lambda(), Lambda.aws_request_id), (FunctionGraph(), "4d2e4b0d-xmpl"), (Odd(), None), (None, None), (5, None)],
)
def test_platforms_request_id__is_in_the_line(context: Any, request_id: str | None) -> None:
    assert request_of(None, {}, context).request_id == request_id


def test_log__logging_of_a_platform_is_set_up__stands_alone(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("fdi_health")
    monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "level", logging.WARNING)
    log.to_stderr()
    log.to_stderr()
    log.log_fault(RuntimeError("s3cr3t"))
    log.flush()
    written = capfd.readouterr().err
    assert json.loads(written)["causes"] == [{"exception": "builtins.RuntimeError", "frames": []}]
    assert "s3cr3t" not in written
    assert caplog.records == []


def test_fault_deep_inside__stays_below_8_kib(caplog_info: pytest.LogCaptureFixture) -> None:
    def deep(levels: int) -> None:
        if levels == 0:
            raise RuntimeError
        try:
            deep(levels - 1)
        except RuntimeError as error:
            raise RuntimeError from error

    with pytest.raises(RuntimeError) as caught:
        deep(100)
    log.log_fault(caught.value)
    (record,) = caplog_info.records
    assert len(log.line_of(record)) < 8 * 1024


def test_version__is_the_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == __version__


@pytest.mark.parametrize("variables", [{}, {"LOG_EXECUTION_ID": "true"}])
def test_line__is_whole_under_functions_framework(
    upstream: Simulator, tmp_path: Path, variables: dict[str, str]
) -> None:
    # With that variable, which deployments may set, functions-framework sets up logging before it loads us.
    with functions_framework(settings_for(upstream) | variables, tmp_path) as (url, _):
        requests.get(f"{url}/?instance=payments", timeout=10)
        requests.get(f"{url}/?instance=a%20b", timeout=10)
    written = [json.loads(line) for line in (tmp_path / "server.log").read_text().splitlines() if line.startswith("{")]
    assert [(line["severity"], line["status"]) for line in written] == [("ERROR", "unhealthy")]


@pytest.mark.parametrize(
    ("path", "settings", "code", "variables"),
    [
        ("/", {"FDI_CACHE_SECONDS": "s3cr3t", "FDI_XYZ": "1"}, "settings_invalid", ["FDI_CACHE_SECONDS", "FDI_XYZ"]),
        ("/metrics", {"FDI_CACHE_SECONDS": "s3cr3t"}, "settings_invalid", ["FDI_CACHE_SECONDS"]),
        ("/badge.svg", {"FDI_CACHE_SECONDS": "s3cr3t"}, "settings_invalid", ["FDI_CACHE_SECONDS"]),
        ("/", {"FDI_CALLERS": "env://NOWHERE"}, "callers_unavailable", []),
    ],
)
def test_problem_of_ours__is_one_line_too(
    function: Callable[..., Function],
    caplog_info: pytest.LogCaptureFixture,
    path: str,
    settings: dict[str, str],
    code: str,
    variables: list[str],
) -> None:
    function("healthy", **settings).get(path, headers={"X-Api-Key": "0123456789abcdef"})
    (line,) = lines(caplog_info)
    assert (line["severity"], line["code"]) == ("ERROR", code)
    assert [fault["variable"] for fault in line["faults"]] == variables
    assert "s3cr3t" not in json.dumps(line)


@pytest.mark.parametrize("path", ["/nowhere", "/?instance=nope", "/?deadline=0"])
def test_problem_of_a_caller__is_no_line(
    function: Callable[..., Function], caplog_info: pytest.LogCaptureFixture, path: str
) -> None:
    function("healthy").get(path)
    assert lines(caplog_info) == []


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("Invalid request from ip=::1: Invalid HTTP Header: 'X-Api-Key s3cr3t'", "Invalid request from ip=::1"),
        ("Worker exiting", "Worker exiting"),
    ],
)
def test_server_s_line__does_not_quote_what_a_caller_sent(
    caplog: pytest.LogCaptureFixture, line: str, written: str
) -> None:
    log.to_stderr()
    logging.getLogger("gunicorn.error").warning(line)
    assert caplog.messages == [written]


def test_verdict_without_details__is_logged_without_instances(caplog_info: pytest.LogCaptureFixture) -> None:
    checked_at = datetime(2026, 11, 28, tzinfo=UTC)
    log.log_verdict(hide_details(evaluate([], Policy(), checked_at)), Request())
    (line,) = lines(caplog_info)
    assert line["status"] == "unknown"
    assert "instances" not in line


def test_instances_with_long_next_steps__are_left_out_until_the_line_fits(
    caplog_info: pytest.LogCaptureFixture,
) -> None:
    error = CheckError("upstream_error", "failed", next_step="x" * 3000)
    results = [
        ProbeResult(Instance(f"name-{number}", f"id-{number}"), None, error, Instant(0.0, 0.0), 0.1)
        for number in range(5)
    ]
    log.log_verdict(evaluate(results, Policy(), datetime(2026, 11, 28, tzinfo=UTC)), Request())
    (line,) = lines(caplog_info)
    assert [part["name"] for part in line["instances"]] == ["name-0", "name-1"]
    assert line["more_instances"] == 3


def test_faults_with_long_messages__are_left_out_until_the_line_fits(caplog: pytest.LogCaptureFixture) -> None:
    faults = tuple(Fault(f"FDI_{number}", "x" * 3000) for number in range(5))
    log.log_problem(CheckError("not_configured", "no", faults=faults), 503)
    (line,) = lines(caplog)
    assert [fault["variable"] for fault in line["faults"]] == ["FDI_0", "FDI_1"]


def test_line_that_is_too_long__is_cut_and_says_so() -> None:
    record = logging.makeLogRecord({"levelname": "ERROR", "msg": "m" * 9000, "fields": {"reason": "r" * 9000}})
    line = log.line_of(record)
    assert len(line) < log.MAX_LINE_BYTES
    assert json.loads(line)["is_cut"] is True


def test_dropped_lines__are_counted_in_a_line_of_the_same_form() -> None:
    line = json.loads(log.dropped_line(7))
    assert (line["severity"], line["message"]) == (
        "WARNING",
        "7 log lines were dropped: nobody read this log for a while",
    )


def test_problem__level_of_the_logger_is_higher__writes_nothing(caplog_info: pytest.LogCaptureFixture) -> None:
    caplog_info.set_level(logging.CRITICAL, "fdi_health")
    log.log_problem(CheckError("internal_error", "x"), 500)
    assert caplog_info.records == []
