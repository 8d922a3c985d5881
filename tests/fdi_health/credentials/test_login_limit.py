"""How many logins with the same credentials a process has in progress, and which of them count as failed."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from fdi_health.clock import Deadline
from fdi_health.credentials.cooldown import LoginOutcome
from fdi_health.credentials.credential_limits import CredentialLimits
from fdi_health.credentials.login_limit import LoginLimit
from fdi_health.credentials.secret_format import Credentials
from fdi_health.credentials.signer import AccessKey
from fdi_health.errors import CheckError
from tests.fdi_health.fake_secret_store import Clock

if TYPE_CHECKING:
    from fdi_health.credentials.login_limit import Login

GOOD = Credentials("fdi-probe", "a-password", "Acme")
BEGAN = "2023-11-14T22:13:20Z"


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


def test_login__past_its_deadline_and_in_progress__counts_as_failed(clock: Clock) -> None:
    # A read of the secret that is past its deadline may go on beside the next one.
    limit = LoginLimit(clock)
    late = limit.begin(Deadline.after(0.01))
    time.sleep(0.02)
    with pytest.raises(CheckError, match=f"the login at {BEGAN} failed: IAM did not answer before the deadline"):
        limit.begin(Deadline.after(1))
    assert "refused" in limit.fail(late, LoginOutcome.REFUSED, CheckError("token_unavailable", "wrong")).message
    with pytest.raises(CheckError, match=f"the credentials were refused at {BEGAN}: wrong"):
        limit.begin(Deadline.after(1))


def test_logins__at_the_same_time__send_three_requests_at_most(clock: Clock) -> None:
    limit = LoginLimit(clock)
    assert [limit.begin(Deadline.after(1)).max_requests for _ in range(2)] == [2, 1]


def test_login__in_progress_while_the_process_is_frozen__counts_as_failed(clock: Clock) -> None:
    limit = LoginLimit(clock)
    limit.begin(Deadline.after(10))
    clock.wall += 11
    with pytest.raises(CheckError, match="IAM did not answer before the deadline"):
        limit.begin(Deadline.after(1))


def test_logins__waiting_for_the_first_ones__go_on_when_one_is_accepted(clock: Clock) -> None:
    limit = LoginLimit(clock)
    first, _ = limit.begin(Deadline.after(5)), limit.begin(Deadline.after(5))
    begun: list[Login] = []
    waiting = [threading.Thread(target=lambda: begun.append(limit.begin(Deadline.after(5)))) for _ in range(3)]
    for thread in waiting:
        thread.start()
    limit.succeed(first)
    for thread in waiting:
        thread.join(5)
    assert [login.accepted for login in begun] == [True] * 3


def test_limits__of_many_users_and_keys__are_of_bounded_number(clock: Clock) -> None:
    limits = CredentialLimits(clock)
    first_user, first_key = limits.of_user(GOOD), limits.of_key(AccessKey("HPUA", "s"))
    assert limits.of_user(GOOD._replace(project=("id", "another"))) is first_user
    for number in range(256):
        limits.of_user(GOOD._replace(username=f"user-{number}"))
        limits.of_key(AccessKey(f"HPUA{number}", "s"))
    assert limits.of_user(GOOD) is not first_user
    assert limits.of_key(AccessKey("HPUA", "s")) is not first_key
