"""Which instances of a project's list are asked, and by what name. Pure.

Fail closed: a list from which an instance that must be asked is missing gives an error and no instances.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from fdi_health.errors import CheckError
from fdi_health.models import Instance, VerdictWarning
from fdi_health.reasons import fit
from schemas.settings_fields import NAME, without_marker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fdi_health.roma.instances import ListedInstance
    from schemas.targets import TargetSettings

SKIPPED_STATES = frozenset(
    {
        "CREATING",
        "CREATE_FAILED",
        "DELETING",
        "DELETE_FAILED",
        "DELETE_FALIED",  # spelled so in the vendor's API reference
        "DELETED",
        "SOFT_DELETED",
    }
)
"""States of an instance that does not work yet or any more. An instance in any other state is asked, also in one that
is not documented."""

_MAX_NAME_CHARACTERS = 64
_MAX_SHOWN_CHARACTERS = 200
_NUMBERED_CHARACTERS = 56
"""How much of a name is kept for certain if a number is added."""


class DiscoveredInstances(NamedTuple):
    """The instances to ask.

    Attributes:
        instances: ordered by name; empty if there is an error.
        warnings: what an operator should know of the list.
        error: why the list is not usable, or None.

    """

    instances: tuple[Instance, ...]
    warnings: tuple[VerdictWarning, ...] = ()
    error: CheckError | None = None


def select_instances(listed: Sequence[ListedInstance], settings: TargetSettings) -> DiscoveredInstances:
    """Return the instances to ask.

    An instance that the settings name is asked in any state, and no exclusion is about it: the operator wants it.

    Args:
        listed: every instance of the project.
        settings: `instances` must be in the list; `exclude` and `min_instances` are as they say.

    """
    names = name_instances(listed, settings.instances)
    required = {instance_id for _, instance_id in settings.instances}
    asked: list[Instance] = []
    skipped: list[VerdictWarning] = []
    matched: set[str] = set()
    for one in sorted(listed, key=lambda one: names[one.instance_id]):
        instance = Instance(names[one.instance_id], one.instance_id, settings.name)
        exclusions = settings.exclude & {*instance, one.name, safe_name(one.name)}
        if one.instance_id in required:
            asked.append(instance)
        elif exclusions:
            matched |= exclusions
        elif one.status in SKIPPED_STATES:
            skipped.append(_skipped(instance, one.status))
        else:
            asked.append(instance)
    warnings = (*skipped, *(_unmatched(name) for name in sorted(settings.exclude - matched)))
    error = _error(listed, asked, len(skipped), settings)
    return DiscoveredInstances(() if error else tuple(asked), warnings, error)


def name_instances(listed: Sequence[ListedInstance], named: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return ID → name: the alias in the settings, or the instance's own name made safe; every name is unique.

    Of several instances with the same name, the one with the first ID keeps it, and the others get -2, -3, ….
    No instance gets the ID of another one as its name, since callers choose instances by name or ID.

    Args:
        listed: every instance of the project.
        named: (alias, ID) pairs.

    """
    names = {instance_id: alias for alias, instance_id in named}
    own_names = {one.instance_id: safe_name(one.name) or one.instance_id for one in listed}
    reserved, taken = {*own_names, *own_names.values()}, set(names.values())
    numbers: Counter[str] = Counter()
    for instance_id in sorted(own_names.keys() - names.keys()):
        own_name = name = own_names[instance_id]
        if own_name in taken or (own_name in own_names and own_name != instance_id):
            beginning = own_name[:_NUMBERED_CHARACTERS]
            while name in taken or name in reserved:
                numbers[beginning] += 1
                suffix = f"-{numbers[beginning] + 1}"
                name = f"{own_name[: _MAX_NAME_CHARACTERS - len(suffix)]}{suffix}"
        taken.add(name)
        names[instance_id] = name
    return names


def safe_name(name: str) -> str:
    """Return a name with - for every character that an alias must not have; empty if nothing is left of it."""
    safe = re.sub("[^A-Za-z0-9_.-]", "-", name).strip("-")
    # Last: the marker may only come about by the replacement.
    safe = without_marker(safe)[:_MAX_NAME_CHARACTERS]
    return safe if NAME.fullmatch(safe) else ""


def _skipped(instance: Instance, state: str) -> VerdictWarning:
    return VerdictWarning(
        "instance_skipped",
        instance.name,
        f"{instance.name} is not asked: its state is {state}.",
        f"Exclude it with !{instance.name} in FDI_INSTANCES, or name it there to ask it in any state.",
    )


def _unmatched(name: str) -> VerdictWarning:
    name = without_marker(name)
    return VerdictWarning(
        "exclusion_unmatched",
        None,
        f"FDI_INSTANCES excludes {name}, and no instance that could be excluded has that name or ID.",
        f"Correct or remove !{name} in FDI_INSTANCES.",
    )


def _error(
    listed: Sequence[ListedInstance], asked: Sequence[Instance], skipped: int, settings: TargetSettings
) -> CheckError | None:
    ids = {one.instance_id for one in listed}
    missing = [alias for alias, instance_id in settings.instances if instance_id not in ids]
    if missing:
        return CheckError(
            "instance_not_found",
            f"not in the project's list of instances: {fit(missing, ', ', _MAX_SHOWN_CHARACTERS)}",
            next_step="Compare the IDs in FDI_INSTANCES, the project and the region with the console, and check that "
            "the user may see these instances.",
        )
    if not listed:
        return CheckError(
            "instance_not_found",
            "the project's list of instances is empty",
            next_step="Check FDI_PROJECT_ID, the region, and that the user may see the project's instances.",
        )
    if not asked:
        excluded = len(listed) - skipped
        return CheckError(
            "instance_not_found",
            f"no instance is left to ask: {excluded} excluded, {skipped} skipped for their state",
            next_step="Correct the exclusions in FDI_INSTANCES, or look at the states of the instances in the console.",
        )
    if len(asked) < settings.min_instances:
        return CheckError(
            "instance_not_found",
            f"{len(asked)} of at least {settings.min_instances} instances found",
            next_step="Look for the others in the console and check that the user may see them. If they are not needed "
            "any more, lower min_instances.",
        )
    return None
