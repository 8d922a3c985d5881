"""Time: deadlines, instants on two clocks, and timestamps as text."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_FORM = r"\d{4}-?\d\d-?\d\d[Tt ]\d\d"
"""A date and at least the hour. Python also takes a date alone, which says nothing about the end of a token."""

MIN_YEAR, MAX_YEAR = 2000, 2099
"""A timestamp of another year is a mistake, such as the zero value of a program's date type."""


class Deadline(NamedTuple):
    """A point in time on the monotonic clock, at which every wait of a request ends.

    Attributes:
        at: in seconds of `clock`.
        clock: returns the present time in seconds; never steps back.

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

    def earlier(self, seconds: float) -> Self:
        """Return the deadline that is some seconds earlier, but not before half of the time that is left."""
        return self._replace(at=self.at - min(seconds, self.remaining() / 2)) if seconds else self

    @property
    def expired(self) -> bool:
        """Whether it has passed."""
        return self.clock() >= self.at


class Instant(NamedTuple):
    """A reading of both clocks.

    A platform that freezes the process between two requests may stop its monotonic clock, and an operator may set the
    wall clock back. The larger of the two differences never makes an old result look new.

    Attributes:
        wall: seconds since the epoch.
        monotonic: seconds of the monotonic clock.

    """

    wall: float
    monotonic: float

    def seconds_until(self, later: Instant) -> float:
        """Return the seconds from this instant to `later`, by the clock that saw more of them pass; never negative."""
        return max(0.0, later.wall - self.wall, later.monotonic - self.monotonic)


def now() -> Instant:
    """Read both clocks."""
    return Instant(time.time(), time.monotonic())


def earliest(instants: Iterable[Instant]) -> Instant:
    """Return the earliest reading of each clock: its age is the largest age of all the instants, at least one."""
    return Instant(*map(min, zip(*instants, strict=True)))


def to_datetime(seconds: float) -> datetime:
    """Return seconds since the epoch as a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def parse_timestamp(text: Any) -> float:
    """Return an ISO 8601 timestamp in seconds since the epoch; one without a time zone is UTC.

    Raises:
        ValueError: it is malformed, or not in the years `MIN_YEAR` to `MAX_YEAR`.

    """
    if not isinstance(text, str) or not re.match(_FORM, text, re.ASCII):
        raise ValueError
    found = datetime.fromisoformat(text)
    if not MIN_YEAR <= found.year <= MAX_YEAR:
        raise ValueError
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def format_timestamp(seconds: float) -> str:
    """Return a time, given in seconds since the epoch, as ISO 8601 in UTC, whole seconds and a four-digit year."""
    try:
        found = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return "a time beyond the calendar"
    # Not strftime: its year has fewer than four digits before year 1000.
    return f"{found.replace(tzinfo=None).isoformat(timespec='seconds')}Z"
