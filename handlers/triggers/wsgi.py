"""Requests of every server that speaks WSGI enter here: the body is read, then the request is answered."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from werkzeug import Request

from fdi_health import log
from handlers.http import respond
from handlers.triggers.request_body import end_connection, read_body

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from werkzeug import Response

    from handlers.application import Application


def answer(request: Request, application: Application) -> Response:
    """Return the answer to a request that came over a connection of a server's."""
    body_is_read = read_body(request.environ, application)
    response = respond(request, application)
    if not body_is_read or _is_stopping():
        response.call_on_close(lambda: end_connection(request.environ))
    if application.is_frozen_between_requests:
        log.flush()
    return response


def _is_stopping() -> bool:
    """Whether SIGTERM has reached the gunicorn worker that runs us; it would wait 2 s for callers who keep connections.

    The handler of SIGTERM is a method of the worker, whose `alive` is then false (gunicorn 27); False elsewhere.
    """
    worker = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return getattr(worker, "alive", True) is False


def wsgi_application(application: Application) -> WSGIApplication:
    """Return the WSGI application (PEP 3333) of a application."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return answer(Request(environ), application)(environ, start_response)

    return app
