"""Evaluates results by the operator's policy: the verdict decides whether somebody is paged. No I/O, no clock."""

from __future__ import annotations

from collections import Counter
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

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from fdi_health.models import Policy, ProbeResult, Status, TokenState

MAX_REASON_CHARACTERS = 120
"""The longest reason: it fits one line of a pager."""

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


_NO_TASKS = "no tasks visible"
_EXPIRES = "the token expires soon"
_EXPIRES_NEXT_STEP = (
    "Put a new token into the secret, or IAM credentials, which renew it by themselves. If it holds credentials, the "
    "token could not be renewed: python -m fdi_health doctor says why."
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

    """
    token_works = any(result.statistics is not None and result.error is None for result in results)
    instances = tuple(_evaluate_instance(result, policy, token_works=token_works) for result in results)
    token_ends = sorted({result.token_expires_at for result in results if result.token_expires_at is not None})
    warnings = (
        *(_no_tasks_warning(instance.name) for instance in instances if instance.reason == _NO_TASKS),
        *map(_token_warning, token_ends),
    )
    counts: dict[Status, int] = dict.fromkeys(WORST_FIRST, 0)
    for instance in instances:
        counts[instance.status] += 1
    answered = [total(result.statistics) for result in results if result.statistics and not result.error]
    return Verdict(
        status=next((status for status in WORST_FIRST if counts[status]), "unknown"),
        reason=_reason(instances, token_ends),
        anonymous_reason=_anonymous_reason(instances, counts, warnings),
        checked_at=checked_at,
        age_seconds=age_seconds,
        duration_seconds=duration_seconds,
        instances_count=counts,
        details=Details(
            totals=add_up(answered) if answered else None,
            warnings=warnings,
            error=None,
            instances=instances,
            token=token,
            is_fresh=is_fresh,
        ),
    )


def hide_details(verdict: Verdict) -> Verdict:
    """Return the verdict for callers who may not see details: no name, ID, count of tasks or upstream text."""
    return verdict._replace(reason=verdict.anonymous_reason, details=None)


def next_steps(instance: InstanceVerdict, warnings: Sequence[VerdictWarning]) -> list[str]:
    """Return the next steps for one instance; none for a healthy one without a warning.

    Args:
        instance: the instance.
        warnings: of the whole verdict; only those that name this instance are used.

    """
    own = [UNHEALTHY_NEXT_STEP] if instance.status == "unhealthy" else []
    if instance.error is not None and instance.error.next_step:
        own.append(instance.error.next_step)
    return own + [warning.next_step for warning in warnings if warning.instance == instance.name]


def _evaluate_instance(result: ProbeResult, policy: Policy, *, token_works: bool) -> InstanceVerdict:
    status, reason = _status_and_reason(result, policy)
    error = result.error
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


def _status_and_reason(result: ProbeResult, policy: Policy) -> tuple[Status, str]:
    if result.error is not None:
        return "unknown", result.error.message
    statistics = result.statistics
    # A further group alone says nothing of the required ones.
    if statistics is None or (statistics.common_task_details is None and statistics.cdc_task_details is None):
        return "unknown", "no response"
    abnormal = [
        _tasks(counts.abnormal_tasks_count, f"abnormal {group} task")
        for group, counts in counts_by_group(statistics).items()
        if counts.abnormal_tasks_count > 0
    ]
    if abnormal:
        return "unhealthy", _fit(abnormal, ", ", MAX_REASON_CHARACTERS)
    empty_is_fine = "*" in policy.allow_empty or result.instance.name in policy.allow_empty
    if total(statistics) == NO_COUNTS and not empty_is_fine:
        return "degraded", _NO_TASKS
    if result.token_expires_at is not None:
        return "degraded", _EXPIRES
    return "healthy", "none"


def _tasks(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _no_tasks_warning(name: str) -> VerdictWarning:
    return VerdictWarning("no_tasks_visible", name, f"No tasks are visible in {name}.", _NO_TASKS_NEXT_STEP)


def _token_warning(expires_at: float) -> VerdictWarning:
    message = f"The end of the token is {format_timestamp(expires_at)}, and it was not renewed."
    return VerdictWarning("token_expires_soon", None, message, _EXPIRES_NEXT_STEP)


def _reason(instances: Sequence[InstanceVerdict], token_ends: Sequence[float]) -> str:
    if not instances:
        return "no instance was asked"
    worst_first = sorted(instances, key=lambda instance: WORST_FIRST.index(instance.status))
    clauses = [_clause(instance) for instance in worst_first if instance.reason not in ("none", _EXPIRES)]
    if any(instance.reason == _EXPIRES for instance in instances):
        clauses += [f"the token expires at {format_timestamp(end)}" for end in token_ends]
    return _fit(clauses, "; ", MAX_REASON_CHARACTERS) or "none"


def _clause(instance: InstanceVerdict) -> str:
    if instance.status == "unhealthy":
        return f"{_tasks(total(instance).abnormal_tasks_count, 'abnormal task')} in {instance.name}"
    if instance.status == "unknown":
        return f"{instance.name} unknown ({_code(instance)})"
    return f"{_NO_TASKS} in {instance.name}"


def _anonymous_reason(
    instances: Sequence[InstanceVerdict], counts: dict[Status, int], warnings: Sequence[VerdictWarning]
) -> str:
    if not instances:
        return "no instance was asked"
    unknown = Counter(_code(instance) for instance in instances if instance.status == "unknown")
    codes: dict[Status, list[str]] = {
        "unknown": [code for code, _ in unknown.most_common()],
        "degraded": list(dict.fromkeys(warning.code for warning in warnings)),
    }
    text = ""
    for status in WORST_FIRST:
        if counts[status] and status != "healthy":
            text += (
                f", {counts[status]} {status}" if text else f"{counts[status]} of {len(instances)} instances {status}"
            )
            text = _with_codes(text, codes.get(status, []))
    return text or "none"


def _with_codes(text: str, codes: Sequence[str]) -> str:
    """Return the text with as many codes in brackets as fit into 50 characters and into a reason."""
    shown = _fit(codes, ", ", min(50, MAX_REASON_CHARACTERS - len(f"{text} ()")))
    longer = f"{text} ({shown})"
    return longer if shown and len(longer) <= MAX_REASON_CHARACTERS else text


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
