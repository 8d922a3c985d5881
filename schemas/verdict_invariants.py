"""What a verdict's JSON document must not contradict; checked before any format is written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from schemas.query import DEFAULT_FAIL_ON

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

STATUSES = ("unhealthy", "unknown", "degraded", "healthy")
MAX_REASON_CHARACTERS = 120
COUNTS = ("running_tasks_count", "abnormal_tasks_count", "terminated_tasks_count", "completed_tasks_count")


def invariants(
    document: dict[str, Any],
    fail_on: Collection[str] = DEFAULT_FAIL_ON,
    muted_count: int = 0,
    unlisted_count: int = 0,
    *,
    has_target_warning: bool = False,
) -> Iterator[str]:
    """Yield the contradictions in the document.

    Args:
        document: the verdict.
        fail_on: the statuses that fail the check that it is the response to.
        muted_count: how many instances are degraded only because they are muted.
        unlisted_count: of how many targets the instances are not known.
        has_target_warning: whether a warning degrades the verdict that is about no instance.

    """
    status, healthy, counts = document["status"], document["healthy"], document["instances_count"]
    if healthy is not (status in ("healthy", "degraded")):
        yield "healthy does not follow from status"
    beyond = {"unknown": unlisted_count > 0, "degraded": has_target_warning}
    present = [name for name in STATUSES if counts[name] or beyond.get(name)] or ["unknown"]
    only_muted = counts["degraded"] == muted_count and not has_target_warning
    failing = {name for name in (status, *present) if name != "degraded" or not only_muted}
    fails = "healthy" in fail_on or not failing.isdisjoint(fail_on)
    if document["marker"] != ("FDI-OK" if healthy and not fails else "FDI-NOT-OK"):
        yield "marker does not follow from healthy and fail_on"
    if (document["reason"] == "none") is not (status == "healthy") or len(document["reason"]) > MAX_REASON_CHARACTERS:
        yield "reason does not follow from status, or is too long"
    if status != present[0]:
        yield "status is not the worst of the instances"
    if "instances" in document:
        yield from _detail_invariants(document, counts)


def _detail_invariants(document: dict[str, Any], counts: dict[str, int]) -> Iterator[str]:
    instances = document["instances"]
    if document["error"] is not None and (instances or document["status"] != "unknown"):
        yield "there is a top-level error although there are instances, or the status is not unknown"
    for name in STATUSES:
        if counts[name] != sum(instance["status"] == name for instance in instances):
            yield f"instances_count.{name} differs from the list of instances"
    every = [group for instance in instances for group in groups(instance)]
    shown = {name: sum(group[name] for group in every) for name in COUNTS} if every else None
    if document["totals"] != shown:
        yield "totals are not the sum of the instances' counts"
    codes = ("muted", "muted_tasks")
    muted = {(w.get("target"), w["instance"]) for w in document["warnings"] if w["code"] in codes}
    for instance in instances:
        abnormal = any(group["abnormal_tasks_count"] for group in groups(instance))
        if instance.get("abnormal_tasks") and not abnormal:
            yield "an instance names abnormal tasks that its counts do not have"
        if (instance.get("target"), instance["name"]) in muted:
            if instance["status"] != "degraded":
                yield "an instance is muted and not degraded"
            continue
        if (instance["status"] == "unhealthy") is not (abnormal or _too_few_run(instance)):
            yield "an instance's status does not follow from its counts"
        if (instance["error"] is not None) and instance["status"] != "unknown":
            yield "an instance has an error and is not unknown"
        if instance["status"] in ("healthy", "degraded") and not (
            instance["common_task_details"] or instance["cdc_task_details"]
        ):
            yield "an instance is healthy without counts"


def _too_few_run(instance: dict[str, Any]) -> bool:
    """Whether an instance runs fewer tasks than the policy demands, which its reason says."""
    return re.search(r"(?:\A|, )\d+ of at least \d+ tasks running\Z", instance["reason"]) is not None


def groups(instance: dict[str, Any]) -> list[dict[str, int]]:
    """Return the counts of every group that an instance shows."""
    required = (instance["common_task_details"], instance["cdc_task_details"])
    return [group for group in required if group is not None] + [*instance.get("other_task_details", {}).values()]
