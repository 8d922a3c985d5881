"""Findings in, verdict out: the rules that decide whether somebody is paged. No I/O, no clock."""

from __future__ import annotations

from collections import Counter
from functools import reduce
from typing import TYPE_CHECKING

from fdi_health.model import (
    GROUPS,
    WORST_FIRST,
    Details,
    InstanceVerdict,
    TaskCounts,
    Verdict,
    VerdictWarning,
)
from fdi_health.moments import moment_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from fdi_health.model import Finding, Rules, Statistics, Status, TokenState

REASON_LENGTH = 120
"""The most characters of a reason: what fits a pager's line."""

_NO_TASKS_NEXT_STEP = (
    "Compare with the number of tasks in the console: a user without rights sees none. Give the token's user read "
    "permission on the integration applications, or name the instance in FDI_ALLOW_EMPTY."
)


_NO_TASKS = "no tasks visible"
_EXPIRES = "the token expires soon"
_EXPIRES_NEXT_STEP = (
    "Put a new token into the secret, or IAM credentials, which renew it by themselves. If it holds credentials, the "
    "token could not be renewed: python -m fdi_health doctor says why."
)


def judge(
    findings: Sequence[Finding],
    rules: Rules,
    checked_at: datetime,
    age_seconds: float = 0.0,
    duration_seconds: float = 0.0,
    token: TokenState | None = None,
) -> Verdict:
    """Return the verdict over all findings, details included.

    Args:
        findings: one per instance asked; none at all is unknown, never health.
        rules: the operator's rules.
        checked_at: when the oldest finding arrived; UTC.
        age_seconds: how old the oldest finding is.
        duration_seconds: how long the check took.
        token: what is known of the token in use, or None.

    """
    instances = tuple(_judge_instance(finding, rules) for finding in findings)
    token_ends = sorted({finding.token_expires_at for finding in findings if finding.token_expires_at is not None})
    counts: dict[Status, int] = dict.fromkeys(WORST_FIRST, 0)
    for instance in instances:
        counts[instance.status] += 1
    answered = [finding.statistics.total() for finding in findings if finding.statistics and not finding.error]
    return Verdict(
        status=next((status for status in WORST_FIRST if counts[status]), "unknown"),
        reason=_reason(instances, token_ends),
        anonymous_reason=_anonymous_reason(instances, counts),
        checked_at=checked_at,
        age_seconds=age_seconds,
        duration_seconds=duration_seconds,
        instances_count=counts,
        details=Details(
            totals=_sum(answered),
            warnings=(
                *(_no_tasks_warning(instance.name) for instance in instances if instance.reason == _NO_TASKS),
                *map(_token_warning, token_ends),
            ),
            error=None,
            instances=instances,
            token=token,
        ),
    )


def hide_details(verdict: Verdict) -> Verdict:
    """Return the verdict as callers who may not see details get it: no name, ID, count of tasks or foreign text."""
    return verdict._replace(reason=verdict.anonymous_reason, details=None)


def _judge_instance(finding: Finding, rules: Rules) -> InstanceVerdict:
    status, reason = _status_and_reason(finding, rules)
    statistics = None if finding.error else finding.statistics
    return InstanceVerdict(
        name=finding.instance.name,
        instance_id=finding.instance.instance_id,
        status=status,
        reason=reason,
        duration_seconds=finding.duration_seconds,
        common_task_details=statistics.common_task_details if statistics else None,
        cdc_task_details=statistics.cdc_task_details if statistics else None,
        error=finding.error,
    )


