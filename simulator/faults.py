"""The table of behaviours. To play a behaviour is to send its response to the next request of an instance."""

from __future__ import annotations

import difflib
import functools
from typing import Final

from simulator.content_faults import CONTENT_FAULTS
from simulator.documented_responses import DOCUMENTED
from simulator.framing_faults import FRAMING_FAULTS
from simulator.responses import Behaviour, LazyResponse, Responder, Response
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
    """No behaviour has this name; the message suggests similar names."""


def fault_names() -> list[str]:
    """Return the names of all behaviours, in the order of the table."""
    return list(BEHAVIOURS)


@functools.cache
def behaviour_named(name: str) -> Response | Responder:
    """Return the response of a behaviour; a LazyResponse is built now.

    Raises: UnknownBehaviourError.
    """
    if name not in BEHAVIOURS:
        near = difflib.get_close_matches(name, BEHAVIOURS, n=5)
        hint = f"did you mean {', '.join(near)}?" if near else "python -m simulator --list-faults lists them"
        raise UnknownBehaviourError(f"unknown behaviour {name!r}: {hint}")
    behaviour = BEHAVIOURS[name]
    return behaviour.build() if isinstance(behaviour, LazyResponse) else behaviour
