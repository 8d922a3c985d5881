"""The upstream's statistics document: two groups of four exact counts, or nothing.

Source: the vendor's API reference of ROMA Connect, "Querying Task Status Statistics" (CountTasks).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate, validates_schema

if TYPE_CHECKING:
    from collections.abc import Collection

LARGEST_COUNT = 999_999_999_999
"""The largest count in the vendor's API definition."""


class Count(fields.Integer):
    """An exact JSON integer, 0 … 999,999,999,999: no bool, float, string or null."""

    def __init__(self) -> None:
        super().__init__(strict=True, required=True, validate=validate.Range(0, LARGEST_COUNT))

    def _validated(self, value: Any) -> int:
        # bool is an Integral in Python; in JSON it is no number (C19).
        if type(value) is not int:
            raise self.make_error("invalid", input=value)
        return super()._validated(value)


class TaskCountsSchema(Schema):
    """One group's four counts; fields we do not know are ignored (C78)."""

    class Meta:
        """Ignore what a newer API adds."""

        unknown = EXCLUDE

    running_tasks_count = Count()
    abnormal_tasks_count = Count()
    terminated_tasks_count = Count()
    completed_tasks_count = Count()


class StatisticsSchema(Schema):
    """The whole answer.

    Args:
        optional_groups: the groups (`common`, `cdc`) whose key may be absent; null stays invalid, never both absent.

    """

    class Meta:
        """Ignore what a newer API adds."""

        unknown = EXCLUDE

    common_task_details = fields.Nested(TaskCountsSchema, required=True)
    cdc_task_details = fields.Nested(TaskCountsSchema, required=True)

    def __init__(self, *, optional_groups: Collection[str] = ()) -> None:
        super().__init__()
        for group in optional_groups:
            self.fields[f"{group}_task_details"].required = False

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _is_an_answer(self, _data: dict[str, Any], original: Any, **_: Any) -> None:
        if isinstance(original, dict):
            # An answer that also names an error says two things at once (C24).
            if original.get("error_code") not in (None, ""):
                raise ValidationError("error_code in a successful answer", "error_code")
            if not {"common_task_details", "cdc_task_details"} & original.keys():
                raise ValidationError("no task group", "common_task_details")
