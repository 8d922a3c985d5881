"""Timestamps as ISO 8601 text and as seconds since the epoch."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

_FORM = r"\d{4}-?\d\d-?\d\d[Tt ]\d\d"
"""A date and at least the hour. Python also takes a date alone, which says nothing about the end of a token."""

MIN_YEAR, MAX_YEAR = 2000, 2099
"""A timestamp of another year is a mistake, such as the zero value of a program's date type."""


def moment(text: Any) -> float:
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


def moment_text(seconds: float) -> str:
    """Return a time, given in seconds since the epoch, as ISO 8601 in UTC, whole seconds and a four-digit year."""
    try:
        found = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return "a moment beyond the calendar"
    # Not strftime: its year has fewer than four digits before year 1000.
    return f"{found.replace(tzinfo=None).isoformat(timespec='seconds')}Z"
