"""The entry points, one for each kind of trigger, and the one application that they share."""

from __future__ import annotations

import functools
import gc
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

# Imports make many objects and little garbage; looking for it delays a cold start (docs/decisions/0007-cold-start.md).
_collects_garbage = gc.isenabled()
gc.disable()

from fdi_health import log  # noqa: E402 -- after gc.disable
from handlers.admission_control import threads  # noqa: E402 -- after gc.disable
from handlers.application import Application  # noqa: E402 -- after gc.disable
from handlers.triggers import wsgi  # noqa: E402 -- after gc.disable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

# functions-framework reads these after it has loaded us. Its default for THREADS, 4 per core, lets a few slow callers
# keep /live waiting; and it does not start where one of them is there and empty.
os.environ["THREADS"] = str(threads(os.environ))
for _name in ("WORKERS", "CLOUD_RUN_TIMEOUT_SECONDS", "GUNICORN_LOG_LEVEL"):
    if not os.environ.get(_name, "default").strip():
        del os.environ[_name]

log.to_stderr()
application = Application(os.environ)

app = wsgi.wsgi_application(application)
"""The WSGI application, for any server."""

_view = wsgi.flask_view(app)

health = _view
"""Answers a request of functions-framework. Another function that takes this name, or calls it, is called as usual."""

_first = threading.Lock()
"""Held while a handler is made, so that first calls at the same time share one."""


def lambda_handler(event: object, context: object) -> dict[str, object]:
    """Answer an event of AWS Lambda: an HTTP request in any of its forms; anything else gets the anonymous verdict."""
    with _first:
        handle = _lambda_handler()
    return _flushed(handle, event, context)


def functiongraph_handler(event: object, context: object) -> dict[str, object]:
    """Answer an event of Huawei Cloud FunctionGraph: an APIG trigger's; anything else gets the anonymous verdict."""
    with _first:
        handle = _functiongraph_handler()
    return _flushed(handle, event, context)


def event_handler(event: object, context: object) -> dict[str, object]:
    """Answer an event of Alibaba Cloud, Tencent Cloud, Yandex Cloud, Scaleway, DigitalOcean or OpenWhisk."""
    with _first:
        handle = _event_handler()
    return _flushed(handle, event, context)


def _flushed(
    handle: Callable[[object, object], dict[str, object]], event: object, context: object
) -> dict[str, object]:
    """Answer an event of a platform that freezes the process once the function has returned, so write the log first."""
    try:
        return handle(event, context)
    finally:
        log.flush()


@functools.cache
def _lambda_handler() -> Callable[[object, object], dict[str, object]]:
    from handlers.triggers import aws_lambda  # only here: other platforms do not have apig-wsgi

    return aws_lambda.make_handler(application)


if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
    _lambda_handler()  # loads apig-wsgi now, so that the snapshot has it


@functools.cache
def _functiongraph_handler() -> Callable[[object, object], dict[str, object]]:
    from handlers.triggers import functiongraph  # only where it is used

    return functiongraph.Handler(os.environ)


@functools.cache
def _event_handler() -> Callable[[object, object], dict[str, object]]:
    from handlers.triggers import function_events  # only where it is used

    return function_events.make_handler(application)


def _answer_before_flask() -> None:
    """Let functions-framework hand every request to `app` before Flask sees it, if it serves our own `health`.

    Flask answers some requests itself: it redirects an empty path, has pages of its own for /robots.txt and
    /favicon.ico, and HTML for an odd Host or Upgrade header. functions-framework loads this module inside the context
    of its Flask application, so that the application can be reached here and wrapped as Flask's manual says.
    """
    flask = sys.modules.get("flask")
    if "functions_framework" not in sys.modules or flask is None or not flask.has_app_context():
        return
    # gunicorn, which is not loaded yet, would let callers on this machine change the path with a SCRIPT_NAME header.
    os.environ["FORWARDED_ALLOW_IPS"] = ""
    views: dict[str, Callable[..., Any]] = flask.current_app.view_functions
    framework_app: Callable[..., Any] = flask.current_app.wsgi_app

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        chosen = app if any(_is_health(view) for view in views.values()) else framework_app
        return chosen(environ, start_response)

    flask.current_app.wsgi_app = serve


def _is_health(view: Any) -> bool:
    """Whether a view is our own, with nothing around it but functions-framework's wrappers.

    Another function around it may authenticate callers, and must be called.
    """
    while view is not _view:
        defined_in = getattr(view, "__globals__", {}).get("__name__", "")
        if defined_in.partition(".")[0] != "functions_framework":
            return False
        view = getattr(view, "__wrapped__", None)
    return True


_answer_before_flask()
# Hardly any of these objects will become garbage: later searches need not look at them again.
gc.freeze()
if _collects_garbage:
    gc.enable()
