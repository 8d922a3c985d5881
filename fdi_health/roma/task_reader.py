"""Reads the tasks behind the counts of instances: in parallel, within the deadline, each list once for all callers.

It has threads of its own, so that a slow list takes none from the probes. Why something is not known is a value, in a
few words, and not an exception: the verdict stands without it. What reads and names tasks is imported where it is used,
since most checks of a healthy fleet need none of it.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from fdi_health.clock import now
from fdi_health.log import log_fault
from fdi_health.models import Instance
from fdi_health.policy import abnormal_tasks
from fdi_health.roma.shared_requests import SharedRequests

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from fdi_health.clock import Deadline, Instant
    from fdi_health.concurrency.daemon_thread_pool import DaemonThreadPool
    from fdi_health.models import InstanceVerdict
    from fdi_health.roma.api import Api
    from fdi_health.roma.shared_requests import AuthenticatorSource, Key, Work
    from fdi_health.tasks import FailedRun, MonitoredTask, TaskList, TaskNames

MAX_INSTANCES = 20
"""How many instances are asked for one verdict; the rest of the vendor's rate belongs to the statistics."""

MAX_RUNS = 100
"""How many logs are read for one verdict."""

MAX_WAITING = 16
"""How many callers wait for names at once; each holds one of the process's places for checks."""

_TOO_MANY_CALLERS = "too many callers ask for it now"

_Ask: TypeAlias = "Callable[[Api, Instance, Any, Deadline], TaskList]"


class TaskReader:
    """Reads the monitor lists and logs of one target's instances.

    Args:
        api: the API of the target.
        pool: the threads that wait for ROMA Connect; not those of the probes.
        cache_seconds: how long a list is reused, as long as the count that it explains is the same.
        limit_seconds: how long one request may take.
        clock: reads both clocks.

    """

    def __init__(
        self,
        api: Api,
        pool: DaemonThreadPool,
        cache_seconds: float,
        limit_seconds: float,
        clock: Callable[[], Instant] = now,
    ) -> None:
        self._api = api
        self._requests = SharedRequests(pool, cache_seconds, limit_seconds, clock)
        self._waiting = threading.BoundedSemaphore(MAX_WAITING)

    def names(
        self,
        instances: Sequence[InstanceVerdict],
        count: int,
        tokens: AuthenticatorSource,
        deadline: Deadline,
        *,
        remarks: bool = False,
    ) -> dict[tuple[str | None, str], TaskNames]:
        """Return target and instance ID → the tasks behind the counts, at the deadline at the latest.

        Args:
            instances: parts of a verdict; those without abnormal tasks and with enough running ones are left out.
            count: how many tasks of each to name.
            tokens: authenticates the requests.
            deadline: when the names must be here.
            remarks: whether to show why a task failed, which may hold customers' data.

        """
        abnormal = {_instance(part): found for part in instances if (found := abnormal_tasks(part))}
        stopped = [_instance(part) for part in instances if part.runs_too_few]
        if not abnormal and not stopped:
            return {}
        has_place = self._waiting.acquire(blocking=False)
        try:
            if not has_place:
                return _busy([*abnormal, *stopped])
            return self._names(abnormal, stopped, count, tokens, deadline, remarks=remarks)
        except Exception as error:  # noqa: BLE001 -- a fault of ours with the names must not take the verdict away
            log_fault(error)
            return {}
        finally:
            if has_place:
                self._waiting.release()

    def _names(
        self,
        abnormal: Mapping[Instance, int],
        stopped: Sequence[Instance],
        count: int,
        tokens: AuthenticatorSource,
        deadline: Deadline,
        *,
        remarks: bool,
    ) -> dict[tuple[str | None, str], TaskNames]:
        from fdi_health.roma.monitors import list_all_tasks, list_failed_tasks
        from fdi_health.roma.task_names import name_abnormal, name_stopped
        from fdi_health.tasks import TaskList

        wanted: dict[_Ask, list[tuple[Instance, Hashable]]] = {
            list_failed_tasks: list(abnormal.items()),
            list_all_tasks: [(instance, 0) for instance in stopped],
        }
        lists = self._lists(wanted, tokens, deadline)
        failed, every = lists[list_failed_tasks], lists[list_all_tasks]
        shown = [
            (instance, task)
            for instance in abnormal
            if isinstance(listed := failed[instance.instance_id], TaskList)
            for task in listed.failed[:count]
        ]
        runs = self._failed_runs(shown, tokens, deadline)
        names = {
            (instance.target, instance.instance_id): name_abnormal(
                failed[instance.instance_id],
                {task_id: run for (instance_id, task_id), run in runs.items() if instance_id == instance.instance_id},
                found,
                count,
                remarks=remarks,
            )
            for instance, found in abnormal.items()
        }
        for instance in stopped:
            own = name_stopped(every[instance.instance_id], count)
            key = instance.target, instance.instance_id
            names[key] = names.get(key, own)._replace(stopped=own.stopped, stopped_note=own.stopped_note)
        return names

    def all_tasks(
        self, wanted: Sequence[tuple[Instance, Hashable]], tokens: AuthenticatorSource, deadline: Deadline
    ) -> dict[str, TaskList | str]:
        """Return instance ID → all tasks, or why they are not known, at the deadline at the latest.

        Args:
            wanted: instances, and what the list must belong to: it is kept for nothing else. Only the first
                `MAX_INSTANCES` are asked.
            tokens: authenticates the requests.
            deadline: when the results must be here.

        """
        from fdi_health.roma.monitors import list_tasks_for_mutes

        return self._lists({list_tasks_for_mutes: wanted}, tokens, deadline)[list_tasks_for_mutes]

    def _lists(
        self,
        wanted: Mapping[_Ask, Sequence[tuple[Instance, Hashable]]],
        tokens: AuthenticatorSource,
        deadline: Deadline,
    ) -> dict[_Ask, dict[str, TaskList | str]]:
        """Return kind of list → instance ID → the list, or why it is not known."""
        works: dict[Key, Work] = {
            (ask, instance.instance_id, kept_for): partial(ask, self._api, instance)
            for ask, instances in wanted.items()
            for instance, kept_for in instances[:MAX_INSTANCES]
        }
        results = self._requests.results(works, tokens, deadline)
        too_many = f"only {MAX_INSTANCES} instances are asked at once"
        return {
            ask: {
                instance.instance_id: results.get((ask, instance.instance_id, kept_for), too_many)
                for instance, kept_for in instances
            }
            for ask, instances in wanted.items()
        }

    def _failed_runs(
        self, tasks: Sequence[tuple[Instance, MonitoredTask]], tokens: AuthenticatorSource, deadline: Deadline
    ) -> dict[tuple[str, str], FailedRun | str | None]:
        """Return (instance ID, task ID) → what the log says, None if it has no failure, or why it is not known."""
        from fdi_health.roma.monitors import read_failure

        works: dict[Key, Work] = {
            (instance.instance_id, task.task_id, task.last_execute_time): partial(
                read_failure, self._api, instance, task
            )
            for instance, task in tasks[:MAX_RUNS]
        }
        found = self._requests.results(works, tokens, deadline)
        return {(instance_id, task_id): result for (instance_id, task_id, _), result in found.items()}


def _busy(instances: Sequence[Instance]) -> dict[tuple[str | None, str], TaskNames]:
    from fdi_health.tasks import TaskNames

    busy = TaskNames((), _TOO_MANY_CALLERS, (), _TOO_MANY_CALLERS)
    return {(instance.target, instance.instance_id): busy for instance in instances}


def _instance(part: InstanceVerdict) -> Instance:
    return Instance(part.name, part.instance_id, part.target)
