"""Access keys through the whole function: signed requests, refusals, rotation, and what is shown of them."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ServiceResponseException
from huaweicloudsdkroma.v2 import CountTasksRequest, RomaClient

from fdi_health.clock import Deadline, Instant, now
from fdi_health.credentials.authenticators import Signature
from fdi_health.credentials.token_provider import TokenProvider
from simulator import AccessKeys, SecretKey, json_response
from simulator.access_keys import LOCK_SECONDS
from tests.conftest import PROJECT_ID
from tests.fdi_health.fake_secret_store import NO_IAM, FakeSecretStore, soon, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from simulator import Simulator
    from tests.conftest import Function

ACCESS_KEY, SECRET_KEY = "HPUACANARY7QX9ZR4WD2", "Sk-Canary8Lp3Vd6Xw1Qn5Bt9Gf2Hs7Jm4Kc0Ry"
SECRET = json.dumps({"access_key": ACCESS_KEY, "secret_key": SECRET_KEY})
WRONG = json.dumps({"access_key": ACCESS_KEY, "secret_key": "Sk-Canary-of-another-key-1234567890abcde"})
TWENTY = ",".join(f"i{number}=id-{number}" for number in range(20))


@pytest.fixture(autouse=True)
def keys(upstream: Simulator) -> AccessKeys:
    """Let the upstream know the access key and no token."""
    upstream.tokens.clear()
    upstream.access_keys = AccessKeys({ACCESS_KEY: SECRET_KEY})
    return upstream.access_keys


def play_twenty(upstream: Simulator, play: str = "healthy") -> None:
    for number in range(20):
        upstream.play(f"id-{number}", play)


def error_of(checked: Function) -> dict[str, Any]:
    error: dict[str, Any] = checked.instance()["error"]
    return error


def test_check__with_an_access_key__is_answered_without_token_or_login(
    function: Callable[..., Function], upstream: Simulator
) -> None:
    checked = function("healthy", ROMA_TOKEN=SECRET)
    assert checked.verdict()["status"] == "healthy"
    (request,) = upstream.requests
    assert request.token is None
    assert "SignedHeaders=host;x-project-id;x-sdk-date," in (request.header("Authorization") or "")


def test_check__temporary_key__sends_its_security_token(
    function: Callable[..., Function], keys: AccessKeys, upstream: Simulator
) -> None:
    keys.keys[ACCESS_KEY] = SecretKey(SECRET_KEY, security_token="t0k-Canary-temporary")
    secret = {**json.loads(SECRET), "security_token": "t0k-Canary-temporary"}
    checked = function("healthy", ROMA_TOKEN=json.dumps(secret))
    assert checked.verdict()["status"] == "healthy"
    assert upstream.requests[0].header("X-Security-Token") == "t0k-Canary-temporary"


def test_check__temporary_key_ends_soon__is_announced(function: Callable[..., Function], keys: AccessKeys) -> None:
    end = now().wall + 600
    keys.keys[ACCESS_KEY] = SecretKey(SECRET_KEY, security_token="t0k-Canary-temporary", expires_at=end)
    secret = {**json.loads(SECRET), "security_token": "t0k-Canary-temporary"}
    secret["expires_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end))
    verdict = function("healthy", ROMA_TOKEN=json.dumps(secret)).verdict()
    assert (verdict["status"], [w["code"] for w in verdict["warnings"]]) == ("degraded", ["token_expires_soon"])


def test_twenty_instances__wrong_secret_key__do_not_lock_the_key(
    function: Callable[..., Function], keys: AccessKeys, upstream: Simulator
) -> None:
    play_twenty(upstream)
    checked = function(FDI_INSTANCES=TWENTY, ROMA_TOKEN=WRONG)
    verdicts = [checked.verdict() for _ in range(3)]
    assert {i["error"]["code"] for verdict in verdicts for i in verdict["instances"]} == {"token_rejected"}
    assert len(upstream.requests) == keys.failures[ACCESS_KEY] <= 2


def test_twenty_instances__right_key__are_all_asked(function: Callable[..., Function], upstream: Simulator) -> None:
    play_twenty(upstream)
    assert function(FDI_INSTANCES=TWENTY, ROMA_TOKEN=SECRET).verdict()["status"] == "healthy"


def test_twenty_instances__two_do_not_respond__others_are_healthy_at_the_second_check(
    function: Callable[..., Function], upstream: Simulator
) -> None:
    play_twenty(upstream)
    upstream.play("id-0", "silent")
    upstream.play("id-1", "silent")
    checked = function(FDI_INSTANCES=TWENTY, ROMA_TOKEN=SECRET, FDI_DEADLINE_SECONDS="2")
    checked.get()
    assert checked.verdict()["instances_count"]["healthy"] == 18


@pytest.mark.parametrize(
    ("trouble", "message", "step"),
    [
        (
            lambda keys: keys.keys.update({ACCESS_KEY: SecretKey("another")}),
            "the signature is wrong",
            "Put the secret_key that belongs to this access_key into the secret.",
        ),
        (
            lambda keys: keys.keys.clear(),
            "the access key does not exist or is disabled",
            "Enable the key in IAM, or create another one and put it into the secret.",
        ),
        (
            lambda keys: setattr(keys, "clock", lambda: time.time() + 3600),
            "this machine's clock is wrong: it says 20",
            "Set this machine's clock, e.g. by NTP.",
        ),
        (
            lambda keys: keys.keys.update({ACCESS_KEY: SecretKey(SECRET_KEY, expires_at=time.time() - 5)}),
            "the signature has expired although the clocks agree",
            "A temporary key has expired: store a new one in the secret, or a permanent access key.",
        ),
        (
            lambda keys: keys.lock(ACCESS_KEY),
            "the access key is locked for some minutes after too many refused requests",
            "Find the program that signs with a wrong secret_key;",
        ),
    ],
    ids=["wrong secret key", "deleted key", "wrong clock", "expired key", "locked key"],
)
def test_refused_key__says_why_and_what_to_do(
    function: Callable[..., Function], keys: AccessKeys, trouble: Callable[[AccessKeys], None], message: str, step: str
) -> None:
    trouble(keys)
    error = error_of(function("healthy", ROMA_TOKEN=SECRET))
    assert (error["code"], error["upstream_status"]) == ("token_rejected", 401)
    assert error["message"].startswith(message)
    assert error["next_step"].startswith(step)


@pytest.mark.parametrize(
    "trouble",
    [
        lambda keys: None,
        lambda keys: keys.keys.update({ACCESS_KEY: SecretKey("another")}),
        lambda keys: keys.keys.clear(),
        lambda keys: setattr(keys, "clock", lambda: time.time() + 3600),
        lambda keys: keys.lock(ACCESS_KEY),
    ],
    ids=["none", "wrong secret key", "deleted key", "wrong clock", "locked key"],
)
def test_vendors_client_and_ours__are_accepted_and_refused_alike(
    function: Callable[..., Function], upstream: Simulator, keys: AccessKeys, trouble: Callable[[AccessKeys], None]
) -> None:
    checked = function("healthy", ROMA_TOKEN=SECRET)
    trouble(keys)
    ours = checked.instance()["error"]
    credentials = BasicCredentials(ACCESS_KEY, SECRET_KEY, PROJECT_ID)
    client = RomaClient.new_builder().with_credentials(credentials).with_endpoint(upstream.url).build()
    theirs = None
    try:
        client.count_tasks(CountTasksRequest(instance_id="id-one"))
    except ServiceResponseException as error:
        theirs = (error.status_code, error.error_code, error.error_msg)
    assert theirs == (ours and (ours["upstream_status"], ours["upstream_code"], ours["upstream_message"]))


@pytest.mark.parametrize("code", ["APIG.0301", "APIC.0301", "ROMA.1002", "APIG.1002", "APIC.7102"])
def test_refused_key__any_code_of_a_refusal__is_token_rejected_and_never_mentions_a_token(
    function: Callable[..., Function], upstream: Simulator, code: str
) -> None:
    upstream.token_fault = code
    upstream.access_keys.keys.clear()
    error = error_of(function("healthy", ROMA_TOKEN=SECRET))
    assert error["code"] == "token_rejected"
    assert "token" not in error["message"] + error["next_step"]


def test_refusal_of_another_server__names_the_proxy(function: Callable[..., Function]) -> None:
    error = error_of(function("html_401", ROMA_TOKEN=SECRET))
    assert (error["code"], error["message"]) == ("token_rejected", "the access key was refused")
    assert "look for a proxy or login page on the way" in error["next_step"]


def test_refused_key__corrected_secret__is_used_at_once(
    function: Callable[..., Function], tmp_path: Path, upstream: Simulator
) -> None:
    file = tmp_path / "key.json"
    file.write_text(WRONG)
    clock = Clock()
    checked = function("healthy", FDI_TOKEN=f"file://{file}", clock=clock)
    assert error_of(checked)["message"] == "the signature is wrong"
    file.write_text(SECRET)
    clock.go(31)
    assert checked.verdict()["status"] == "healthy"


def test_refused_key__same_secret__is_read_once_and_not_sent_again(
    function: Callable[..., Function], tmp_path: Path, upstream: Simulator
) -> None:
    checked = function("healthy", ROMA_TOKEN=WRONG)
    messages = [error_of(checked)["message"] for _ in range(4)]
    assert len(upstream.requests) == 1
    assert messages[0] == "the signature is wrong"
    assert all(message.startswith("the access key was refused at 20") for message in messages[1:])


def test_readiness__with_an_access_key__shows_its_kind_and_no_value(function: Callable[..., Function]) -> None:
    checked = function("healthy", ROMA_TOKEN=SECRET)
    assert checked.get("/ready").get_json()["token"] == {
        "source": "env",
        "kind": "access_key",
        "version": None,
        "expires_at": None,
    }


def test_expired_signature__server_without_a_date__names_our_clock(function: Callable[..., Function]) -> None:
    message = "Incorrect IAM authentication information: calc ak sk signature fail:signature expired"
    refusal = json_response({"error_code": "APIGW.0301", "error_msg": message}, 401)
    error = error_of(function(refusal, ROMA_TOKEN=SECRET))
    assert error["message"].startswith("the signature has expired; this machine's clock says 20")
    assert "If it is right and the key is temporary, store a new one." in error["next_step"]


def test_secret_of_many_keys_in_turn__limits_are_kept_for_the_newest_four() -> None:
    store = FakeSecretStore(
        [json.dumps({"access_key": f"AK-{n}-one", "secret_key": "Sk-one"}).encode() for n in range(6)]
    )
    tokens = TokenProvider(store, NO_IAM)
    found = tokens.current(soon())
    limits = []
    for _ in range(5):
        assert isinstance(found, Signature)
        limits.append(found.limit)
        found = tokens.renew(found, soon())
    assert len(set(map(id, limits))) == 5
    assert repr(found) == "Signature(generation=6)"


def test_key_read_ten_minutes_ago__store_hangs__nobody_waits_for_it() -> None:
    store, clock = FakeSecretStore([SECRET.encode()]), Clock()
    tokens = TokenProvider(store, NO_IAM, clock=clock)
    first = tokens.current(soon())
    store.hang = threading.Event()
    clock.go(601)
    assert tokens.current(Deadline.after(0.0)).is_same_secret(first)
    until(lambda: store.reads == 2)
    assert tokens.current(Deadline.after(0.0)).is_same_secret(first)
    store.hang.set()


class Clock:
    """Both clocks, some seconds ahead of the machine's."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def go(self, seconds: float) -> None:
        self.ahead += seconds

    def __call__(self) -> Instant:
        present = now()
        return Instant(present.wall + self.ahead, present.monotonic + self.ahead)


