"""Who is let in, who sees what, and that no key is written down."""

from __future__ import annotations

import base64
import json
import logging
import time
from typing import TYPE_CHECKING, Any

import pytest

from fdi_health import log
from handlers.authentication import presented_key
from tests.conftest import CREDENTIALS
from tests.machine import assert_within

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from simulator import Simulator
    from tests.conftest import Function

KEY = "Key-Canary5Jd8Wq2Zx6Rb"
CALLERS = json.dumps({"prometheus": KEY, "grafana": "another-key-0123456789", "c": "with:colons:0123456789"})
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJlbWFpbCI6InNjaGVkdWxlckBhY21lIn0.c2lnbmF0dXJl"


def basic(password: str, user: str = "anybody") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def keyed(function: Callable[..., Function]) -> Callable[..., Function]:
    """Return a maker of functions with callers' keys, and a verdict without details for anonymous callers."""

    def make(*plays: Any, **settings: str | None) -> Function:
        base = {"FDI_CALLERS": "env://CALLERS", "CALLERS": CALLERS, "FDI_ANONYMOUS": "verdict"}
        return function(*(plays or ("healthy",)), **{**base, **settings})

    return make


def sees(checked: Function, path: str = "/", **headers: str) -> str:
    """Return what a caller gets: `details`, `verdict`, or a problem's code."""
    response = checked.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    document = response.get_json()
    if response.status_code in (200, 503) and "status" in document and "code" not in document:
        return "details" if "instances" in document else "verdict"
    return str(document["code"])


@pytest.mark.parametrize(
    ("headers", "seen"),
    [
        ({}, "verdict"),
        ({"X_Api_Key": KEY}, "details"),
        ({"Authorization": f"Bearer {KEY}"}, "details"),
        ({"Authorization": f"bearer   {KEY} "}, "details"),
        ({"Authorization": basic(KEY)}, "details"),
        ({"Authorization": basic(KEY, "")}, "details"),
        ({"Authorization": basic("with:colons:0123456789")}, "details"),
        ({"Authorization": basic(KEY).replace("Basic ", "Basic !")}, "unauthorized"),  # other readers would skip that
        ({"X_Api_Key": KEY[:-1]}, "unauthorized"),
        ({"X_Api_Key": KEY + "x"}, "unauthorized"),
        ({"X_Api_Key": KEY.lower()}, "unauthorized"),
        ({"X_Api_Key": ""}, "unauthorized"),
        ({"X_Api_Key": JWT}, "unauthorized"),
        ({"X_Api_Key": "schlüssel-0123456789"}, "unauthorized"),
        ({"Authorization": "Bearer wrong"}, "unauthorized"),
        ({"Authorization": "Bearer"}, "unauthorized"),
        ({"Authorization": f"Bearer {KEY},{KEY}"}, "unauthorized"),
        ({"Authorization": basic("wrong")}, "unauthorized"),
        ({"Authorization": f"Basic {KEY}"}, "unauthorized"),  # not Base64 of user:password
        ({"Authorization": "Basic é"}, "unauthorized"),
        ({"Authorization": f"Bearer {JWT}"}, "verdict"),  # a scheduler's OIDC token
        ({"Authorization": "Bearer a.b.c.d.e"}, "verdict"),  # an encrypted JWT
        ({"Authorization": "AWS4-HMAC-SHA256 Credential=x"}, "verdict"),  # a function URL's signature
        ({"Authorization": KEY}, "verdict"),  # no scheme at all
        ({"X_Api_Key": KEY, "Authorization": "Bearer wrong"}, "details"),  # X-Api-Key decides
        ({"X_Api_Key": "wrong", "Authorization": f"Bearer {KEY}"}, "unauthorized"),
        ({"X_Api_Key": KEY, "Authorization": f"Bearer {JWT}"}, "details"),
    ],
)
def test_caller__with_some_headers__sees_what_the_key_allows(
    keyed: Callable[..., Function], headers: dict[str, str], seen: str
) -> None:
    assert sees(keyed(), **headers) == seen


