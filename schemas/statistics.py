"""The statistics document of ROMA Connect: groups of four exact counts each.

A group that is not known is still a group: abnormal tasks in it are abnormal tasks. A group that is not valid makes the
whole document invalid, because a count that is left out would look like zero.

Source: the vendor's API reference of ROMA Connect, "Querying Task Status Statistics" (CountTasks).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, validates_schema

from schemas.settings_fields import MARKER

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_COUNT = 999_999_999_999
"""The largest count in the vendor's API definition."""

MAX_OTHER_GROUPS = 16
MAX_GROUP_NAME_LENGTH = 64

REQUIRED_GROUPS = ("common_task_details", "cdc_task_details")
OTHER_GROUPS = "other_task_details"
"""Where further groups stand in what is loaded and shown."""

_SUFFIX = "_task_details"
_GROUP_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{MAX_GROUP_NAME_LENGTH - 1}}}", re.ASCII)

COUNTS = ("running_tasks_count", "abnormal_tasks_count", "terminated_tasks_count", "completed_tasks_count")


class TaskCounts(fields.Field[dict[str, int]]):
    """One group's four counts, each an exact JSON integer in range: no bool, float, string or null.

    Fields we do not know are ignored (C78). One field rather than a nested schema of four: a fleet reads hundreds of
    these at once, and this one costs a fifth.
    """

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> dict[str, int]:  # noqa: ARG002 -- marshmallow's signature
        if not isinstance(value, dict):
            raise ValidationError("Not an object.")
        # bool is an int in Python; in JSON it is not a number (C19).
        faults = {
            name: ["Not an integer from 0 to 999,999,999,999."]
            for name in COUNTS
            if type(value.get(name)) is not int or not 0 <= value[name] <= MAX_COUNT
        }
        if faults:
            raise ValidationError(faults)
        return {name: value[name] for name in COUNTS}


_GROUP = TaskCounts()


def other_groups(document: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Return name → counts of the groups beside the required ones.

    A member is such a group if its name ends in `_task_details`, or if it is an object with an `abnormal_tasks_count`.
    Names are foreign text that is shown and becomes a label: one that is not plain, names the healthy marker or means
    the same group as another is refused, and so are too many. Nothing is dropped.

    Raises:
        ValidationError: a group is not valid; the message names no name, since that may be anything.

    """
    found = {
        name: value
        for name, value in document.items()
        if name not in REQUIRED_GROUPS
        and (name.endswith(_SUFFIX) or (isinstance(value, dict) and "abnormal_tasks_count" in value))
    }
    if not found:
        return {}
    if len(found) > MAX_OTHER_GROUPS:
        raise ValidationError(f"more than {MAX_OTHER_GROUPS} further task groups", OTHER_GROUPS)
    if not all(_GROUP_NAME.fullmatch(name) and not MARKER.search(name) for name in found):
        raise ValidationError("the name of a further task group is not plain", OTHER_GROUPS)
    if len({name.removesuffix(_SUFFIX) for name in (*REQUIRED_GROUPS, *found)}) < len(REQUIRED_GROUPS) + len(found):
        raise ValidationError("two task groups have one name", OTHER_GROUPS)
    try:
        return {name: _GROUP.deserialize(value) for name, value in found.items()}
    except ValidationError as error:
        raise ValidationError({OTHER_GROUPS: error.messages}) from None


class StatisticsSchema(Schema):
    """The whole response, with further groups under `other_task_details`.

    Args:
        optional_groups: the groups (`common`, `cdc`) that may be absent; null stays invalid, never both absent.

    """

    class Meta:
        """Ignore what a newer API adds, except task groups."""

        unknown = EXCLUDE

    common_task_details = TaskCounts(required=True)
    cdc_task_details = TaskCounts(required=True)

    def __init__(self, *, optional_groups: Collection[str] = ()) -> None:
        super().__init__()
        for group in optional_groups:
            self.fields[f"{group}_task_details"].required = False

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _is_a_success(self, _data: dict[str, Any], original: Any, **_: Any) -> None:
        # A document that is not an object is refused elsewhere.
        if isinstance(original, dict):
            # A response that also names an error contradicts itself (C24).
            if original.get("error_code") not in (None, ""):
                raise ValidationError("error_code in a successful answer", "error_code")
            if original.keys().isdisjoint(REQUIRED_GROUPS):
                raise ValidationError("no task group", "common_task_details")

    @post_load(pass_original=True)
    def _with_other_groups(self, data: dict[str, Any], original: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {**data, OTHER_GROUPS: other_groups(original)}
