"""Every known fault of an upstream, and the function's response to it."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import pytest

from simulator import fault_names
from simulator.responses import body_response, json_response, raw_response
from tests.conftest import TOKEN
from tests.machine import assert_within

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator import Simulator
    from tests.conftest import Function

HEALTHY = {
    "healthy",
    "slow",
    "slow_1500ms",
    "encoding_identity",
    "chunked_ok",
    "no_length_close",
    "extra_bytes_after_body",
    "http_1_0",
    "status_100_continue",
    "reset_idle",
    "close_idle",
    "crlf_in_header",
    "interim_102",
    "interim_103",
    "stray_later",
    "flow_zero",
}
UNHEALTHY = {"doc_example", "cdc_abnormal", "bom", "extra_fields", "flow_abnormal", "unnamed_group_abnormal"}
DEGRADED = {"no_tasks"}
CODES = {
    "timeout": {  # C01, C02
        "drip_headers",
        "drip_body",
        "silent",
        "silent_after_headers",
        "silent_mid_body",
    },
    "unreachable": {"reset", "reset_mid_headers", "reset_mid_body", "close"},
    "throttled": {"error_APIG_0308", "status_429"},  # and every retry_after_…: C06
    "token_rejected": {
        "error_APIG_0301",
        "error_APIG_0303",
        "error_APIG_0307",
        "error_APIG_1002",
        "error_APIGW_0301",
        "error_APIC_0301",
        "error_APIC_7102",
        "error_ROMA_1000",
        "error_ROMA_1002",
        "status_401",
        "html_401",
        "refuses_token",
        "echoes_token",
        "echoes_access_key",
        "token_expired_msg",
        "decrypt_token_fail",
    },
    "forbidden": {
        "error_APIG_0309",
        "error_APIG_0310",
        "error_APIG_1005",
        "error_APIC_7106",
        "error_ROMA_1006",
        "status_403",
    },
    "api_not_found": {"error_APIG_0101", "error_APIGW_0101", "error_APIC_0101", "status_404"},  # D37
    "instance_not_found": {"error_APIC_7302", "error_ROMA_00110002", "error_code_number"},
    "instance_not_running": {"error_ROMA_4001026"},
    "bad_request": {"error_FDI_3002", "error_FDI_3039", "status_400", "status_405", "status_408"},
    "blocked": {  # D38, D39, D40
        "error_APIGW_0302",
        "error_APIG_0306",
        "error_APIC_0802",
        "redirect_301",
        "redirect_302",
        "redirect_303",
        "redirect_307",
        "redirect_308",
        "status_407",
        "status_418",
        "status_421",
        "status_431",
        "status_451",
        "status_511",
        "html_200",
        "html_400",
        "html_403",
        "html_404",
        "html_418",
        "html_400_header_too_large",
        "html_labelled_json",
        "html_after_bom",
    },
    "upstream_error": {
        "error_APIG_0103",
        "error_APIG_0201",
        "error_APIG_0311",
        "error_APIG_0606",
        "error_FDI_3081",
        "error_FDI_9999",
        "redirect_same_host",
        "redirect_relative",
        "status_300",
        "status_304",
        "status_500",
        "status_502",
        "status_503",
        "status_504",
        "status_599",
        "echoes_marker",
        "error_msg_1mb",
        "error_code_odd",
    },
}
PREFIXES = {"retry_after_": "throttled"}


def expected(name: str) -> tuple[str, str | None]:
    """Return (status, error code) for a behaviour; what is not listed above is not a valid statistics document."""
    if name in UNHEALTHY:
        return "unhealthy", None
    if name in DEGRADED:
        return "degraded", None
    if name in HEALTHY:
        return "healthy", None
    for code, names in CODES.items():
        if name in names:
            return "unknown", code
    return "unknown", next((code for prefix, code in PREFIXES.items() if name.startswith(prefix)), "invalid_response")


@pytest.mark.parametrize("name", fault_names())
def test_upstream_fault__has_its_code_and_is_never_healthy(function: Callable[..., Function], name: str) -> None:  # C22
    status, code = expected(name)
    # Short where the whole deadline passes, long where a busy machine must not make a timeout of another error.
    # After a 429 the next request comes a second later: one that begins at the deadline would be a timeout.
    deadline = {"timeout": "0.6", "throttled": "0.9"}.get(code or "", "2")
    checked = function(name, FDI_DEADLINE_SECONDS=deadline)

    began = time.monotonic()
    response = checked.get()

    assert_within(began, float(deadline) + 0.3)
    (instance,) = response.get_json()["instances"]
    assert (instance["status"], instance["error"] and instance["error"]["code"]) == (status, code)
    assert response.status_code == (200 if status in ("healthy", "degraded") else 503)
    assert response.headers["FDI-Verdict"] == status


def test_upstream_fault__does_not_change_other_instances(function: Callable[..., Function]) -> None:  # C01, C28
    verdict = function("healthy", "drip_body", FDI_DEADLINE_SECONDS="1").verdict()

    one, two = verdict["instances"]
    assert one["status"] == "healthy"
    assert (two["name"], two["instance_id"], two["error"]["code"]) == ("two", "id-two", "timeout")
    assert two["common_task_details"] is None
    assert two["cdc_task_details"] is None
    assert two["duration_seconds"] == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize("name", ["redirect_302", "redirect_same_host", "redirect_relative"])
def test_redirect__is_not_followed(function: Callable[..., Function], upstream: Simulator, name: str) -> None:  # C30
    error = function(name).instance()["error"]

    assert error["upstream_status"] == 302
    assert len(upstream.requests) == 1


BLOCKED_STEPS = {
    "error_APIGW_0302": "allow or deny list",
    "error_APIG_0306": "IP address",
    "error_APIC_0802": "region",
    "redirect_302": "login page",
    "status_407": "HTTPS_PROXY",
    "status_418": "firewall",
    "status_421": "load balancer",
    "status_431": "header size limit",
    "status_451": "which rule",
    "status_511": "portal",
    "html_200": "FDI_ENDPOINT",
    "html_400_header_too_large": "header size limit",
    "html_403": "FDI_ENDPOINT",
}


@pytest.mark.parametrize(("name", "words"), BLOCKED_STEPS.items())
def test_blocked_request__has_the_right_next_step(
    function: Callable[..., Function], upstream: Simulator, name: str, words: str
) -> None:  # D38, D39, D40
    error = function((name, "healthy")).instance()["error"]

    assert error["code"] == "blocked"
    assert words in error["next_step"]
    assert f"(HTTP {error['upstream_status']})" in error["message"]
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("name", ["status_431", "html_400_header_too_large"])
def test_header_too_large__names_the_token_length(function: Callable[..., Function], name: str) -> None:  # D40
    assert "the token is too long" in function(name).instance()["error"]["message"]


@pytest.mark.parametrize("name", ["error_APIG_0101", "error_APIGW_0101", "error_APIC_0101", "status_404"])
def test_api_not_found__has_a_next_step_for_endpoint_and_region(
    function: Callable[..., Function], name: str
) -> None:  # D37
    error = function(name).instance()["error"]
    assert error["next_step"].startswith("Check FDI_REGION or FDI_ENDPOINT")


@pytest.mark.parametrize("name", fault_names())
def test_project_id__is_the_next_step_only_for_fdi_3039(function: Callable[..., Function], name: str) -> None:  # D39
    error = function(name, FDI_DEADLINE_SECONDS="0.3").instance()["error"] or {}
    assert ("FDI_PROJECT_ID" in str(error.get("next_step"))) is (name == "error_FDI_3039")


def test_gateway_timeout__is_retried_and_named(function: Callable[..., Function], upstream: Simulator) -> None:
    error = function("error_APIG_0201").instance()["error"]
    assert error["message"] == "ROMA Connect's backend did not answer its gateway in time (HTTP 504)"
    assert len(upstream.requests) > 1


def test_valid_statistics__labelled_as_html__are_used(function: Callable[..., Function], upstream: Simulator) -> None:
    checked = function("healthy")
    upstream.play("id-one", body_response(HEALTHY_BODY, content_type="text/html"))
    assert checked.verdict()["status"] == "healthy"


def test_error_body_with_200__names_the_upstreams_code(function: Callable[..., Function]) -> None:  # C24
    assert function("error_body_200").instance()["error"]["upstream_code"] == "APIG.9999"


def test_error_beside_valid_counts__is_an_invalid_response(
    function: Callable[..., Function], upstream: Simulator
) -> None:  # C24
    counts = '{"running_tasks_count":1,"abnormal_tasks_count":0,"terminated_tasks_count":0,"completed_tasks_count":0}'
    body = f'{{"common_task_details":{counts},"cdc_task_details":{counts},"error_code":"FDI.9999"}}'
    checked = function("healthy")
    upstream.play("id-one", body_response(body.encode()))

    assert checked.instance()["error"]["code"] == "invalid_response"


HEALTHY_BODY = (
    b'{"common_task_details":{"running_tasks_count":1,"abnormal_tasks_count":0,"terminated_tasks_count":0,'
    b'"completed_tasks_count":0},"cdc_task_details":{"running_tasks_count":1,"abnormal_tasks_count":0,'
    b'"terminated_tasks_count":0,"completed_tasks_count":0}}'
)


@pytest.mark.parametrize(
    "head",
    [
        "broken\r\nContent-Length: 1000",
        "broken\r\nContent-Encoding: gzip",
        "Content-Length : 1000",
        "Content-Length: 1000abc",
        "Content-Length: -1",
        "Content-Length: +1",
        "X\0: a\r\nContent-Length: 1000",
        "X Y: a",
        ": a",
    ],
)
def test_broken_header__is_an_invalid_response_and_not_logged(
    function: Callable[..., Function], caplog: pytest.LogCaptureFixture, head: str
) -> None:  # C25, C46, C47
    answer = raw_response(
        f"HTTP/1.1 200 OK\r\n{head}\r\nX-Echo: {TOKEN}\r\n\r\n".encode("latin-1") + HEALTHY_BODY, "close"
    )
    caplog.set_level(logging.DEBUG)

    assert function(answer).instance()["error"]["code"] == "invalid_response"
    assert TOKEN not in caplog.text


def test_chunk_of_negative_size__is_an_invalid_response(function: Callable[..., Function]) -> None:
    answer = raw_response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n" + HEALTHY_BODY, "hang")
    assert function(answer).instance()["error"]["code"] == "invalid_response"


def test_chunk__without_its_end__is_an_invalid_response(function: Callable[..., Function]) -> None:  # C47
    size = b"%x\r\n" % len(HEALTHY_BODY)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + HEALTHY_BODY
    assert function(raw_response(head + b"\r\n0\r\n\r\n", "hang")).instance()["status"] == "healthy"
    for end in (b"99", b"\n\n", b"\r\r", b"\n\r"):
        answer = raw_response(head + end + b"0\r\n\r\n", "hang")
        assert function(answer).instance()["error"]["code"] == "invalid_response", end


@pytest.mark.parametrize("line", ["1.1 2_00 OK", "1.1 +200 OK", "1.1 0200 OK", "1.1  200 OK", "1.1 200.0", "1.a 200"])
def test_status_line__that_is_not_one__is_an_invalid_response(function: Callable[..., Function], line: str) -> None:
    head = f"HTTP/{line}\r\nContent-Length: {len(HEALTHY_BODY)}\r\n\r\n".encode()
    assert function(raw_response(head + HEALTHY_BODY, "hang")).instance()["error"]["code"] == "invalid_response"


@pytest.mark.parametrize("line", ["HTTP/1.1 200 OK", "HTTP/1.1 200", "HTTP/1.1 200 ", "HTTP/1.0 200 Very well"])
def test_status_line__with_any_reason__is_read(function: Callable[..., Function], line: str) -> None:
    head = f"{line}\r\nContent-Length: {len(HEALTHY_BODY)}\r\n\r\n".encode()
    assert function(raw_response(head + HEALTHY_BODY, "hang")).instance()["status"] == "healthy"


def test_html_body__is_not_copied_into_the_response(function: Callable[..., Function]) -> None:  # C23
    assert b"maintenance" not in function("html_200").get().data


def test_retry_after__within_the_deadline__is_waited_for(
    function: Callable[..., Function], upstream: Simulator
) -> None:
    assert function(("retry_after_1", "healthy"), FDI_DEADLINE_SECONDS="3").verdict()["healthy"] is True
    first, second = upstream.requests
    assert second.at - first.at >= 1.0


@pytest.mark.parametrize("name", ["retry_after_3600", "status_429", "error_APIG_0308", "retry_after_word"])
def test_throttled_upstream__gets_no_request_from_any_caller(
    function: Callable[..., Function], upstream: Simulator, name: str
) -> None:
    checked = function(name, "healthy", FDI_DEADLINE_SECONDS="0.9", FDI_CACHE_SECONDS="60")
    assert checked.instance("/?instance=one")["error"]["code"] == "throttled"

    for path in ("/?instance=one", "/?instance=two"):
        instance = checked.instance(path)
        assert (instance["status"], instance["error"]["code"]) == ("unknown", "throttled")

    assert len(upstream.requests) == 1


def test_throttled_upstream__after_retry_after__gets_requests_again(
    function: Callable[..., Function], upstream: Simulator
) -> None:
    checked = function(("retry_after_1", "healthy"), FDI_DEADLINE_SECONDS="0.9")

    assert checked.verdict()["status"] == "unknown"
    assert checked.verdict()["status"] == "unknown"
    time.sleep(1.0)
    assert checked.verdict()["status"] == "healthy"

    first, second = upstream.requests
    assert second.at - first.at >= 1.0


def test_instances__one_throttled__wait_and_are_healthy(function: Callable[..., Function], upstream: Simulator) -> None:
    checked = function(
        ("retry_after_1", "healthy"), "healthy", "healthy", FDI_DEADLINE_SECONDS="4", FDI_MAX_PARALLEL="1"
    )
    checked.verdict("/?instance=one&deadline=0.3")

    assert checked.verdict()["status"] == "healthy"

    first, *others = upstream.requests
    assert min(other.at for other in others) - first.at >= 1.0
    assert len(others) == 3


def test_throttling_code__with_status_400__is_throttled(function: Callable[..., Function], upstream: Simulator) -> None:
    answer = json_response({"error_code": "APIG.0308", "error_msg": "policy user over ratelimit"}, 400)
    checked = function(answer, FDI_DEADLINE_SECONDS="0.9")

    assert [checked.instance()["error"]["code"] for _ in range(2)] == ["throttled"] * 2
    assert len(upstream.requests) == 1


def test_retry_after__of_a_503__is_obeyed(function: Callable[..., Function], upstream: Simulator) -> None:
    busy = json_response({"error_msg": "busy"}, 503, headers=[("Retry-After", "1")])

    assert function((busy, "healthy")).verdict()["healthy"] is True

    first, second = upstream.requests
    assert second.at - first.at >= 1.0


def test_token_fault_with_503__is_not_retried(function: Callable[..., Function], upstream: Simulator) -> None:
    assert function(json_response({"error_code": "ROMA.1002"}, 503)).instance()["error"]["code"] == "token_rejected"
    assert len(upstream.requests) == 1


def test_retry_after__beyond_the_deadline__fails_at_once(function: Callable[..., Function]) -> None:  # C06
    began = time.monotonic()
    assert function("retry_after_3600").instance()["error"]["code"] == "throttled"
    assert_within(began, 1)


def test_retry__ends_at_the_deadline(function: Callable[..., Function], upstream: Simulator) -> None:  # C07
    upstream.latency_seconds = 0.5
    began = time.monotonic()

    instance = function(("status_503", "silent"), FDI_DEADLINE_SECONDS="0.8").instance()

    assert_within(began, 0.8 + 0.3)
    assert instance["error"]["code"] in ("timeout", "upstream_error")
    assert len(upstream.requests) <= 2


@pytest.mark.parametrize("first", ["status_502", "status_503", "status_504", "reset", "truncated", "chunked_eof"])
def test_temporary_fault__is_retried(function: Callable[..., Function], first: str) -> None:
    assert function((first, "healthy")).verdict()["healthy"] is True


@pytest.mark.parametrize("first", ["status_500", "status_400", "status_404", "html_200", "gzip_real", "huge"])
def test_permanent_fault__is_not_retried(function: Callable[..., Function], upstream: Simulator, first: str) -> None:
    assert function((first, "healthy")).verdict()["healthy"] is False
    assert len(upstream.requests) == 1


def test_refused_token__has_the_more_specific_next_step(function: Callable[..., Function]) -> None:
    assert "expired" in function("token_expired_msg").instance()["error"]["next_step"]
    assert "another region" in function("decrypt_token_fail").instance()["error"]["next_step"]


def test_user_without_rights__gets_a_warning_for_zero_tasks(
    function: Callable[..., Function], upstream: Simulator
) -> None:
    upstream.restricted_tokens.add("restricted-token")
    checked = function("doc_example", ROMA_TOKEN="restricted-token")

    verdict = checked.verdict()

    assert (verdict["status"], verdict["reason"]) == ("degraded", "no tasks visible in one")
    assert verdict["warnings"][0]["code"] == "no_tasks_visible"
    assert function("no_tasks", FDI_ALLOW_EMPTY="one").verdict()["status"] == "healthy"
    assert function("no_tasks", FDI_ALLOW_EMPTY="*").verdict()["status"] == "healthy"


@pytest.mark.parametrize(
    ("play", "groups", "status"),
    [
        ("missing_group_cdc", "cdc", "healthy"),
        ("missing_group_common", "common", "healthy"),
        ("missing_group_common", "cdc", "unknown"),
        ("group_null", "cdc,common", "unknown"),
        ("empty_object", "cdc,common", "unknown"),
        ("error_body_200", "cdc,common", "unknown"),
    ],
)
def test_optional_groups__one_may_be_absent_but_not_null(
    function: Callable[..., Function], play: str, groups: str, status: str
) -> None:
    assert function(play, FDI_OPTIONAL_TASK_GROUPS=groups).verdict()["status"] == status
