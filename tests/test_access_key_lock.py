"""No course of events lets one process lock an access key that ROMA Connect has not accepted."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from simulator import AccessKeys, Response, SecretKey
from simulator.documented_responses import error_document
from simulator.faults import behaviour_named
from simulator.responses import json_response, raw_response, response_bytes
from tests.fdi_health.fake_secret_store import until
from tests.test_access_keys import ACCESS_KEY, SECRET, SECRET_KEY, WRONG, Clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from simulator import Request, Simulator
    from tests.conftest import Function

FORTY = ",".join(f"i{number}=id-{number}" for number in range(40))
NEW_KEY = "HPUACANARYOTHERKEY22"
WRONG_SIGNATURE = "Incorrect IAM authentication information: verify aksk signature fail"


@pytest.fixture(autouse=True)
def keys(upstream: Simulator) -> AccessKeys:
    """Let the upstream know the access key and no token."""
    upstream.tokens.clear()
    upstream.access_keys = AccessKeys({ACCESS_KEY: SECRET_KEY})
    return upstream.access_keys


def before_the_key(response: Response) -> Response:
    """Return the response as one that the gateway sends before it verifies the key."""
    return replace(response, token_checked=False)


def rate_limit(seconds: int) -> Response:
    document = error_document("APIG.0308", "policy user over ratelimit, limit:60, time:1 second")
    return before_the_key(json_response(document, 429, headers=(("Retry-After", str(seconds)),)))


def play_forty(upstream: Simulator, *behaviours: str | Response) -> None:
    for number in range(40):
        upstream.play(f"id-{number}", *behaviours)


def test_new_wrong_key__rate_limit_before_the_key_is_verified__does_not_prove_the_key(
    function: Callable[..., Function], keys: AccessKeys, upstream: Simulator
) -> None:
    play_forty(upstream, rate_limit(0), "healthy")
    function(FDI_INSTANCES=FORTY, ROMA_TOKEN=WRONG, FDI_DEADLINE_SECONDS="1.5").get()
    assert 1 <= keys.failures[ACCESS_KEY] <= 2


def test_new_key__rate_limit__holds_the_requests_that_wait_for_the_key(
    function: Callable[..., Function], upstream: Simulator
) -> None:
    play_forty(upstream, rate_limit(1).after(0.1), "healthy")
    verdict = function(FDI_INSTANCES=FORTY, ROMA_TOKEN=SECRET, FDI_DEADLINE_SECONDS="0.9").verdict()
    assert {instance["error"]["code"] for instance in verdict["instances"]} == {"throttled"}
    assert len(upstream.requests) <= 4  # 40 without the hold


def test_rotated_key__refused_on_kept_connections_that_close__is_sent_twice_at_most(
    function: Callable[..., Function], keys: AccessKeys, upstream: Simulator, tmp_path: Path
) -> None:
    document = json.dumps(error_document("APIGW.0301", WRONG_SIGNATURE)).encode()
    refusal = raw_response(response_bytes(401, document, headers=(("Connection", "close"),)), "close")
    healthy = behaviour_named("healthy")
    assert isinstance(healthy, Response)

    def is_of_new_key(request: Request) -> bool:
        return f"Access={NEW_KEY}," in str(request.header("Authorization"))

    keys.keys[NEW_KEY] = SecretKey(SECRET_KEY)
    for name in ("one", "two", "three"):
        upstream.play(f"id-{name}", lambda request: refusal if is_of_new_key(request) else healthy)
    file, clock = tmp_path / "key.json", Clock()
    file.write_text(SECRET)
    checked = function(FDI_INSTANCES="id-one,id-two,id-three", FDI_TOKEN=f"file://{file}", clock=clock)
    assert checked.verdict()["status"] == "healthy"
    file.write_text(json.dumps({"access_key": NEW_KEY, "secret_key": SECRET_KEY}))
    clock.go(601)
    until(lambda: checked.verdict()["status"] == "unknown")
    assert 1 <= sum(map(is_of_new_key, upstream.requests)) <= 2


@pytest.mark.parametrize("deadline", ["0.5", "1"])
def test_new_key__late_response_and_a_short_deadline__is_tried_by_the_next_check(
    function: Callable[..., Function], upstream: Simulator, deadline: str
) -> None:
    checked = function(("silent", "healthy"), ROMA_TOKEN=SECRET, FDI_DEADLINE_SECONDS=deadline)
    assert checked.verdict()["status"] == "unknown"
    time.sleep(0.3)  # the first request ends at the deadline, beside the response
    assert checked.verdict()["status"] == "healthy"


def test_edited_secret_key__each_edit_wrong__does_not_lock_the_key(
    function: Callable[..., Function], keys: AccessKeys, upstream: Simulator, tmp_path: Path
) -> None:
    play_forty(upstream, "healthy")
    file, clock = tmp_path / "key.json", Clock()
    checked = function(FDI_INSTANCES=FORTY, FDI_TOKEN=f"file://{file}", clock=clock)
    for edit in range(5):
        file.write_text(json.dumps({"access_key": ACCESS_KEY, "secret_key": f"Sk-Canary-wrong-{edit}"}))
        errors = [instance["error"] for instance in checked.verdict()["instances"]]
        clock.go(31)
    assert keys.failures[ACCESS_KEY] <= 4
    assert {error["code"] for error in errors} == {"token_rejected"}
    assert errors[0]["next_step"].startswith("Wait for 5 minutes")
    file.write_text(SECRET)
    clock.go(301)
    keys.failures.clear()  # the upstream's own clock did not move
    assert checked.verdict()["status"] == "healthy"
