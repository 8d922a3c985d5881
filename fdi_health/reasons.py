"""The reason of a verdict, one line for a pager with names or without, and what to do about each instance. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from fdi_health.clock import format_timestamp
from fdi_health.errors import OWNERS
from fdi_health.models import INFORMING, OF_TARGETS, WORST_FIRST
from fdi_health.policy import abnormal_tasks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fdi_health.models import InstanceVerdict, Status, TargetVerdict, VerdictWarning
    from fdi_health.tasks import AbnormalTask, StoppedTask, TaskNames

MAX_REASON_CHARACTERS = 120
"""The longest reason: it fits one line of a pager."""

NO_TASKS = "no tasks visible"
EXPIRES = "the token expires soon"


UNHEALTHY_NEXT_STEP = (
    "Open this instance in the ROMA Connect console, list its tasks in state ERROR under task monitoring, and read the "
    "newest log of each."
)

_NOT_RUNNING_NEXT_STEP = (
    "Start the stopped tasks of this instance in the ROMA Connect console, or lower the number in "
    "FDI_MIN_RUNNING_TASKS."
)


def count_tasks(number: int, noun: str) -> str:
    """Return "1 abnormal task", "2 abnormal tasks"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def reason_of(
    instances: Sequence[InstanceVerdict],
    token_ends: Sequence[float],
    unknown: Sequence[str] = (),
    degraded: Sequence[str] = (),
) -> str:
    """Return the reason with the names of instances; `none` exactly if all are healthy.

    Args:
        instances: the instances.
        token_ends: when tokens end about which a warning is due.
        unknown: further clauses of what is unknown, see `other_clauses`.
        degraded: the same for what is degraded.

    """
    if not instances and not unknown:
        return "no instance was asked"
    worst_first = sorted(instances, key=lambda instance: WORST_FIRST.index(instance.status))
    shown = [instance for instance in worst_first if instance.reason not in ("none", EXPIRES)]
    unhealthy = [instance for instance in shown if instance.status == "unhealthy"]
    clauses = [_clause(instance) for instance in unhealthy] + list(unknown)
    clauses += [_clause(instance) for instance in shown if instance.status != "unhealthy"] + list(degraded)
    names = [shown_names(instance.tasks) for instance in unhealthy]
    if any(instance.reason == EXPIRES for instance in instances):
        clauses += [f"the token expires at {format_timestamp(end)}" for end in token_ends]
    return fit(_with_names(clauses, names), "; ", MAX_REASON_CHARACTERS) or "none"


def _with_names(clauses: list[str], names: Sequence[Sequence[str]]) -> list[str]:
    """Return the clauses with as many names of tasks in brackets as fit beside all clauses, the worst first."""
    spare = MAX_REASON_CHARACTERS - len("; ".join(clauses))
    named = list(clauses)
    for place, of_one in enumerate(names):
        for count in range(len(of_one), 0, -1):
            more = [f"+{len(of_one) - count} more"] if count < len(of_one) else []
            brackets = f" ({', '.join([*of_one[:count], *more])})"
            if len(brackets) <= spare:
                named[place] += brackets
                spare -= len(brackets)
                break
    return named


def other_clauses(targets: Sequence[TargetVerdict], warnings: Sequence[VerdictWarning]) -> tuple[list[str], list[str]]:
    """Return the clauses of the reason that belong to no single instance: of unknown targets, and of warnings."""
    unknown = [
        f"{'instances' if target.name is None else target.name} unknown ({target.error.code})"
        for target in targets
        if target.error is not None
    ]
    degraded = [
        warning.code if warning.target is None else f"{warning.code} in {warning.target}"
        for warning in warnings
        if warning.code in OF_TARGETS
    ]
    return unknown, degraded


def _clause(instance: InstanceVerdict) -> str:
    if instance.status == "unhealthy":
        abnormal = abnormal_tasks(instance)
        return f"{count_tasks(abnormal, 'abnormal task') if abnormal else instance.reason} in {instance.label}"
    if instance.status == "unknown":
        return f"{instance.label} unknown ({_code(instance)})"
    if instance.reason == NO_TASKS:
        return f"{NO_TASKS} in {instance.label}"
    return f"{instance.label} {instance.reason.partition(': ')[0]}"


