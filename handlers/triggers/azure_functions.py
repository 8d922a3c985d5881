"""Azure Functions: its HTTP requests to ours, and responses back; its timer gets the anonymous verdict.

Source: the vendor's Python developer guide (HTTP and timer triggers, logging). azure-functions has a bridge for WSGI
applications, but that raises an exception for every status of 500 and more (1.26). The platform would then answer 500
with an empty body where we say 503 and why.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import unquote

from azure.functions import HttpResponse

from handlers.http import respond
from handlers.request_context import RequestContext
from handlers.triggers import event_sanitizer, non_http_events

if TYPE_CHECKING:
    from azure.functions import HttpRequest

    from handlers.application import Application

METHODS = ("GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE")
"""Every method that the platform can route, so that a wrong one gets our 405 and not the platform's 404."""


def respond_to_request(request: HttpRequest, application: Application) -> HttpResponse:
    """Return the response to a request of an HTTP trigger; raises nothing."""
    arrived = time.monotonic()
    path, query = event_sanitizer.path_and_query(request.url)
    context = RequestContext(
        arrived,
        method=request.method,
        path="/" + unquote(path).lstrip("/"),
        query_string=query.encode("ascii"),
        headers=event_sanitizer.headers(dict(request.headers), None),
        body=request.get_body(),
    )
    response = respond(context, application)
    return HttpResponse(response.body, status_code=response.status, headers=response.headers)


def respond_to_timer(application: Application) -> None:
    """Check once, with a log line as the only report; raises nothing."""
    non_http_events.respond_to_event(RequestContext(time.monotonic()), application, None)