def _status_and_reason(finding: Finding, rules: Rules) -> tuple[Status, str]:
    if finding.error is not None:
        return "unknown", finding.error.message
    if finding.statistics is None or _group_counts(finding.statistics) == {}:
        return "unknown", "no answer"
    abnormal = [
        _tasks(counts.abnormal_tasks_count, f"abnormal {group} task")
        for group, counts in _group_counts(finding.statistics).items()
        if counts.abnormal_tasks_count > 0
    ]
    if abnormal:
        return "unhealthy", ", ".join(abnormal)
    empty_is_fine = "*" in rules.allow_empty or finding.instance.name in rules.allow_empty
    if finding.statistics.total().all_zero() and not empty_is_fine:
        return "degraded", _NO_TASKS
    if finding.token_expires_at is not None:
        return "degraded", _EXPIRES
    return "healthy", "none"


def _group_counts(statistics: Statistics) -> dict[str, TaskCounts]:
    by_group = dict(zip(GROUPS, (statistics.common_task_details, statistics.cdc_task_details), strict=True))
    return {group: counts for group, counts in by_group.items() if counts is not None}


def _sum(counts: Sequence[TaskCounts]) -> TaskCounts | None:
    return reduce(TaskCounts.plus, counts) if counts else None


def _tasks(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _no_tasks_warning(name: str) -> VerdictWarning:
    return VerdictWarning("no_tasks_visible", name, f"No tasks are visible in {name}.", _NO_TASKS_NEXT_STEP)


def _token_warning(expires_at: float) -> VerdictWarning:
    message = f"The end of the token is {moment_text(expires_at)}, and it was not renewed."
    return VerdictWarning("token_expires_soon", None, message, _EXPIRES_NEXT_STEP)


def _reason(instances: Sequence[InstanceVerdict], token_ends: Sequence[float]) -> str:
    if not instances:
        return "no instance was asked"
    worst_first = sorted(instances, key=lambda instance: WORST_FIRST.index(instance.status))
    clauses = [_clause(instance) for instance in worst_first if instance.reason not in ("none", _EXPIRES)]
    if any(instance.reason == _EXPIRES for instance in instances):
        clauses += [f"the token expires at {moment_text(end)}" for end in token_ends]
    return _fit(clauses, "; ", REASON_LENGTH) or "none"


def _clause(instance: InstanceVerdict) -> str:
    if instance.status == "unhealthy":
        groups = (instance.common_task_details, instance.cdc_task_details)
        abnormal = sum(counts.abnormal_tasks_count for counts in groups if counts)
        return f"{_tasks(abnormal, 'abnormal task')} in {instance.name}"
    if instance.status == "unknown":
        return f"{instance.name} unknown ({_code(instance)})"
    return f"{_NO_TASKS} in {instance.name}"


def _anonymous_reason(instances: Sequence[InstanceVerdict], counts: dict[Status, int]) -> str:
    if not instances:
        return "no instance was asked"
    bad = [status for status in WORST_FIRST if counts[status] and status != "healthy"]
    if bad == ["degraded"]:
        empty = sum(instance.reason == _NO_TASKS for instance in instances)
        clauses = [f"{_NO_TASKS} in {empty} of {len(instances)} instances"] if empty else []
        return "; ".join(clauses + [_EXPIRES] * (empty < counts["degraded"]))
    parts: list[str] = []
    for status in bad:
        of_all = "" if parts else f" of {len(instances)} instances"
        parts.append(f"{counts[status]}{of_all} {status}")
        if status == "unknown":
            codes = Counter(_code(instance) for instance in instances if instance.status == "unknown")
            parts[-1] += f" ({_fit([code for code, _ in codes.most_common()], ', ', 50)})"
    return ", ".join(parts) or "none"


def _code(instance: InstanceVerdict) -> str:
    return instance.error.code if instance.error else "invalid_response"


def _fit(clauses: Sequence[str], separator: str, length: int) -> str:
    """Join as many clauses as fit into `length` characters, the first ones first, and say how many are left out."""
    could_fit = min(len(clauses), length // (len(separator) + 1))
    for shown in range(could_fit, 0, -1):
        more = [f"+{len(clauses) - shown} more"] if shown < len(clauses) else []
        text = separator.join([*clauses[:shown], *more])
        if len(text) <= length:
            return text
    return f"+{len(clauses)} more" if clauses else ""
