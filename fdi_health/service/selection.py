"""Which instances of which targets a request asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fdi_health.errors import CheckError
from fdi_health.merging import Part
from fdi_health.roma.instance_selection import DiscoveredInstances

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from fdi_health.clock import Deadline, Instant
    from fdi_health.models import Instance, Verdict, VerdictWarning
    from fdi_health.service.target import Target


class Selection(NamedTuple):
    """What is asked of one target.

    Attributes:
        target: the target.
        instances: the instances to ask, each once. None: their list must be read first, by the target's own check, so
            that it delays no other target.
        names: aliases or IDs, or target, slash and one of them; None for all.
        known: all instances of the target; none if their list is not known.
        warnings: about the target.
        error: why its instances are not known, or None.

    """

    target: Target
    instances: Sequence[Instance] | None
    names: Collection[str] | None = None
    known: Sequence[Instance] = ()
    warnings: tuple[VerdictWarning, ...] = ()
    error: CheckError | None = None

    def listed(self, deadline: Deadline) -> Selection:
        """Return the same with its instances, or with the error that says why they are not known."""
        return self if self.instances is not None else self.having(self.target.listed(deadline))

    def having(self, found: DiscoveredInstances) -> Selection:
        """Return the same with the instances out of a list that are asked for."""
        chosen, names = found.instances, self.names
        if names is not None:
            chosen = tuple(instance for instance in chosen if not instance.labels.isdisjoint(names))
        return self._replace(
            instances=chosen,
            known=found.instances,
            warnings=tuple(warning._replace(target=self.target.settings.name) for warning in found.warnings),
            error=found.error,
        )

    def check(self, deadline: Deadline) -> Checked:
        """Read the list of instances, if it is not known, and ask the instances."""
        one = self.listed(deadline)
        is_asked = one.error is None and (one.instances or one.names is None)
        return Checked(one, one.target.check(one.instances or (), deadline) if is_asked else None)

    def late(self, began: Instant) -> Checked:
        """Return what is known if `check` did not end in time."""
        if self.instances is None:
            error = CheckError("timeout", "the list of instances came too late")
            return Checked(self.having(DiscoveredInstances((), error=error)), None)
        return Checked(self, self.target.late_verdict(self.instances, began) if self.error is None else None)


class Checked(NamedTuple):
    """What a check found of one target.

    Attributes:
        selection: with its instances.
        verdict: over them; None if there is no list, or none of them is asked for.

    """

    selection: Selection
    verdict: Verdict | None

    @property
    def part(self) -> Part | None:
        """The target's part of the verdict; None if nothing was asked of it."""
        one = self.selection
        if self.verdict is None and one.error is None:
            return None
        return Part(one.target.part(one.error), self.verdict, one.warnings)


class Asked(NamedTuple):
    """What a request asks.

    Attributes:
        selections: one for each target that is asked, at least one.
        warning: about the document of FDI_CONFIG, or None.

    """

    selections: Sequence[Selection]
    warning: VerdictWarning | None = None


def known_labels(selections: Iterable[Selection]) -> set[str]:
    """Return everything that callers may call one of the instances that are known."""
    return {label for one in selections for instance in one.known for label in instance.labels}


def may_have(target: Target, names: Collection[str]) -> bool:
    """Whether one of the names may be that of an instance of this target: it has no target before it, or this one."""
    own = target.settings.name
    return own is None or any(name.startswith(f"{own}/") or "/" not in name for name in names)


def select(targets: Iterable[Target], names: Collection[str] | None) -> list[Selection]:
    """Return what is asked of each target, with the instances of those that know them; does not wait."""
    selections = []
    for target in targets:
        one = Selection(target, None, names)
        found = DiscoveredInstances(target.instances) if target.discovery is None else target.discovery.known()
        selections.append(one if found is None else one.having(found))
    return selections


def with_instances(selections: Sequence[Selection], names: Collection[str] | None, place: str) -> list[Selection]:
    """Return the selections in which an instance is asked for, or in which it may be.

    Args:
        selections: what is asked of each target.
        names: aliases or IDs, or target, slash and one of them; None for all.
        place: the setting that names the instances.

    Raises:
        CheckError: `unknown_instance`, if the lists of all targets are known and there is no such instance.

    """
    if names is None:
        return list(selections)
    known = known_labels(selections)
    unknown = sum(name not in known for name in set(names))
    if unknown and all(one.instances is not None and one.error is None for one in selections):
        # The message names none: names are the caller's own text, and this caller may not know ours.
        subject, verb = ("instance", "is") if unknown == 1 else ("instances", "are")
        raise CheckError("unknown_instance", f"{unknown} {subject} asked for {verb} not in {place}")
    return [one for one in selections if one.instances or one.instances is None or one.error is not None]
