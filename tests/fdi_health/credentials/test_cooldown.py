"""How long credentials are not sent after failed logins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdi_health.clock import Instant
from fdi_health.credentials.cooldown import Cooldown, LoginOutcome, back_off_seconds, next_cooldown
from fdi_health.errors import CheckError

START = 1_795_536_000.0  # 2026-11-24T16:00:00Z
NOT_SENT, UNCERTAIN, REFUSED = LoginOutcome.NOT_SENT, LoginOutcome.UNCERTAIN, LoginOutcome.REFUSED
FAILED = CheckError("token_unavailable", "IAM failed", next_step="Look.")


def after(*outcomes: LoginOutcome, accepted: bool = False, error: CheckError = FAILED) -> Cooldown:
    """Return the cooldown after these failures, all of them at START."""
    cooldown = None
    for outcome in outcomes:
        cooldown = next_cooldown(cooldown, outcome, error, Instant(START, 0.0), accepted=accepted)
    assert cooldown is not None
    return cooldown


@pytest.mark.parametrize(
    ("outcomes", "seconds"),
    [
        ((NOT_SENT,), 5),
        ((NOT_SENT,) * 9, 5),
        ((UNCERTAIN,), 30),
        ((UNCERTAIN,) * 2, 300),
        ((UNCERTAIN,) * 3, 900),
        ((UNCERTAIN,) * 99, 900),
        ((REFUSED,), 300),
        ((REFUSED,) * 2, 900),
        ((REFUSED,) * 99, 900),
        ((UNCERTAIN, REFUSED), 300),
        ((UNCERTAIN, UNCERTAIN, REFUSED), 900),
        ((REFUSED, UNCERTAIN), 300),
        ((REFUSED, NOT_SENT), 5),
        ((REFUSED, NOT_SENT, REFUSED), 900),
        ((NOT_SENT, UNCERTAIN), 30),
    ],
)
def test_cooldown__unproven_credentials__depends_on_counted_failures(
    outcomes: tuple[LoginOutcome, ...], seconds: float
) -> None:  # H05
    assert after(*outcomes).seconds == seconds


@pytest.mark.parametrize(
    ("outcomes", "seconds"),
    [
        ((UNCERTAIN,), 1),
        ((UNCERTAIN,) * 4, 8),
        ((UNCERTAIN,) * 6, 30),
        ((UNCERTAIN,) * 2000, 30),
        ((NOT_SENT,), 1),
        ((NOT_SENT,) * 4, 5),
        ((REFUSED,), 300),
        ((UNCERTAIN, REFUSED), 300),
    ],
)
def test_cooldown__accepted_credentials__is_short_unless_refused(
    outcomes: tuple[LoginOutcome, ...], seconds: float
) -> None:  # H05
    assert after(*outcomes, accepted=True).seconds == seconds


@pytest.mark.parametrize(("retry_after", "seconds"), [(None, 1), (0.5, 1), (20, 20), (3600, 30)])
def test_cooldown__retry_after__is_respected_up_to_30_seconds(retry_after: float | None, seconds: float) -> None:
    error = CheckError("token_unavailable", "x", next_step="y", retry_after=retry_after)
    assert after(UNCERTAIN, accepted=True, error=error).seconds == seconds


@pytest.mark.parametrize(
    ("wall", "monotonic", "over"), [(29, 29, False), (30, 0, True), (0, 30, True), (-99, 29, False)]
)
def test_cooldown__one_clock_is_stopped__ends_by_the_other(wall: float, monotonic: float, over: bool) -> None:
    assert after(UNCERTAIN).is_over(Instant(START + wall, monotonic)) is over


def test_cooldown_error__refused__says_so_and_when() -> None:  # T01
    error = after(REFUSED).to_error()
    assert error.code == "token_unavailable"
    assert error.message == "the credentials were refused at 2026-11-24T16:00:00Z: IAM failed"
    assert error.next_step == (
        "Look. This process does not send these credentials again before 2026-11-24T16:05:00Z. If the user or the "
        "password in the secret changes, it uses them at once."
    )


@pytest.mark.parametrize("outcome", [NOT_SENT, UNCERTAIN])
def test_cooldown_error__not_refused__says_that_the_login_failed(outcome: LoginOutcome) -> None:
    assert after(outcome).to_error().message == "the login at 2026-11-24T16:00:00Z failed: IAM failed"


@given(st.integers(0, 10**6))
def test_back_off__more_failures__doubles_up_to_30_seconds(number: int) -> None:
    assert back_off_seconds(number) == (2**number if number < 5 else 30)


@given(
    outcomes=st.lists(st.sampled_from([UNCERTAIN, REFUSED]), max_size=30),
    processes=st.integers(1, 2),
)
def test_cooldown__any_15_minutes__allow_two_refusals_or_three_failures(
    outcomes: list[LoginOutcome], processes: int
) -> None:  # G02
    at, cooldown = 0.0, None
    times: list[float] = []
    for outcome in outcomes:
        cooldown = next_cooldown(cooldown, outcome, FAILED, Instant(at, at), accepted=False)
        times += [at] * processes
        at += cooldown.seconds
    most = max((sum(begin <= time < begin + 900 for time in times) for begin in times), default=0)
    assert most <= (2 if UNCERTAIN not in outcomes else 3) * processes
