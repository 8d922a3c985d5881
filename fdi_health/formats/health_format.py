"""application/health+json, for gateways and clients that speak it (draft-inadarei-api-health-check-06).

healthy is pass, degraded is warn; unhealthy and unknown are fail. Each instance is a component under `checks`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fdi_health.formats.text_format import NAMELESS
from schemas.verdict_invariants import groups

if TYPE_CHECKING:
    from fdi_health.models import Status, Verdict

_STATUS: dict[Status, str] = {"healthy": "pass", "degraded": "warn", "unhealthy": "fail", "unknown": "fail"}


def render(verdict: Verdict, ours: dict[str, Any]) -> bytes:
    """Return the document."""
    document: dict[str, Any] = {
        "status": _STATUS[verdict.status],
        "notes": [f"{ours['marker']} {ours['status']}", ours["reason"]],
        "description": "the data-integration tasks of ROMA Connect instances",
    }
    if "instances" in ours:
        document["checks"] = {
            f"{_label(instance)}:abnormal_tasks_count": [_check(instance, ours["checked_at"])]
            for instance in ours["instances"]
        }
        if document["status"] != "pass":
            document["output"] = ours["reason"]
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode("ascii")


def _label(instance: dict[str, Any]) -> str:
    target = instance.get("target")
    return f"{target}/{instance['name']}" if target else str(instance["name"])


def _check(instance: dict[str, Any], checked_at: str) -> dict[str, Any]:
    shown = groups(instance)
    found: dict[str, Any] = {
        "componentId": instance["instance_id"],
        "componentType": "system",
        "status": _STATUS[instance["status"]],
        "time": checked_at,
    }
    if shown:
        found |= {"observedValue": sum(group["abnormal_tasks_count"] for group in shown), "observedUnit": "tasks"}
    if found["status"] != "pass":
        tasks = [
            f"{task['task_name'] or task['task_id'] or NAMELESS}{': ' + task['remarks'] if task['remarks'] else ''}"
            for task in instance.get("abnormal_tasks", [])
        ]
        found["output"] = "; ".join([f"{instance['status']}: {instance['reason']}", *tasks])
    return found
