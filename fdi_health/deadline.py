"""Time: when a response must be out, and how long ago something happened."""

from __future__ import annotations

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
