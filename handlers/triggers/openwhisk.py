"""Requests of Apache OpenWhisk's web actions: the arguments of `event_handler` are the request.

Only a raw web action (`--web raw`) gets query and body apart. Source: the project's page on web actions and its
controller (WebActions.scala): the method comes in lower case, a body of JSON or of a binary type in Base64, and so must
a response's body be.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode

from fdi_health.errors import CheckError
from handlers.triggers import event_sanitizer

if TYPE_CHECKING:
    from handlers.request_context import RequestContext
    from handlers.response import Response

_PREFIX = "__ow_"
_PLAIN_TYPES = ("text/", "application/json", "application/openmetrics-text")
"""How the types begin that the controller takes for text. It decodes the bodies of all others."""


def is_request(event: Any) -> bool:
    """Whether an event is a request to a web action."""
    return isinstance(event, dict) and isinstance(event.get(f"{_PREFIX}method"), str)


def with_request(context: RequestContext, event: dict[str, Any]) -> RequestContext:
    """Return the context with the request in the arguments of a web action."""
    method, path = event[f"{_PREFIX}method"].upper(), event.get(f"{_PREFIX}path")
    query: Any = event.get(f"{_PREFIX}query")
    is_raw = isinstance(query, str)
    if not is_raw:
        # The parameters are among the arguments.
        others = {name: value for name, value in event.items() if not name.startswith(_PREFIX)}
        query = urlencode(event_sanitizer.single_values(others))
    return context._replace(
        method=method,
        path="/" + unquote(event_sanitizer.ascii_url(path if isinstance(path, str) else "")).lstrip("/"),
        query_string=event_sanitizer.ascii_url(query).encode("ascii"),
        headers=event_sanitizer.headers(event.get(f"{_PREFIX}headers"), None),
        body=_body(event.get(f"{_PREFIX}body")) if is_raw or method != "POST" else event_sanitizer.mixed_body(),
    )


def _body(text: Any) -> bytes | CheckError:
    """Return the body. Nothing says whether it is Base64; a text that merely looks so is not a JSON object anyway."""
    decoded = event_sanitizer.body({"body": text, "isBase64Encoded": True})
    return event_sanitizer.body({"body": text}) if isinstance(decoded, CheckError) else decoded


def reply(response: Response) -> dict[str, Any]:
    """Return a response as the controller expects it."""
    is_text = response.headers.get("Content-Type", "").startswith(_PLAIN_TYPES)
    body = response.body if is_text else base64.b64encode(response.body)
    return {"statusCode": response.status, "headers": response.headers, "body": body.decode("utf-8")}
