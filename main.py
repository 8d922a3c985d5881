"""Where the pieces are put together: one process, and a way in for each kind of trigger."""

from __future__ import annotations

import functools
import os
import threading
from typing import TYPE_CHECKING

from fdi_health import log
from handlers import wsgi
from handlers.process import DEFAULT_THREADS, Process

if TYPE_CHECKING:
    from collections.abc import Callable

    from werkzeug import Request, Response

# functions-framework reads this after it has loaded us; its own default, 4 per core, lets a few slow callers keep
# /live waiting.
os.environ.setdefault("THREADS", str(DEFAULT_THREADS))

log.to_stderr()
process = Process(os.environ)

app = wsgi.application(process)
"""What any WSGI server serves."""

_first = threading.Lock()
"""Held while a handler is looked up: a cache alone would let callers who come first at once make one each."""


def health(request: Request) -> Response:
    """Answer a request of functions-framework, whose Flask request is a Werkzeug request."""
    return wsgi.answer(request, process)


def lambda_handler(event: object, context: object) -> dict[str, object]:
    """Answer an event of AWS Lambda: an HTTP request in any of its forms; anything else gets the anonymous verdict."""
    with _first:
        handle = _lambda_handler()
    return handle(event, context)


def functiongraph_handler(event: object, context: object) -> dict[str, object]:
    """Answer an event of Huawei Cloud FunctionGraph: an APIG trigger's; anything else gets the anonymous verdict."""
    with _first:
        handle = _functiongraph_handler()
    return handle(event, context)


@functools.cache
def _lambda_handler() -> Callable[[object, object], dict[str, object]]:
    from handlers import lambda_events  # only where it is used: nobody else needs apig-wsgi

    return lambda_events.make_handler(process)


@functools.cache
def _functiongraph_handler() -> Callable[[object, object], dict[str, object]]:
    from handlers import functiongraph  # only where it is used

    return functiongraph.Handler(os.environ)
