"""HTTP requests enter here, from every server and platform; other events enter in `triggers.non_http_events`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fdi_health.errors import CheckError
from fdi_health.secret_stores.huawei.invocation import invocation
from handlers import routes
from handlers.problems import log_as_problem, problem
from handlers.response import Response

if TYPE_CHECKING:
    from handlers.application import Application
    from handlers.request_context import RequestContext

_ORIGIN = re.compile(r"(?=.{1,253}\Z)(?!.*fdi-ok)(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,63}", re.ASCII | re.IGNORECASE)
"""A host name, as a sender of events gives it. It is repeated in the response, so it must not hold the marker."""

_NO_CONTENT = 204

LINK_TO_PAGE = '</status>; rel="alternate"; type="text/html"'
"""The Link of JSON that a browser asked for: where the page for people is."""


def respond(context: RequestContext, application: Application) -> Response:
    """Return the response to a request, without a body for HEAD; never raises, never redirects.

    Args:
        context: the request.
        application: the state of this process.

    """
    before = invocation.set(context.invocation)
    try:
        response = _route(context, application)
    except Exception as error:  # noqa: BLE001 -- the one catch-all: a server would answer with its own HTML page
        response = problem(log_as_problem(error))
    finally:
        invocation.reset(before)
    response.headers["Cache-Control"] = "no-store"
    response.headers["Vary"] = "Accept, Authorization, X-Api-Key"
    # Otherwise browsers may treat text in the body as HTML.
    response.headers["X-Content-Type-Options"] = "nosniff"
    if _is_for_a_browser(response, context):
        response.headers["Link"] = LINK_TO_PAGE
    if response.status != _NO_CONTENT:
        response.headers["Content-Length"] = str(len(response.body))
    return response._replace(body=b"") if context.method == "HEAD" else response


def _is_for_a_browser(response: Response, context: RequestContext) -> bool:
    """Whether a verdict as JSON, or a problem, answers a request that would rather have HTML."""
    accept = context.headers.get("accept", "")
    is_problem = response.media_type == "application/problem+json"
    is_verdict = response.media_type == "application/json" and "FDI-Verdict" in response.headers
    if "text/html" not in accept or not (is_problem or is_verdict):
        return False
    from fdi_health.formats.accept import parse_accept

    return any(accepted.media_type == "text/html" and accepted.weight > 0 for accepted in parse_accept(accept))


def _options(context: RequestContext, route: routes.Route) -> Response:
    """Return the methods of a path. A sender of events who asks whether it may post there may do so, at any rate.

    Source: CloudEvents, "HTTP 1.1 Web Hooks for Event Delivery", section 4 (abuse protection); Azure Event Grid asks.
    """
    response = Response(b"", _NO_CONTENT, {"Allow": route.allow})
    origin = context.headers.get("webhook-request-origin", "")
    if "POST" in route.methods and _ORIGIN.fullmatch(origin):
        response.headers["WebHook-Allowed-Origin"] = origin
        if "webhook-request-rate" in context.headers:
            response.headers["WebHook-Allowed-Rate"] = "*"
    return response


def _route(context: RequestContext, application: Application) -> Response:
    route = routes.find(context.path)
    if context.method == "OPTIONS":
        return _options(context, route)
    if context.method not in route.methods:
        response = problem(CheckError("method_not_allowed", f"this path takes {route.allow}"))
        response.headers["Allow"] = route.allow
        return response
    return route.view(context, application)
