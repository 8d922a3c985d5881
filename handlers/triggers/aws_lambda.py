"""AWS Lambda: events of API Gateway (REST and HTTP APIs), function URLs, load balancers and VPC Lattice, by apig-wsgi.

apig-wsgi translates well-formed events. What it cannot read is corrected first: nulls, a stage in the path, text that
no WSGI server would accept. The body is read here.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from apig_wsgi import make_lambda_handler

from handlers.http import respond
from handlers.request_context import RequestContext
from handlers.routes import ROUTES
from handlers.triggers import event_sanitizer, non_http_events, wsgi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from handlers.application import Application


def make_handler(application: Application) -> Callable[[Any, Any], dict[str, Any]]:
    """Return the function that Lambda calls; it raises nothing."""

    def handler(event: Any, invocation: Any) -> dict[str, Any]:
        seconds_left = non_http_events.seconds_left(getattr(invocation, "get_remaining_time_in_millis", None))
        context = RequestContext(time.monotonic(), seconds_left=seconds_left, invocation=invocation)
        sound = normalised(event)
        if sound is None:
            return non_http_events.respond_to_event(context, application, event)
        flag = (
            "is_base64_encoded" if "raw_path" in event else "isBase64Encoded"
        )  # version 1 of VPC Lattice has the first
        body = event_sanitizer.body({"body": event.get("body"), "isBase64Encoded": event.get(flag)})

        def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            request = wsgi.with_request(context, environ)._replace(body=body)
            return wsgi.sent(respond(request, application), start_response)

        # All our responses are text.
        return make_lambda_handler(app, non_binary_content_type_prefixes=("",))(sound, invocation)

    return handler


def normalised(event: Any) -> dict[str, Any] | None:
    """Return an event that apig-wsgi can translate, without its body; None for one that is not an HTTP request.

    Source: the event formats 1.0 and 2.0 in AWS's guides of API Gateway, Lambda, load balancers and VPC Lattice.
    """
    if not isinstance(event, dict):
        return None
    about = event.get("requestContext")
    about = about if isinstance(about, dict) else {}
    http = about.get("http")
    if event.get("version") == "2.0" and isinstance(http, dict) and isinstance(http.get("method"), str):
        return _version_2(event, about, http)
    if isinstance(event.get("httpMethod"), str) and isinstance(event.get("path"), str):
        return _version_1(event, about)
    if isinstance(event.get("method"), str):
        return _lattice(event)
    return None


def _version_2(event: dict[str, Any], about: dict[str, Any], http: dict[str, Any]) -> dict[str, Any]:
    raw = next((text for text in (event.get("rawPath"), http.get("path")) if isinstance(text, str)), "/")
    key = event.get("routeKey")
    path = _routed(key.partition(" ")[2] if isinstance(key, str) else None, event) or _without_stage(raw, about)
    query = event.get("rawQueryString")
    if not isinstance(query, str):
        query = urlencode(event_sanitizer.single_values(event.get("queryStringParameters")))
    cookies = event.get("cookies")
    return {
        "version": "2.0",
        "rawPath": event_sanitizer.ascii_url(path),
        "rawQueryString": event_sanitizer.ascii_url(query),
        "headers": event_sanitizer.headers(event.get("headers"), None),
        "cookies": [text for text in cookies if isinstance(text, str)] if isinstance(cookies, list) else [],
        "requestContext": {
            "http": {"method": http["method"], "sourceIp": "", "protocol": "HTTP/1.1"},
        },
    }


def _lattice(event: dict[str, Any]) -> dict[str, Any] | None:
    """Return an event of VPC Lattice in the form 2.0 of HTTP APIs: the reply has the same members.

    Version 1 has the query in its path or beside it, version 2 has texts or lists: the vendor's examples differ.
    """
    path, parameters = event.get("raw_path"), event.get("query_string_parameters")
    if not isinstance(path, str) and event.get("version") == "2.0":
        path, parameters = event.get("path"), event.get("queryStringParameters")
    if not isinstance(path, str):
        return None
    path, _, query = path.partition("?")
    values = {**event_sanitizer.single_values(parameters), **event_sanitizer.multiple_values(parameters)}
    query = query or urlencode(values, doseq=True)
    headers = event_sanitizer.headers(event.get("headers"), event.get("headers"))
    return {
        "version": "2.0",
        "rawPath": event_sanitizer.ascii_url(path),
        "rawQueryString": event_sanitizer.ascii_url(query),
        "headers": headers,
        "requestContext": {"http": {"method": event["method"], "sourceIp": "", "protocol": "HTTP/1.1"}},
    }


def _version_1(event: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
    balancer = "elb" in about
    path = _routed(event.get("resource"), event) or event["path"]
    if path == about.get("path") and not _is_whole_path_of_rest_api(path, event):
        # An HTTP API that speaks this version has the stage in both paths.
        path = _without_stage(path, about)
    sound: dict[str, Any] = {
        "path": event_sanitizer.ascii_url(path),
        "httpMethod": event["httpMethod"],
        "requestContext": {"elb": {}} if balancer else {},
    }
    single = event_sanitizer.single_values(event.get("queryStringParameters"))
    parameters = event_sanitizer.multiple_values(event.get("multiValueQueryStringParameters"))
    parameters = parameters or {name: [value] for name, value in single.items()}
    if balancer:
        # A balancer hands the query on as it came, percent signs and all.
        quote = event_sanitizer.ascii_url
        parameters = {quote(name): [*map(quote, values)] for name, values in parameters.items()}
    sound["multiValueQueryStringParameters"] = parameters
    headers = event_sanitizer.headers(event.get("headers"), event.get("multiValueHeaders"))
    if balancer and "multiValueHeaders" in event:
        # A balancer in this mode reads only this form of the answer.
        sound["multiValueHeaders"] = {name: [value] for name, value in headers.items()}
    else:
        sound["headers"] = headers
    return sound


def _is_whole_path_of_rest_api(path: str, event: dict[str, Any]) -> bool:
    """Whether a path that may begin with the stage is one of ours as it is.

    A REST API has no stage in `path`, and behind a custom domain none in the context's path either: there `/live` is
    the path, although the stage may be called `live`. HTTP APIs state their version, and always have the stage.
    """
    return event.get("version") != "1.0" and (path.removesuffix("/") or "/") in ROUTES


def _routed(route: Any, event: dict[str, Any]) -> str | None:
    """Return the path by the route that the gateway chose, without what a custom domain puts before it; None for none.

    A route is a path of ours, or ends in `{proxy+}`, for which the event says what stands in its place.
    """
    if not isinstance(route, str) or not route.startswith("/"):
        return None
    if "{" not in route:
        return route
    parameters = event_sanitizer.single_values(event.get("pathParameters"))
    return f"/{parameters['proxy']}" if route.endswith("/{proxy+}") and "proxy" in parameters else None


def _without_stage(path: str, about: dict[str, Any]) -> str:
    """Return the path without the stage, which HTTP APIs put before it."""
    stage = about.get("stage")
    if isinstance(stage, str) and stage and (path == f"/{stage}" or path.startswith(f"/{stage}/")):
        return path[len(stage) + 1 :] or "/"
    return path
