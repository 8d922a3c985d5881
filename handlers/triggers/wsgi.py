"""Requests of every server that speaks WSGI (PEP 3333) enter here: the body is read, then the request is answered."""

from __future__ import annotations

import signal
import time
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import unquote

from fdi_health import log
from handlers.http import respond
from handlers.request_context import RequestContext
from handlers.triggers.request_body import end_connection, read_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from werkzeug import Request, Response

    from handlers.application import Application
    from handlers.response import Response as OurResponse


def wsgi_application(application: Application) -> WSGIApplication:
    """Return the WSGI application that serves one application's state."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        context = with_request(RequestContext(time.monotonic()), environ)
        body, body_is_read = read_body(environ, application)
        response = respond(context._replace(body=body), application)
        if application.is_frozen_between_requests:
            log.flush()
        content = sent(response, start_response)
        return content if body_is_read and not _is_stopping() else _LastResponse(content, environ)

    return app


def flask_view(app: WSGIApplication) -> Callable[[Request], Response]:
    """Return the function that answers requests of functions-framework: those of Flask, which are Werkzeug's."""

    def health(request: Request) -> Response:
        from werkzeug import Response  # only here: other platforms do not have it

        return Response.from_app(app, request.environ)

    return health


def with_request(context: RequestContext, environ: WSGIEnvironment) -> RequestContext:
    """Return the context with a request but for its body."""
    headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
    return context._replace(
        method=environ["REQUEST_METHOD"],
        path=_path(environ),
        query_string=environ.get("QUERY_STRING", "").encode("latin-1"),
        headers=headers,
    )


def sent(response: OurResponse, start_response: StartResponse) -> list[bytes]:
    """Begin a response, and return its body."""
    start_response(f"{response.status} {HTTPStatus(response.status).phrase}", [*response.headers.items()])
    return [response.body]


class _LastResponse:
    """The body of a response after which the connection ends."""

    def __init__(self, content: list[bytes], environ: WSGIEnvironment) -> None:
        self._content, self._environ = content, environ

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._content)

    def close(self) -> None:
        """End the connection; the server calls this when the response is out."""
        end_connection(self._environ)


def _path(environ: WSGIEnvironment) -> str:
    """Return the path that the caller asked for; WSGI keeps its bytes as Latin-1.

    gunicorn lets a peer that it trusts cut the path with a header called SCRIPT_NAME, and trusts every caller on its
    own machine: such a header could turn the request for one path into the response of another.
    """
    # The header is percent-encoded still; PATH_INFO is not.
    cut = unquote(environ.get("SCRIPT_NAME", ""), "latin-1") if "HTTP_SCRIPT_NAME" in environ else ""
    whole: str = cut + environ.get("PATH_INFO", "")
    return "/" + whole.encode("latin-1").decode("utf-8", "replace").lstrip("/")


def _is_stopping() -> bool:
    """Whether SIGTERM has reached the gunicorn worker that runs us; it would wait 2 s for callers who keep connections.

    The handler of SIGTERM is a method of the worker, and sets its `alive` to false (gunicorn 27). False elsewhere.
    """
    worker = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return getattr(worker, "alive", True) is False