def anonymous_reason_of(
    instances: Sequence[InstanceVerdict],
    counts: dict[Status, int],
    warnings: Sequence[VerdictWarning],
    targets: Sequence[TargetVerdict] = (),
) -> str:
    """Return the reason without names: how many instances have which status, and why."""
    unlisted = [target.error.code for target in targets if target.error is not None]
    if not instances and not unlisted:
        return "no instance was asked"
    unknown = Counter(_code(instance) for instance in instances if instance.status == "unknown")
    codes: dict[Status, list[str]] = {
        "unknown": [code for code, _ in unknown.most_common()],
        "degraded": list(dict.fromkeys(warning.code for warning in warnings if warning.code not in INFORMING)),
    }
    text = ""
    for status in WORST_FIRST:
        if counts[status] and status != "healthy":
            text += (
                f", {counts[status]} {status}" if text else f"{counts[status]} of {len(instances)} instances {status}"
            )
            text = _with_codes(text, codes.get(status, []))
    if unlisted:
        places = "1 target" if len(unlisted) == 1 else f"{len(unlisted)} targets"
        text = f"{text}{', ' if text else ''}{places} unknown"
        text = _with_codes(text, list(dict.fromkeys(unlisted)))
    of_targets = [code for code in codes["degraded"] if code in OF_TARGETS]
    if not text and of_targets:
        text = _with_codes("degraded", of_targets)
    return text or "none"


def shown_names(tasks: TaskNames | None) -> list[str]:
    """Return the names of the abnormal tasks, the ID of one without a name; of the stopped ones if there are none."""
    named: Sequence[AbnormalTask | StoppedTask] = (tasks.abnormal or tasks.stopped or ()) if tasks is not None else ()
    return [name for task in named if (name := task.task_name or task.task_id)]


def _with_codes(text: str, codes: Sequence[str]) -> str:
    """Return the text with as many codes in brackets as fit into 50 characters and into a reason."""
    shown = fit(codes, ", ", min(50, MAX_REASON_CHARACTERS - len(f"{text} ()")))
    longer = f"{text} ({shown})"
    return longer if shown and len(longer) <= MAX_REASON_CHARACTERS else text


def _code(instance: InstanceVerdict) -> str:
    return instance.error.code if instance.error else "invalid_response"


def fit(clauses: Sequence[str], separator: str, length: int) -> str:
    """Join as many clauses as fit into `length` characters, the first ones first, and say how many are left out."""
    could_fit = min(len(clauses), length // (len(separator) + 1))
    for shown in range(could_fit, 0, -1):
        more = [f"+{len(clauses) - shown} more"] if shown < len(clauses) else []
        text = separator.join([*clauses[:shown], *more])
        if len(text) <= length:
            return text
    return f"+{len(clauses)} more" if clauses else ""


def next_steps(instance: InstanceVerdict, warnings: Sequence[VerdictWarning]) -> list[str]:
    """Return the next steps for one instance; none for a healthy one without a warning.

    Args:
        instance: the instance.
        warnings: of the whole verdict; only those that name this instance are used.

    """
    own: list[str] = []
    if instance.status == "unhealthy":
        own.append(UNHEALTHY_NEXT_STEP if abnormal_tasks(instance) else _NOT_RUNNING_NEXT_STEP)
    if instance.error is not None and instance.error.next_step:
        own.append(instance.error.next_step)
    return own + [warning.next_step for warning in warnings if warning.key == instance.key]


def owner_of(instance: InstanceVerdict, warnings: Sequence[VerdictWarning]) -> str | None:
    """Return who can mend what is wrong with one instance; None if nothing is. Arguments as in `next_steps`."""
    codes = [instance.error.code] if instance.error is not None else []
    codes += ["unhealthy"] if instance.status == "unhealthy" else []
    codes += [warning.code for warning in warnings if warning.key == instance.key]
    return next((OWNERS[code] for code in codes if code in OWNERS), None)
