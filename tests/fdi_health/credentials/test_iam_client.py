"""IamClient: the request, the response, and the message for each fault of IAM."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from fdi_health.clock import Deadline
from fdi_health.credentials.iam_client import IamClient
from fdi_health.credentials.iam_error_codes import map_error_response
from fdi_health.credentials.secret_format import Credentials
from fdi_health.errors import CheckError
from fdi_health.transport.client import Transport
from simulator import User
from simulator.iam import FAULTS
from tests.conftest import CREDENTIALS, PASSWORD, PROJECT_ID
from tests.machine import assert_within

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator import Iam as SimulatedIam
    from simulator import Simulator
    from tests.conftest import Function

GOOD = Credentials("fdi-probe", PASSWORD, "Acme")


def refused(iam_client: IamClient, credentials: Credentials = GOOD, seconds: float = 2.0) -> CheckError:
    with pytest.raises(CheckError) as caught:
        iam_client.create_token(credentials, Deadline.after(seconds))
    assert caught.value.code == "token_unavailable"
    assert PASSWORD not in repr(caught.value) + str(caught.value.next_step)
    return caught.value


def test_create_token__valid_credentials__returns_token_and_expiry(iam_client: IamClient, iam: SimulatedIam) -> None:
    issued = iam_client.create_token(GOOD, Deadline.after(2))

    assert iam.issued == {issued.value: pytest.approx(issued.expires_at)}
    assert issued.lifetime_seconds == pytest.approx(24 * 3600)
    assert issued.value not in repr(issued)


def test_create_token__request__matches_the_vendors_documentation(
    iam_client: IamClient, iam: SimulatedIam, upstream: Simulator
) -> None:
    iam_client.create_token(GOOD, Deadline.after(2))

    (request,) = iam.logins
    assert (request.method, request.target) == ("POST", "/v3/auth/tokens?nocatalog=true")
    assert dict(request.headers) == {
        "Host": upstream.url.removeprefix("http://"),
        "Content-Length": str(len(request.body)),
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "Accept": "application/json",
        "User-Agent": "fdi-health",
    }
    user = {"name": "fdi-probe", "password": PASSWORD, "domain": {"name": "Acme"}}
    assert json.loads(request.body) == {
        "auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"id": PROJECT_ID}},
        }
    }


def test_create_token__project_in_the_secret__is_the_scope(iam_client: IamClient, iam: SimulatedIam) -> None:
    assert iam_client.create_token(GOOD._replace(project=("name", "cn-north-4")), Deadline.after(2)).value
    assert refused(iam_client, GOOD._replace(project=("id", "another"))).message.endswith(MEANINGS["no_project"])


NOT_IAM = "another server answered at IAM's address"
WRONG = "IAM refused the user name, the password or the account name"

MEANINGS: dict[str, str | tuple[str, ...]] = {
    **dict.fromkeys(FAULTS, NOT_IAM),
    "wrong_password": WRONG,
    "empty_401": WRONG,
    "disabled": "the IAM user is disabled",
    "locked": "the IAM user is locked",
    "protected": "the IAM user has login protection, which requires a person",
    "forbidden": "IAM does not allow this user to log in (HTTP 403)",
    "gateway_403": "IAM's access control does not allow a login from this network address",
    "acl": "IAM's access control does not allow a login from this network address",
    "malformed": "IAM rejected the login request as invalid (HTTP 400)",
    "no_project": "IAM does not know the project, or another server answered in its place (HTTP 404)",
    "conflict": "IAM reports a conflict for this login (HTTP 409)",  # D31
    "moved": "IAM has moved the authentication of this account to another region",  # D31
    "throttled": "IAM is rate limiting (HTTP 429)",
    "throttled_for_an_hour": "IAM is rate limiting (HTTP 429)",
    "status_500": "IAM failed (HTTP 500)",
    "status_502": "IAM failed (HTTP 502)",
    "status_503": "IAM failed (HTTP 503)",
    "status_503_for_an_hour": "IAM failed (HTTP 503)",
    "slow_refusal": "IAM did not answer before the deadline",
    "silent": "IAM did not answer before the deadline",
    "reset": "IAM is unreachable",
    "drip": "IAM did not answer before the deadline",
    "interim_only": (NOT_IAM, "IAM is unreachable"),
}
REFUSALS = {"wrong_password", "empty_401", "disabled", "locked", "protected", "forbidden", "gateway_403", "acl"}


@pytest.mark.parametrize("name", FAULTS)
def test_create_token__each_fault__has_its_message_and_next_step(
    iam_client: IamClient, iam: SimulatedIam, name: str
) -> None:
    iam.play(name, for_ever=True)
    began = time.monotonic()

    error = refused(iam_client, seconds=0.5)

    assert_within(began, 0.5 + 0.3)
    meanings = MEANINGS[name]
    assert any(meaning in error.message for meaning in ((meanings,) if isinstance(meanings, str) else meanings))
    assert error.next_step


@pytest.mark.parametrize("name", ["status_503", "reset", "cut_off"])
def test_create_token__temporary_fault__is_retried(iam_client: IamClient, iam: SimulatedIam, name: str) -> None:
    iam.play(name)
    assert iam_client.create_token(GOOD, Deadline.after(2)).value


@pytest.mark.parametrize(
    ("name", "logins"),
    {
        **{name: 1 for name in FAULTS if name != "interim_only"},
        **dict.fromkeys(("status_502", "status_503", "reset", "cut_off"), 2),  # another one may be whole
    }.items(),
)
def test_create_token__lasting_fault__is_retried_only_if_useful(
    iam_client: IamClient, iam: SimulatedIam, name: str, logins: int
) -> None:
    iam.play(name, for_ever=True)
    refused(iam_client, seconds=0.5)
    assert len(iam.logins) == logins


@pytest.mark.parametrize("name", ["throttled_for_an_hour", "status_503_for_an_hour"])
def test_create_token__long_retry_after__is_not_waited_for(iam_client: IamClient, iam: SimulatedIam, name: str) -> None:
    iam.play(name)
    refused(iam_client, seconds=4)
    assert len(iam.logins) == 1


@pytest.mark.parametrize(("known", "logins"), [(False, 2), (True, 3)])
def test_create_token__lost_response__retries_more_for_accepted_credentials(
    iam_client: IamClient, iam: SimulatedIam, known: bool, logins: int
) -> None:
    # What was lost may have been a refusal, which counts towards a lock-out. (A kept connection that died is one more.)
    if known:
        iam_client.create_token(GOOD, Deadline.after(2))
        iam.logins.clear()
    iam.play("reset", for_ever=True)
    refused(iam_client)
    assert len(iam.logins) == logins


def test_slow_login__impatient_callers__is_finished_for_later_ones(
    function: Callable[..., Function], iam: SimulatedIam, upstream: Simulator
) -> None:
    upstream.latency_seconds = 0.3
    for secret, logins, status in ((CREDENTIALS, 1, "healthy"), (CREDENTIALS.replace(PASSWORD, "wrong"), 1, "unknown")):
        iam.logins.clear()
        checked = function("healthy", ROMA_TOKEN=secret)
        for _ in range(4):
            checked.get("/?deadline=0.1")
        time.sleep(0.4)
        assert checked.verdict()["status"] == status
        assert len(iam.logins) == logins


def test_create_token__throttled_with_time_left__waits_and_retries(iam_client: IamClient, iam: SimulatedIam) -> None:
    iam.play("throttled")
    began = time.monotonic()
    assert iam_client.create_token(GOOD, Deadline.after(4)).value
    assert time.monotonic() - began >= 1.0


def test_create_token__no_iam_endpoint__names_the_setting(iam: SimulatedIam) -> None:
    error = refused(IamClient(None, PROJECT_ID))
    assert error.message == "the secret contains credentials, and the settings do not name an IAM endpoint"
    assert "FDI_IAM_ENDPOINT" in (error.next_step or "")


@pytest.mark.parametrize("port", ["1"])
def test_create_token__unreachable_endpoint__says_so(port: str) -> None:
    transport = Transport(f"http://127.0.0.1:{port}")
    assert (
        refused(IamClient(transport, PROJECT_ID), seconds=0.3)
        .message.partition(" failed: ")[2]
        .startswith("IAM is unreachable: ")
    )


@pytest.mark.parametrize("skew", [-90_000.0, 90_000.0])
def test_create_token__clock_skew__does_not_change_the_lifetime(
    iam_client: IamClient, iam: SimulatedIam, skew: float
) -> None:
    iam.clock = lambda: time.time() + skew
    assert iam_client.create_token(GOOD, Deadline.after(2)).lifetime_seconds == pytest.approx(24 * 3600)


@pytest.mark.parametrize(("seconds", "known"), [(0.5, 0.5), (0.0, None), (-5.0, None)])
def test_create_token__lifetime_not_positive__is_unknown(
    iam_client: IamClient, iam: SimulatedIam, seconds: float, known: float | None
) -> None:
    iam.life_seconds = seconds
    assert iam_client.create_token(GOOD, Deadline.after(2)).lifetime_seconds == pytest.approx(known)


@pytest.mark.parametrize(
    ("tells", "known"), [(("issued_at",), (False, False)), (("expires_at",), (True, False)), ((), (False, False))]
)
def test_create_token__no_timestamps__returns_the_token(
    iam_client: IamClient, iam: SimulatedIam, tells: tuple[str, ...], known: tuple[bool, bool]
) -> None:
    iam.tells = tells
    issued = iam_client.create_token(GOOD, Deadline.after(2))
    assert (issued.expires_at is not None, issued.lifetime_seconds is not None) == known


@pytest.mark.parametrize(
    ("status", "text", "message"),
    [
        (401, "The username or password is wrong.", WRONG),
        (401, "The account is LOCKED.", "the IAM user is locked"),
        (401, "The user fdi-probe has been temporarily locked, try again in 15 minutes", "the IAM user is locked"),
        (401, "User locked.", "the IAM user is locked"),
        (403, "The user is disabled", "the IAM user is disabled"),
        (403, "The user fdi-probe is not enabled.", "the IAM user is disabled"),
        (403, "The password of user fdi-probe has expired.", "the IAM user's password has expired"),
        (401, "Your password must be changed at first login", "the IAM user's password has expired"),
        (401, "Login protection is on", MEANINGS["protected"]),
        (401, "MFA authentication is required for fdi-probe.", MEANINGS["protected"]),
        (403, "fdi-probe requires a second factor", MEANINGS["protected"]),
        (403, "Access is blocked by the ACL", MEANINGS["acl"]),
        (403, "You are not authorized", MEANINGS["forbidden"]),
        # D32: words inside the user's name say nothing.
        (403, "The user fdi-verify is disabled.", "the IAM user is disabled"),
        (401, "The user locked-in is disabled.", "the IAM user is disabled"),
        (401, "The user locked is disabled.", "the IAM user is disabled"),
        (401, "The user disabled is locked.", "the IAM user is locked"),
        (401, "The password of the user expired-bot is wrong.", WRONG),
        (401, "The password of the user mfa-probe is wrong.", WRONG),
        (401, "Authentication of mfa.required failed: is locked-in known?", WRONG),
        (403, "The user disabled may not log in with a token by project is.", MEANINGS["forbidden"]),
    ],
)
def test_map_error_response__phrase_in_the_text__decides(status: int, text: str, message: str) -> None:
    body = json.dumps({"error": {"code": status, "message": text}}).encode()
    error = map_error_response(status, body, ("fdi-probe", "Acme"))
    assert (error.code, error.message, error.upstream_status) == ("token_unavailable", message, status)


@pytest.mark.parametrize("text", ["Wrong password for IS Locked.", "Wrong password for x of Login protection Ltd."])
def test_map_error_response__name_contains_a_phrase__is_ignored(text: str) -> None:  # D32
    body = json.dumps({"error": {"message": text}}).encode()
    assert map_error_response(401, body, ("is locked", "login Protection Ltd")).message == WRONG


@pytest.mark.parametrize(
    ("status", "document", "message"),
    [
        (401, {"error": {}}, WRONG),
        (401, {"error_code": "IAM.0011", "error_msg": "x"}, WRONG),
        (403, {"error_code": "x"}, MEANINGS["forbidden"]),
        (403, {"error_msg": "The user is locked"}, "the IAM user is locked"),
        (400, {"error": {"message": "The user is disabled."}}, MEANINGS["malformed"]),
        (404, {"error": {"message": "The user is disabled."}}, MEANINGS["no_project"]),
        (409, {"error": {"code": 409, "message": "The user is disabled."}}, MEANINGS["conflict"]),  # D31
        (410, {"error": {"code": 410, "message": "Gone"}}, MEANINGS["moved"]),  # D31
        (410, {"error_msg": "Original auth failed", "error_code": "IAM.0020"}, MEANINGS["moved"]),
        # D33: the code decides before the status does.
        (403, {"error": {"error_code": "IAM.0020", "message": "The user is locked."}}, MEANINGS["moved"]),
        (301, {"error": {"code": "IAM.0020", "message": "x"}}, MEANINGS["moved"]),
    ],
)
def test_map_error_response__each_format_of_iam__uses_code_then_status(
    status: int, document: object, message: str
) -> None:
    error = map_error_response(status, json.dumps(document).encode())
    assert (error.code, error.message, error.upstream_status) == ("token_unavailable", message, status)


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 409, 410, 418])
@pytest.mark.parametrize("body", [b"<html>", b"[1]", b'{"reason":"no"}', b'{"error":"no"}', b'"locked"'])
def test_map_error_response__not_a_response_of_iam__is_not_a_refusal(status: int, body: bytes) -> None:
    error = map_error_response(status, body)
    assert (error.code, error.upstream_status) == ("invalid_response", status)


@pytest.mark.parametrize(("status", "code"), [(401, "token_unavailable"), (403, "invalid_response")])
def test_map_error_response__empty_body__is_a_refusal_only_for_401(status: int, code: str) -> None:
    assert map_error_response(status, b"").code == code


def test_password__all_modules__is_read_only_in_iam_client() -> None:
    from tests.servers import ROOT

    readers = [
        path.name
        for folder in ("fdi_health", "handlers", "schemas")
        for path in (ROOT / folder).rglob("*.py")
        if ".password" in path.read_text()
    ]
    assert readers == ["iam_client.py"]


def test_verdict__several_checks_with_credentials__log_in_once(
    function: Callable[..., Function], iam: SimulatedIam
) -> None:
    checked = function("healthy", "healthy", ROMA_TOKEN=json.dumps(GOOD._asdict() | {"project": None}))

    assert [checked.verdict()["status"] for _ in range(3)] == ["healthy"] * 3
    assert len(iam.logins) == 1


def test_verdict__user_locked_by_others__says_so(function: Callable[..., Function], iam: SimulatedIam) -> None:
    iam.users["fdi-probe"] = User(PASSWORD, state="locked")
    checked = function("healthy", ROMA_TOKEN=json.dumps(GOOD._asdict() | {"project": None}))
    assert checked.instance()["error"]["message"].endswith(": the IAM user is locked")


def test_map_error_response__very_long_text__is_fast() -> None:
    body = json.dumps({"error": {"code": 401, "message": "password is " * 20_000}}).encode()
    began = time.thread_time()
    map_error_response(401, body, ("fdi-probe", "Acme"))
    assert time.thread_time() - began < 0.5
