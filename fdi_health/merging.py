"""Merges the verdicts over several targets into one. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fdi_health.models import OF_TARGETS, WORST_FIRST, Details, TargetVerdict, Verdict, VerdictWarning, add_up
from fdi_health.reasons import anonymous_reason_of, other_clauses, reason_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from fdi_health.models import InstanceVerdict, ListedMute, Status


class Part(NamedTuple):
    """What is known of one target.

    Attributes:
        target: the target; its error says why there is no list of its instances.
        verdict: over its instances, details included; None if there is no list.
        warnings: about the target rather than about one of its instances.

    """

    target: TargetVerdict
    verdict: Verdict | None
    warnings: tuple[VerdictWarning, ...] = ()


def merge(parts: Sequence[Part], present: datetime, duration_seconds: float) -> Verdict:
    """Return the verdict over all targets, details included.

    A target without a list of instances is unknown, and hides no other one. A warning about a target degrades the
    verdict, and no instance.

    Args:
        parts: one per target that was asked, at least one.
        present: the time now, which is that of the check if nothing was checked; UTC.
        duration_seconds: how long the check took.

    """
    verdicts = [
        (part.target.name, part.verdict, part.verdict.details)
        for part in parts
        if part.verdict is not None and part.verdict.details is not None
    ]
    instances: list[InstanceVerdict] = []
    warnings = [warning for part in parts for warning in part.warnings]
    mutes: list[ListedMute] = []
    counts: dict[Status, int] = dict.fromkeys(WORST_FIRST, 0)
    for name, verdict, details in verdicts:
        for status, count in verdict.instances_count.items():
            counts[status] += count
        instances += details.instances
        warnings += [warning._replace(target=name) for warning in details.warnings]
        mutes += [mute._replace(target=name) for mute in details.mutes]
    targets = tuple(part.target for part in parts)
    unlisted = [target.error for target in targets if target.error is not None]
    has_warning = any(warning.code in OF_TARGETS for warning in warnings)
    present_statuses = {status for status, count in counts.items() if count}
    present_statuses |= {"unknown"} if unlisted else set()
    present_statuses |= {"degraded"} if has_warning else set()
    answered = [details.totals for _, _, details in verdicts if details.totals is not None]
    token_ends = tuple(sorted({end for _, _, details in verdicts for end in details.token_ends}))
    oldest = min((verdict for _, verdict, _ in verdicts), key=lambda verdict: verdict.checked_at, default=None)
    return Verdict(
        status=next((status for status in WORST_FIRST if status in present_statuses), "unknown"),
        reason=reason_of(instances, token_ends, *other_clauses(targets, warnings)),
        anonymous_reason=anonymous_reason_of(instances, counts, warnings, targets),
        checked_at=present if oldest is None else oldest.checked_at,
        age_seconds=max((verdict.age_seconds for _, verdict, _ in verdicts), default=0.0),
        duration_seconds=duration_seconds,
        instances_count=counts,
        details=Details(
            totals=add_up(answered) if answered else None,
            warnings=tuple(warnings),
            error=unlisted[0] if len(unlisted) == len(targets) else None,
            instances=tuple(instances),
            token=targets[0].token if len(targets) == 1 else None,
            is_fresh=any(details.is_fresh for _, _, details in verdicts),
            mutes=tuple(mutes),
            token_ends=token_ends,
            targets=targets,
        ),
        muted_count=sum(verdict.muted_count for _, verdict, _ in verdicts),
        unlisted_count=len(unlisted),
        has_target_warning=has_warning,
    )
