"""The forms of the settings that are a policy for instances: `NAME=VALUE`, comma-separated."""

from __future__ import annotations

import re
from abc import abstractmethod
from datetime import datetime
from typing import Any

from marshmallow import ValidationError, fields

from schemas.settings_fields import NAME, split_entries

MAX_MUTE_SECONDS = 31 * 86400.0
"""A longer mute would be forgotten."""

MUTE_EXAMPLE = "payments=2026-12-01T22:00+01:00/2026-12-02T06:00+01:00"


class ByInstance(fields.Field[dict[str, Any]]):
    """`KEY=VALUE`, comma-separated; a key is an alias, an ID or `*`. Loads to a mapping.

    Args:
        example: of a whole setting.

    """

    expected = "must be NAME=VALUE"

    def __init__(self, example: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.example = example

    def _deserialize(self, value: str, attr: str | None, data: Any, **_: Any) -> dict[str, Any]:  # noqa: ARG002 -- marshmallow's signature
        loaded: dict[str, Any] = {}
        faults: dict[int, list[str]] = {}
        for number, entry in enumerate(split_entries(value), 1):
            key, equals, text = entry.partition("=")
            try:
                if not equals or not (key == "*" or NAME.fullmatch(key)):
                    raise ValidationError(self.expected)
                if key in loaded:
                    raise ValidationError("repeats the name of an earlier entry")
                loaded[key] = self.read(text)
            except ValidationError as error:
                faults[number] = [f"{message}, e.g. {self.example}" for message in error.messages]
        if faults:
            raise ValidationError(faults)
        return loaded

    @abstractmethod
    def read(self, text: str) -> Any:
        """Return the value of one entry; raises ValidationError."""


class CountByInstance(ByInstance):
    """A number of tasks for each instance."""

    expected = "must be an instance's name or *, =, and a whole number from 1 to 999999999"

    def read(self, text: str) -> int:
        """Return the number."""
        if not re.fullmatch("[1-9][0-9]{0,8}", text, re.ASCII):
            raise ValidationError(self.expected)
        return int(text)


class MuteByInstance(ByInstance):
    """When each instance is muted: `UNTIL` or `FROM/UNTIL`. Loads to pairs of seconds since the epoch."""

    expected = "must be an instance's name or *, =, and UNTIL or FROM/UNTIL, each with date, time and offset"

    def read(self, text: str) -> tuple[float | None, float]:
        """Return (from or None, until)."""
        begins, slash, ends = text.rpartition("/")
        first, last = (_moment(begins, self.expected) if slash else None), _moment(ends, self.expected)
        if first is not None and not 0 < last - first <= MAX_MUTE_SECONDS:
            raise ValidationError("must be at most 31 days long and end after it begins")
        return first, last


def _moment(text: str, expected: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValidationError(expected) from None
    if moment.tzinfo is None or "T" not in text or not 2000 <= moment.year < 2100:
        raise ValidationError(expected)
    return moment.timestamp()
