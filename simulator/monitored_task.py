"""A task as ListMonitorInfos and ListMonitorLog show it, and the tasks that agree with given statistics.

Source: the vendor's API reference and the models of its Python SDK, as gathered in the project's notes on the upstream.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from simulator.instance_statistics import task_count

MAX_TASKS_PER_STATE: Final = 1000
"""A count of the statistics may be 999,999,999,999: no more tasks than this are made up for it."""

_DAY_MILLISECONDS: Final = 24 * 3600 * 1000


class _State(NamedTuple):
    """How the tasks of one count of the statistics look; `log_status` is the documented code of their last run."""

    execute_status: str
    status: int
    log_status: int


_STATES: Final = {
    "abnormal": _State("ERROR", 1, 103),  # the source failed
    "running": _State("RUNNING", 1, 102),  # data is being read
    "terminated": _State("CANCELLED", 0, 16),  # cancelled by force
    "completed": _State("SUCCESS", 1, 901),  # the run has ended
}

_POSITION_STATUS: Final = {
    "ERROR": "RUNTIME_ERR",
    "RUNNING": "NORMAL",
    "CANCELLED": "RUNTIME_CANCEL",
    "SUCCESS": "TASK_END",
}

# Position → the plug-in that works there, and the code with which it ends.
_STAGES: Final = {"ADAPTER": ("adapter", 900), "READER": ("apireader", 101), "WRITER": ("rdbwriter", 501)}


@dataclass(frozen=True, slots=True)
class MonitoredTask:
    """One task and its last run. Every text may be any string, so that tests can play hostile ones.

    `last_execute_time` is in milliseconds since the epoch; a task with None has never run and has no log. The last run
    ends `run_seconds` later, with `remarks`, `dirty_data_count` and the code `log_status`. The log has that many
    `runs`, a day apart; all but the last succeeded.
    """

    task_id: str = "task-1"
    task_name: str = "nightly-export"
    task_type: str = "TIMING"
    status: int = 1
    execute_status: str = "ERROR"
    position: str = "READER"
    last_execute_time: int | None = 1764288000000
    source_app_name: str = "erp"
    target_app_name: str = "warehouse"
    ext_type: str | None = None
    remarks: str | None = None
    dirty_data_count: int = 0
    run_seconds: float = 2.0
    log_status: int = 103
    runs: int = 1


def task_document(task: MonitoredTask) -> dict[str, Any]:
    """Return a task as an entity of ListMonitorInfos."""
    timed = task.task_type == "TIMING"
    return {
        "task_id": task.task_id,
        "task_name": task.task_name,
        "task_type": task.task_type,
        "status": task.status,
        "last_execute_time": task.last_execute_time,
        "use_quartz_cron": False if timed else None,
        "cron": None,
        "period": "DAY" if timed else None,
        "dispatch_interval": 1 if timed else None,
        "position": task.position,
        "execute_status": task.execute_status,
        "source_app_id": "source-app",
        "source_app_name": task.source_app_name,
        "source_instance_id": "source-instance",
        "target_app_id": "target-app",
        "target_app_name": task.target_app_name,
        "target_instance_id": "target-instance",
        "ext_type": task.ext_type,
        "enterprise_project_id": "0",
        "task_tag": "",
    }


def run_documents(task: MonitoredTask) -> list[dict[str, Any]]:
    """Return the runs of a task as entities of ListMonitorLog, the newest first."""
    if task.last_execute_time is None:
        return []
    older = replace(task, execute_status="SUCCESS", position="WRITER", remarks="ok", dirty_data_count=0, log_status=901)
    return [
        _run_document(older if age else task, task.runs - age, task.last_execute_time - age * _DAY_MILLISECONDS)
        for age in range(task.runs)
    ]


def _run_document(task: MonitoredTask, number: int, start_time: int) -> dict[str, Any]:
    run_id, spent = f"{task.task_id}-run-{number}", round(task.run_seconds * 1000)
    timed = task.task_type == "TIMING"
    outcome = {
        "status": task.log_status,
        "position": task.position,
        "position_status": _POSITION_STATUS.get(task.execute_status, "NORMAL"),
        "dirty_data_count": task.dirty_data_count,
        "data_count": 100 if task.execute_status == "SUCCESS" else 0,
        "data_size": 12.5 if task.execute_status == "SUCCESS" else 0.0,
        "data_size_unit": "KB",
        "spend_time": spent,
        "remarks": task.remarks,
    }
    stage, _ = _STAGES.get(task.position, (task.position.lower(), 0))
    last_step = {
        "id": f"{run_id}-{stage}",
        "stage": stage,
        **outcome,
        "step_begin_time": start_time,
        "step_end_time": start_time + spent,
    }
    # The steps before the one where the run stood have ended normally, and took no time.
    earlier = [
        {
            **last_step,
            "id": f"{run_id}-{stage}",
            "stage": stage,
            "status": status,
            "position": position,
            "position_status": "NODE_END",
            "dirty_data_count": 0,
            "spend_time": 0,
            "remarks": "ok",
            "step_end_time": start_time,
        }
        for position, (stage, status) in itertools.takewhile(lambda item: item[0] != task.position, _STAGES.items())
    ]
    return {
        "id": run_id,
        "start_time": start_time,
        "dispatch_time": start_time,
        "end_time": start_time + spent,
        "execute_status": task.execute_status,
        **outcome,
        "read_spend_time": spent if timed else None,
        "write_spend_time": 0 if timed else None,
        "detail_logs": [*earlier, last_step],
    }


def tasks_of_statistics(statistics: Any) -> list[MonitoredTask]:
    """Return tasks that agree with a document of CountTasks, those in ERROR first.

    Args:
        statistics: the document; what is not a count in it has no tasks. At most `MAX_TASKS_PER_STATE` tasks of a state
            are made up, common and cdc ones together.

    """
    tasks: list[MonitoredTask] = []
    numbers = {kind: itertools.count(1) for kind in ("common", "cdc")}
    for name, state in _STATES.items():
        left = MAX_TASKS_PER_STATE
        for kind, number in numbers.items():
            count = min(task_count(statistics, kind, name), left)
            left -= count
            tasks += [_made_up_task(kind, next(number), state) for _ in range(count)]
    return tasks


def _made_up_task(kind: str, number: int, state: _State) -> MonitoredTask:
    is_cdc = kind == "cdc"
    return MonitoredTask(
        task_id=f"id-of-{kind}-task-{number}",
        task_name=f"{kind}-task-{number}",
        task_type="REALTIME" if is_cdc else "TIMING",
        ext_type="CDC" if is_cdc else None,
        execute_status=state.execute_status,
        status=state.status,
        log_status=state.log_status,
    )
