"""How long credentials are not sent to IAM again after a failed login. No I/O and no clock here.

Source: the vendor's page on login policies: by default, 5 failed logins within 15 minutes lock a user for 15 minutes.
The failures of all processes count.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from fdi_health.clock import format_timestamp
from fdi_health.errors import CheckError

if TYPE_CHECKING:
    from fdi_health.clock import Instant


class LoginOutcome(Enum):
    """How a login failed: certainly not sent, perhaps counted by IAM as a wrong password, or refused."""

    NOT_SENT = "not sent"
    UNCERTAIN = "uncertain"
    REFUSED = "refused"


NOT_SENT_SECONDS = 5.0
UNCERTAIN_SECONDS = (30.0, 300.0, 900.0)
REFUSED_SECONDS = (300.0, 900.0)
"""After the first, second, … failure. The last value repeats."""

MAX_BACK_OFF_SECONDS = 30.0
"""The limit of the sequence 1, 2, 4, …, which is used for credentials that IAM has accepted, so that the function soon
recovers from a failure of IAM, and for reads of an unreadable secret, so that a corrected secret is soon used."""

_MAX_RETRY_AFTER_SECONDS = 30.0
"""A Retry-After may be hours long."""


class Cooldown(NamedTuple):
    """The failed logins with the same credentials since the last success.

    Attributes:
        outcome: how the newest one failed.
        error: its message and next step.
        failed_at: when it failed.
        seconds: how long these credentials are not sent after that.
        failures: how many logins failed in a row.
        counted_failures: how many of them IAM may have counted as wrong passwords.
        refusals: how many of them IAM refused.

    """

    outcome: LoginOutcome
    error: CheckError
    failed_at: Instant
    seconds: float
    failures: int
    counted_failures: int
    refusals: int

    def is_over(self, present: Instant) -> bool:
        """Whether the credentials may be sent again."""
        return self.failed_at.seconds_until(present) >= self.seconds

    def to_error(self) -> CheckError:
        """Return the error for every check in the cooldown: when the login failed and when the next may start."""
        failed_at = format_timestamp(self.failed_at.wall)
        refused = self.outcome is LoginOutcome.REFUSED
        failure = f"the credentials were refused at {failed_at}" if refused else f"the login at {failed_at} failed"
        return CheckError(
            "token_unavailable",
            f"{failure}: {self.error.message}",
            next_step=f"{self.error.next_step} This process does not send these credentials again before "
            f"{format_timestamp(self.failed_at.wall + self.seconds)}. "
            "If the user or the password in the secret changes, it uses them at once.",
        )


def next_cooldown(
    previous: Cooldown | None, outcome: LoginOutcome, error: CheckError, failed_at: Instant, *, accepted: bool
) -> Cooldown:
    """Return the cooldown after one more failed login.

    Args:
        previous: the cooldown after the failure before it, or None if there was none since the last success.
        outcome: how the login failed.
        error: message and next step for people, and IAM's Retry-After.
        failed_at: when it failed.
        accepted: whether IAM has accepted these credentials and not refused them since.

    """
    failures, counted_failures, refusals = previous[-3:] if previous else (0, 0, 0)
    failures += 1
    counted_failures += outcome is not LoginOutcome.NOT_SENT
    refusals += outcome is LoginOutcome.REFUSED
    back_off = back_off_seconds(failures - 1)
    if outcome is LoginOutcome.REFUSED:
        seconds = max(_nth(REFUSED_SECONDS, refusals), _nth(UNCERTAIN_SECONDS, counted_failures))
    elif outcome is LoginOutcome.NOT_SENT:
        seconds = min(back_off, NOT_SENT_SECONDS) if accepted else NOT_SENT_SECONDS
    else:
        seconds = back_off if accepted else _nth(UNCERTAIN_SECONDS, counted_failures)
    seconds = max(seconds, min(error.retry_after or 0.0, _MAX_RETRY_AFTER_SECONDS))
    return Cooldown(outcome, error, failed_at, seconds, failures, counted_failures, refusals)


def back_off_seconds(number: int) -> float:
    """Return 1, 2, 4, … and at most `MAX_BACK_OFF_SECONDS`; the first number is 0."""
    # The exponent is bounded: after hours of failures the power would be too large for a float.
    return min(2.0 ** min(number, 10), MAX_BACK_OFF_SECONDS)


def _nth(steps: tuple[float, ...], number: int) -> float:
    return steps[min(number, len(steps)) - 1]
