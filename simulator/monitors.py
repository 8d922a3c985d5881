"""ListMonitorInfos and ListMonitorLog: the tasks of an instance by name, and why a task failed.

Source: the vendor's API reference and its Python SDK, as gathered in the project's notes on the upstream. Not
documented, and chosen here: that an offset counts entries, that a log's times compare with the start of a run, and that
a malformed parameter is refused with FDI.3002.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import parse_qsl, unquote

from simulator.documented_responses import error_response
from simulator.faults import behaviour_named
from simulator.monitored_task import MonitoredTask, run_documents, task_document, tasks_of_statistics
from simulator.responses import Responder, Response, json_response

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from simulator.request_parser import Request
    from simulator.script import Script

PATH: Final = re.compile(
    r"/v2/(?P<project>[^/?]*)/fdi/instances/(?P<instance>[^/?]*)/"
    r"(?:task-monitors|tasks/(?P<task>[^/?]*)/monitor-logs)(?:\?.*)?",
    re.DOTALL,
)

EXECUTE_STATUSES: Final = ("UNSTARTED", "WAITING", "RUNNING", "SUCCESS", "CANCELLED", "ERROR")
MAX_LIMIT: Final = 999
DEFAULT_LIMIT: Final = 10

_MAX_DIGITS: Final = 15
_END_OF_TIME: Final = 10**_MAX_DIGITS

_Behaviour: TypeAlias = "str | Response | Responder | None"


class _InvalidParameterError(ValueError):
    """A parameter of the query is not valid."""


class Monitors:
    """The tasks of each instance. The simulator's thread reads them; the test's thread changes them.

    Attributes:
        offset_is_page: whether `offset` is the number of a page. Otherwise it is the number of the page's first entry.
            Both begin at 1.

    """

    def __init__(self) -> None:
        self.offset_is_page = False
        self._tasks: dict[str, list[MonitoredTask]] = {}
        self._failures: dict[str, Response | Responder] = {}
        self._log_failures: dict[str, Response | Responder] = {}

    def put(self, instance_id: str, tasks: Iterable[MonitoredTask]) -> None:
        """Set the tasks of an instance, in place of those made up from the statistics that it plays."""
        self._tasks[instance_id] = list(tasks)

    def fail(self, instance_id: str, behaviour: _Behaviour) -> None:
        """Play a behaviour to every authorized ListMonitorInfos of an instance; None undoes it.

        Raises: UnknownBehaviourError (a ValueError) for a name that is not in `fault_names()`.
        """
        _set_failure(self._failures, instance_id, behaviour)

    def fail_logs(self, instance_id: str, behaviour: _Behaviour) -> None:
        """Play a behaviour to every authorized ListMonitorLog of an instance; None undoes it.

        Raises: UnknownBehaviourError (a ValueError) for a name that is not in `fault_names()`.
        """
        _set_failure(self._log_failures, instance_id, behaviour)

    def respond(self, request: Request, path: re.Match[str], script: Script | None, *, restricted: bool) -> Response:
        """Return the response to an authorized request of this project.

        Args:
            request: the request.
            path: the match of `PATH` with its target.
            script: what the instance plays, or None for an instance that plays nothing.
            restricted: whether the user sees no task.

        """
        instance_id = unquote(path["instance"])
        failure = (self._failures if path["task"] is None else self._log_failures).get(instance_id)
        if failure is not None:
            return failure if isinstance(failure, Response) else failure(request)
        tasks = self._tasks.get(instance_id)
        if tasks is None:
            if script is None:
                return error_response("APIC.7302")
            tasks = tasks_of_statistics(script.last_document)
        # An empty value is the same as none, so that blank ones may be dropped.
        query = dict(parse_qsl(request.target.partition("?")[2]))
        visible = [] if restricted else tasks
        try:
            if path["task"] is None:
                return self._list_tasks(visible, query)
            return self._list_runs(visible, unquote(path["task"]), query)
        except _InvalidParameterError:
            return error_response("FDI.3002")

    def _list_tasks(self, tasks: Sequence[MonitoredTask], query: dict[str, str]) -> Response:
        execute_status, task_name = query.get("execute_status"), query.get("task_name", "")
        if execute_status not in (None, *EXECUTE_STATUSES):
            raise _InvalidParameterError
        found = [
            task for task in tasks if task_name in task.task_name and execute_status in (None, task.execute_status)
        ]
        return _page_response(len(found), [task_document(task) for task in found[self._page(query)]])

    def _list_runs(self, tasks: Sequence[MonitoredTask], task_id: str, query: dict[str, str]) -> Response:
        task = next((task for task in tasks if task.task_id == task_id), None)
        if task is None:
            return error_response("FDI.3081")
        begin, end = _number(query, "begin_time", 0), _number(query, "end_time", _END_OF_TIME)
        found = [run for run in run_documents(task) if begin <= run["start_time"] <= end]
        return _page_response(len(found), found[self._page(query)])

    def _page(self, query: dict[str, str]) -> slice:
        """Return which entries are on the page that a query asks for."""
        limit = min(_number(query, "limit", DEFAULT_LIMIT), MAX_LIMIT)
        start = max(_number(query, "offset", 1), 1) - 1
        if limit == 0:
            raise _InvalidParameterError
        if self.offset_is_page:
            start *= limit
        return slice(start, start + limit)


def _set_failure(failures: dict[str, Response | Responder], instance_id: str, behaviour: _Behaviour) -> None:
    if behaviour is None:
        failures.pop(instance_id, None)
    else:
        failures[instance_id] = behaviour_named(behaviour) if isinstance(behaviour, str) else behaviour


def _number(query: dict[str, str], name: str, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise _InvalidParameterError
    return int(text)


def _page_response(total: int, entities: list[dict[str, object]]) -> Response:
    return json_response({"total": total, "size": len(entities), "entities": entities})
