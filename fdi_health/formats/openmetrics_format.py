"""OpenMetrics text, version 1.0.0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fdi_health.formats import metrics

if TYPE_CHECKING:
    from fdi_health.models import Verdict


def render(verdict: Verdict, _document: dict[str, Any]) -> bytes:
    """Return the metrics."""
    return metrics.write(verdict, openmetrics=True)
