"""Names the tasks behind an instance's counts, from the monitor list and the log of each task. Pure.

Nothing here changes a status or a count. Every text is redacted: names and remarks come from people's
systems.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdi_health.clock import to_datetime
from fdi_health.redaction import redact, redact_credentials
from fdi_health.tasks import AbnormalTask, FailedRun, StoppedTask, TaskList, TaskNames

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from fdi_health.tasks import MonitoredTask

_MAX_NAME_CHARACTERS = 128
_MAX_REMARKS_CHARACTERS = 512


def name_abnormal(
    listed: TaskList | str,
    runs: Mapping[str, FailedRun | str | None],
    abnormal_count: int,
    count: int,
    *,
    remarks: bool = True,
) -> TaskNames:
    """Return at most `count` of an instance's abnormal tasks.

    Args:
        listed: the failed tasks, or why they are not known.
        runs: task ID → what its log says, or why that is not known.
        abnormal_count: how many tasks are abnormal, as the statistics say.
        count: how many to show.
        remarks: whether to show the remarks, which may hold customers' data.

    """
    if isinstance(listed, str):
        return TaskNames((), listed)
    failed = listed.failed
    shown = failed[:count]
    # The total counts what the filter lets through; if that is more than failed tasks, it says nothing of those.
    listed_count = listed.total if listed.total is not None and len(failed) == len(listed.tasks) else len(failed)
    notes = [f"{listed_count - len(shown)} more"] if len(shown) < listed_count else []
    if listed_count != abnormal_count:
        failed_tasks = "1 failed task" if listed_count == 1 else f"{listed_count} failed tasks"
        notes.append(f"the monitor list has {failed_tasks}, the statistics say {abnormal_count}")
    if listed.invalid_count:
        notes.append(f"{listed.invalid_count} entries of the monitor list are not valid")
    missing = sorted({why for why in runs.values() if isinstance(why, str)})
    notes += [f"the log of a task: {why}" for why in missing]
    tasks = tuple(_abnormal_task(task, runs.get(task.task_id), listed.secrets, remarks=remarks) for task in shown)
    return TaskNames(tasks, "; ".join(notes) or None)


def name_stopped(listed: TaskList | str, count: int) -> TaskNames:
    """Return at most `count` of an instance's stopped tasks, those that ran last first."""
    if isinstance(listed, str):
        return TaskNames(stopped=(), stopped_note=listed)
    stopped = sorted(
        (task for task in listed.tasks if task.is_stopped), key=lambda task: -(task.last_execute_time or 0.0)
    )
    notes = [f"{len(stopped) - count} more"] if len(stopped) > count else []
    if not listed.is_complete:
        notes.append("the monitor list is incomplete")
    shown = tuple(_stopped_task(task, listed.secrets) for task in stopped[:count])
    return TaskNames(stopped=shown, stopped_note="; ".join(notes) or None)


def _abnormal_task(
    task: MonitoredTask, run: FailedRun | str | None, secrets: Collection[str], *, remarks: bool
) -> AbnormalTask:
    texts = (
        task.task_id,
        task.task_name,
        task.task_type,
        task.position,
        task.source_app_name,
        task.target_app_name,
    )
    task_id, task_name, task_type, position, source, target = _texts(texts, secrets)
    known = run if isinstance(run, FailedRun) else FailedRun(None, None, None)
    return AbnormalTask(
        task_id,
        task_name,
        task_type,
        position,
        _time(task),
        source,
        target,
        None if known.failed_at is None else to_datetime(known.failed_at),
        redact_credentials(known.remarks, {*secrets, *known.secrets}, _MAX_REMARKS_CHARACTERS) if remarks else None,
        known.dirty_data_count,
    )


def _stopped_task(task: MonitoredTask, secrets: Collection[str]) -> StoppedTask:
    task_id, task_name, task_type = _texts((task.task_id, task.task_name, task.task_type), secrets)
    return StoppedTask(task_id, task_name, task_type, _time(task))


def _texts(texts: Sequence[str | None], secrets: Collection[str]) -> list[str | None]:
    return [redact(text, secrets, _MAX_NAME_CHARACTERS) for text in texts]


def _time(task: MonitoredTask) -> datetime | None:
    return None if task.last_execute_time is None else to_datetime(task.last_execute_time)
