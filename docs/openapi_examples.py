"""The examples in handlers/openapi.json: rendered by the function's own code from the vendor's documented response."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from fdi_health.clock import Instant
from fdi_health.errors import CheckError
from fdi_health.evaluation import evaluate, hide_details
from fdi_health.formats import FORMATS
from fdi_health.models import Instance, ProbeResult, Statistics, TaskCounts, Verdict
from fdi_health.policy import Policy
from handlers.problems import PROBLEMS, problem_document


def examples() -> dict[str, Any]:
    """Return name → example: a problem's code, or `format.status.rights`."""
    found: dict[str, Any] = {}
    for code in PROBLEMS:
        found[code] = {"value": problem_document(CheckError(code, "what is wrong, and what to do about it"))}
    for status, abnormal in (("healthy", 0), ("unhealthy", 2)):
        made = _example_verdict(abnormal)
        for rights, shown in (("details", made), ("anonymous", hide_details(made))):
            for name, form in FORMATS.items():
                if status == "unhealthy" and form.status is not None:
                    continue
                text = form.render(shown).decode()
                value = json.loads(text) if form.media_type.endswith("json") else text
                found[f"{name}.{status}.{rights}"] = {"value": value}
    return found


def _example_verdict(abnormal: int) -> Verdict:
    """Return the verdict on the vendor's documented example."""
    instance = Instance("payments", "fae7ff6c-8e07-4cf8-9e67-589cab2f017c")
    statistics = Statistics(TaskCounts(2, abnormal, 6, 8), TaskCounts(1, 0, 6, 0))
    at = datetime(2026, 11, 25, 16, tzinfo=UTC)
    found = ProbeResult(instance, statistics, None, Instant(at.timestamp(), 0.0), 0.051)
    return evaluate([found], Policy(), at, 0.0, 0.058)
