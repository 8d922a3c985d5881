"""How long credentials are not sent to IAM again after a login that failed.

Source: the vendor's page on login policies: 5 failed logins within 15 minutes lock a user for 15 minutes, by default.
The failures of all processes count. No I/O and no clock here.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from fdi_health.clock import format_timestamp
from fdi_health.errors import CheckError

if TYPE_CHECKING:
    from fdi_health.clock import Instant


class LoginOutcome(Enum):
    """How a login failed: certainly not sent, perhaps counted by IAM as a failure, or refused."""

    NOT_SENT = "not sent"
    UNCERTAIN = "uncertain"
    REFUSED = "refused"


NOT_SENT_SECONDS = 5.0
UNCERTAIN_SECONDS = (30.0, 300.0, 900.0)
REFUSED_SECONDS = (300.0, 900.0)
"""After the first, second, … failure; the last one again and again."""

MAX_BACK_OFF_SECONDS = 30.0
"""1, 2, 4, … up to this: for credentials that IAM has accepted, so that one failure of IAM's is soon over, and for
reads of an unreadable secret, so that a corrected one is soon seen."""

_MAX_RETRY_AFTER_SECONDS = 30.0
"""A Retry-After may ask for hours."""


class Cooldown(NamedTuple):
    """What is known of failed logins with the same credentials, up to the newest one.

    Attributes:
        outcome: how the newest one failed.
        error: its message and next step.
        failed_at: when.
        seconds: how long these credentials are not sent from then on.
        failures: how many failed in a row, in any way.
        perhaps_counted: how many of them IAM may have counted as wrong passwords.
        refusals: how many of them IAM refused.

    """

    outcome: LoginOutcome
    error: CheckError
    failed_at: Instant
    seconds: float
    failures: int
    perhaps_counted: int
    refusals: int

    def is_over(self, present: Instant) -> bool:
        """Whether the credentials may be sent again."""
        return self.failed_at.seconds_until(present) >= self.seconds

    def as_error(self) -> CheckError:
        """Return the error for every check until then; says when the login failed and when the next one may be."""
        failed_at = format_timestamp(self.failed_at.wall)
        refused = self.outcome is LoginOutcome.REFUSED
        return CheckError(
            "token_unavailable",
            f"{f'the credentials were refused at {failed_at}' if refused else f'the login at {failed_at} failed'}: "
            f"{self.error.message}",
            next_step=f"{self.error.next_step} This process does not send these credentials again before "
            f"{format_timestamp(self.failed_at.wall + self.seconds)}. "
            "If the secret changes, it uses the new ones at once.",
        )


def next_cooldown(
    previous: Cooldown | None, outcome: LoginOutcome, error: CheckError, failed_at: Instant, *, accepted: bool
) -> Cooldown:
    """Return the cooldown after one more failed login.

    Args:
        previous: that of the failure before with the same credentials, or None if there was none since a success.
        outcome: how the login failed.
        error: message and next step for people, and IAM's Retry-After.
        failed_at: when it failed.
        accepted: whether IAM accepted these credentials the last time it said anything about them.

    """
    failures = (previous.failures if previous else 0) + 1
    perhaps_counted = (previous.perhaps_counted if previous else 0) + (outcome is not LoginOutcome.NOT_SENT)
    refusals = (previous.refusals if previous else 0) + (outcome is LoginOutcome.REFUSED)
    back_off = back_off_seconds(failures - 1)
    if outcome is LoginOutcome.REFUSED:
        seconds = max(_nth(REFUSED_SECONDS, refusals), _nth(UNCERTAIN_SECONDS, perhaps_counted))
    elif outcome is LoginOutcome.NOT_SENT:
        seconds = min(back_off, NOT_SENT_SECONDS) if accepted else NOT_SENT_SECONDS
    else:
        seconds = back_off if accepted else _nth(UNCERTAIN_SECONDS, perhaps_counted)
    seconds = max(seconds, min(error.retry_after or 0.0, _MAX_RETRY_AFTER_SECONDS))
    return Cooldown(outcome, error, failed_at, seconds, failures, perhaps_counted, refusals)


def back_off_seconds(number: int) -> float:
    """Return 1, 2, 4, … and at most `MAX_BACK_OFF_SECONDS`; the first number is 0."""
    # The exponent is bounded: after hours of failures the power would be too large for a float.
    return min(2.0 ** min(number, 10), MAX_BACK_OFF_SECONDS)


def _nth(steps: tuple[float, ...], number: int) -> float:
    return steps[min(number, len(steps)) - 1]
