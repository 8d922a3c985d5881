"""HTTP requests enter here, from every server and platform; schedules enter in `events`."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

from werkzeug import Response

from fdi_health.errors import CheckError
from fdi_health.invocation import invocation
from fdi_health.log import log_fault, log_problem
from handlers import routes
from handlers.problems import PROBLEMS, problem
from handlers.request_parameters import INVOCATION

if TYPE_CHECKING:
    from werkzeug import Request

    from handlers.application import Application


def respond(request: Request, application: Application) -> Response:
    """Return the answer to a request; never raises, never redirects.

    Args:
        request: a Werkzeug request; Flask's are such.
        application: the state of this application.

    """
    before = invocation.set(request.environ.get(INVOCATION))
    try:
        response = _answer(request, application)
    except Exception as error:  # noqa: BLE001 -- the one catch-all: what escapes becomes somebody else's HTML page
        if not isinstance(error, CheckError) or error.code not in PROBLEMS:
            log_fault(error)
            error = CheckError("internal_error", "an unexpected fault; its place is in the function's log")
        else:
            log_problem(error, PROBLEMS[error.code][0])
        response = problem(error)
    finally:
        invocation.reset(before)
    response.headers["Cache-Control"] = "no-store"
    response.headers["Vary"] = "Accept, Authorization, X-Api-Key"
    # Browsers would take text that a format holds for HTML otherwise.
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _answer(request: Request, application: Application) -> Response:
    route = routes.find(_path(request))
    if request.method == "OPTIONS":
        response = Response(status=204, headers={"Allow": route.allow})
        del response.headers["Content-Type"]
        return response
    if request.method not in route.methods:
        response = problem(CheckError("method_not_allowed", f"this path takes {route.allow}"))
        response.headers["Allow"] = route.allow
        return response
    return route.view(request, application)


def _path(request: Request) -> str:
    """Return the path that the caller asked for.

    gunicorn lets a peer that it trusts cut the path with a header called SCRIPT_NAME, and trusts every caller on its
    own machine: such a header could turn the request for one path into the answer of another.
    """
    environ = request.environ
    if "HTTP_SCRIPT_NAME" not in environ:
        return request.path
    # The header is percent-encoded still; PATH_INFO is not, and WSGI keeps bytes as Latin-1 (PEP 3333).
    whole: str = unquote(environ.get("SCRIPT_NAME", ""), "latin-1") + environ.get("PATH_INFO", "")
    return "/" + whole.encode("latin-1").decode("utf-8", "replace").lstrip("/")
