"""The call rate: checks of many instances complete below a limit upstream, and explanations take what is left."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from simulator import MonitoredTask, SecretKey, json_response
from simulator.documented_responses import error_document
from tests.machine import assert_within

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator import Response, Simulator
    from tests.conftest import Function

TOO_MANY = "too many requests for FDI_MAX_CALLS_PER_SECOND before the deadline"
TOO_MANY_STATED = "too many requests before the deadline for the limit that ROMA Connect stated"
NO_REQUEST_LEFT = "the call rate leaves no request for it"


@pytest.fixture
def many(upstream: Simulator, function: Callable[..., Function]) -> Callable[..., Function]:
    """Return a factory of functions over many healthy instances; ROMA Connect answers after 50 ms."""
    upstream.latency_seconds = 0.05

    def make(number: int, **settings: str) -> Function:
        for index in range(number):
            upstream.play(f"id-{index}", "healthy")
        return function(
            FDI_INSTANCES=",".join(f"i{index}=id-{index}" for index in range(number)),
            **{"FDI_DEADLINE_SECONDS": "6", **settings},
        )

    return make


def states(limit: int, unit: str, retry_after: int = 0) -> Response:
    document = error_document("APIG.0308", f"policy user over ratelimit, limit:{limit}, time:1 {unit}")
    return json_response(document, 429, headers=(("Retry-After", str(retry_after)),))


def test_limit_is_stated__checks_in_a_row_complete_without_another_429(
    upstream: Simulator, many: Callable[..., Function]
) -> None:
    upstream.limit_per_second = 15
    app = many(40)
    # One request too many, so that the limit is stated soon.
    app.get("/?instance=" + ",".join(f"i{number}" for number in range(16)))
    upstream.forget()
    for _ in range(2):
        assert app.get().status_code == 200
    assert len(upstream.requests) == 80


def test_configured_rate__first_check_completes_without_a_429(
    upstream: Simulator, many: Callable[..., Function]
) -> None:
    upstream.limit_per_second = 15
    app = many(40, FDI_MAX_CALLS_PER_SECOND="12")
    assert app.get().status_code == 200
    assert len(upstream.requests) == 40


def test_new_access_key__requests_that_wait_for_its_proof__take_no_turns(
    upstream: Simulator, many: Callable[..., Function]
) -> None:
    upstream.access_keys.keys["HPUAEXAMPLE"] = SecretKey("made-up-secret")
    upstream.limit_per_second = 12
    upstream.latency_seconds = 0.3
    secret = json.dumps({"access_key": "HPUAEXAMPLE", "secret_key": "made-up-secret"})
    assert many(14, ROMA_TOKEN=secret, FDI_MAX_CALLS_PER_SECOND="10").get().status_code == 200
    # Twelve turns that had passed in the first 0.3 s would all be used at the same time, and some be refused.
    assert len(upstream.requests) == 14


def test_no_turn_before_the_deadline__instance_is_throttled_at_once(
    upstream: Simulator, function: Callable[..., Function]
) -> None:
    app = function("healthy", FDI_MAX_CALLS_PER_SECOND="0.1")
    assert app.get().status_code == 200
    began = time.monotonic()
    response = app.get()
    assert_within(began, 1)
    error = response.get_json()["instances"][0]["error"]
    assert (response.status_code, error["code"], error["message"]) == (503, "throttled", TOO_MANY)
    assert error["upstream_status"] is None
    assert len(upstream.requests) == 1


def test_cached_checks__take_no_turns(upstream: Simulator, function: Callable[..., Function]) -> None:
    app = function("healthy", FDI_MAX_CALLS_PER_SECOND="0.1", FDI_CACHE_SECONDS="60")
    assert {app.get().status_code for _ in range(20)} == {200}
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(("unit", "message"), [("minute", TOO_MANY_STATED), ("second", None)])
def test_stated_limit__is_obeyed_per_second_or_minute(
    function: Callable[..., Function], unit: str, message: str | None
) -> None:
    app = function((states(6, unit), "healthy"))
    assert app.get().status_code == 200
    error = app.instance()["error"]
    assert (error and error["message"]) == message


def test_limit_that_an_explanation_states__does_not_slow_the_statistics(
    upstream: Simulator, function: Callable[..., Function]
) -> None:
    app = function("doc_example")
    upstream.monitors.fail("id-one", states(1, "minute"))
    for _ in range(3):
        instance = app.instance()
        assert (instance["status"], instance["error"]) == ("unhealthy", None)
        assert instance["abnormal_tasks_note"] == "ROMA Connect is rate limiting"


def test_explanation__nothing_is_free__is_skipped_and_the_verdict_stands(
    upstream: Simulator, function: Callable[..., Function]
) -> None:
    instance = function("doc_example", FDI_MAX_CALLS_PER_SECOND="0.5").instance()
    assert (instance["status"], instance["error"]) == ("unhealthy", None)
    assert instance["abnormal_tasks_note"] == NO_REQUEST_LEFT
    assert len(upstream.requests) == 1


def test_explanation__something_is_free__is_sent(upstream: Simulator, function: Callable[..., Function]) -> None:
    upstream.monitors.put("id-one", [MonitoredTask(task_id="t1"), MonitoredTask(task_id="t2")])
    instance = function("doc_example", FDI_MAX_CALLS_PER_SECOND="50").instance()
    assert len(instance["abnormal_tasks"]) == 2
    assert len(upstream.requests) == 4  # statistics, list, two logs


def test_429_without_a_limit__paces_nothing(function: Callable[..., Function]) -> None:
    app = function((states(0, "second"), "healthy"))
    assert app.get().status_code == 200
    assert [app.get("/?deadline=0.5").status_code for _ in range(5)] == [200] * 5
