"""Asks one instance for its own statistics: to compare them with CountTasks, and for the counts of flow tasks.

Source: the vendor's API reference, GetInstanceConnectionStatistic, updated 2025-10-22. It counts three kinds of tasks,
CountTasks returns two of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fdi_health.errors import CheckError
from fdi_health.models import TaskCounts

if TYPE_CHECKING:
    from fdi_health.clock import Deadline
    from fdi_health.models import Instance
    from fdi_health.roma.api import Api, Authenticator

KINDS = ("common", "cdc", "flow")
"""The kinds of tasks; "flow" are orchestration tasks."""

FLOW_GROUP = "flow_task_details"
"""The name of the flow tasks' group; CountTasks may have it one day."""

MAX_BODY_BYTES = 256 * 1024
_MAX_COUNT = 999_999_999_999


def count_all_tasks(api: Api, instance: Instance, authenticator: Authenticator, deadline: Deadline) -> dict[str, int]:
    """Return the number of all tasks of each of `KINDS`.

    Raises:
        CheckError: any result code but `token_unavailable`.

    """
    return api.get(
        instance_path(api, instance),
        instance,
        authenticator,
        deadline,
        _read,
        max_body_bytes=MAX_BODY_BYTES,
        purpose="list",
    )


def count_flow_tasks(api: Api, instance: Instance, authenticator: Authenticator, deadline: Deadline) -> TaskCounts:
    """Return the counts of an instance's orchestration ("flow") tasks; raises as `count_all_tasks` does."""
    path = instance_path(api, instance)
    return api.get(
        path,
        instance,
        authenticator,
        deadline,
        _read_flow,
        max_body_bytes=MAX_BODY_BYTES,
        connection="/statistics",
    )


def instance_path(api: Api, instance: Instance) -> str:
    """Return the path of an instance's own statistics."""
    return f"/v1/{api.project_id}/roma/instances/{instance.instance_id}/statistics"


def _read_flow(document: Any) -> TaskCounts:
    counts = _counts_of(document)
    names = [name.replace("_tasks_count", "_flow_tasks_count") for name in TaskCounts._fields]
    found: list[Any] = [counts.get(name) for name in names] if isinstance(counts, dict) else []
    if not found or not all(type(count) is int and 0 <= count <= _MAX_COUNT for count in found):
        raise CheckError(
            "invalid_response",
            "the response has no valid counts of flow tasks (FDI_FLOW_TASKS=check asks for them)",
            upstream_status=200,
        )
    return TaskCounts(*found)


def _counts_of(document: Any) -> Any:
    """Return the member with the counts; None if there is none, or if the document names an error beside it."""
    is_success = isinstance(document, dict) and document.get("error_code") in (None, "")
    return document.get("fdi") if is_success else None


def _read(document: Any) -> dict[str, int]:
    counts = _counts_of(document)
    found = {kind: counts.get(f"all_{kind}_tasks_count", 0) for kind in KINDS} if isinstance(counts, dict) else {}
    if not found or not all(type(count) is int and 0 <= count <= _MAX_COUNT for count in found.values()):
        raise CheckError(
            "invalid_response", "the response is not a statistics document of an instance", upstream_status=200
        )
    return found
