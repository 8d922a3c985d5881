"""Evaluates results by the operator's policy: the verdict decides whether somebody is paged. No I/O, no clock."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING

from fdi_health.clock import format_timestamp
from fdi_health.models import (
    NO_COUNTS,
    WORST_FIRST,
    Details,
    InstanceVerdict,
    Verdict,
    VerdictWarning,
    add_up,
    counts_by_group,
    total,
)
from fdi_health.policy import missing_running_tasks, missing_tasks
from fdi_health.policy.mutes import listed_mutes, mute
from fdi_health.reasons import (
    EXPIRES,
    MAX_REASON_CHARACTERS,
    NO_TASKS,
    anonymous_reason_of,
    count_tasks,
    fit,
    other_clauses,
    reason_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from fdi_health.errors import CheckError
    from fdi_health.models import ListedMute, ProbeResult, Status, TokenState
    from fdi_health.policy import Policy
    from fdi_health.tasks import TaskList, TaskNames

_OTHERS_ACCEPT_STEP = (
    "ROMA Connect accepts this token for other instances. Check this instance's ID in FDI_INSTANCES, and the rights of "
    "the token's user on it."
)
_NO_TASKS_NEXT_STEP = (
    "Compare with the number of tasks in the console: a user without rights sees none. Give the token's user read "
    "permission on the integration applications, or name the instance in FDI_ALLOW_EMPTY."
)


_EXPIRES_NEXT_STEP = (
    "Put an access key into the secret, which does not expire, or a new token. If it holds credentials, the token "
    "could not be renewed: python -m fdi_health doctor says why."
)
NO_LISTS: Mapping[str, TaskList | str] = MappingProxyType({})


def evaluate(
    results: Sequence[ProbeResult],
    policy: Policy,
    checked_at: datetime,
    age_seconds: float = 0.0,
    duration_seconds: float = 0.0,
    token: TokenState | None = None,
    *,
    is_fresh: bool = True,
    present: float = math.inf,
    task_lists: Mapping[str, TaskList | str] = NO_LISTS,
) -> Verdict:
    """Return the verdict over all results, details included.

    Args:
        results: one per instance asked. None at all is unknown, never healthy.
        policy: the operator's choices.
        checked_at: when the oldest result arrived; UTC.
        age_seconds: how old the oldest result is.
        duration_seconds: how long the check took.
        token: what is known of the token in use, or None.
        is_fresh: whether at least one result is of this check rather than from the cache.
        present: the time now, in seconds since the epoch, which decides the mutes that are active; without it none is.
        task_lists: instance ID → all of its tasks, or why they are not known; see `mutes.may_mute_tasks`.

    """
    token_works = any(result.statistics is not None and result.error is None for result in results)
    instances: list[InstanceVerdict] = []
    mute_warnings: list[VerdictWarning] = []
    mutes: list[ListedMute] = []
    muted_count = 0
    for result in results:
        instance = _evaluate_instance(result, policy, token_works=token_works)
        before = instance.status
        mutes += listed_mutes(result.instance, policy, present)
        instance, warnings = mute(instance, result, policy, present, task_lists)
        mute_warnings += warnings
        muted_count += instance.status != before and result.token_expires_at is None
        instances.append(instance)
    token_ends = sorted({result.token_expires_at for result in results if result.token_expires_at is not None})
    all_warnings = (
        *(_no_tasks_warning(instance.name) for instance in instances if instance.reason == NO_TASKS),
        *map(_token_warning, token_ends),
        *mute_warnings,
    )
    counts: dict[Status, int] = dict.fromkeys(WORST_FIRST, 0)
    for instance in instances:
        counts[instance.status] += 1
    answered = [total(result.statistics) for result in results if result.statistics and not result.error]
    return Verdict(
        status=next((status for status in WORST_FIRST if counts[status]), "unknown"),
        reason=reason_of(instances, token_ends),
        anonymous_reason=anonymous_reason_of(instances, counts, all_warnings),
        checked_at=checked_at,
        age_seconds=age_seconds,
        duration_seconds=duration_seconds,
        instances_count=counts,
        details=Details(
            totals=add_up(answered) if answered else None,
            warnings=all_warnings,
            error=None,
            instances=tuple(instances),
            token=token,
            is_fresh=is_fresh,
            mutes=tuple(mutes),
            token_ends=tuple(token_ends),
        ),
        muted_count=muted_count,
    )


def name_tasks(verdict: Verdict, names: Mapping[tuple[str | None, str], TaskNames]) -> Verdict:
    """Return the verdict with the tasks behind the counts, for callers who see details. No status and no count changes.

    Args:
        verdict: with details.
        names: target and instance ID → the instance's tasks.

    """
    details = verdict.details
    if details is None or not names:
        return verdict
    instances = tuple(
        instance._replace(tasks=names.get((instance.target, instance.instance_id))) for instance in details.instances
    )
    more = other_clauses(details.targets, details.warnings)
    reason = reason_of(instances, details.token_ends, *more)
    return verdict._replace(reason=reason, details=details._replace(instances=instances))


def hide_details(verdict: Verdict) -> Verdict:
    """Return the verdict for callers who may not see details: no name, ID, count of tasks or upstream text."""
    return verdict._replace(reason=verdict.anonymous_reason, details=None)


def _evaluate_instance(result: ProbeResult, policy: Policy, *, token_works: bool) -> InstanceVerdict:
    status, reason, error, runs_too_few = _status_and_reason(result, policy)
    if error is not None and error.code == "token_rejected" and token_works:
        error = error.copy(next_step=_OTHERS_ACCEPT_STEP)
    statistics = None if result.error else result.statistics
    return InstanceVerdict(
        name=result.instance.name,
        instance_id=result.instance.instance_id,
        status=status,
        reason=reason,
        duration_seconds=result.duration_seconds,
        common_task_details=statistics.common_task_details if statistics else None,
        cdc_task_details=statistics.cdc_task_details if statistics else None,
        other_task_details=statistics.other_task_details if statistics else {},
        error=error,
        runs_too_few=runs_too_few,
        target=result.instance.target,
    )


def _status_and_reason(result: ProbeResult, policy: Policy) -> tuple[Status, str, CheckError | None, bool]:
    """Return status, reason, error, and whether too few tasks run."""
    if result.error is not None:
        return "unknown", result.error.message, result.error, False
    statistics = result.statistics
    # A further group alone says nothing of the required ones.
    if statistics is None or (statistics.common_task_details is None and statistics.cdc_task_details is None):
        return "unknown", "no response", None, False
    counts_of_all = total(statistics)
    abnormal = [
        count_tasks(counts.abnormal_tasks_count, f"abnormal {group} task")
        for group, counts in counts_by_group(statistics).items()
        if counts.abnormal_tasks_count > 0
    ]
    not_running = missing_running_tasks(result.instance, counts_of_all.running_tasks_count, policy)
    reasons = [*abnormal, *([not_running] if not_running else [])]
    if reasons:
        return "unhealthy", fit(reasons, ", ", MAX_REASON_CHARACTERS), None, not_running is not None
    missing = missing_tasks(result.instance, sum(counts_of_all), policy)
    if missing is not None:
        return "unknown", missing.message, missing, False
    if counts_of_all == NO_COUNTS and not policy.may_be_empty(result.instance):
        return "degraded", NO_TASKS, None, False
    if result.token_expires_at is not None:
        return "degraded", EXPIRES, None, False
    return "healthy", "none", None, False


def _no_tasks_warning(name: str) -> VerdictWarning:
    return VerdictWarning("no_tasks_visible", name, f"No tasks are visible in {name}.", _NO_TASKS_NEXT_STEP)


def _token_warning(expires_at: float) -> VerdictWarning:
    message = f"The end of the token is {format_timestamp(expires_at)}, and it was not renewed."
    return VerdictWarning("token_expires_soon", None, message, _EXPIRES_NEXT_STEP)
