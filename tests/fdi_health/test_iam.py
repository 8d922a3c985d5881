"""Credentials become a token, once for everybody, and a refusal is not repeated into a lock-out."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from fdi_health.deadline import Deadline, Instant
from fdi_health.errors import CheckError
from fdi_health.iam import FIRST_REST_SECONDS, Iam
from fdi_health.iam_errors import refusal_of
from fdi_health.secret import Credentials
from fdi_health.transport.client import Transport
from simulator import User
from simulator.iam import FAULTS
from tests.conftest import CREDENTIALS, PASSWORD, PROJECT_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from simulator import Iam as SimulatedIam
    from simulator import Simulator
    from tests.conftest import Function

GOOD = Credentials("fdi-probe", PASSWORD, "Acme")


class Clock:
    """Both clocks, set by hand."""

    def __init__(self) -> None:
        self.at = 1_000_000.0

    def __call__(self) -> Instant:
        return Instant(self.at, self.at)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ours(upstream: Simulator, clock: Clock) -> Iterator[Iam]:
    transport = Transport(upstream.url)
    yield Iam(transport, PROJECT_ID, clock)
    transport.close()


def refused(ours: Iam, credentials: Credentials = GOOD, seconds: float = 2.0) -> CheckError:
    with pytest.raises(CheckError) as caught:
        ours.log_in(credentials, Deadline.after(seconds))
    assert caught.value.code == "token_unavailable"
    assert PASSWORD not in repr(caught.value) + str(caught.value.next_step)
    return caught.value


def test_credentials__become_a_token_with_its_end(ours: Iam, iam: SimulatedIam) -> None:
    issued = ours.log_in(GOOD, Deadline.after(2))

    assert iam.issued == {issued.value: pytest.approx(issued.expires_at)}
    assert issued.life_seconds == pytest.approx(24 * 3600)
    assert issued.value not in repr(issued)


def test_login__is_what_the_vendor_documents(ours: Iam, iam: SimulatedIam, upstream: Simulator) -> None:
    ours.log_in(GOOD, Deadline.after(2))

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


def test_login__is_for_the_project_that_the_secret_names(ours: Iam, iam: SimulatedIam) -> None:
    assert ours.log_in(GOOD._replace(project=("name", "cn-north-4")), Deadline.after(2)).value
    assert refused(ours, GOOD._replace(project=("id", "another"))).message == MEANINGS["no_project"]


MEANINGS = {
    "wrong_password": "IAM refused the user name, the password or the account name",
    "disabled": "the IAM user is disabled",
    "locked": "the IAM user is locked",
    "protected": "the IAM user has login protection, which no program can pass",
    "forbidden": "IAM does not let this user log in here",
    "gateway_403": "IAM does not let this user log in here",
    "list_403": "what answered at IAM's address is not IAM",
    "other_403": "what answered at IAM's address is not IAM",
    "malformed": "IAM calls the login malformed",
    "no_project": "IAM does not know the project, or is not what answered",
    "throttled": "IAM asks for fewer calls",
    "throttled_for_an_hour": "IAM asks for fewer calls",
    "status_500": "IAM failed",
    "status_503": "IAM failed",
    "status_503_for_an_hour": "IAM failed",
    "html_401": "IAM refused the user name, the password or the account name",
    "html_200": "what answered at IAM's address is not IAM",
    "redirect": "what answered at IAM's address is not IAM",
    "no_token": "what answered at IAM's address is not IAM",
    "broken_token": "what answered at IAM's address is not IAM",
    "no_document": "what answered at IAM's address is not IAM",
    "other_document": "what answered at IAM's address is not IAM",
    "list_document": "what answered at IAM's address is not IAM",
    "silent": "IAM did not answer before the deadline",
    "reset": "there is no connection to IAM",
    "drip": "IAM did not answer before the deadline",
    "cut_off": "what answered at IAM's address is not IAM",
}


@pytest.mark.parametrize("name", FAULTS)
def test_iam_fault__has_its_own_message_and_next_step(ours: Iam, iam: SimulatedIam, name: str) -> None:
    iam.play(name, for_ever=True)
    began = time.monotonic()

    error = refused(ours, seconds=0.5)

    assert time.monotonic() - began < 0.5 + 0.3
    assert error.message == MEANINGS[name]
    assert error.next_step


@pytest.mark.parametrize("name", ["status_503", "reset", "cut_off"])
def test_iam_fault__that_passes_is_tried_again(ours: Iam, iam: SimulatedIam, name: str) -> None:
    iam.play(name)
    assert ours.log_in(GOOD, Deadline.after(2)).value


@pytest.mark.parametrize(
    ("name", "logins"),
    {
        **dict.fromkeys(FAULTS, 1),
        **dict.fromkeys(("status_503", "reset", "cut_off"), 2),  # another one may be whole
    }.items(),
)
def test_iam_fault__is_tried_again_only_if_that_may_help(ours: Iam, iam: SimulatedIam, name: str, logins: int) -> None:
    iam.play(name, for_ever=True)
    refused(ours, seconds=0.5)
    assert len(iam.logins) == logins


@pytest.mark.parametrize("name", ["throttled_for_an_hour", "status_503_for_an_hour"])
def test_retry_after__that_is_too_long_is_not_waited_for(ours: Iam, iam: SimulatedIam, name: str) -> None:
    iam.play(name)
    refused(ours, seconds=4)
    assert len(iam.logins) == 1


@pytest.mark.parametrize("name", ["wrong_password", "locked", "protected", "forbidden", "html_401"])
def test_refused_credentials__rest(ours: Iam, iam: SimulatedIam, clock: Clock, name: str) -> None:
    iam.play(name, for_ever=True)
    first = refused(ours)
    again = refused(ours)

    assert (again.message, again.next_step) == (first.message, first.next_step)
    assert len(iam.logins) == 1

    clock.at += FIRST_REST_SECONDS
    refused(ours)
    assert len(iam.logins) == 2


def test_refused_credentials__stay_below_the_vendors_lockout(ours: Iam, iam: SimulatedIam, clock: Clock) -> None:
    # 5 failures within 15 minutes lock a user, by default.
    wrong = GOOD._replace(password="wrong")
    failures: list[float] = []
    for _ in range(24 * 60):
        before = len(iam.logins)
        refused(ours, wrong)
        failures += [clock.at] * (len(iam.logins) - before)
        clock.at += 60
    for at in failures:
        assert sum(at <= other < at + 900 for other in failures) < 5
    assert len(failures) > 90  # and they do come back


def test_refused_credentials__rest_twice_as_long_each_time_up_to_fifteen_minutes(
    ours: Iam, iam: SimulatedIam, clock: Clock
) -> None:
    start, tried = clock.at, []
    for minute in range(46):
        clock.at = start + 60 * minute
        before = len(iam.logins)
        refused(ours, GOOD._replace(password="wrong"))
        tried += [minute] * (len(iam.logins) - before)
    assert tried == [0, 1, 3, 7, 15, 30, 45]


def test_refused_credentials__rest_only_until_the_secret_changes(ours: Iam, iam: SimulatedIam) -> None:
    refused(ours, GOOD._replace(password="wrong"))
    assert ours.log_in(GOOD, Deadline.after(2)).value
    refused(ours, GOOD._replace(password="wrong"))
    assert len(iam.logins) == 3


@pytest.mark.parametrize("name", ["status_500", "malformed", "no_project", "html_200", "silent"])
def test_other_faults__do_not_rest(ours: Iam, iam: SimulatedIam, name: str) -> None:
    iam.play(name, for_ever=True)
    refused(ours, seconds=0.2)
    iam.play()
    assert ours.log_in(GOOD, Deadline.after(2)).value


@pytest.mark.parametrize(("known", "logins"), [(False, 2), (True, 3)])
def test_lost_answers__are_asked_for_again_more_often_for_credentials_that_were_good(
    ours: Iam, iam: SimulatedIam, known: bool, logins: int
) -> None:
    # What was lost may have been a refusal, which counts towards a lock-out. (A kept connection that died is one more.)
    if known:
        ours.log_in(GOOD, Deadline.after(2))
        iam.logins.clear()
    iam.play("reset", for_ever=True)
    refused(ours)
    assert len(iam.logins) == logins


def test_slow_login__comes_to_its_end_whatever_hurry_callers_are_in(
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


def test_throttling__is_waited_for_where_there_is_time(ours: Iam, iam: SimulatedIam) -> None:
    iam.play("throttled")
    began = time.monotonic()
    assert ours.log_in(GOOD, Deadline.after(4)).value
    assert time.monotonic() - began >= 1.0


def test_unknown_endpoint__is_said(iam: SimulatedIam) -> None:
    error = refused(Iam(None, PROJECT_ID))
    assert error.message == "the secret holds credentials and it is not known where IAM is"
    assert "FDI_IAM_ENDPOINT" in (error.next_step or "")


@pytest.mark.parametrize("port", ["1"])
def test_endpoint_that_is_out_of_reach__is_said(port: str) -> None:
    transport = Transport(f"http://127.0.0.1:{port}")
    assert refused(Iam(transport, PROJECT_ID), seconds=0.3).message == "there is no connection to IAM"


@pytest.mark.parametrize("skew", [-90_000.0, 90_000.0])
def test_clock_skew__does_not_change_a_tokens_life(ours: Iam, iam: SimulatedIam, skew: float) -> None:
    iam.clock = lambda: time.time() + skew
    assert ours.log_in(GOOD, Deadline.after(2)).life_seconds == pytest.approx(24 * 3600)


@pytest.mark.parametrize(("seconds", "known"), [(0.5, 0.5), (0.0, None), (-5.0, None)])
def test_life_of_a_token__is_known_if_it_has_one(
    ours: Iam, iam: SimulatedIam, seconds: float, known: float | None
) -> None:
    iam.life_seconds = seconds
    assert ours.log_in(GOOD, Deadline.after(2)).life_seconds == pytest.approx(known)


@pytest.mark.parametrize(
    ("tells", "known"), [(("issued_at",), (False, False)), (("expires_at",), (True, False)), ((), (False, False))]
)
def test_token_without_times__is_taken_all_the_same(
    ours: Iam, iam: SimulatedIam, tells: tuple[str, ...], known: tuple[bool, bool]
) -> None:
    iam.tells = tells
    issued = ours.log_in(GOOD, Deadline.after(2))
    assert (issued.expires_at is not None, issued.life_seconds is not None) == known


IAM_S = {"error": {"code": 1, "message": "The user is %s."}}


@pytest.mark.parametrize(
    ("status", "document", "message"),
    [
        (401, IAM_S, "IAM refused the user name, the password or the account name"),
        (401, {"error": {}}, "IAM refused the user name, the password or the account name"),
        (401, "LOCKED", "the IAM user is locked"),
        (403, "disabled", "the IAM user is disabled"),
        (403, {"error_code": "APIGW.0802"}, "IAM does not let this user log in here"),
        (403, {"error_msg": "The user is locked"}, "the IAM user is locked"),
        (403, {"error_code": "x", "error_msg": "The user is locked"}, "the IAM user is locked"),
        (400, "disabled", "IAM calls the login malformed"),
        (404, "disabled", "IAM does not know the project, or is not what answered"),
    ],
)
def test_refusal__is_told_by_its_status_and_by_words_where_it_may_be(
    status: int, document: object, message: str
) -> None:
    if isinstance(document, str):
        document = {"error": {"message": f"The user is {document}."}}
    error = refusal_of(status, json.dumps(document).encode())
    assert (error.code, error.message, error.upstream_status) == ("token_unavailable", message, status)
    # Only refusals rest.
    assert (error.next_step or "").endswith("new ones at once.") is (status in (401, 403))


@pytest.mark.parametrize("status", [302, 400, 403, 404, 418])
def test_answer_that_is_not_iam_s__is_no_refusal(status: int) -> None:
    error = refusal_of(status, b"<html>")
    assert (error.code, error.upstream_status) == ("invalid_response", status)


def test_password__leaves_no_module_but_iam() -> None:
    from tests.servers import ROOT

    readers = [
        path.name
        for folder in ("fdi_health", "handlers", "schemas")
        for path in (ROOT / folder).rglob("*.py")
        if ".password" in path.read_text()
    ]
    assert readers == ["iam.py"]


def test_verdict__with_credentials_needs_one_login(function: Callable[..., Function], iam: SimulatedIam) -> None:
    checked = function("healthy", "healthy", ROMA_TOKEN=json.dumps(GOOD._asdict() | {"project": None}))

    assert [checked.verdict()["status"] for _ in range(3)] == ["healthy"] * 3
    assert len(iam.logins) == 1


def test_wrong_password__is_said_to_who_was_paged(
    function: Callable[..., Function], iam: SimulatedIam, tmp_path: Path
) -> None:
    secret = tmp_path / "credentials"
    secret.write_text(json.dumps({"username": "fdi-probe", "password": "wrong", "domain_name": "Acme"}))
    checked = function("healthy", FDI_TOKEN=f"file://{secret}")

    for _ in range(3):
        error = checked.instance()["error"]
        assert (error["code"], error["message"]) == ("token_unavailable", MEANINGS["wrong_password"])
        assert "domain_name" in error["next_step"]
    assert len(iam.logins) == 1

    secret.write_text(json.dumps({"username": "fdi-probe", "password": PASSWORD, "domain_name": "Acme"}))
    assert checked.verdict()["healthy"] is True


def test_user_who_is_locked_by_others__is_named_so(function: Callable[..., Function], iam: SimulatedIam) -> None:
    iam.users["fdi-probe"] = User(PASSWORD, state="locked")
    checked = function("healthy", ROMA_TOKEN=json.dumps(GOOD._asdict() | {"project": None}))
    assert checked.instance()["error"]["message"] == "the IAM user is locked"