@pytest.mark.parametrize(
    ("headers", "seen"),
    [({}, "unauthorized"), ({"Authorization": f"Bearer {JWT}"}, "unauthorized"), ({"X_Api_Key": KEY}, "details")],
)
def test_anonymous_refuse__without_a_key__is_unauthorized(
    keyed: Callable[..., Function], upstream: Simulator, headers: dict[str, str], seen: str
) -> None:
    assert sees(keyed(FDI_ANONYMOUS="refuse"), **headers) == seen
    assert len(upstream.requests) == (seen == "details")


def test_anonymous_refuse__without_a_key__does_not_say_which_instances_exist(keyed: Callable[..., Function]) -> None:
    checked = keyed(FDI_ANONYMOUS="refuse")
    assert sees(checked, "/?instance=one") == sees(checked, "/?instance=nope") == "unauthorized"
    assert sees(checked, "/?instance=nope", X_Api_Key=KEY) == "unknown_instance"


def test_anonymous_refuse__live_and_ready__respond_without_details(keyed: Callable[..., Function]) -> None:
    checked = keyed(FDI_ANONYMOUS="refuse")
    assert checked.get("/live").status_code == 200
    for headers in ({}, {"X-Api-Key": "wrong"}):
        response = checked.get("/ready", headers=headers)
        assert (response.status_code, response.get_json()) == (200, {"ready": True, "faults_count": 0})
    assert checked.get("/ready", headers={"X-Api-Key": KEY}).get_json()["token"]["kind"] == "token"
    unready = keyed(FDI_ANONYMOUS="refuse", ROMA_TOKEN="").get("/ready")
    assert (unready.status_code, unready.get_json()) == (503, {"ready": False, "faults_count": 1})


def test_unauthorized__response__says_how_to_authenticate(keyed: Callable[..., Function]) -> None:
    response = keyed().get("/", headers={"X-Api-Key": "wrong"})

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer ")
    assert "Basic " in response.headers["WWW-Authenticate"]
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Vary"] == "Accept, Authorization, X-Api-Key"
    assert response.content_type == "application/problem+json"
    assert "FDI-Verdict" not in response.headers
    assert "this key is not in the secret that FDI_CALLERS names" in response.get_json()["detail"]
    refused = keyed(FDI_ANONYMOUS="refuse").get("/").get_json()
    assert "as X-Api-Key, as a Bearer token or as the password of Basic" in refused["detail"]


@pytest.mark.parametrize(
    ("anonymous", "key", "shown"),
    [
        ("verdict", None, False),
        ("verdict", "wrong-key-0123456789", False),
        ("verdict", KEY, True),
        ("refuse", None, False),
        ("refuse", KEY, True),
        ("details", None, True),
        ("details", "wrong-key-0123456789", False),
    ],
)
def test_ready__shows_faults_token_and_version_to_callers_who_see_details(
    keyed: Callable[..., Function], anonymous: str, key: str | None, shown: bool
) -> None:  # E34
    response = keyed(FDI_ANONYMOUS=anonymous).get("/ready", headers={"X-Api-Key": key} if key else {})

    assert response.status_code == 200
    assert set(response.get_json()) == {"ready", "faults_count", *(["faults", "token", "version"] if shown else [])}


def test_ready__is_not_gated_by_keys_that_can_not_be_read(keyed: Callable[..., Function]) -> None:  # G03
    response = keyed(CALLERS="").get("/ready", headers={"X-Api-Key": KEY})

    assert (response.status_code, response.get_json()) == (200, {"ready": True, "faults_count": 0})


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"x-api-key": "\udc80"}, b"\xed\xb2\x80"),  # events may hold what no header can
        ({"authorization": "Basic !"}, b""),
        ({}, None),
        ({"authorization": ""}, None),
    ],
)
def test_presented_key__is_what_the_headers_hold(headers: dict[str, str], key: bytes | None) -> None:
    assert presented_key(headers) == key


