"""When a request is tried again, how long is waited before, and when the other side is left alone."""

from __future__ import annotations

import math
import random
import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

from fdi_health.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fdi_health.deadline import Abort, Deadline

Answer = TypeVar("Answer")

_DICE = random.Random()  # noqa: S311 -- spreads load, guards nothing; of our own, to leave everybody else's alone

ATTEMPTS = 3
"""The most requests for one answer."""

LONGEST_HOLD_SECONDS = 5.0
"""The longest that a throttled server is left alone; a Retry-After may ask for hours."""

_FIRST_WAIT_SECONDS = 0.1
_THROTTLED_SECONDS = 1.0
"""The vendor counts calls per user and second."""

_RETRIED_STATUSES = frozenset({502, 503, 504})
_RETRIED_CODES = frozenset({"unreachable", "invalid_response"})
"""What the transport raises when a connection failed or broke: another one may do better."""


class Wait(Protocol):
    """Waits some seconds, or less if it is ended early."""

    def __call__(self, seconds: float, /) -> object:
        """Wait `seconds`."""
        ...


class Retries:
    """Tries again what may go better the next time, and remembers who asked for fewer calls.

    Args:
        whom: the one that is called, for people, e.g. "the upstream".
        wait: how to wait between two attempts.
        jitter: returns a random number from 0.0 to its argument.

    """

    def __init__(
        self,
        whom: str,
        wait: Wait = time.sleep,
        jitter: Callable[[float], float] = lambda most: _DICE.uniform(0, most),
    ) -> None:
        self._whom = whom
        self._wait, self._jitter = wait, jitter
        self._held_until = -math.inf

    def run(self, attempt: Callable[[], Answer], deadline: Deadline, abort: Abort, attempts: int = ATTEMPTS) -> Answer:
        """Return what `attempt` returns, at the latest of its tries.

        Connection errors, 429, 502, 503 and 504 are tried again, at most `attempts` times in all, after a wait with
        full jitter or after what `Retry-After` says, and never when that would pass the deadline. Once the other side
        has asked for fewer calls, it gets none from anybody until then, for `LONGEST_HOLD_SECONDS` at most.

        Args:
            attempt: makes one request; raises CheckError where its answer is none.
            deadline: when there must be an answer.
            abort: ends it early.
            attempts: the most requests.

        Raises:
            CheckError: what the last attempt raised, or `throttled`.

        """
        tried = 0
        while True:
            tried += 1
            self._respect_hold(deadline, abort)
            try:
                return attempt()
            except CheckError as error:
                failure = error
            if not _may_pass(failure):
                raise failure
            seconds = self._seconds_to_wait(failure, tried, deadline)
            if tried == attempts or seconds >= deadline.remaining() or abort.fired:
                raise failure
            self._wait(seconds)

    def _respect_hold(self, deadline: Deadline, abort: Abort) -> None:
        """Wait until the other side may be called again, or raise `throttled` where that would be too late."""
        while (left := self._held_until - deadline.clock()) > 0:
            spare = deadline.remaining() - left
            if spare <= _FIRST_WAIT_SECONDS or abort.fired:
                message = f"{self._whom} asked for fewer calls a moment ago and is left alone until then"
                raise CheckError("throttled", message, retry_after=left)
            # Not all at once when the hold ends: it was too many at once that brought it about.
            self._wait(left + self._jitter(min(_THROTTLED_SECONDS, spare / 2)))

    def _seconds_to_wait(self, failure: CheckError, tried: int, deadline: Deadline) -> float:
        seconds = failure.retry_after
        if failure.code == "throttled":
            if seconds is None:
                seconds = _THROTTLED_SECONDS + self._jitter(_THROTTLED_SECONDS)
            hold = min(seconds, LONGEST_HOLD_SECONDS)
            self._held_until = max(self._held_until, deadline.clock() + hold)
            # A little later than the hold ends, and not all at once.
            return seconds + self._jitter(_FIRST_WAIT_SECONDS)
        if seconds is None:
            seconds = self._jitter(_FIRST_WAIT_SECONDS * 2 ** (tried - 1))
        return seconds


def retry_after(headers: Mapping[str, str], wall_seconds: float) -> float | None:
    """Return the seconds that Retry-After asks for (RFC 9110, 10.2.3), None where it is absent or nonsense."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch("[0-9]+", text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - wall_seconds)
    except (ValueError, OverflowError):
        return None


def _may_pass(failure: CheckError) -> bool:
    if failure.code == "throttled":
        return True
    if failure.code == "upstream_error":
        return failure.upstream_status in _RETRIED_STATUSES
    return failure.code in _RETRIED_CODES and failure.upstream_status is None
