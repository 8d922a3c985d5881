"""Reads the tasks behind the counts of instances: in parallel, within the deadline, each list once for all callers.

It has threads of its own, so that a slow monitor list never delays a probe. Why something is not known is a value, in a
few words, and not an exception: the verdict stands without it.
"""

from __future__ import annotations

from concurrent.futures import wait
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from fdi_health import log
from fdi_health.clock import now
from fdi_health.concurrency.single_flight import SingleFlight
from fdi_health.errors import CheckError
from fdi_health.models import Instance
from fdi_health.policy import abnormal_tasks
from fdi_health.roma.monitors import list_all_tasks, list_failed_tasks, read_failure
from fdi_health.roma.task_names import name_abnormal, name_stopped
from fdi_health.tasks import FailedRun, TaskList

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from fdi_health.clock import Deadline, Instant
    from fdi_health.concurrency.daemon_thread_pool import DaemonThreadPool
    from fdi_health.concurrency.single_flight import Call
    from fdi_health.models import InstanceVerdict
    from fdi_health.roma.api import Api, Authenticator
    from fdi_health.tasks import MonitoredTask, TaskNames

MAX_INSTANCES = 20
"""How many instances are asked for one verdict; the rest of the vendor's rate belongs to the statistics."""

MAX_RUNS = 100
"""How many logs are read for one verdict."""

_MAX_KEPT = 200
_RUN_SECONDS = 600.0
"""How long a failure is kept. The log of a run that ended does not change, but a reason may be written late."""

_NO_TIME = "no time left"

Key: TypeAlias = "tuple[Any, ...]"


class AuthenticatorSource(Protocol):
    """Provides the token or access key of one target."""

    def current(self, deadline: Deadline) -> Authenticator:
        """Return the cached token or access key, reading it first if there is none; raises CheckError."""
        ...


