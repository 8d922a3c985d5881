"""One request as a trigger hands it over, the same for every platform."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from fdi_health.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Mapping


class RequestContext(NamedTuple):
    """A request, with its body read already; an event that is not an HTTP request has the defaults.

    Attributes:
        arrived: when the request arrived, in seconds of the monotonic clock; every deadline counts from here.
        method: the HTTP method, in capitals.
        path: the decoded path.
        query_string: the query as it was sent, without `?`.
        headers: name in lower case → value.
        body: the body, or b"" if it cannot steer a check; or the error that says why it was not read.
        seconds_left: how long the platform lets the invocation go on, or None if it does not say.
        invocation: the platform's own context of the invocation, or None.

    """

    arrived: float
    method: str = "GET"
    path: str = "/"
    query_string: bytes = b""
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes | CheckError = b""
    seconds_left: float | None = None
    invocation: Any = None

    def __repr__(self) -> str:
        # Everything else is text of the caller, and may contain a key.
        return f"RequestContext(arrived={self.arrived})"


def broken_body() -> CheckError:
    """Return the error of a body that did not arrive complete: nobody can tell what it asked."""
    return CheckError("malformed_query", "the body ended early, came too slowly or is broken; send it again")
