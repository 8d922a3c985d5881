"""Decides whether a checker pages: the marker and the HTTP status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

Marker = Literal["FDI-OK", "FDI-NOT-OK"]
"""The word for keyword checkers; neither contains the other."""


class Outcome(NamedTuple):
    """What a checker acts on."""

    marker: Marker
    http_status: int


def decide(statuses: Collection[str], fail_on: Collection[str]) -> Outcome:
    """Return the marker and the HTTP status of a check.

    A 503 never says FDI-OK, and neither does a check with an unhealthy or unknown instance, so that a keyword checker
    never reports health where a status checker or the verdict does not.

    Args:
        statuses: of every instance asked; a top-level error counts as one unknown instance. No status at all is
            unknown too: nothing was seen to be healthy.
        fail_on: the statuses that fail the check. `healthy` is for fire drills and fails every check.

    """
    asked = set(statuses) or {"unknown"}
    fails = "healthy" in fail_on or not asked.isdisjoint(fail_on)
    healthy = asked <= {"healthy", "degraded"}
    return Outcome("FDI-OK" if healthy and not fails else "FDI-NOT-OK", 503 if fails else 200)
