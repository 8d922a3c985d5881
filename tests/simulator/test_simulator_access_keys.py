"""The simulator's access keys: signatures, how long they are valid, and the lock; asked by the vendor's client."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import requests
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ServiceResponseException
from huaweicloudsdkroma.v2 import CountTasksRequest, RomaClient

from simulator import AccessKeys, SecretKey, Simulator
from tests.conftest import PROJECT_ID
from tests.simulator.wire import statistics_path

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY, SECRET = "HPUAEXAMPLE", "made-up"


@pytest.fixture
def keys() -> AccessKeys:
    return AccessKeys({KEY: SECRET})


@pytest.fixture
def roma(keys: AccessKeys) -> Iterator[Simulator]:
    with Simulator(tokens=[], project_id=PROJECT_ID, access_keys=keys) as simulator:
        simulator.play("id-one", "healthy")
        yield simulator


def ask(roma: Simulator, key: str = KEY, secret: str = SECRET, security_token: str | None = None) -> str:
    """Return the message of the refusal, or "accepted"."""
    credentials: Any = BasicCredentials(key, secret, PROJECT_ID)
    if security_token is not None:
        credentials.with_security_token(security_token)
    client = RomaClient.new_builder().with_credentials(credentials).with_endpoint(roma.url).build()
    try:
        client.count_tasks(CountTasksRequest(instance_id="id-one"))
    except ServiceResponseException as error:
        assert (error.status_code, error.error_code) == (401, "APIGW.0301")
        return str(error.error_msg).partition(": ")[2]
    return "accepted"


def test_signed_request__with_the_right_key__is_accepted(roma: Simulator) -> None:
    assert ask(roma) == "accepted"


def test_signed_request__with_a_wrong_secret_key__is_refused(roma: Simulator) -> None:
    assert ask(roma, secret="another") == "verify aksk signature fail"


def test_signed_request__with_an_unknown_or_disabled_key__is_refused(roma: Simulator, keys: AccessKeys) -> None:
    assert ask(roma, key="another") == "Get secretKey failed"
    keys.keys[KEY] = SecretKey(SECRET, enabled=False)
    assert ask(roma) == "Get secretKey failed"


@pytest.mark.parametrize(("ahead", "said"), [(890, "accepted"), (910, "calc ak sk signature fail:signature expired")])
@pytest.mark.parametrize("sign", [1, -1])
def test_signed_request__is_valid_for_15_minutes(
    roma: Simulator, keys: AccessKeys, ahead: int, said: str, sign: int
) -> None:
    keys.clock = lambda: time.time() + sign * ahead
    assert ask(roma) == said


def test_temporary_key__needs_its_security_token_and_ends(roma: Simulator, keys: AccessKeys) -> None:
    keys.keys[KEY] = SecretKey(SECRET, security_token="t0ken")
    assert ask(roma) == "verify aksk signature fail"
    assert ask(roma, security_token="t0ken") == "accepted"
    keys.keys[KEY] = SecretKey(SECRET, security_token="t0ken", expires_at=time.time() - 1)
    assert ask(roma, security_token="t0ken") == "calc ak sk signature fail:signature expired"


def test_key__after_five_failures_in_a_row__is_locked_for_five_minutes(roma: Simulator, keys: AccessKeys) -> None:
    for _ in range(4):
        ask(roma, secret="another")
    assert ask(roma) == "accepted"  # and the count begins again
    for _ in range(5):
        ask(roma, secret="another")
    assert ask(roma) == "AK access failed to reach the limit,forbidden"
    keys.clock = lambda: time.time() + 301
    assert ask(roma) == "accepted"


@pytest.mark.parametrize(
    ("authorization", "date"),
    [
        ("SDK-HMAC-SHA256 nonsense", ""),
        (f"SDK-HMAC-SHA256 Access={KEY}, SignedHeaders=host, Signature={'0' * 64}", "x"),
    ],
)
def test_signed_request__malformed__is_refused(roma: Simulator, authorization: str, date: str) -> None:
    headers = {"Authorization": authorization, "X-Sdk-Date": date}
    response = requests.get(roma.url + statistics_path("id-one"), headers=headers, timeout=2)
    assert (response.status_code, response.json()["error_code"]) == (401, "APIGW.0301")


def test_refusal__has_the_servers_date(roma: Simulator, keys: AccessKeys) -> None:
    keys.clock = lambda: 1_700_000_000.0
    response = requests.get(
        roma.url + statistics_path("id-one"), headers={"Authorization": "SDK-HMAC-SHA256 x"}, timeout=2
    )
    assert response.headers["Date"] == "Tue, 14 Nov 2023 22:13:20 GMT"
