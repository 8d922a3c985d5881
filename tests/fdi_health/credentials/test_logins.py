"""How often a process logs in while logins fail, and its messages. Only the clock is simulated."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

import pytest
import trustme

from fdi_health.clock import Deadline, format_timestamp
from fdi_health.credentials.iam_client import IamClient
from fdi_health.credentials.secret_format import Credentials
from fdi_health.errors import CheckError
from fdi_health.transport.client import Transport
from simulator import Simulator
from tests.conftest import CREDENTIALS, PASSWORD, PROJECT_ID
from tests.fdi_health.fake_secret_store import MINUTE, Clock
from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from simulator import Iam as SimulatedIam
    from tests.conftest import Function

GOOD = Credentials("fdi-probe", PASSWORD, "Acme")
WRONG = GOOD._replace(password="wrong")
BEGAN = "2023-11-14T22:13:20Z"


def secret(credentials: Credentials) -> str:
    return json.dumps({**credentials._asdict(), "project": None})


def log_in(iam_client: IamClient, credentials: Credentials = GOOD, seconds: float = 2.0) -> CheckError | None:
    """Log in; return the error, or None for a token."""
    try:
        iam_client.create_token(credentials, Deadline.after(seconds))
    except CheckError as error:
        return error
    return None


def attempts(iam_client: IamClient, clock: Clock, seconds: int) -> list[int]:
    """Log in every second; return after how many seconds a login was tried, which each error names."""
    times = []
    for second in range(seconds):
        error = log_in(iam_client, WRONG)
        assert error is not None
        if error.message.startswith(f"the login at {format_timestamp(clock.wall)} failed: "):
            times.append(second)
        clock.wall += 1
    return times


def login_times(iam: SimulatedIam, clock: Clock, check: Callable[[], object], minutes: int, step: float) -> list[float]:
    """Check every `step` seconds; return after how many seconds IAM saw logins."""
    start, times = clock.wall, []
    while clock.wall < start + minutes * MINUTE:
        before = len(iam.logins)
        check()
        times += [clock.wall - start] * (len(iam.logins) - before)
        clock.wall += step
    return times


UNCERTAIN = [
    *("status_500", "status_503", "status_502", "reset", "cut_off", "malformed", "no_project", "conflict", "moved"),
    *("html_200", "html_201", "html_400", "html_401", "html_403", "html_404", "html_410", "other_403", "redirect"),
    *("no_token", "broken_token", "wrapped_token", "encoded_201", "no_document", "other_document", "list_document"),
    "interim_only",
]


def assert_cooldowns(times: list[float]) -> None:
    """Fail unless logins were tried after 30 seconds, 5 and 15 minutes, and the lock of five in 15 minutes is far."""
    assert sorted(set(times)) == [0, 30, 330, 1230]
    assert len(times) <= 5  # the first login may be repeated once
    for at in times:
        assert sum(at <= other < at + 15 * MINUTE for other in times) < 5


@pytest.mark.parametrize("fault", UNCERTAIN)
def test_unusable_response__of_iam__next_logins_after_30_seconds_5_and_15_minutes(
    iam_client: IamClient, iam: SimulatedIam, clock: Clock, fault: str
) -> None:  # H05, D34
    iam.play(fault, for_ever=True)
    assert_cooldowns(login_times(iam, clock, lambda: log_in(iam_client), minutes=25, step=5))


@pytest.mark.parametrize("fault", ["status_503", "html_401", "redirect", "broken_token"])
def test_unusable_response__of_iam__checks_follow_the_cooldowns(
    function: Callable[..., Function], iam: SimulatedIam, clock: Clock, fault: str
) -> None:  # H05, D34
    iam.play(fault, for_ever=True)
    checked = function("healthy", clock=clock, ROMA_TOKEN=CREDENTIALS)
    assert_cooldowns(login_times(iam, clock, checked.get, minutes=25, step=15))


@pytest.mark.parametrize("fault", ["silent", "slow_refusal", "drip"])
def test_late_response__of_iam__starts_a_cooldown(
    iam_client: IamClient, iam: SimulatedIam, clock: Clock, fault: str
) -> None:  # H05
    iam.play(fault, for_ever=True)
    assert login_times(iam, clock, lambda: log_in(iam_client, seconds=0.15), minutes=7, step=5) == [0, 30, 330]


@pytest.mark.parametrize(
    "fault", ["wrong_password", "empty_401", "locked", "protected", "forbidden", "gateway_403", "acl"]
)
def test_refusal__of_iam__next_logins_after_5_and_15_minutes(
    function: Callable[..., Function], iam: SimulatedIam, clock: Clock, fault: str
) -> None:
    iam.play(fault, for_ever=True)
    checked = function("healthy", clock=clock, ROMA_TOKEN=CREDENTIALS)
    assert login_times(iam, clock, checked.get, minutes=40, step=20) == [0, 300, 1200, 2100]


@pytest.mark.parametrize("minutes_between", [0, 4, 8, 12])
def test_two_processes__with_a_wrong_password__do_not_lock_the_user(
    function: Callable[..., Function], iam: SimulatedIam, clock: Clock, minutes_between: int
) -> None:  # G02
    one, two = (function("healthy", clock=clock, ROMA_TOKEN=secret(WRONG)) for _ in range(2))
    start = clock.wall

    def check() -> None:
        one.get()
        if clock.wall >= start + minutes_between * MINUTE:
            two.get()

    times = login_times(iam, clock, check, minutes=120, step=60)

    for at in times:
        assert sum(at <= other <= at + 15 * MINUTE for other in times) < 5
    assert len(times) > 14  # and they do come back


def test_wrong_password__in_ten_checks__is_called_refused_every_time(
    function: Callable[..., Function], iam: SimulatedIam, clock: Clock
) -> None:  # T01
    checked = function("healthy", clock=clock, ROMA_TOKEN=secret(WRONG))
    for _ in range(10):
        error = checked.instance()["error"]
        assert (error["code"], error["message"]) == (
            "token_unavailable",
            f"the credentials were refused at {BEGAN}: IAM refused the user name, the password or the account name",
        )
        assert "domain_name" in error["next_step"]
        assert "before 2023-11-14T22:18:20Z" in error["next_step"]
        clock.wall += 1
    assert len(iam.logins) == 1


def test_password_that_became_wrong__in_twenty_checks__is_called_refused_every_time(
    function: Callable[..., Function], iam: SimulatedIam, clock: Clock, tmp_path: Path
) -> None:  # T01: the token held is refused by ROMA Connect, and each check reads the secret again
    file = tmp_path / "credentials"
    file.write_text(CREDENTIALS)
    checked = function("healthy", clock=clock, FDI_TOKEN=f"file://{file}")
    assert checked.verdict()["healthy"] is True
    file.write_text(secret(WRONG))
    iam.revoke()
    for _ in range(20):
        error = checked.instance()["error"]
        assert error["code"] == "token_unavailable"
        assert error["message"].startswith(f"the credentials were refused at {BEGAN}: ")
    assert len(iam.logins) == 2


def test_corrected_secret__is_used_at_once(
    function: Callable[..., Function], iam: SimulatedIam, clock: Clock, tmp_path: Path
) -> None:
    file = tmp_path / "credentials"
    file.write_text(secret(WRONG))
    checked = function("healthy", clock=clock, FDI_TOKEN=f"file://{file}")
    for _ in range(10):
        assert checked.verdict()["status"] == "unknown"
    file.write_text(CREDENTIALS)
    assert checked.verdict()["healthy"] is True
    assert len(iam.logins) == 2


def test_changed_credentials__are_sent_at_once_but_those_that_failed_before_are_not(
    iam_client: IamClient, iam: SimulatedIam
) -> None:
    others = [GOOD._replace(password=f"wrong-{number}") for number in range(9)]
    for credentials in (WRONG, others[0], WRONG, others[0]):
        assert log_in(iam_client, credentials)
    assert len(iam.logins) == 2
    for credentials in others[1:]:
        assert log_in(iam_client, credentials)
    assert log_in(iam_client, others[8])
    assert len(iam.logins) == 10
    assert log_in(iam_client, WRONG)
    assert len(iam.logins) == 10


def test_success__ends_every_cooldown_of_the_user(iam_client: IamClient, iam: SimulatedIam) -> None:
    other = GOOD._replace(username="nobody")
    assert log_in(iam_client, WRONG)
    assert log_in(iam_client, other)
    assert log_in(iam_client) is None
    assert log_in(iam_client, WRONG)
    assert log_in(iam_client, other)
    assert len(iam.logins) == 4


def test_accepted_credentials__while_iam_fails__back_off_to_30_seconds(
    iam_client: IamClient, iam: SimulatedIam, clock: Clock
) -> None:  # H05
    assert log_in(iam_client) is None
    iam.logins.clear()
    iam.play("status_500", for_ever=True)
    times = login_times(iam, clock, lambda: log_in(iam_client), minutes=3, step=1)
    assert times == [0, 1, 3, 7, 15, 31, 61, 91, 121, 151]


def test_accepted_credentials__after_one_failure_of_iam__are_used_a_second_later(
    function: Callable[..., Function], iam: SimulatedIam, clock: Clock
) -> None:
    checked = function("healthy", clock=clock, ROMA_TOKEN=CREDENTIALS)
    assert checked.verdict()["healthy"] is True
    iam.revoke()
    iam.play("status_500")
    assert checked.instance()["error"]["message"] == f"the login at {BEGAN} failed: IAM failed (HTTP 500)"
    clock.wall += 1
    assert checked.verdict()["healthy"] is True


@pytest.mark.parametrize("fault", ["status_502", "status_503", "reset", "cut_off"])
def test_accepted_credentials__temporary_fault_of_iam__checks_continue(
    function: Callable[..., Function], iam: SimulatedIam, clock: Clock, fault: str
) -> None:
    checked = function("healthy", clock=clock, ROMA_TOKEN=CREDENTIALS)
    assert checked.verdict()["healthy"] is True
    iam.revoke()
    iam.play(fault)
    assert checked.verdict()["healthy"] is True


def test_accepted_credentials__once_refused__are_treated_like_new_ones(
    iam_client: IamClient, iam: SimulatedIam, clock: Clock
) -> None:
    assert log_in(iam_client) is None
    iam.play("wrong_password", "status_500", for_ever=True)
    iam.logins.clear()
    assert login_times(iam, clock, lambda: log_in(iam_client), minutes=15, step=10) == [0, 300, 600]


def test_logins_in_progress__of_credentials_that_were_not_accepted_yet__are_two_at_most(
    iam_client: IamClient, iam: SimulatedIam
) -> None:
    iam.play("silent", for_ever=True)
    first = [threading.Thread(target=log_in, args=(iam_client, GOOD, 1.0)) for _ in range(2)]
    for thread in first:
        thread.start()
    while len(iam.logins) < 2:
        time.sleep(0.01)
    error = log_in(iam_client, GOOD, 0.2)
    assert error is not None
    assert error.message == "other logins with these credentials did not end before the deadline"
    for thread in first:
        thread.join()
    assert len(iam.logins) == 2


def test_login__ended_late__does_not_shorten_a_newer_cooldown(
    iam_client: IamClient, iam: SimulatedIam, clock: Clock
) -> None:
    iam.play("silent", "wrong_password")
    first = threading.Thread(target=log_in, args=(iam_client, GOOD, 0.5))
    first.start()
    while not iam.logins:
        time.sleep(0.01)
    clock.wall += 30
    newer = log_in(iam_client)
    first.join()
    clock.wall += 299
    again = log_in(iam_client)
    assert newer is not None
    assert again is not None
    assert newer.message == again.message
    assert newer.message.startswith("the credentials were refused at 2023-11-14T22:13:50Z")
    assert len(iam.logins) == 2


def plain() -> Iterator[str]:
    """Answer the beginning of TLS in plain text."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def untrusted() -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with Simulator(tokens=[], ssl_context=context) as simulator:
        yield simulator.url


