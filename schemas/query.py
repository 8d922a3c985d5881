"""What a caller may ask, in the query or in a POST body.

A body steers a check only if it is a JSON object all of whose fields are ours: webhooks and schedulers send bodies of
their own, which must neither fail nor narrow anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields

from schemas import strict_json
from schemas.settings_fields import NAME, NUMBER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FAILING_STATUSES = ("unhealthy", "unknown", "degraded", "healthy")
"""What `fail_on` may list; `healthy` is for fire drills: it fails every check."""

DEFAULT_FAIL_ON = ("unhealthy", "unknown")
LONGEST_QUERY = 32 * 1024
LONGEST_BODY = 64 * 1024


def _united(value: list[Any]) -> list[str]:
    """Return the entries of one or more comma-separated lists, each once; raises ValidationError."""
    if not all(isinstance(text, str) for text in value):
        raise ValidationError("must be text or a list of texts")
    return list(dict.fromkeys(entry.strip() for text in value for entry in text.split(",")))


class InstanceNames(fields.Field[list[str]]):
    """Aliases or IDs."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> list[str]:  # noqa: ARG002 -- marshmallow's signature
        names = _united(value)
        if not names or not all(NAME.fullmatch(name) for name in names):
            raise ValidationError("must name instances by alias or ID, e.g. instance=payments or instance=payments,crm")
        return names


class FailOn(fields.Field[list[str]]):
    """The statuses that fail a check: 503 if any instance asked has one of them."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> list[str]:  # noqa: ARG002 -- marshmallow's signature
        statuses = _united(value)
        if statuses == ["none"]:
            return []
        if not statuses or not set(statuses) <= set(FAILING_STATUSES):
            raise ValidationError(
                f"must be none or a list out of {', '.join(FAILING_STATUSES)}, e.g. fail_on=unhealthy"
            )
        return statuses


class DeadlineSeconds(fields.Field[float]):
    """Seconds above 0; the smallest, where there are several."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> float:  # noqa: ARG002 -- marshmallow's signature
        seconds = [_seconds(text) for text in value]
        if not seconds or not all(seconds):
            raise ValidationError("must be a number of seconds above 0, e.g. deadline=1.5")
        return min(seconds)


def _seconds(value: Any) -> float:
    if isinstance(value, str):
        # Not float(value): what Python strips here and what it strips there differ, e.g. in U+001C.
        text = value.strip()
        return float(text) if NUMBER.fullmatch(text) else 0.0
    return float(value) if type(value) in (int, float) and 0 < value < 1e9 else 0.0


class FormatName(fields.Field[str]):
    """The name of a format; whether there is one is the registry's to say."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> str:  # noqa: ARG002 -- marshmallow's signature
        if not all(isinstance(text, str) for text in value) or len(set(value)) != 1:
            raise ValidationError("must be the name of one format, e.g. format=json")
        name: str = value[0]
        return name


class QuerySchema(Schema):
    """Every parameter, each loaded from the list of its values; unknown ones are ignored (checkers bust caches)."""

    class Meta:
        """Ignore what is not ours."""

        unknown = EXCLUDE

    instance = InstanceNames(load_default=None)
    fail_on = FailOn(load_default=lambda: [*DEFAULT_FAIL_ON])
    deadline = DeadlineSeconds(load_default=None)
    format = FormatName(load_default=None)


_SCHEMA = QuerySchema()


def load(parameters: Mapping[str, Sequence[Any]], body: bytes = b"") -> dict[str, Any]:
    """Return what is asked.

    Args:
        parameters: name → every value it has in the query.
        body: of a POST; its fields count as further values.

    Returns:
        `instance`: names or None for all; `fail_on`: statuses; `deadline`: seconds or None; `format`: name or None.

    Raises:
        ValidationError: a parameter of ours has a value that it can't have; its name is the key.

    """
    values = {name: list(given) for name, given in parameters.items() if name in _SCHEMA.fields}
    for name, given in _steering(body).items():
        values.setdefault(name, []).extend(given if isinstance(given, list) else [given])
    loaded: dict[str, Any] = _SCHEMA.load(values)
    return loaded


def _steering(body: bytes) -> dict[str, Any]:
    try:
        document = strict_json.loads(body)
    except strict_json.InvalidJSON:
        return {}
    return document if isinstance(document, dict) and document.keys() <= _SCHEMA.fields.keys() else {}
