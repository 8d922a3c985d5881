"""Where the pieces are put together: one process, and a way in for each kind of trigger."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from werkzeug import Request

from fdi_health import log
from handlers import draining
from handlers.http import respond
from handlers.intake import take_body
from handlers.process import DEFAULT_THREADS, Process

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from werkzeug import Response

# functions-framework reads this after it has loaded us; its own default, 4 per core, lets a few slow callers keep
# /live waiting.
os.environ.setdefault("THREADS", str(DEFAULT_THREADS))

log.to_stderr()
process = Process(os.environ)


def health(request: Request) -> Response:
    """Answer a request of functions-framework, whose Flask request is a Werkzeug request."""
    wire_is_clear = take_body(request.environ)
    response = respond(request, process)
    if not wire_is_clear or draining.is_stopping():
        draining.release(request)
    return response


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer a request of any WSGI server (PEP 3333)."""
    return health(Request(environ))(environ, start_response)
