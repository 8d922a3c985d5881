"""One line and performance data, with long output behind it, for Nagios and its kin.

Source: the Monitoring Plugins Development Guidelines (status words, `label=value[unit];warn;crit;min;max`). A pipe
begins performance data, so none may stand in text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fdi_health.formats import text_format

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fdi_health.models import Status, Verdict

_WORD: dict[Status, str] = {"healthy": "OK", "degraded": "WARNING", "unhealthy": "CRITICAL", "unknown": "UNKNOWN"}


def render(verdict: Verdict, _document: dict[str, Any]) -> bytes:
    """Return the output of a plugin."""
    first, *more = (line.replace("|", "/") for line in text_format.lines(verdict))
    data = " ".join(_performance_data(verdict))
    return "\n".join([f"{_WORD[verdict.status]} - {first} | {data}", *more, ""]).encode()


def _performance_data(verdict: Verdict) -> Iterator[str]:
    # ";;0.0" is a critical range: any number above 0 is outside it.
    if verdict.details is not None and verdict.details.totals is not None:
        totals = verdict.details.totals
        for name, count in totals._asdict().items():
            yield f"{name}={count};;{'0' if name == 'abnormal_tasks_count' else ''};0"
    for status, count in verdict.instances_count.items():
        yield f"instances_{status}={count};;;0;{sum(verdict.instances_count.values())}"
    yield f"age={verdict.age_seconds:.1f}s;;;0"
    yield f"duration={verdict.duration_seconds:.3f}s;;;0"