class _Kept(NamedTuple):
    value: Any
    arrived: Instant
    seconds: float


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
        self._api, self._cache_seconds, self._clock = api, cache_seconds, clock
        self._kept: dict[Key, _Kept] = {}
        self._calls: SingleFlight[Key, Any] = SingleFlight(pool.submit, limit_seconds, self._keep, clock)

    def names(
        self, instances: Sequence[InstanceVerdict], count: int, tokens: AuthenticatorSource, deadline: Deadline
    ) -> dict[str, TaskNames]:
        """Return instance ID → the tasks behind its counts, at the deadline at the latest.

        Args:
            instances: parts of a verdict; those without abnormal tasks and with enough running ones are left out.
            count: how many tasks of each to name.
            tokens: authenticates the requests.
            deadline: when the names must be here.

        """
        abnormal = {_instance(part): found for part in instances if (found := abnormal_tasks(part))}
        stopped = [_instance(part) for part in instances if part.runs_too_few]
        failed, every = self._lists(list(abnormal.items()), [(instance, 0) for instance in stopped], tokens, deadline)
        shown = [
            (instance, task)
            for instance in abnormal
            if isinstance(listed := failed[instance.instance_id], TaskList)
            for task in listed.failed[:count]
        ]
        runs = self._failed_runs(shown, tokens, deadline)
        names = {
            instance.instance_id: name_abnormal(
                failed[instance.instance_id],
                {task_id: run for (instance_id, task_id), run in runs.items() if instance_id == instance.instance_id},
                found,
                count,
            )
            for instance, found in abnormal.items()
        }
        for instance in stopped:
            own = name_stopped(every[instance.instance_id], count)
            before = names.get(instance.instance_id, own)
            names[instance.instance_id] = before._replace(stopped=own.stopped, stopped_note=own.stopped_note)
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
        return self._lists([], wanted, tokens, deadline)[1]

    def _lists(
        self,
        failed: Sequence[tuple[Instance, Hashable]],
        every: Sequence[tuple[Instance, Hashable]],
        tokens: AuthenticatorSource,
        deadline: Deadline,
    ) -> tuple[dict[str, TaskList | str], dict[str, TaskList | str]]:
        """Return instance ID → its failed tasks, and instance ID → all of its tasks; or why they are not known."""
        works: dict[Key, Callable[[Any, Deadline], Any]] = {
            (ask, instance.instance_id, kept_for): partial(ask, self._api, instance)
            for ask, wanted in ((list_failed_tasks, failed), (list_all_tasks, every))
            for instance, kept_for in wanted[:MAX_INSTANCES]
        }
        results = self._results(works, tokens, deadline)
        too_many = f"only {MAX_INSTANCES} instances are asked at once"
        failed_lists, all_lists = (
            {
                instance.instance_id: results.get((ask, instance.instance_id, kept_for), too_many)
                for instance, kept_for in wanted
            }
            for ask, wanted in ((list_failed_tasks, failed), (list_all_tasks, every))
        )
        return failed_lists, all_lists

    def _failed_runs(
        self, tasks: Sequence[tuple[Instance, MonitoredTask]], tokens: AuthenticatorSource, deadline: Deadline
    ) -> dict[tuple[str, str], FailedRun | str | None]:
        """Return (instance ID, task ID) → what the log says, None if it has no failure, or why it is not known."""
        works: dict[Key, Callable[[Any, Deadline], Any]] = {
            (instance.instance_id, task.task_id, task.last_execute_time): partial(
                read_failure, self._api, instance, task
            )
            for instance, task in tasks[:MAX_RUNS]
        }
        found = self._results(works, tokens, deadline)
        return {(instance_id, task_id): result for (instance_id, task_id, _), result in found.items()}

    def _results(
        self, works: Mapping[Key, Callable[[Any, Deadline], Any]], tokens: AuthenticatorSource, deadline: Deadline
    ) -> dict[Key, Any]:
        """Return key → result. What is not kept is asked for, all at the same time."""
        results: dict[Key, Any] = {}
        calls: dict[Key, Call[Any]] = {}
        with self._calls.lock:
            present = self._clock()
            for key in works:
                kept = self._kept.get(key)
                if kept is not None and kept.arrived.seconds_until(present) < kept.seconds:
                    results[key] = kept.value
        missing = [key for key in works if key not in results]
        if not missing:
            return results
        try:
            authenticator = tokens.current(deadline)
        except CheckError as error:
            return results | dict.fromkeys(missing, _why_not(error))
        for key in missing:
            with self._calls.lock:
                call = self._calls.in_progress(key) or self._calls.start(
                    key, partial(_value_or_words, works[key], authenticator)
                )
            if call is not None:
                calls[key] = call
        wait([call.result for call in calls.values()], timeout=deadline.remaining())
        return results | {key: _result_of(calls.get(key)) for key in missing}

    def _keep(self, key: Key, value: Any) -> None:
        present = self._clock()
        for old in [old for old, kept in self._kept.items() if kept.arrived.seconds_until(present) >= kept.seconds]:
            del self._kept[old]
        if isinstance(value, TaskList | FailedRun) and len(self._kept) < _MAX_KEPT:
            seconds = _RUN_SECONDS if isinstance(value, FailedRun) else self._cache_seconds
            self._kept[key] = _Kept(value, present, seconds)


def _instance(part: InstanceVerdict) -> Instance:
    return Instance(part.name, part.instance_id)


def _value_or_words(work: Callable[[Any, Deadline], Any], authenticator: Any, call: Call[Any]) -> Any:
    if call.deadline.expired:
        return _NO_TIME
    try:
        return work(authenticator, call.deadline)
    except CheckError as error:
        return _why_not(error)
    except Exception as error:  # noqa: BLE001 -- a fault of ours must not take the verdict with it
        log.log_fault(error)
        return "fdi-health itself failed; its log says where"


def _result_of(call: Call[Any] | None) -> Any:
    if call is None:
        return "no thread was free"
    in_time = call.result.done() and not call.result.cancelled()
    return call.result.result() if in_time else _NO_TIME


def _why_not(error: CheckError) -> str:
    if error.code == "timeout":
        return _NO_TIME
    if error.code == "throttled":
        return "ROMA Connect is rate limiting"
    return f"not readable ({error.code})"
