"""HTTP events of Alibaba Cloud (FC 3), Tencent Cloud (SCF), Yandex Cloud, Scaleway and DigitalOcean functions.

They differ in a few names only, so one entry point reads them all, and those of OpenWhisk (`openwhisk`). Source: the
vendors' pages on HTTP triggers and web functions. Anything else is a schedule's event and gets the anonymous verdict.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode

from handlers.http import respond
from handlers.request_context import RequestContext
from handlers.triggers import event_sanitizer, non_http_events, openwhisk

if TYPE_CHECKING:
    from collections.abc import Callable

    from handlers.application import Application


def make_handler(application: Application) -> Callable[[Any, Any], dict[str, Any]]:
    """Return the function that the platform calls; it raises nothing."""

    def handler(event: Any, invocation: Any) -> dict[str, Any]:
        seconds_left = non_http_events.seconds_left(getattr(invocation, "get_remaining_time_in_millis", None))
        context = RequestContext(time.monotonic(), seconds_left=seconds_left, invocation=invocation)
        event = parsed(event)
        if openwhisk.is_request(event):
            return openwhisk.reply(respond(openwhisk.with_request(context, event), application))
        request = with_request(context, event)
        if request is None:
            return non_http_events.respond_to_event(context, application, event)
        return reply(request, application)

    return handler


def reply(request: RequestContext, application: Application) -> dict[str, Any]:
    """Return the response to a request in the form that gateways expect: these four members and no others."""
    response = respond(request, application)
    return {
        "statusCode": response.status,
        "headers": response.headers,
        "body": response.body.decode("utf-8"),
        "isBase64Encoded": False,
    }


def parsed(event: Any) -> Any:
    """Return the event as an object: Alibaba hands over the bytes of JSON; None for anything else in bytes."""
    if not isinstance(event, bytes | bytearray | str):
        return event
    try:
        return json.loads(event)
    except (ValueError, RecursionError):
        return None


def with_request(context: RequestContext, event: Any) -> RequestContext | None:
    """Return the context with the request in an event, or None for an event that is not an HTTP request."""
    if not isinstance(event, dict):
        return None
    about = event.get("requestContext")
    nested = about.get("http") if isinstance(about, dict) else None
    is_raw = True
    if isinstance(event.get("http"), dict):  # DigitalOcean; without `web: raw` the parameters are beside it
        outer, event = event, event["http"]
        is_raw = "queryString" in event
        method, path, query = event.get("method"), event.get("path"), event.get("queryString", outer)
    elif isinstance(nested, dict):  # Alibaba
        method, path, query = nested.get("method"), event.get("rawPath"), event.get("queryParameters")
    else:
        method = event.get("httpMethod")
        path = event.get("url") or event.get("path")  # Yandex says in `url` what was asked, others have none
        query = event.get("queryString") or event.get("queryStringParameters")
    if not isinstance(method, str):
        return None
    path, _, raw_query = (path if isinstance(path, str) else "/").partition("?")
    if not raw_query:
        several = event_sanitizer.multiple_values(event.get("multiValueQueryStringParameters"))
        values = {**event_sanitizer.single_values(query), **event_sanitizer.multiple_values(query), **several}
        raw_query = query if isinstance(query, str) else urlencode(values, doseq=True)
    headers = event.get("headers")
    return context._replace(
        method=method.upper(),
        path="/" + unquote(event_sanitizer.ascii_url(path)).lstrip("/"),
        query_string=event_sanitizer.ascii_url(raw_query).encode("ascii"),
        headers=event_sanitizer.headers(headers, event.get("multiValueHeaders") or headers),
        body=event_sanitizer.body(event) if is_raw or method.upper() != "POST" else event_sanitizer.mixed_body(),
    )
