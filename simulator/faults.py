"""The table of behaviours: every name that an instance can play."""

from __future__ import annotations

import difflib
import functools
from typing import Final

from simulator.content_faults import CONTENT_FAULTS
from simulator.documented import DOCUMENTED
from simulator.framing_faults import FRAMING_FAULTS
from simulator.responses import Answer, Behaviour, BuiltOnUse, Reply
from simulator.status_faults import STATUS_FAULTS
from simulator.timing_faults import TIMING_FAULTS

BEHAVIOURS: Final[dict[str, Behaviour]] = {
    **DOCUMENTED,
    **TIMING_FAULTS,
    **CONTENT_FAULTS,
    **STATUS_FAULTS,
    **FRAMING_FAULTS,
}


class UnknownBehaviourError(ValueError):
    """No behaviour has this name; the message names those that are nearly it."""


def fault_names() -> list[str]:
    """Return the names of all behaviours, in the order of the table."""
    return list(BEHAVIOURS)


@functools.cache
def behaviour_named(name: str) -> Answer | Reply:
    """Return what a name plays, built now if it is one of the big ones.

    Raises: UnknownBehaviourError.
    """
    if name not in BEHAVIOURS:
        near = difflib.get_close_matches(name, BEHAVIOURS, n=5)
        hint = f"did you mean {', '.join(near)}?" if near else "python -m simulator --list-faults lists them"
        raise UnknownBehaviourError(f"unknown behaviour {name!r}: {hint}")
    behaviour = BEHAVIOURS[name]
    return behaviour.build() if isinstance(behaviour, BuiltOnUse) else behaviour