def refused() -> Iterator[str]:
    yield f"http://127.0.0.1:{free_port()}"


def unresolvable() -> Iterator[str]:
    yield "http://iam.invalid"


@pytest.mark.parametrize("endpoint", [plain, untrusted, refused, unresolvable])
def test_login__not_sent__is_retried_after_5_seconds(
    clock: Clock, endpoint: Callable[[], Iterator[str]]
) -> None:  # H05
    for url in endpoint():
        transport = Transport.open(url, {}, 1)
        iam_client = IamClient(transport, PROJECT_ID, clock)
        assert attempts(iam_client, clock, 12) == [0, 5, 10]
        transport.close()


def test_login__dead_proxy__is_retried_after_5_seconds(clock: Clock) -> None:  # H05
    dead = f"http://127.0.0.1:{free_port()}"
    transport = Transport("https://iam.example", proxies={"https": dead})
    iam_client = IamClient(transport, PROJECT_ID, clock)
    assert attempts(iam_client, clock, 6) == [0, 5]
    transport.close()


def test_login__unusable_ca_bundle__is_retried_after_5_seconds(clock: Clock) -> None:
    transport = Transport.open("https://127.0.0.1", {"SSL_CERT_FILE": "/nope.pem"}, 1)
    iam_client = IamClient(transport, PROJECT_ID, clock)
    assert attempts(iam_client, clock, 6) == [0, 5]
