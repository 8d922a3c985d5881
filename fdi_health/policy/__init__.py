"""The operator's policy for instances: how many tasks must be visible or running, and what is muted until when. Pure.

A policy makes a status worse, with one exception: a mute, see `mutes`.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from fdi_health.errors import CheckError
from fdi_health.models import total

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fdi_health.models import Instance, InstanceVerdict

Value = TypeVar("Value")

EVERY = "*"
"""The key of a policy that is for every instance without one of its own."""


class Mute(NamedTuple):
    """A time in which nobody is paged for an instance.

    Attributes:
        begins: in seconds since the epoch, or None if it has begun already.
        ends: in seconds since the epoch.

    """

    begins: float | None
    ends: float

    def is_active(self, present: float) -> bool:
        """Whether the time is now."""
        return (self.begins is None or self.begins <= present) and present < self.ends


class Policy(NamedTuple):
    """The operator's choices. Keys of mappings are aliases, IDs or `*`; the more exact one wins.

    Attributes:
        allow_empty: instances that may have no tasks.
        min_tasks: how many tasks must be visible; fewer is unknown.
        min_running_tasks: how many tasks must run; fewer is unhealthy.
        mutes: when instances are muted.
        task_mutes: when single tasks are muted: instance → task ID or name → when.

    """

    allow_empty: frozenset[str] = frozenset()
    min_tasks: Mapping[str, int] = MappingProxyType({})
    min_running_tasks: Mapping[str, int] = MappingProxyType({})
    mutes: Mapping[str, Mute] = MappingProxyType({})
    task_mutes: Mapping[str, Mapping[str, Mute]] = MappingProxyType({})

    def may_be_empty(self, instance: Instance) -> bool:
        """Whether an instance may have no tasks."""
        return not self.allow_empty.isdisjoint((instance.name, instance.instance_id, EVERY))

    def open_mute(self, instance: Instance, present: float) -> Mute | None:
        """Return the mute of an instance that has not ended, begun or not, or None; the more exact key wins."""
        found = (self.mutes.get(key) for key in (instance.name, instance.instance_id, EVERY))
        return next((mute for mute in found if mute is not None and present < mute.ends), None)

    def open_task_mutes(self, instance: Instance, present: float) -> dict[str, Mute]:
        """Return task → mute for an instance, without those that have ended; the more exact key wins."""
        keys = (EVERY, instance.instance_id, instance.name)
        found = {task: mute for key in keys for task, mute in self.task_mutes.get(key, {}).items()}
        return {task: mute for task, mute in found.items() if present < mute.ends}

    def tasks_named_for(self, instance: Instance) -> set[str]:
        """Return the tasks that are muted for this instance by its name or ID, at any time."""
        return {task for key in (instance.instance_id, instance.name) for task in self.task_mutes.get(key, {})}

    def mute_states(self, present: float) -> tuple[tuple[str, bool], ...]:
        """Return key and activity of each mute that has not ended. A verdict changes with them and the results only."""
        tasks = {f"{key}/{task}": mute for key, mutes in self.task_mutes.items() for task, mute in mutes.items()}
        every = {**self.mutes, **tasks}
        return tuple((key, mute.is_active(present)) for key, mute in every.items() if present < mute.ends)


def find(instance: Instance, values: Mapping[str, Value]) -> Value | None:
    """Return the value for an instance: that of its alias, of its ID, or of `*`; or None."""
    return next((values[key] for key in (instance.name, instance.instance_id, EVERY) if key in values), None)


def missing_tasks(instance: Instance, visible: int, policy: Policy) -> CheckError | None:
    """Return the error of an instance that shows too few tasks, or None."""
    least = find(instance, policy.min_tasks)
    if least is None or visible >= least:
        return None
    return CheckError("tasks_missing", f"{visible} of at least {least} tasks visible")


def missing_running_tasks(instance: Instance, running: int, policy: Policy) -> str | None:
    """Return the reason of an instance with too few running tasks, or None."""
    least = find(instance, policy.min_running_tasks)
    return None if least is None or running >= least else f"{running} of at least {least} tasks running"


def abnormal_tasks(instance: InstanceVerdict) -> int:
    """Return the number of abnormal tasks of all groups."""
    return total(instance).abnormal_tasks_count
