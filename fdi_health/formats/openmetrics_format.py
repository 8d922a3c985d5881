"""OpenMetrics text, version 1.0.0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdi_health.formats import metrics

if TYPE_CHECKING:
    from fdi_health.models import Verdict


def render(verdict: Verdict) -> bytes:
    """Return the metrics; raises ValidationError for a verdict that does not agree with itself."""
    return metrics.write(verdict, openmetrics=True)
