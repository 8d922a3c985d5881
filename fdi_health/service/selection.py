"""Which instances of which targets a request asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fdi_health.errors import CheckError
from fdi_health.roma.instance_selection import DiscoveredInstances

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from fdi_health.clock import Deadline
    from fdi_health.models import Instance, VerdictWarning
    from fdi_health.service.fan_out import FanOut
    from fdi_health.service.target import Target


class Selection(NamedTuple):
    """What is asked of one target.

    Attributes:
        target: the target.
        instances: the instances to ask, each once.
        warnings: about the target.
        error: why its instances are not known, or None.

    """

    target: Target
    instances: Sequence[Instance]
    warnings: tuple[VerdictWarning, ...] = ()
    error: CheckError | None = None


def may_have(target: Target, names: Collection[str]) -> bool:
    """Whether one of the names may be that of an instance of this target: it has no target before it, or this one."""
    own = target.settings.name
    return own is None or any(name.startswith(f"{own}/") or "/" not in name for name in names)


def list_instances(targets: Sequence[Target], fan_out: FanOut, deadline: Deadline) -> list[Selection]:
    """Return all instances of each target, or why they are not known, at the deadline at the latest."""
    lists = fan_out.run(lambda target: target.listed(deadline), targets, deadline)
    late = DiscoveredInstances((), error=CheckError("timeout", "the list of instances came too late"))
    return [
        Selection(
            target,
            found.instances,
            tuple(warning._replace(target=target.settings.name) for warning in found.warnings),
            found.error,
        )
        for target, found in ((target, one or late) for target, one in zip(targets, lists, strict=True))
    ]


def known_labels(selections: Sequence[Selection]) -> set[str]:
    """Return everything that callers may call one of the instances."""
    return {label for one in selections for instance in one.instances for label in instance.labels}


def choose(selections: Sequence[Selection], names: Collection[str], place: str) -> list[Selection]:
    """Return the instances that have one of the names, and the targets without a list, in which they may be.

    Args:
        selections: all instances.
        names: aliases or IDs, or target, slash and one of them.
        place: the setting that names the instances.

    Raises:
        CheckError: `unknown_instance`, if there is no such instance.

    """
    known = known_labels(selections)
    unknown = sum(name not in known for name in set(names))
    if unknown and all(one.error is None for one in selections):
        # The message names none: names are the caller's own text, and this caller may not know ours.
        subject, verb = ("instance", "is") if unknown == 1 else ("instances", "are")
        raise CheckError("unknown_instance", f"{unknown} {subject} asked for {verb} not in {place}")
    chosen = [
        one._replace(instances=[instance for instance in one.instances if not instance.labels.isdisjoint(names)])
        for one in selections
    ]
    return [one for one in chosen if one.instances or one.error is not None]
