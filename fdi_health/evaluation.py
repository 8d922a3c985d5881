"""Evaluates results by the operator's policy: the verdict decides whether somebody is paged. No I/O, no clock."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fdi_health.clock import format_timestamp
from fdi_health.models import (
    NO_COUNTS,
    WORST_FIRST,
    Details,
    InstanceVerdict,
    ListedMute,
    Verdict,
    VerdictWarning,
    add_up,
    counts_by_group,
    total,
)
from fdi_health.policy import abnormal_tasks, find, missing_running_tasks, missing_tasks, mute_instance
from fdi_health.reasons import (
    EXPIRES,
    MAX_REASON_CHARACTERS,
    NO_TASKS,
    anonymous_reason_of,
    count_tasks,
    fit,
    reason_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fdi_health.errors import CheckError
    from fdi_health.models import ProbeResult, Status, TokenState
    from fdi_health.policy import Policy

UNHEALTHY_NEXT_STEP = (
    "Open this instance in the ROMA Connect console, list its tasks in state ERROR under task monitoring, and read the "
    "newest log of each."
)

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
_NOT_RUNNING_NEXT_STEP = (
    "Start the stopped tasks of this instance in the ROMA Connect console, or lower the number in "
    "FDI_MIN_RUNNING_TASKS."
)


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

    """
    token_works = any(result.statistics is not None and result.error is None for result in results)
    open_mutes = policy.open_mutes(present)
    instances: list[InstanceVerdict] = []
    mute_warnings: list[VerdictWarning] = []
    mutes: list[ListedMute] = []
    for result in results:
        instance = _evaluate_instance(result, policy, token_works=token_works)
        mute = find(result.instance, open_mutes)
        if mute is not None:
            begins = None if mute.begins is None else _to_datetime(mute.begins)
            mutes.append(ListedMute(instance.name, begins, _to_datetime(mute.ends)))
            if mute.is_active(present):
                instance, warning = mute_instance(instance, mute)
                mute_warnings += [warning] if warning is not None else []
        instances.append(instance)
    token_ends = sorted({result.token_expires_at for result in results if result.token_expires_at is not None})
    warnings = (
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
        anonymous_reason=anonymous_reason_of(instances, counts, warnings),
        checked_at=checked_at,
        age_seconds=age_seconds,
        duration_seconds=duration_seconds,
        instances_count=counts,
        details=Details(
            totals=add_up(answered) if answered else None,
            warnings=warnings,
            error=None,
            instances=tuple(instances),
            token=token,
            is_fresh=is_fresh,
            mutes=tuple(mutes),
        ),
        muted_count=len(mute_warnings),
    )


def _to_datetime(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def hide_details(verdict: Verdict) -> Verdict:
    """Return the verdict for callers who may not see details: no name, ID, count of tasks or upstream text."""
    return verdict._replace(reason=verdict.anonymous_reason, details=None)


def next_steps(instance: InstanceVerdict, warnings: Sequence[VerdictWarning]) -> list[str]:
    """Return the next steps for one instance; none for a healthy one without a warning.

    Args:
        instance: the instance.
        warnings: of the whole verdict; only those that name this instance are used.

    """
    own: list[str] = []
    if instance.status == "unhealthy":
        own.append(UNHEALTHY_NEXT_STEP if abnormal_tasks(instance) else _NOT_RUNNING_NEXT_STEP)
    if instance.error is not None and instance.error.next_step:
        own.append(instance.error.next_step)
    return own + [warning.next_step for warning in warnings if warning.instance == instance.name]


def _evaluate_instance(result: ProbeResult, policy: Policy, *, token_works: bool) -> InstanceVerdict:
    status, reason, error = _status_and_reason(result, policy)
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
    )


def _status_and_reason(result: ProbeResult, policy: Policy) -> tuple[Status, str, CheckError | None]:
    if result.error is not None:
        return "unknown", result.error.message, result.error
    statistics = result.statistics
    # A further group alone says nothing of the required ones.
    if statistics is None or (statistics.common_task_details is None and statistics.cdc_task_details is None):
        return "unknown", "no response", None
    counts_of_all = total(statistics)
    abnormal = [
        count_tasks(counts.abnormal_tasks_count, f"abnormal {group} task")
        for group, counts in counts_by_group(statistics).items()
        if counts.abnormal_tasks_count > 0
    ]
    not_running = missing_running_tasks(result.instance, counts_of_all.running_tasks_count, policy)
    reasons = [*abnormal, *([not_running] if not_running else [])]
    if reasons:
        return "unhealthy", fit(reasons, ", ", MAX_REASON_CHARACTERS), None
    missing = missing_tasks(result.instance, sum(counts_of_all), policy)
    if missing is not None:
        return "unknown", missing.message, missing
    if counts_of_all == NO_COUNTS and not policy.may_be_empty(result.instance):
        return "degraded", NO_TASKS, None
    if result.token_expires_at is not None:
        return "degraded", EXPIRES, None
    return "healthy", "none", None


def _no_tasks_warning(name: str) -> VerdictWarning:
    return VerdictWarning("no_tasks_visible", name, f"No tasks are visible in {name}.", _NO_TASKS_NEXT_STEP)


def _token_warning(expires_at: float) -> VerdictWarning:
    message = f"The end of the token is {format_timestamp(expires_at)}, and it was not renewed."
    return VerdictWarning("token_expires_soon", None, message, _EXPIRES_NEXT_STEP)
