"""Oracle Functions: its calls to requests, and responses back; a call without a gateway gets the anonymous verdict.

Source: the vendor's pages on functions behind API Gateway, and its library, fdk (0.1.128), which hands over the call.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

from handlers.http import respond
from handlers.request_context import RequestContext
from handlers.response import Response
from handlers.triggers import event_sanitizer, function_events, non_http_events

if TYPE_CHECKING:
    from collections.abc import Mapping

    from handlers.application import Application


class FnCall(Protocol):
    """What fdk's context says of a call; the names are the library's."""

    def Method(self) -> str | None:  # noqa: N802 -- the library's name
        """Return the HTTP method, or None for a call without a gateway."""
        ...

    def RequestURL(self) -> str | None:  # noqa: N802 -- the library's name
        """Return the path and the query, or the whole URL."""
        ...

    def HTTPHeaders(self) -> Mapping[str, str | list[str]]:  # noqa: N802 -- the library's name
        """Return the headers of the HTTP request."""
        ...

    def Deadline(self) -> str:  # noqa: N802 -- the library's name
        """Return when the platform ends the call (RFC 3339)."""
        ...


def respond_to_call(call: FnCall, body: bytes, application: Application) -> Response:
    """Return the response to a call; raises nothing.

    Args:
        call: fdk's context.
        body: the body of the HTTP request, or the input of a call without a gateway.
        application: the state of this process.

    """
    context = RequestContext(time.monotonic(), seconds_left=_seconds_left(call.Deadline(), datetime.now(UTC)))
    method, url = call.Method(), call.RequestURL()
    if not method or not url:
        document = non_http_events.respond_to_event(context, application, function_events.parsed(body))
        return Response(json.dumps(document).encode(), 200, {"Content-Type": "application/json"})
    path, query = event_sanitizer.path_and_query(url)
    headers: Any = dict(call.HTTPHeaders())
    request = context._replace(
        method=method.upper(),
        path="/" + unquote(path).lstrip("/"),
        query_string=query.encode("ascii"),
        headers=event_sanitizer.headers(headers, headers),
        body=body,
    )
    response = respond(request, application)
    # The gateway counts the body itself: for HEAD it would wait for the bytes that this header promises.
    response.headers.pop("Content-Length", None)
    return response


def _seconds_left(deadline: str, present: datetime) -> float | None:
    """Return the seconds until the platform ends the call, or None if it does not say."""
    try:
        return (datetime.fromisoformat(deadline) - present).total_seconds()
    except (TypeError, ValueError):
        return None
