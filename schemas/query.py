"""What a caller may ask: in the query, in a POST body, or in the input of a schedule.

A body or an input steers a check only if it is a JSON object with nothing but our fields: webhooks and schedulers send
documents of their own, which must neither fail nor narrow anything.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from marshmallow import EXCLUDE, Schema, ValidationError, fields
from marshmallow.exceptions import SCHEMA

from schemas import strict_json
from schemas.close_misses import MAX_NAMES, close_miss
from schemas.settings_fields import NAME, NUMBER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FAILING_STATUSES = ("unhealthy", "unknown", "degraded", "healthy")
"""What `fail_on` may list; `healthy` is for fire drills: it fails every check."""

DEFAULT_FAIL_ON = ("unhealthy", "unknown")
DEFAULT_NAMED_TASKS, MAX_NAMED_TASKS = 5, 50
MAX_QUERY_BYTES = 32 * 1024
MAX_BODY_BYTES = 64 * 1024
_MAX_FIELDS = 16
"""The most fields of a document that steers; ours are fewer, and each that is not ours costs a comparison."""


def _united(value: list[Any]) -> list[str]:
    """Return the non-empty entries of one or more comma-separated lists, each once; raises ValidationError."""
    if not all(isinstance(text, str) for text in value):
        raise ValidationError("must be text or a list of texts")
    entries = (entry.strip() for text in value for entry in text.split(","))
    return list(dict.fromkeys(entry for entry in entries if entry))


class InstanceNames(fields.Field[list[str]]):
    """Aliases or IDs."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> list[str]:  # noqa: ARG002 -- marshmallow's signature
        names = _united(value)
        if not names or not all(_is_label(name) for name in names):
            raise ValidationError("must name instances by alias or ID, e.g. instance=payments or instance=payments,crm")
        return names


def _is_label(name: str) -> bool:
    target, slash, name = name.rpartition("/")
    return NAME.fullmatch(name) is not None and (not slash or NAME.fullmatch(target) is not None)


class TargetNames(fields.Field[list[str]]):
    """Names of targets in FDI_CONFIG."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> list[str]:  # noqa: ARG002 -- marshmallow's signature
        names = _united(value)
        if not names or not all(NAME.fullmatch(name) for name in names):
            raise ValidationError("must name targets, e.g. target=emea or target=emea,apac")
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


class TasksToName(fields.Field[int]):
    """How many abnormal tasks of each instance are named: `none`, `all`, or a number; the largest, if several."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> int:  # noqa: ARG002 -- marshmallow's signature
        counts = [_tasks_to_name(text) for text in value]
        if not counts or None in counts:
            raise ValidationError(f"must be none, all or a number from 1 to {MAX_NAMED_TASKS}, e.g. explain=10")
        return max(count for count in counts if count is not None)


def _tasks_to_name(value: Any) -> int | None:
    text = str(value).strip() if type(value) in (str, int) else ""
    if text in ("none", "all"):
        return MAX_NAMED_TASKS if text == "all" else 0
    is_number = re.fullmatch("[1-9][0-9]?", text, re.ASCII) is not None
    return int(text) if is_number and int(text) <= MAX_NAMED_TASKS else None


class FormatName(fields.Field[str]):
    """The name of a format; whether there is one is the registry's to say."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> str:  # noqa: ARG002 -- marshmallow's signature
        if not all(isinstance(text, str) for text in value) or len(set(value)) != 1:
            raise ValidationError("must be the name of one format, e.g. format=json")
        name: str = value[0]
        return name


class Query(NamedTuple):
    """What a caller asks; each parameter has its default where the caller says nothing.

    Attributes:
        instance: aliases or IDs, each with its target and a slash before it or not; None for all instances.
        target: names of targets, or None for all.
        fail_on: the statuses that fail the check.
        deadline: seconds, or None.
        format: the name of a format, or None; there may be no such format.
        explain: how many abnormal tasks of each instance to name, for callers who see details.

    """

    instance: Sequence[str] | None = None
    target: Sequence[str] | None = None
    fail_on: Sequence[str] = DEFAULT_FAIL_ON
    deadline: float | None = None
    format: str | None = None
    explain: int = DEFAULT_NAMED_TASKS


class QuerySchema(Schema):
    """Every parameter, each loaded from the list of its values; unknown ones are ignored (checkers bust caches)."""

    class Meta:
        """Ignore what is not ours."""

        unknown = EXCLUDE

    instance = InstanceNames()
    target = TargetNames()
    fail_on = FailOn()
    deadline = DeadlineSeconds()
    format = FormatName()
    explain = TasksToName()


_SCHEMA = QuerySchema()


def load(parameters: Mapping[str, Sequence[Any]], body: bytes = b"") -> Query:
    """Return what is asked.

    Args:
        parameters: name → every value it has in the query.
        body: of a POST; its fields count as further values. One of more than 64 KiB asks nothing.

    Raises:
        ValidationError: a parameter of ours has a value that it can't have, and its name is the key; or a name is
            misspelt, and `SCHEMA` is the key.

    """
    return _load(parameters, _parsed(body)) if parameters or body else Query()


def load_input(document: Any) -> Query:
    """Return what the input of a schedule or event asks; see `load`.

    Args:
        document: the input, as text or as the platform parsed it; any other document asks for the defaults.

    """
    return _load({}, _parsed(document.encode(errors="replace")) if isinstance(document, str) else document)


def steers(document: Any) -> bool:
    """Whether a parsed document is an object with at least one field, and with nothing but ours or close misses."""
    if not isinstance(document, dict) or not 0 < len(document) <= _MAX_FIELDS:
        return False
    ours = _SCHEMA.fields.keys()
    return all(name in ours or close_miss([name], ours) for name in document)


def _load(parameters: Mapping[str, Sequence[Any]], document: Any) -> Query:
    ours = _SCHEMA.fields.keys()
    steering: dict[str, Any] = document if steers(document) else {}
    unknown = [name for name in parameters if name not in ours]
    if len(unknown) > MAX_NAMES:
        raise ValidationError({SCHEMA: [f"the query has more than {MAX_NAMES} parameters that are not known"]})
    meant = close_miss(unknown, ours) or close_miss(steering, ours)
    if meant:
        # The misspelt name is the caller's own text and is not repeated.
        raise ValidationError({SCHEMA: [f"a parameter is not known: did you mean {meant}?"]})
    values = {name: list(given) for name, given in parameters.items() if name in ours}
    for name, given in steering.items():
        values.setdefault(name, []).extend(given if isinstance(given, list) else [given])
    return Query(**_SCHEMA.load(values))


def _parsed(body: bytes) -> Any:
    if len(body) > MAX_BODY_BYTES:
        return None
    try:
        return strict_json.loads(body)
    except strict_json.InvalidJSON:
        return None
