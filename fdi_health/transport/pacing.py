"""How many requests per second are sent: a rate that the operator set, or one that ROMA Connect stated with a 429."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from fdi_health.transport.retry import NotSentError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fdi_health.clock import Deadline
    from fdi_health.transport.retry import Wait

SHARE_OF_LIMIT = 0.8
"""How much of a stated limit is used. The rest is for explanations, for other programs of the same user, and for
requests that arrive closer together than they were sent."""

STATED_SECONDS = 600.0
"""How long a stated limit is obeyed."""

MAX_AHEAD_SECONDS = 0.125
"""How much of the next second `take_if_free` may use in advance: at most an eighth more requests in any second."""

_RESPONSE_SECONDS = 0.1
"""The least time that is left for the response to a request that waited; with less, the request would be wasted."""


class _Stated(NamedTuple):
    rate: float
    ends: float


class Pace:
    """Spaces requests evenly, so that a server sees at most so many per second. Thread-safe.

    Each waiting request books the next free moment, one interval after the one before it, and sleeps until then. So
    requests are sent in the order in which they came, no thread polls, and a request that would come too late fails at
    once. There are no bursts: requests that are sent together may arrive together with those of the next second.

    On average at most `rate` requests per second are sent. In any second there are at most `ceil(rate)` from `wait`;
    with those of `take_if_free` at most `ceil(rate * (1 + MAX_AHEAD_SECONDS))`, which is not more than a limit that was
    stated. A request that is sent again at once because its kept connection was closed is counted once.

    Without a rate, `wait` and `take_if_free` take no lock and count nothing.

    Args:
        calls_per_second: the operator's rate, or None.
        clock: returns the present time in seconds; never steps back. It is the monotonic clock, as for `Deadline`. If a
            platform freezes the process and stops that clock, a stated limit is obeyed for longer, which is harmless;
            a wall clock that is set forward would end it too early.
        sleep: waits some seconds.

    """

    def __init__(
        self,
        calls_per_second: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Wait = time.sleep,
    ) -> None:
        self._configured_rate = calls_per_second
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._stated: _Stated | None = None
        self._next_at = -math.inf
        self._version = 0

    def wait(self, deadline: Deadline) -> None:
        """Wait until a request may be sent, and count it.

        Raises:
            NotSentError: `throttled`, at once, if that would leave no time for the response before the deadline.

        """
        while self._stated is not None or self._configured_rate is not None:
            seconds, version = self._book(deadline)
            if seconds <= 0:
                return
            self._sleep(seconds)
            if version == self._version:
                return
            # There was a 429 during the sleep, so this booking is not valid any more.

    def take_if_free(self) -> bool:
        """Count a request and return True if it may be sent now; otherwise return False.

        For requests that only explain a verdict. They never wait, and delay no request that waits.
        """
        if self._stated is None and self._configured_rate is None:
            return True
        with self._lock:
            present = self._clock()
            rate = self._rate(present)
            if rate is None:
                return True
            if self._next_at - present > MAX_AHEAD_SECONDS:
                return False
            self._next_at = max(present, self._next_at) + 1 / rate
            return True

    def slow_down(self, limit_per_second: float) -> None:
        """Use `SHARE_OF_LIMIT` of a limit that the server stated, for `STATED_SECONDS`.

        It replaces a limit that was stated before. The operator's rate is obeyed all the same, if it is lower.
        """
        with self._lock:
            present = self._clock()
            self._stated = _Stated(limit_per_second * SHARE_OF_LIMIT, present + STATED_SECONDS)
            self._book_again(present, present)

    def pause(self, seconds: float) -> None:
        """Let no request of `wait` begin for some seconds, because nothing is sent after a 429.

        Turns that come in that time would be lost, and later requests would wait behind them.
        """
        with self._lock:
            present = self._clock()
            self._book_again(present, present + seconds)

    def _book_again(self, present: float, begin: float) -> None:
        """Make all bookings invalid. Requests that wait book again, from `begin` on."""
        rate = self._rate(present)
        if rate is not None:
            # The last request was sent now at the latest; the rest of the time was booked and is free again.
            self._next_at = max(begin, min(self._next_at, present + MAX_AHEAD_SECONDS + 1 / rate))
            self._version += 1

    def set_rate(self, calls_per_second: float | None) -> None:
        """Replace the operator's rate. A limit that ROMA Connect stated is obeyed all the same."""
        with self._lock:
            if calls_per_second != self._configured_rate:
                self._configured_rate = calls_per_second
                present = self._clock()
                self._book_again(present, present)

    def _book(self, deadline: Deadline) -> tuple[float, int]:
        """Return the seconds until the next free moment, which is booked, and the version of the booking."""
        with self._lock:
            present = self._clock()
            rate = self._rate(present)
            if rate is None:
                return 0.0, self._version
            seconds = max(0.0, self._next_at - present)
            if seconds and deadline.remaining() - seconds < _RESPONSE_SECONDS:
                raise self._too_late()
            self._next_at = max(present, self._next_at) + 1 / rate
            return seconds, self._version

    def _rate(self, present: float) -> float | None:
        """Return the rate now, None for no limit, and forget a stated limit that has ended."""
        if self._stated is not None and present >= self._stated.ends:
            self._stated = None
        if self._stated is None:
            return self._configured_rate
        return self._stated.rate if self._configured_rate is None else min(self._configured_rate, self._stated.rate)

    def _too_late(self) -> NotSentError:
        if self._stated is None or (self._configured_rate is not None and self._configured_rate <= self._stated.rate):
            return NotSentError(
                "throttled",
                "too many requests for FDI_MAX_CALLS_PER_SECOND before the deadline",
                next_step="Raise FDI_MAX_CALLS_PER_SECOND, FDI_DEADLINE_SECONDS or FDI_CACHE_SECONDS.",
            )
        return NotSentError(
            "throttled",
            "too many requests before the deadline for the limit that ROMA Connect stated",
            next_step="Use a separate IAM user for this function, or raise FDI_DEADLINE_SECONDS or FDI_CACHE_SECONDS.",
        )
