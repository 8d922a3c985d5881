"""What one instance plays, request by request."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from simulator.instance_statistics import json_document
from simulator.responses import Responder, Response

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulator.request_parser import Request


class Script:
    """The behaviours of one instance, one per request; the last one repeats."""

    def __init__(self, behaviours: Iterable[Response | Responder]) -> None:
        self._left = deque(behaviours)

    def next_response(self, request: Request) -> Response:
        """Return the response to the next request."""
        behaviour = self._left.popleft() if len(self._left) > 1 else self._left[0]
        return behaviour if isinstance(behaviour, Response) else behaviour(request)

    @property
    def last_document(self) -> Any:
        """The JSON document of the behaviour that repeats, or None."""
        behaviour = self._left[-1]
        return json_document(behaviour) if isinstance(behaviour, Response) else None

    @property
    def refuses_any_token(self) -> bool:
        """Whether the next response comes even to a request without a valid token."""
        behaviour = self._left[0]
        return isinstance(behaviour, Response) and not behaviour.token_checked
