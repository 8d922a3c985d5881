"""Fields that dump a value only if it is of exactly one type: marshmallow's `dump` is lenient."""

from __future__ import annotations

import operator
from datetime import UTC, datetime
from typing import Any

from marshmallow import Schema, ValidationError, fields, missing


class Exactly(fields.Field[Any]):
    """A value of exactly one type; None only with `allow_none`.

    Args:
        kind: the type; subclasses are refused.
        smallest: the smallest number.
        digits: how many decimals a float has, or None.

    """

    def __init__(
        self, kind: type[Any], *, smallest: float | None = None, digits: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.kind, self.smallest, self.digits = kind, smallest, digits

    def _serialize(self, value: Any, attr: str | None, obj: Any, **_: Any) -> Any:  # noqa: ARG002 -- marshmallow's signature
        if value is None and self.allow_none:
            return None
        if type(value) is not self.kind or (self.smallest is not None and not value >= self.smallest):
            raise ValidationError(f"not exactly a {self.kind.__name__} in range")
        return value if self.digits is None else round(value, self.digits)


class LeftOut(Exactly):
    """A text that is left out if there is none."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        return missing if value is None else super()._serialize(value, attr, obj, **kwargs)


class Timestamp(fields.Field[datetime]):
    """A timestamp in UTC, whole seconds, `Z`."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **_: Any) -> str | None:  # noqa: ARG002 -- marshmallow's signature
        if value is None and self.allow_none:
            return None
        if not isinstance(value, datetime) or value.tzinfo is None:
            raise ValidationError("not a timestamp with a time zone")
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Epoch(Timestamp):
    """The same, of a time in seconds since the epoch."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        time = value if value is None else datetime.fromtimestamp(value, UTC)
        return super()._serialize(time, attr, obj, **kwargs)


class ByAttribute(Schema):
    """A schema for objects with attributes; marshmallow would try `obj["name"]` on NamedTuples first."""

    def get_attribute(self, obj: Any, attr: str, default: Any) -> Any:  # noqa: ARG002 -- marshmallow's signature
        """Return an attribute; `a.b` is b of a."""
        return operator.attrgetter(attr)(obj)
