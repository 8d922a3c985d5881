"""Moments as ISO 8601 text and as seconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def moment(text: Any) -> float:
    """Return an ISO 8601 moment, UTC where it names no zone, in seconds since the epoch; raises ValueError."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (TypeError, OverflowError):
        raise ValueError from None


def moment_text(seconds: float) -> str:
    """Return a moment, given in seconds since the epoch, as ISO 8601 in UTC and whole seconds."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return "a moment beyond the calendar"
