"""Limits the logins of one IAM user with one password, so that a wrong password does not lock the user.

By default, IAM locks a user after 5 failed logins within 15 minutes, whichever project the token was for.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from fdi_health.credentials.cooldown import LoginOutcome, next_cooldown
from fdi_health.credentials.iam_error_codes import map_login_error
from fdi_health.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fdi_health.clock import Deadline, Instant
    from fdi_health.credentials.cooldown import Cooldown

MAX_UNPROVEN_LOGINS = 2
"""How many logins with credentials that IAM has not accepted a moment ago are in progress at once. One would let the
IAM of one region, if it does not respond, keep the targets of all others waiting."""

PROVEN_SECONDS = 10.0
"""How long an accepted login proves the password for the others. Later it may have been changed."""

_MAX_UNPROVEN_REQUESTS = 2
"""How many requests the first of them may send: each may count as a failure."""

_NO_RESPONSE = map_login_error(CheckError("timeout", "no response before the deadline"))


class Login:
    """One login in progress.

    Attributes:
        accepted: whether IAM has accepted these credentials and not refused them since.
        max_requests: how many requests it may send, or None for as many as others.

    """

    def __init__(self, began: Instant, deadline: Deadline, max_requests: int | None) -> None:
        self.accepted = max_requests is None
        self.max_requests = max_requests
        self.began, self.deadline = began, deadline
        self.previous: Cooldown | None = None
        self.limit_seconds = deadline.remaining()
        self.counted: Cooldown | None = None

    def is_overdue(self, present: Instant) -> bool:
        """Whether its time is over, by the clock that saw more time pass."""
        return self.deadline.expired or self.began.seconds_until(present) > self.limit_seconds


class LoginLimit:
    """The logins of one user with one password, for all targets of a process. Thread-safe.

    - Credentials that were not accepted in the last `PROVEN_SECONDS` are used by `MAX_UNPROVEN_LOGINS` logins at once;
      the others wait.
    - A failed login starts a cooldown, in which these credentials are not sent.
    - A login past its deadline may still run, so it counts as failed until it ends.

    Args:
        clock: reads both clocks.

    """

    def __init__(self, clock: Callable[[], Instant]) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._in_progress: list[Login] = []
        self._cooldown: Cooldown | None = None
        self._accepted_at: Instant | None = None

    def begin(self, deadline: Deadline) -> Login:
        """Wait until the credentials may be sent.

        Raises:
            CheckError: `token_unavailable` in a cooldown, or if other logins did not end before the deadline.

        """
        with self._changed:
            while True:
                self._count_overdue()
                if self._cooldown is not None and not self._cooldown.is_over(self._clock()):
                    raise self._cooldown.to_error()
                waited_for = [login for login in self._in_progress if login.counted is None]
                if self._is_proven() or len(waited_for) < (MAX_UNPROVEN_LOGINS if self._cooldown is None else 1):
                    break
                self._changed.wait(min(limit.remaining() for limit in (deadline, *(w.deadline for w in waited_for))))
                if deadline.expired:
                    raise CheckError(
                        "token_unavailable", "other logins with these credentials did not end before the deadline"
                    )
            max_requests = None
            if self._accepted_at is None:
                # A request before or beside it may count as a failed login: then only one is sent.
                counted = self._cooldown is not None and self._cooldown.counted_failures > 0
                max_requests = 1 if counted or waited_for else _MAX_UNPROVEN_REQUESTS
            login = Login(self._clock(), deadline, max_requests)
            self._in_progress.append(login)
            return login

    def succeed(self, login: Login) -> None:
        """End a login with which IAM accepted the credentials."""
        with self._changed:
            self._in_progress.remove(login)
            self._cooldown, self._accepted_at = None, self._clock()
            self._changed.notify_all()

    def end_cooldown(self) -> None:
        """Forget the failures: IAM accepted another password of the user, which ends its count too."""
        with self._changed:
            self._cooldown = None

    def fail(self, login: Login, outcome: LoginOutcome, error: CheckError) -> CheckError:
        """End a login that failed; return the error for it, which says when the next one may start."""
        with self._changed:
            self._in_progress.remove(login)
            if outcome is LoginOutcome.REFUSED:
                self._accepted_at = None
            previous = self._cooldown if login.counted is None else login.previous
            cooldown = next_cooldown(previous, outcome, error, self._clock(), accepted=login.accepted)
            # If it was counted when its time was over, others may have logged in or failed since.
            if self._cooldown is login.counted or login.counted is None:
                self._cooldown = cooldown
            self._changed.notify_all()
            return cooldown.to_error()

    def _is_proven(self) -> bool:
        return self._accepted_at is not None and self._accepted_at.seconds_until(self._clock()) < PROVEN_SECONDS

    def _count_overdue(self) -> None:
        for login in self._in_progress:
            if login.counted is None and login.is_overdue(self._clock()):
                login.previous = self._cooldown
                login.counted = self._cooldown = next_cooldown(
                    self._cooldown, LoginOutcome.UNCERTAIN, _NO_RESPONSE, login.began, accepted=login.accepted
                )
