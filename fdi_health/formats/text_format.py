"""The verdict as lines of text, for people: one for the fleet, one per instance, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fdi_health.errors import OWNERS
from fdi_health.models import total
from fdi_health.reasons import next_steps, owner_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fdi_health.models import InstanceVerdict, Status, Verdict, VerdictWarning
    from fdi_health.tasks import AbnormalTask, TaskNames

_COLOURS: dict[Status, str] = {"healthy": "32", "degraded": "33", "unhealthy": "31", "unknown": "35"}
"""Status → ANSI colour (ECMA-48, SGR)."""


NAMELESS = "a task without a name"


def render(verdict: Verdict, _document: dict[str, Any]) -> bytes:
    """Return the lines."""
    return "".join(f"{line}\n" for line in lines(verdict)).encode()


def lines(verdict: Verdict, *, colour: bool = False) -> Iterator[str]:
    """Yield the lines, without their ends. No foreign text can look like a part of a JSON verdict.

    Args:
        verdict: with or without details.
        colour: whether to mark the statuses with ANSI colours; for terminals only.

    """
    yield f"{verdict.marker} {_painted(verdict.status, colour=colour)}: {_unquoted(verdict.reason)}"
    if verdict.details is None:
        return
    width = max((len(instance.label) for instance in verdict.details.instances), default=0)
    by_instance: dict[tuple[str | None, str | None], list[VerdictWarning]] = {}
    for warning in verdict.details.warnings:
        by_instance.setdefault(warning.key, []).append(warning)
    for instance in verdict.details.instances:
        status = _painted(instance.status, colour=colour) + " " * (9 - len(instance.status))
        yield f"  {instance.label:<{width}}  {status}  {_unquoted(describe(instance))}"
        for line in _task_lines(instance.tasks):
            yield f"  {'':<{width}}     {_unquoted(line)}"
        own = by_instance.get(instance.key, ())
        for next_step in next_steps(instance, own):
            yield f"  {'':<{width}}  -> {next_step}"
        owner = owner_of(instance, own)
        if owner is not None:
            yield f"  {'':<{width}}     Who can mend it: {owner}."
    for target in verdict.details.targets:
        if target.error is not None:
            yield f"  {target.name or 'instances'}  unknown  {target.error.message} ({target.error.code})"
            yield f"  -> {target.error.next_step}"
            yield f"     Who can mend it: {OWNERS[target.error.code]}."
    shown = {instance.key for instance in verdict.details.instances}
    for warning in (warning for warning in verdict.details.warnings if warning.key not in shown):
        yield f"  {f'{warning.target}: ' if warning.target else ''}{warning.message}"
        yield f"  -> {warning.next_step}"
        yield f"     Who can mend it: {OWNERS[warning.code]}."


def _unquoted(text: str) -> str:
    return text.replace('"', "'")


def _task_lines(tasks: TaskNames | None) -> Iterator[str]:
    """Yield one line for each task behind the counts, and one that says what is missing."""
    if tasks is None:
        return
    for task in tasks.abnormal or ():
        yield describe_task(task)
    if tasks.abnormal_note is not None:
        yield f"abnormal tasks: {tasks.abnormal_note}"
    for stopped in tasks.stopped or ():
        yield f"{stopped.task_name or stopped.task_id or NAMELESS} is stopped"
    if tasks.stopped_note is not None:
        yield f"stopped tasks: {tasks.stopped_note}"


def describe_task(task: AbnormalTask) -> str:
    """Return what is known of an abnormal task, in one line."""
    route = f"{task.source_app_name or '?'} to {task.target_app_name or '?'}"
    apps = route if task.source_app_name or task.target_app_name else None
    facts = [fact for fact in (task.task_type, apps, f"at the {task.position}" if task.position else None) if fact]
    text = f"{task.task_name or task.task_id or NAMELESS}{' (' + ', '.join(facts) + ')' if facts else ''}"
    when = task.failed_at or task.last_execute_time
    if when is not None:
        text += f" {'failed' if task.failed_at else 'last ran'} {when.strftime('%Y-%m-%dT%H:%M:%SZ')}"
    if task.remarks:
        text += f": {task.remarks}"
    return f"{text} [{task.dirty_data_count} dirty records]" if task.dirty_data_count else text


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
