"""ListRomaInstancesV3: the instances of the project.

Source: the vendor's API reference, as gathered in the project's notes on the upstream. Chosen here: that the list is in
the order in which instances began to play, and that the parameters `category` and `status` are ignored. Fields of an
entry beyond those below are left out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

from simulator.faults import behaviour_named
from simulator.responses import Responder, Response, json_response

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulator.request_parser import Request

PATH: Final = re.compile(r"/v3/(?P<project>[^/?]*)/roma/instances(?:\?.*)?", re.DOTALL)

_Behaviour: TypeAlias = "str | Response | Responder | None"


class Instances:
    """The list of instances. The simulator's thread reads it; the test's thread changes it.

    Attributes:
        names: ID → name in the console; by default an instance's name is its ID.
        states: ID → the vendor's word for the state; by default RUNNING.

    """

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.states: dict[str, str] = {}
        self._total: int | None = None
        self._failure: Response | Responder | None = None

    def fail(self, behaviour: _Behaviour) -> None:
        """Play a behaviour to every authorized request for the list; None undoes it.

        Raises: UnknownBehaviourError (a ValueError) for a name that is not in `fault_names()`.
        """
        self._failure = behaviour_named(behaviour) if isinstance(behaviour, str) else behaviour

    def claim_total(self, total: int | None) -> None:
        """State another `total` than the number of entries; None undoes it."""
        self._total = total

    def respond(self, request: Request, instance_ids: Iterable[str]) -> Response:
        """Return the response to an authorized request of this project."""
        if self._failure is not None:
            return self._failure if isinstance(self._failure, Response) else self._failure(request)
        entries = [
            {
                "id": instance_id,
                "name": self.names.get(instance_id, instance_id),
                "description": "",
                "status": self.states.get(instance_id, "RUNNING"),
                "enterprise_project_id": "0",
            }
            for instance_id in instance_ids
        ]
        total = len(entries) if self._total is None else self._total
        return json_response({"total": total, "size": len(entries), "instances": entries})
