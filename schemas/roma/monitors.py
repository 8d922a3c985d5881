"""The monitor documents of ROMA Connect: the list of tasks (ListMonitorInfos) and the runs of one (ListMonitorLog).

They explain a verdict, so an entry that is not valid is counted and left out, while a document that is not a list is
refused. The vendor's own client treats every field as optional, and so do we, except what identifies a task or a run.

Source: the vendor's API reference (ListMonitorInfos, updated 2025-10-22) and its SDK (ListMonitorLog).
"""

from __future__ import annotations

from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields

from schemas.statistics import MAX_COUNT

MAX_ENTRIES = 999
"""The vendor's largest page. More would take long to read."""

MAX_ID_LENGTH = 128
_MAX_MILLISECONDS = 4_102_444_800_000
"""The year 2100: a later time is not a time."""


class Text(fields.Field[str]):
    """A text, or None for anything else: foreign text is shown only after redaction."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> str | None:  # type: ignore[override]  # noqa: ARG002 -- marshmallow's signature
        return value if isinstance(value, str) and value.strip() else None


class Identifier(fields.Field[str]):
    """The ID of a task."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> str:  # noqa: ARG002 -- marshmallow's signature
        if not isinstance(value, str) or not 0 < len(value) <= MAX_ID_LENGTH:
            raise ValidationError("Not an ID.")
        return value


class Milliseconds(fields.Field[float]):
    """A time in milliseconds since the epoch, loaded as seconds; None for anything that is not one."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> float | None:  # type: ignore[override]  # noqa: ARG002 -- marshmallow's signature
        return value / 1000 if type(value) is int and 0 < value < _MAX_MILLISECONDS else None


class Count(fields.Field[int]):
    """A number from 0 up; None for anything that is not one."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> int | None:  # type: ignore[override]  # noqa: ARG002 -- marshmallow's signature
        return value if type(value) is int and 0 <= value < 2**53 else None


class _Lenient(Schema):
    class Meta:
        """Ignore what is not used."""

        unknown = EXCLUDE


class TaskSchema(_Lenient):
    """One task in the monitor list."""

    task_id = Identifier(required=True)
    task_name = Text(load_default=None)
    task_type = Text(load_default=None)
    status = Count(load_default=None)
    execute_status = Text(load_default=None)
    position = Text(load_default=None)
    last_execute_time = Milliseconds(load_default=None)
    source_app_name = Text(load_default=None)
    target_app_name = Text(load_default=None)


class RunSchema(_Lenient):
    """One run in the log of a task."""

    start_time = Milliseconds(load_default=None)
    dispatch_time = Milliseconds(load_default=None)
    end_time = Milliseconds(load_default=None)
    execute_status = Text(load_default=None)
    dirty_data_count = Count(load_default=None)
    remarks = Text(load_default=None)


_TASK, _RUN = TaskSchema(), RunSchema()


def load_tasks(document: Any) -> tuple[list[dict[str, Any]], int | None, int]:
    """Return the valid tasks of a monitor list, the total that it states or None, and how many entries are not valid.

    If `size` is there and is not the number of entries, the list contradicts itself, and its total is None.

    Raises:
        ValidationError: the document is not a monitor list.

    """
    return _load(document, _TASK)


def load_runs(document: Any) -> list[dict[str, Any]]:
    """Return the valid runs of a monitor log; raises as `load_tasks` does."""
    return _load(document, _RUN)[0]


def _load(document: Any, schema: Schema) -> tuple[list[dict[str, Any]], int | None, int]:
    entries = document.get("entities") if isinstance(document, dict) else None
    if not isinstance(entries, list) or document.get("error_code") not in (None, ""):
        raise ValidationError("Not a list of entities.")
    if len(entries) > MAX_ENTRIES:
        raise ValidationError("Too many entities.")
    loaded: list[dict[str, Any]] = []
    for entry in entries:
        try:
            loaded.append(schema.load(entry))
        except ValidationError:
            continue
    total = document.get("total")
    size = document.get("size", len(entries))
    is_count = type(total) is int and 0 <= total <= MAX_COUNT and type(size) is int and size == len(entries)
    return loaded, total if is_count else None, len(entries) - len(loaded)
