"""The way in for every server that speaks WSGI: the body off the wire, the answer, and what a stopping server owes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug import Request

from fdi_health import log
from handlers import draining
from handlers.http import respond
from handlers.intake import take_body

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from werkzeug import Response

    from handlers.process import Process


def answer(request: Request, process: Process) -> Response:
    """Return the answer to a request that came over a connection of a server's."""
    wire_is_clear = take_body(request.environ, admitted=process.admitted)
    response = respond(request, process)
    if not wire_is_clear:
        response.call_on_close(lambda: draining.end_answers(request))
    elif draining.is_stopping():
        draining.release(request)
    if process.is_frozen_between_requests:
        log.flush()
    return response


def application(process: Process) -> WSGIApplication:
    """Return the WSGI application (PEP 3333) of a process."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return answer(Request(environ), process)(environ, start_response)

    return app
