"""Huawei Cloud FunctionGraph, the upstream vendor's own platform: its events to WSGI and back.

Source: the vendor's FunctionGraph developer guide (APIG and timer triggers, the context of Python functions). The
answer to an APIG trigger holds exactly four keys; with any other the gateway answers 500 by itself.
"""

from __future__ import annotations

import base64
import io
import sys
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode

from werkzeug import Request

from fdi_health.secret_stores import InvalidSecretUrl, parse_secret_url
from handlers.application import Application
from handlers.http import respond
from handlers.request_parameters import INVOCATION, SECONDS_LEFT
from handlers.triggers import event_sanitizer, non_http_events
from handlers.triggers.request_body import ARRIVED, BROKEN
from schemas.settings import SettingsSchema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Handler:
    """The function that FunctionGraph calls; it raises nothing.

    Args:
        environ: the process's environment.

    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._lock = threading.Lock()
        self._application: Application | None = None

    def __call__(self, event: Any, context: Any) -> dict[str, Any]:
        """Answer an APIG trigger's event, or give the anonymous verdict for any other event."""
        application = self.application(context)
        left = non_http_events.seconds_left(getattr(context, "getRemainingTimeInMilliSeconds", None))
        environ = _environ(event)
        if environ is None:
            return non_http_events.verdict_document(application, left, context, event)
        environ |= {SECONDS_LEFT: left, INVOCATION: context}
        content, status, headers = respond(Request(environ), application).get_wsgi_response(environ)
        return {
            "statusCode": int(status[:3]),
            "headers": dict(headers),
            "body": b"".join(content).decode("utf-8"),
            "isBase64Encoded": False,
        }

    def application(self, context: Any) -> Application:
        """Return the state of this application, made by the first invocation: its context may hold the settings."""
        with self._lock:
            if self._application is None:
                self._application = Application({**_user_data(context, self._environ), **self._environ})
            return self._application


def _user_data(context: Any, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that the function's configuration holds and the environment does not.

    Runtimes differ in whether they put the configured variables into the environment too; the context always has them.
    """
    get: Callable[[str], object] = getattr(context, "getUserData", lambda _: None)

    def value(name: str) -> str:
        try:
            found = get(name)
        except Exception:  # noqa: BLE001 -- the platform's own code, for a name it does not know
            return ""
        return found if isinstance(found, str) else ""

    names = [str(field.data_key) for field in SettingsSchema().fields.values()]
    found = {name: text for name in names if name not in environ and (text := value(name))}
    for variable in ("FDI_TOKEN", "FDI_CALLERS"):
        try:
            url = parse_secret_url({**found, **environ}.get(variable, ""))
        except InvalidSecretUrl:
            continue
        if url.scheme == "env" and url.place not in environ and (text := value(url.place)):
            found[url.place] = text
    return found


def _environ(event: Any) -> dict[str, Any] | None:
    """Return the WSGI environ (PEP 3333) of an APIG trigger's event, or None for any other event."""
    if not isinstance(event, dict):
        return None
    method, path = event.get("httpMethod"), event.get("path")
    if not isinstance(method, str) or not isinstance(path, str):
        return None
    parameters = event.get("queryStringParameters")
    query: dict[str, str | list[str]] = {
        **event_sanitizer.single_values(parameters),
        **event_sanitizer.multiple_values(parameters),
    }
    text, broken = event_sanitizer.body_in_base64(event)
    body = base64.b64decode(text)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(event_sanitizer.ascii_url(path), encoding="latin-1"),
        "QUERY_STRING": urlencode(query, doseq=True),
        "CONTENT_LENGTH": str(len(body)),
        "SERVER_NAME": "functiongraph",
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        ARRIVED: time.monotonic(),
        BROKEN: broken,
    }
    values = event.get("headers")
    for name, value in event_sanitizer.headers(values, values).items():
        environ["HTTP_" + name.upper().replace("-", "_")] = value
    environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE", "")
    return environ
