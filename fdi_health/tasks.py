"""The data types of the tasks behind the counts: what the monitor list says, and what a verdict shows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

ERROR = "ERROR"
"""The `execute_status` of a task that failed. That it means "abnormal" is not documented (the vendor's API pages)."""


class MonitoredTask(NamedTuple):
    """One task in the monitor list; its texts are foreign and not yet redacted.

    Attributes:
        task_id, task_name, task_type, execute_status, position, source_app_name, target_app_name: the API's fields.
        is_stopped: whether the task was stopped (`status` 0) or not (1); None if the list does not say.
        last_execute_time: in seconds since the epoch, or None.

    """

    task_id: str
    task_name: str | None = None
    task_type: str | None = None
    execute_status: str | None = None
    position: str | None = None
    is_stopped: bool | None = None
    last_execute_time: float | None = None
    source_app_name: str | None = None
    target_app_name: str | None = None

    def __repr__(self) -> str:
        return f"MonitoredTask({self.execute_status == ERROR})"


class TaskList(NamedTuple):
    """A monitor list as it was read.

    Attributes:
        tasks: its valid entries.
        total: how many tasks there are, as the list says, or None.
        invalid_count: how many entries are not valid.
        secrets: what must not be shown of the texts.

    """

    tasks: tuple[MonitoredTask, ...]
    total: int | None
    invalid_count: int = 0
    secrets: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether every task is in it, each once."""
        ids = {task.task_id for task in self.tasks}
        return not self.invalid_count and self.total == len(self.tasks) == len(ids)

    @property
    def failed(self) -> list[MonitoredTask]:
        """The failed tasks, the worst first: continuous tasks, then those that failed last."""
        found = [task for task in self.tasks if task.execute_status == ERROR]
        return sorted(found, key=lambda task: (task.task_type != "REALTIME", -(task.last_execute_time or 0.0)))

    def __repr__(self) -> str:
        return f"TaskList({len(self.tasks)} of {self.total})"


class FailedRun(NamedTuple):
    """What the log says of the last run of a failed task.

    The remarks are foreign and not yet redacted; `secrets` must not be shown of them.
    """

    failed_at: float | None
    remarks: str | None
    dirty_data_count: int | None
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "FailedRun()"


class AbnormalTask(NamedTuple):
    """An abnormal task as a verdict shows it; None where ROMA Connect does not say. Every text is redacted."""

    task_id: str | None
    task_name: str | None
    task_type: str | None
    position: str | None
    last_execute_time: datetime | None
    source_app_name: str | None
    target_app_name: str | None
    failed_at: datetime | None
    remarks: str | None
    dirty_data_count: int | None

    def __repr__(self) -> str:
        return "AbnormalTask()"


class StoppedTask(NamedTuple):
    """A stopped task as a verdict shows it, for an instance that runs too few tasks."""

    task_id: str | None
    task_name: str | None
    task_type: str | None
    last_execute_time: datetime | None

    def __repr__(self) -> str:
        return "StoppedTask()"


class TaskNames(NamedTuple):
    """The tasks behind one instance's counts, or why they are not known.

    Attributes:
        abnormal: the abnormal tasks, the worst first; None if the instance has none.
        abnormal_note: why that list is missing or incomplete, or None.
        stopped: the stopped tasks, if the instance runs too few; else None.
        stopped_note: the same for those.

    """

    abnormal: tuple[AbnormalTask, ...] | None = None
    abnormal_note: str | None = None
    stopped: tuple[StoppedTask, ...] | None = None
    stopped_note: str | None = None
