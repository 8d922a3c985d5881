"""Asks one instance for its tasks (ListMonitorInfos) and for the failure of one (ListMonitorLog).

They explain a verdict and do not change it, with one exception, which is strict: muted tasks.
Source: the vendor's API reference and SDK, see `schemas.roma.monitors`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from marshmallow import ValidationError

from fdi_health.errors import CheckError
from fdi_health.tasks import ERROR, FailedRun, MonitoredTask, TaskList
from schemas.roma.monitors import load_runs, load_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fdi_health.clock import Deadline
    from fdi_health.models import Instance
    from fdi_health.roma.api import Api, Authenticator, Purpose

MAX_FAILED_TASKS = 100
"""How many failed tasks are read; a verdict shows at most 50."""

MAX_TASKS = 999
"""The vendor's largest page. How it counts the offset of a second page is not documented, so none is asked for."""

_MAX_PAGE_BYTES = 1024 * 1024
_MAX_LIST_BYTES = 4 * 1024 * 1024
_MAX_CHARACTERS = 256
_MAX_REMARKS_CHARACTERS = 1024
FAILED_TASKS = (("execute_status", ERROR), ("offset", "1"), ("limit", str(MAX_FAILED_TASKS)))
"""The query of ListMonitorInfos for failed tasks."""

_ALL_TASKS = (("offset", "1"), ("limit", str(MAX_TASKS)))
_STOPPED = {0: True, 1: False}
"""`status` → whether the task was stopped."""

_RUNS = 10
"""How many runs are read: the order of the log is not documented, and the newest is looked for."""


def list_failed_tasks(api: Api, instance: Instance, authenticator: Authenticator, deadline: Deadline) -> TaskList:
    """Return the tasks of an instance that failed, at most `MAX_FAILED_TASKS`.

    Raises:
        CheckError: any result code but `token_unavailable`.

    """
    return _list(api, instance, authenticator, deadline, FAILED_TASKS, _MAX_PAGE_BYTES, "list")


def list_tasks_for_mutes(api: Api, instance: Instance, authenticator: Authenticator, deadline: Deadline) -> TaskList:
    """Return all tasks of an instance, on which its verdict depends; see `list_all_tasks`.

    The request is retried and compared with the last one like that for the statistics.
    """
    return _list(api, instance, authenticator, deadline, _ALL_TASKS, _MAX_LIST_BYTES, "verdict")


def list_all_tasks(api: Api, instance: Instance, authenticator: Authenticator, deadline: Deadline) -> TaskList:
    """Return all tasks of an instance, at most `MAX_TASKS`; raises as `list_failed_tasks` does."""
    return _list(api, instance, authenticator, deadline, _ALL_TASKS, _MAX_LIST_BYTES, "list")


def read_failure(
    api: Api, instance: Instance, task: MonitoredTask, authenticator: Authenticator, deadline: Deadline
) -> FailedRun | None:
    """Return what the log says of the newest failed run of a task, or None; raises as `list_failed_tasks` does."""
    query = [("offset", "1"), ("limit", str(_RUNS))]
    if task.last_execute_time is not None:
        # Older runs are not asked for: in a log that begins with the oldest, they would fill the page.
        query.append(("begin_time", str(round(task.last_execute_time * 1000))))
    path = f"{_path(api, instance)}/tasks/{quote(task.task_id, safe='')}/monitor-logs"
    runs = _get(api, path, instance, authenticator, deadline, load_runs, query, _MAX_PAGE_BYTES, "log")
    failed = [run for run in runs if run["execute_status"] == ERROR]
    if not failed:
        return None
    newest = max(failed, key=_began)
    remarks = newest["remarks"][:_MAX_REMARKS_CHARACTERS] if newest["remarks"] else None
    failed_at, secrets = newest["end_time"] or newest["start_time"], tuple(authenticator.secrets)
    return FailedRun(failed_at, remarks, newest["dirty_data_count"], secrets)


def _began(run: dict[str, Any]) -> float:
    began: float | None = run["start_time"] or run["dispatch_time"] or run["end_time"]
    return began or 0.0


def list_path(api: Api, instance: Instance) -> str:
    """Return the path of ListMonitorInfos for an instance."""
    return f"{_path(api, instance)}/task-monitors"


def _path(api: Api, instance: Instance) -> str:
    return f"/v2/{api.project_id}/fdi/instances/{instance.instance_id}"


def _list(
    api: Api,
    instance: Instance,
    authenticator: Authenticator,
    deadline: Deadline,
    query: Sequence[tuple[str, str]],
    max_bytes: int,
    purpose: Purpose,
) -> TaskList:
    path = list_path(api, instance)
    entries, total, invalid = _get(api, path, instance, authenticator, deadline, load_tasks, query, max_bytes, purpose)
    return TaskList(tuple(map(_task, entries)), total, invalid, tuple(authenticator.secrets))


def _task(entry: dict[str, Any]) -> MonitoredTask:
    # Lists are kept for some seconds, and a name may have a megabyte.
    texts: dict[str, Any] = {
        name: value[:_MAX_CHARACTERS] if isinstance(value, str) else value for name, value in entry.items()
    }
    return MonitoredTask(is_stopped=_STOPPED.get(texts.pop("status")), **texts)


def _get(
    api: Api,
    path: str,
    instance: Instance,
    authenticator: Authenticator,
    deadline: Deadline,
    load: Callable[[Any], Any],
    query: Sequence[tuple[str, str]],
    max_bytes: int,
    purpose: Purpose,
) -> Any:
    return api.get(
        path,
        instance,
        authenticator,
        deadline,
        partial(_loaded, load),
        query=query,
        max_body_bytes=max_bytes,
        connection="/tasks" if purpose == "verdict" else "",
        purpose=purpose,
    )


def _loaded(load: Callable[[Any], Any], document: Any) -> Any:
    try:
        return load(document)
    except ValidationError:
        raise CheckError("invalid_response", "the response is not a monitor list", upstream_status=200) from None
