"""Remembers which instances a process has asked, and tells those that are gone from the project's list. Pure.

Without it, an instance that somebody deleted would end in a healthy verdict over the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fdi_health.clock import format_timestamp
from fdi_health.models import VerdictWarning

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Set

    from fdi_health.clock import Instant
    from fdi_health.models import Instance

GONE_SECONDS = 3600.0
"""How long there is a warning of an instance that is gone."""


class Seen(NamedTuple):
    """An instance that was asked.

    Attributes:
        name: its newest name.
        gone: when the first list without it was read, or None.

    """

    name: str
    gone: Instant | None = None


def update_history(
    history: Mapping[str, Seen], asked: Iterable[Instance], listed: Set[str], read: Instant
) -> dict[str, Seen]:
    """Return ID → what is remembered after another list.

    Args:
        history: what was remembered before.
        asked: the instances of the list that are asked.
        listed: the IDs of all instances in the list. One that is not asked any more, such as one in state DELETING, is
            not gone.
        read: when the list was read.

    """
    updated = {instance.instance_id: Seen(instance.name) for instance in asked}
    for instance_id, seen in history.items():
        if instance_id in listed:
            updated.setdefault(instance_id, Seen(seen.name))
        elif seen.gone is None or seen.gone.seconds_until(read) < GONE_SECONDS:
            updated[instance_id] = Seen(seen.name, seen.gone or read)
    return updated


def warn_of_gone(history: Mapping[str, Seen], present: Instant) -> list[VerdictWarning]:
    """Return one warning for each instance that is gone since less than `GONE_SECONDS`."""
    return [
        _warning(seen.name, instance_id, seen.gone)
        for instance_id, seen in sorted(history.items())
        if seen.gone is not None and seen.gone.seconds_until(present) < GONE_SECONDS
    ]


def _warning(name: str, instance_id: str, gone: Instant) -> VerdictWarning:
    since, ends = format_timestamp(gone.wall), format_timestamp(gone.wall + GONE_SECONDS)
    return VerdictWarning(
        "instance_gone",
        name,
        f"{name} ({instance_id}) is not in the project's list of instances any more, since {since}.",
        f"Look for it in the console. If it was deleted on purpose, do nothing: this warning ends at {ends}. If not, "
        f"add {name}={instance_id} to FDI_INSTANCES, so that the verdict is unknown as long as it is gone.",
    )
