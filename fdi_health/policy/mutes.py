"""What is muted: an instance, or single tasks of it, for a time that ends by itself. Pure.

A mute is the only part of a policy that makes a status milder. It never makes an instance healthy, and what it covers
is still shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdi_health.clock import format_timestamp, to_datetime
from fdi_health.models import ListedMute, VerdictWarning, total
from fdi_health.policy import Mute, abnormal_tasks, missing_tasks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fdi_health.models import Instance, InstanceVerdict, ProbeResult
    from fdi_health.policy import Policy
    from fdi_health.tasks import TaskList
    from schemas.policy_fields import TaskMute

NEVER_MUTED = frozenset({"token_unavailable", "token_rejected", "forbidden", "api_not_found", "blocked"})
"""Codes that are not about an instance: a mute would hide that nothing is watched."""

_MAX_KEYS_SHOWN = 5

_MUTED_NEXT_STEP = "Nobody is paged for this instance until then. Look at it in the ROMA Connect console."


def mutes_of_tasks(entries: Iterable[TaskMute]) -> dict[str, dict[str, Mute]]:
    """Return instance → task → mute."""
    found: dict[str, dict[str, Mute]] = {}
    for entry in entries:
        found.setdefault(entry.instance, {})[entry.task] = Mute(entry.begins, entry.ends)
    return found


def may_mute_tasks(result: ProbeResult, policy: Policy, present: float) -> bool:
    """Whether the verdict over an instance depends on the names of its abnormal tasks."""
    if result.error is not None or result.statistics is None or not total(result.statistics).abnormal_tasks_count:
        return False
    mutes = policy.open_task_mutes(result.instance, present) if policy.task_mutes else {}
    return any(mute.is_active(present) for mute in mutes.values())


def listed_mutes(instance: Instance, policy: Policy, present: float) -> list[ListedMute]:
    """Return the mutes of an instance and of its tasks that have not ended, active or not."""
    whole = policy.open_mute(instance, present)
    tasks = policy.open_task_mutes(instance, present) if policy.task_mutes else {}
    found: list[tuple[str | None, Mute]] = [(None, whole)] if whole is not None else []
    return [
        ListedMute(instance.name, None if one.begins is None else to_datetime(one.begins), to_datetime(one.ends), task)
        for task, one in [*found, *tasks.items()]
    ]


def mute(
    instance: InstanceVerdict,
    result: ProbeResult,
    policy: Policy,
    present: float,
    task_lists: Mapping[str, TaskList | str],
) -> tuple[InstanceVerdict, list[VerdictWarning]]:
    """Return an instance as the active mutes show it, and the warnings about them."""
    whole = policy.open_mute(result.instance, present)
    if whole is not None and whole.is_active(present):
        instance, warning = mute_instance(instance, whole)
        return instance, [warning] if warning is not None else []
    if not may_mute_tasks(result, policy, present):
        return instance, []
    mutes = policy.open_task_mutes(result.instance, present)
    active = {task: one for task, one in mutes.items() if one.is_active(present)}
    listed = task_lists.get(result.instance.instance_id, "not asked")
    visible = sum(total(result.statistics)) if result.statistics is not None else 0
    too_few = missing_tasks(result.instance, visible, policy) is not None
    instance, warning = mute_tasks(instance, active, listed, too_few_visible=too_few)
    own = policy.tasks_named_for(result.instance)
    unmatched = unmatched_mutes(instance.name, (task for task in active if task in own), listed)
    return instance, [*([warning] if warning is not None else []), *unmatched]


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


def mute_tasks(
    instance: InstanceVerdict, mutes: Mapping[str, Mute], listed: TaskList | str, *, too_few_visible: bool = False
) -> tuple[InstanceVerdict, VerdictWarning | None]:
    """Return an unhealthy instance as the mutes of its tasks show it, and the warning about what is muted.

    It is degraded only if every abnormal task is known and muted, and nothing else is wrong. Otherwise its reason says
    why nothing is muted.

    Args:
        instance: unhealthy, with abnormal tasks.
        mutes: task ID or name → the mute, each active.
        listed: all tasks of the instance, or why they are not known.
        too_few_visible: whether fewer tasks are visible than the policy demands.

    """
    why_not = "too few tasks are visible" if too_few_visible else _why_not_muted(instance, mutes, listed)
    if why_not is not None or isinstance(listed, str):
        return instance._replace(reason=f"{instance.reason}; mute not applied: {why_not}"), None
    muted = _muted_ids(mutes, listed)
    used = list(dict.fromkeys(muted[task.task_id] for task in listed.failed))
    until = format_timestamp(min(mutes[key].ends for key in used))
    names = ", ".join(used[:_MAX_KEYS_SHOWN]) + (
        f", +{len(used) - _MAX_KEYS_SHOWN} more" if len(used) > _MAX_KEYS_SHOWN else ""
    )
    message = f"{instance.reason} in {instance.name}, each muted at least until {until}: {names}."
    degraded = instance._replace(status="degraded", reason=f"tasks muted until {until}: {instance.reason}")
    return degraded, VerdictWarning("muted_tasks", instance.name, message, _MUTED_NEXT_STEP)


def unmatched_mutes(name: str, keys: Iterable[str], listed: TaskList | str) -> list[VerdictWarning]:
    """Return the warnings about mutes of tasks that an instance does not have."""
    if isinstance(listed, str) or not listed.is_complete:
        return []
    meant = _ids_by_key(listed)
    return [
        VerdictWarning(
            "mute_unmatched",
            name,
            f"FDI_MUTED_TASKS names {key} in {name}, and there is no such task.",
            f"Correct or remove {key} in FDI_MUTED_TASKS.",
        )
        for key in keys
        if key not in meant
    ]


def _why_not_muted(instance: InstanceVerdict, mutes: Mapping[str, Mute], listed: TaskList | str) -> str | None:
    """Return why the abnormal tasks of an instance are not muted, or None if every one of them is."""
    if isinstance(listed, str):
        return f"the monitor list: {listed}"
    if instance.runs_too_few:
        return "too few tasks run"
    if any(counts.abnormal_tasks_count for counts in instance.other_task_details.values()):
        return "a further group has abnormal tasks"
    if not listed.is_complete:
        return "the monitor list is incomplete"
    failed, abnormal = listed.failed, abnormal_tasks(instance)
    if len(failed) != abnormal:
        return f"{len(failed)} ERROR tasks, the statistics say {abnormal}"
    if any(task.is_stopped is not False for task in failed):
        # The statistics may count it as terminated, and another task as abnormal.
        return "a failed task is stopped, or the list does not say whether it is"
    muted = _muted_ids(mutes, listed)
    free = sum(task.task_id not in muted for task in failed)
    return f"{free} of {abnormal} abnormal tasks not muted" if free else None


def _muted_ids(mutes: Mapping[str, Mute], listed: TaskList) -> dict[str, str]:
    """Return task ID → the key that mutes it. A key that may mean several tasks mutes none."""
    meant = _ids_by_key(listed)
    return {next(iter(ids)): key for key in mutes if len(ids := meant.get(key, set())) == 1}


def _ids_by_key(listed: TaskList) -> dict[str, set[str]]:
    """Return ID or name → the IDs of the tasks that it may mean."""
    meant: dict[str, set[str]] = {}
    for task in listed.tasks:
        for key in {task.task_id, task.task_name}:
            if key is not None:
                meant.setdefault(key, set()).add(task.task_id)
    return meant