def test_day_with_access_keys(
    function: Callable[..., Function], keys: AccessKeys, tmp_path: Path, upstream: Simulator
) -> None:
    """A key is rotated, the old one deleted, a clock goes wrong and comes back, a key is locked and unlocked."""
    other = {"access_key": "HPUACANARYOTHERKEY22", "secret_key": "Sk-Canary-other-1234567890abcdefghijklmn"}
    file, clock = tmp_path / "key.json", Clock()
    file.write_text(SECRET)
    checked = function("healthy", "healthy", FDI_TOKEN=f"file://{file}", clock=clock)

    def status() -> str:
        return str(checked.verdict()["status"])

    assert status() == "healthy"

    # Rotation: the second key is stored, and in use ten minutes later, while both exist.
    keys.keys[other["access_key"]] = SecretKey(other["secret_key"])
    file.write_text(json.dumps(other))
    assert status() == "healthy"
    clock.go(601)
    assert status() == "healthy"  # the secret is read beside this check
    until_signed_by(checked, upstream, other["access_key"])
    del keys.keys[ACCESS_KEY]
    assert status() == "healthy"

    # The clock goes wrong for a while.
    keys.clock = lambda: time.time() + 1000
    assert {i["error"]["code"] for i in checked.verdict()["instances"]} == {"token_rejected"}
    keys.clock = time.time
    clock.go(301)
    assert status() == "healthy"

    # Another program locks the key.
    keys.lock(other["access_key"])
    assert "locked" in checked.verdict()["instances"][0]["error"]["message"]
    clock.go(301)
    keys.clock = lambda: time.time() + LOCK_SECONDS + 1
    assert status() == "healthy"


def until_signed_by(checked: Function, upstream: Simulator, access_key: str) -> None:
    for _ in range(50):
        checked.get()
        if f"Access={access_key}," in str(upstream.requests[-1].header("Authorization")):
            return
        time.sleep(0.02)
    pytest.fail("the new key was never used")


def test_refused_key__by_an_api_that_somebody_published__names_the_endpoint(function: Callable[..., Function]) -> None:
    refusal = json_response({"error_code": "APIG.0303", "error_msg": "Incorrect app authentication information"}, 401)
    error = error_of(function(refusal, ROMA_TOKEN=SECRET))
    assert error["code"] == "token_rejected"
    assert error["next_step"].startswith("Check FDI_ENDPOINT: it must be ROMA Connect's own API")
