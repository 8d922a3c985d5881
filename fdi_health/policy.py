"""The operator's policy for instances: how many tasks must be visible or running, and what is muted until when. Pure.

A policy makes a status worse, with one exception: a mute, which the operator sets, which has an end, and which never
makes an instance healthy.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from fdi_health.clock import format_timestamp
from fdi_health.errors import CheckError
from fdi_health.models import InstanceVerdict, VerdictWarning, total

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fdi_health.models import Instance

Value = TypeVar("Value")

EVERY = "*"
"""The key of a policy that is for every instance without one of its own."""

NEVER_MUTED = frozenset({"token_unavailable", "token_rejected", "forbidden", "api_not_found", "blocked"})
"""Codes that are not about an instance: a mute would hide that nothing is watched."""

_MUTED_NEXT_STEP = "Nobody is paged for this instance until then. Look at it in the ROMA Connect console."


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
        allow_empty: names of instances that may have no tasks; `*` for every instance.
        min_tasks: how many tasks must be visible; fewer is unknown.
        min_running_tasks: how many tasks must run; fewer is unhealthy.
        mutes: when instances are muted.

    """

    allow_empty: frozenset[str] = frozenset()
    min_tasks: Mapping[str, int] = MappingProxyType({})
    min_running_tasks: Mapping[str, int] = MappingProxyType({})
    mutes: Mapping[str, Mute] = MappingProxyType({})

    def may_be_empty(self, instance: Instance) -> bool:
        """Whether an instance may have no tasks."""
        return EVERY in self.allow_empty or instance.name in self.allow_empty

    def open_mutes(self, present: float) -> dict[str, Mute]:
        """Return the mutes that have not ended, begun or not: an ended one has no effect."""
        return {key: mute for key, mute in self.mutes.items() if present < mute.ends}

    def mute_states(self, present: float) -> tuple[tuple[str, bool], ...]:
        """Return key and activity of each mute that has not ended. A verdict changes with them and the results only."""
        return tuple((key, mute.is_active(present)) for key, mute in self.open_mutes(present).items())


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


def mute_instance(instance: InstanceVerdict, mute: Mute) -> tuple[InstanceVerdict, VerdictWarning | None]:
    """Return an instance as the mute shows it, and the warning about what is muted; None if nothing is."""
    code = instance.error.code if instance.error is not None else None
    if instance.status not in ("unhealthy", "unknown") or code in NEVER_MUTED:
        return instance, None
    until = format_timestamp(mute.ends)
    what = instance.reason if instance.status == "unhealthy" else f"unknown ({code or 'invalid_response'})"
    message = f"{instance.name} is muted until {until}: {what}."
    muted = instance._replace(status="degraded", reason=f"muted until {until}: {instance.reason}")
    return muted, VerdictWarning("muted", instance.name, message, _MUTED_NEXT_STEP)


def abnormal_tasks(instance: InstanceVerdict) -> int:
    """Return the number of abnormal tasks of all groups."""
    return total(instance).abnormal_tasks_count
