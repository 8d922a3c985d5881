"""Time: the moment by which an answer must be out, how to end a wait at it, and how long ago something happened."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable


class Deadline(NamedTuple):
    """A moment on one monotonic clock; everything a request waits for ends there.

    Attributes:
        at: the moment, in seconds of `clock`.
        clock: returns the present moment, in seconds; never steps back.

    """

    at: float
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> Self:
        """Return the deadline that is `seconds` from now."""
        return cls(clock() + seconds, clock)

    def remaining(self) -> float:
        """Return the seconds left, 0.0 when there are none."""
        return max(0.0, self.at - self.clock())

    @property
    def expired(self) -> bool:
        """Whether the moment has come."""
        return self.clock() >= self.at


class Instant(NamedTuple):
    """A moment read off both clocks at once.

    A platform that freezes a process between two requests may stop its monotonic clock, and an operator may set the
    wall clock back: the larger of the two differences is the one that never calls old news fresh.

    Attributes:
        wall: seconds since the epoch.
        monotonic: seconds of the monotonic clock.

    """

    wall: float
    monotonic: float

    def seconds_until(self, later: Instant) -> float:
        """Return the seconds from this moment to `later`, by whichever clock saw more of them pass; never negative."""
        return max(0.0, later.wall - self.wall, later.monotonic - self.monotonic)


def now() -> Instant:
    """Read both clocks."""
    return Instant(time.time(), time.monotonic())


class Abort:
    """Lets one thread end what another one is blocked in.

    The blocked thread arms it with a function that ends the wait (shutting a socket down, say) and disarms it when it
    is through; the other thread fires it, before, during or after: a function armed too late runs at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._end_the_wait: Callable[[], None] | None = None
        self._fired = False

    @property
    def fired(self) -> bool:
        """Whether somebody has ended the work."""
        return self._fired

    def arm(self, end_the_wait: Callable[[], None]) -> None:
        """Say how the wait that begins now can be ended; replaces what was armed before."""
        with self._lock:
            self._end_the_wait = end_the_wait
            if self._fired:
                end_the_wait()

    def disarm(self) -> None:
        """Say that no wait is going on; once this returns, nothing that was armed runs any more."""
        with self._lock:
            self._end_the_wait = None

    def fire(self) -> None:
        """End the wait, the one going on or the next."""
        with self._lock:
            self._fired = True
            if self._end_the_wait is not None:
                self._end_the_wait()
