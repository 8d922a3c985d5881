"""Requests of every server that speaks WSGI enter here: the body is read, then the request is answered."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING
from urllib.parse import unquote

from werkzeug import Request

from fdi_health import log
from handlers.http import respond
from handlers.request_context import RequestContext
from handlers.triggers.request_body import end_connection, read_body

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from werkzeug import Response

    from handlers.application import Application


def handle(request: Request, application: Application) -> Response:
    """Return the response to a request that a server took from a connection."""
    arrived = time.monotonic()
    body, body_is_read = read_body(request.environ, application)
    context = RequestContext(arrived, request.method, _path(request), request.query_string, request.headers, body)
    response = respond(context, application)
    if not body_is_read or _is_stopping():
        response.call_on_close(lambda: end_connection(request.environ))
    if application.is_frozen_between_requests:
        log.flush()
    return response


def _path(request: Request) -> str:
    """Return the path that the caller asked for.

    gunicorn lets a peer that it trusts cut the path with a header called SCRIPT_NAME, and trusts every caller on its
    own machine: such a header could turn the request for one path into the response of another.
    """
    environ = request.environ
    if "HTTP_SCRIPT_NAME" not in environ:
        return request.path
    # The header is percent-encoded still; PATH_INFO is not, and WSGI keeps bytes as Latin-1 (PEP 3333).
    whole: str = unquote(environ.get("SCRIPT_NAME", ""), "latin-1") + environ.get("PATH_INFO", "")
    return "/" + whole.encode("latin-1").decode("utf-8", "replace").lstrip("/")


def _is_stopping() -> bool:
    """Whether SIGTERM has reached the gunicorn worker that runs us; it would wait 2 s for callers who keep connections.

    The handler of SIGTERM is a method of the worker, and sets its `alive` to false (gunicorn 27). False elsewhere.
    """
    worker = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return getattr(worker, "alive", True) is False


def wsgi_application(application: Application) -> WSGIApplication:
    """Return the WSGI application (PEP 3333) that serves one application's state."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return handle(Request(environ), application)(environ, start_response)

    return app
