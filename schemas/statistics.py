"""The upstream's statistics document: two groups of four exact counts, or nothing.

Source: the vendor's API reference of ROMA Connect, "Querying Task Status Statistics" (CountTasks).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validates_schema

if TYPE_CHECKING:
    from collections.abc import Collection

LARGEST_COUNT = 999_999_999_999
"""The largest count in the vendor's API definition."""


COUNTS = ("running_tasks_count", "abnormal_tasks_count", "terminated_tasks_count", "completed_tasks_count")


class TaskCounts(fields.Field[dict[str, int]]):
    """One group's four counts, each an exact JSON integer in range: no bool, float, string or null.

    Fields we do not know are ignored (C78). One field rather than a nested schema of four: a fleet reads hundreds of
    these at once, and this one costs a fifth.
    """

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> dict[str, int]:  # noqa: ARG002 -- marshmallow's signature
        if not isinstance(value, dict):
            raise ValidationError("Not an object.")
        # bool is an int in Python; in JSON it is no number (C19).
        faults = {
            name: ["Not an integer from 0 to 999,999,999,999."]
            for name in COUNTS
            if type(value.get(name)) is not int or not 0 <= value[name] <= LARGEST_COUNT
        }
        if faults:
            raise ValidationError(faults)
        return {name: value[name] for name in COUNTS}


class StatisticsSchema(Schema):
    """The whole answer.

    Args:
        optional_groups: the groups (`common`, `cdc`) whose key may be absent; null stays invalid, never both absent.

    """

    class Meta:
        """Ignore what a newer API adds."""

        unknown = EXCLUDE

    common_task_details = TaskCounts(required=True)
    cdc_task_details = TaskCounts(required=True)

    def __init__(self, *, optional_groups: Collection[str] = ()) -> None:
        super().__init__()
        for group in optional_groups:
            self.fields[f"{group}_task_details"].required = False

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _is_an_answer(self, _data: dict[str, Any], original: Any, **_: Any) -> None:
        refuse_what_is_no_answer(original)


def refuse_what_is_no_answer(document: Any) -> None:
    """Raise ValidationError for an object that names an error, or no task group; anything else is refused elsewhere."""
    if isinstance(document, dict):
        # An answer that also names an error says two things at once (C24).
        if document.get("error_code") not in (None, ""):
            raise ValidationError("error_code in a successful answer", "error_code")
        if not {"common_task_details", "cdc_task_details"} & document.keys():
            raise ValidationError("no task group", "common_task_details")
