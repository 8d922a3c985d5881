"""The verdict as lines of text, for people: one for the fleet, one per instance, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fdi_health.evaluation import next_steps
from fdi_health.models import total

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fdi_health.models import InstanceVerdict, Status, Verdict, VerdictWarning

_COLOURS: dict[Status, str] = {"healthy": "32", "degraded": "33", "unhealthy": "31", "unknown": "35"}
"""Status → ANSI colour (ECMA-48, SGR)."""


def render(verdict: Verdict, _document: dict[str, Any]) -> bytes:
    """Return the lines."""
    return "".join(f"{line}\n" for line in lines(verdict)).encode()


def lines(verdict: Verdict, *, colour: bool = False) -> Iterator[str]:
    """Yield the lines, without their ends.

    Args:
        verdict: with or without details.
        colour: whether to mark the statuses with ANSI colours; for terminals only.

    """
    yield f"{verdict.marker} {_painted(verdict.status, colour=colour)}: {verdict.reason}"
    if verdict.details is None:
        return
    width = max((len(instance.name) for instance in verdict.details.instances), default=0)
    by_instance: dict[str | None, list[VerdictWarning]] = {}
    for warning in verdict.details.warnings:
        by_instance.setdefault(warning.instance, []).append(warning)
    for instance in verdict.details.instances:
        status = _painted(instance.status, colour=colour) + " " * (9 - len(instance.status))
        yield f"  {instance.name:<{width}}  {status}  {describe(instance)}"
        for next_step in next_steps(instance, by_instance.get(instance.name, ())):
            yield f"  {'':<{width}}  -> {next_step}"
    for warning in by_instance.get(None, ()):
        yield f"  {warning.message}"
        yield f"  -> {warning.next_step}"


def describe(instance: InstanceVerdict) -> str:
    """Return what was found of one instance, with what a ticket to the vendor needs."""
    if instance.error is not None:
        error = instance.error
        upstream = (
            f"HTTP {error.upstream_status}" if error.upstream_status else None,
            error.upstream_code,
            f"request {error.request_id}" if error.request_id else None,
        )
        seen = ", ".join(text for text in (error.code, *upstream) if text)
        return f"{instance.reason} ({seen}, {instance.duration_seconds:.3f} s)"
    reason = "" if instance.reason == "none" else f"{instance.reason}, "
    return f"{reason}{total(instance).running_tasks_count} running ({instance.duration_seconds:.3f} s)"


def _painted(status: Status, *, colour: bool) -> str:
    return f"\033[{_COLOURS[status]}m{status}\033[0m" if colour else status