@pytest.mark.parametrize("headers", [{"X-Api-Key": "abc"}, {"Authorization": "Bearer abc"}])
def test_function_without_callers__ignores_keys(function: Callable[..., Function], headers: dict[str, str]) -> None:
    # An API gateway in front has keys of its own, and forwards them.
    assert function("healthy", FDI_ANONYMOUS="verdict").get("/", headers=headers).status_code == 200


def test_key__in_the_url__is_ignored(keyed: Callable[..., Function]) -> None:
    for name in ("key", "api_key", "X-Api-Key", "access_token"):
        assert sees(keyed(), f"/?{name}={KEY}") == "verdict"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_wrong_key__any_method__is_401(keyed: Callable[..., Function], method: str) -> None:
    assert keyed().client.open("/", method=method, headers={"X-Api-Key": "wrong"}).status_code == 401


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        (None, "is not set"),
        ("", "is empty"),
        (f'{{"a":"{KEY}","b":"short"}}', "entry 2 must be"),
        (f'{{"a":"{KEY}"', "not valid JSON"),
    ],
)
def test_unreadable_callers__with_a_key__is_503_and_without_one_has_no_effect(
    keyed: Callable[..., Function], secret: str | None, words: str
) -> None:
    checked = keyed(CALLERS=secret)
    response = checked.get("/", headers={"X-Api-Key": KEY})

    assert (response.status_code, response.get_json()["code"]) == (503, "callers_unavailable")
    assert words in response.get_json()["detail"]
    assert KEY not in response.text
    assert sees(checked) == "verdict"
    assert sees(checked, Authorization=f"Bearer {JWT}") == "verdict"
    assert checked.get("/ready").status_code == 200


def test_secret_store_of_callers__silent__ends_at_the_deadline(keyed: Callable[..., Function]) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as mute:  # C08
        checked = keyed(
            FDI_CALLERS="gcpsecretmanager://projects/p/secrets/s/versions/1",
            SECRET_MANAGER_EMULATOR_HOST=f"127.0.0.1:{mute.getsockname()[1]}",
            FDI_DEADLINE_SECONDS="1",
        )
        began = time.monotonic()
        assert sees(checked, X_Api_Key=KEY) == "callers_unavailable"
        assert_within(began, 1 + 0.3)


def test_broken_callers_setting__is_one_fault_among_the_others(keyed: Callable[..., Function]) -> None:
    response = keyed(FDI_CALLERS=KEY, FDI_CACHE_SECONDS="x").get("/")
    assert response.status_code == 500
    assert [fault["variable"] for fault in response.get_json()["faults"]] == ["FDI_CACHE_SECONDS", "FDI_CALLERS"]
    assert KEY not in response.text


def test_rotated_keys__both_work_and_need_no_restart(keyed: Callable[..., Function], tmp_path: Path) -> None:
    (tmp_path / "callers").write_text(json.dumps({"prometheus": KEY, "prometheus-new": "the-new-key-0123456789"}))
    checked = keyed(FDI_CALLERS=f"file://{tmp_path}/callers")
    assert sees(checked, X_Api_Key=KEY) == sees(checked, X_Api_Key="the-new-key-0123456789") == "details"


def test_callers_name__goes_to_the_log_and_no_key_does(
    keyed: Callable[..., Function], caplog: pytest.LogCaptureFixture
) -> None:
    checked = keyed("doc_example", ROMA_TOKEN=CREDENTIALS)
    with caplog.at_level(logging.DEBUG):
        for headers in ({"X-Api-Key": KEY}, {"Authorization": basic(KEY)}, {"X-Api-Key": KEY + "x"}, {}):
            checked.get("/", headers=headers)
            checked.get("/ready", headers=headers)

    lines = [json.loads(log.line_of(record)) for record in caplog.records if record.name == "fdi_health"]
    assert [(line.get("caller"), line["status"]) for line in lines] == [
        ("prometheus", "unhealthy"),
        ("prometheus", "unhealthy"),
        (None, "unhealthy"),
    ]
    assert KEY[:8] not in caplog.text
