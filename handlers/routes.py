"""Which path answers what: path → methods and view, one short function per view."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from werkzeug import Response

from fdi_health import __version__, log
from fdi_health.errors import CheckError
from fdi_health.evaluation import hide_details
from fdi_health.formats import FORMATS, METRICS, choose, choose_metrics
from fdi_health.log.request import request_of
from handlers import authentication, request_parameters
from handlers.problems import PROBLEMS, json_response
from handlers.request_parameters import INVOCATION
from schemas.problem import ReadinessSchema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from werkzeug import Request

    from fdi_health.errors import Fault
    from fdi_health.formats import Format
    from handlers.application import Application
    from schemas.query import Query


class Route(NamedTuple):
    """What a path answers, and to which methods; OPTIONS is answered for every path.

    Attributes:
        view: makes the answer; may raise CheckError with a problem's code.
        methods: the methods it takes.

    """

    view: Callable[[Request, Application], Response]
    methods: tuple[str, ...] = ("GET", "HEAD")

    @property
    def allow(self) -> str:
        """The Allow header."""
        return ", ".join((*self.methods, "OPTIONS"))


def find(path: str) -> Route:
    """Return the route of a path; one slash at its end is dropped rather than redirected.

    Raises:
        CheckError: `unknown_path`.

    """
    route = ROUTES.get(path.removesuffix("/") or "/")
    if route is None:
        raise CheckError("unknown_path", f"the paths are {', '.join(ROUTES)}")
    return route


def _verdict(request: Request, application: Application) -> Response:
    query = request_parameters.parameters(request)
    form = choose(query.format, request.headers.get("Accept"))
    return _checked(request, application, query, _known(form, FORMATS))


def _metrics(request: Request, application: Application) -> Response:
    query = request_parameters.parameters(request)
    form = choose_metrics(query.format, request.headers.get("Accept"))
    return _checked(request, application, query, _known(form, METRICS))


def _badge(request: Request, application: Application) -> Response:
    query = request_parameters.parameters(request)
    form = _known(FORMATS["badge"] if query.format in (None, "badge") else None, ["badge"])
    try:
        response = _checked(request, application, query, form)
    except CheckError as error:
        if error.code not in ("settings_invalid", "overloaded"):
            raise
        log.log_problem(error, PROBLEMS[error.code][0])
        from fdi_health.formats.badge_format import badge

        # A page that shows the badge would show nothing at all for any other status.
        svg = badge("unknown", f"FDI-NOT-OK unknown: {error.code}")
        response = Response(svg, 200, {"FDI-Verdict": "unknown"}, content_type=form.media_type)
    # Weak: two badges for one status may differ in their titles.
    response.set_etag(response.headers["FDI-Verdict"], weak=True)
    return response


def _known(form: Format | None, names: Iterable[str]) -> Format:
    if form is None:
        raise CheckError(
            "malformed_query", f"format must be one of {', '.join(names)}, e.g. format={next(iter(names))}"
        )
    return form


def _checked(request: Request, application: Application, query: Query, form: Format) -> Response:
    """Return the verdict that is asked for, in a form."""
    service = application.service()
    deadline = request_parameters.deadline(request, service.deadline_seconds, query.deadline)
    with application.admitted():
        caller = authentication.identify(request, service, deadline)
        verdict = service.check(service.select(query.instance), deadline)
    # Findings are shared between requests; which statuses fail is each request's own choice.
    verdict = verdict._replace(fail_on=query.fail_on)
    shown = verdict if caller.sees_details else hide_details(verdict)
    status = form.status or verdict.outcome.http_status
    response = Response(form.render(shown), status, {"FDI-Verdict": verdict.status}, content_type=form.media_type)
    # Not before: what does not agree with itself is no verdict, and is logged as the fault that it is.
    about = request_of(caller.name, request.headers, request.environ.get(INVOCATION))
    log.log_verdict(verdict, about, application.google_project)
    return response


def _live(_request: Request, _application: Application) -> Response:
    return json_response({"live": True}, 200)


def _ready(request: Request, application: Application) -> Response:
    try:
        service = application.service()
    except CheckError as error:
        # Without valid settings nobody knows who may see details; the verdict's problem lists the same to everybody.
        return _readiness(ready=False, faults=error.faults, details={"faults": error.faults})
    deadline = request_parameters.deadline(request, service.deadline_seconds, None)
    # Once ready, nothing below waits for the upstream, and too many checks must not take the process out of service.
    with contextlib.nullcontext() if service.is_ready() else application.admitted():
        faults = service.readiness(deadline)
    details: dict[str, object] = {}
    if authentication.sees_details(request, application, service, deadline):
        details = {"faults": faults, "token": service.token_state(), "version": __version__}
    return _readiness(ready=service.is_ready(), faults=faults, details=details)


def _readiness(*, ready: bool, faults: tuple[Fault, ...], details: dict[str, object]) -> Response:
    document = ReadinessSchema().dump({"ready": ready, "faults_count": len(faults), **details})
    return json_response(document, 200 if ready else 503)


def _openapi(_request: Request, _application: Application) -> Response:
    # docs/build_openapi.py writes this file.
    document = Path(__file__).with_name("openapi.json").read_bytes()
    return Response(document, 200, content_type="application/json")


_VERDICT = Route(_verdict, ("GET", "HEAD", "POST"))

ROUTES = {
    "/": _VERDICT,
    "/health": _VERDICT,
    "/live": Route(_live),
    "/metrics": Route(_metrics),
    "/badge.svg": Route(_badge),
    "/openapi.json": Route(_openapi),
    "/ready": Route(_ready),
}
"""Path → route; none ends in z, since Cloud Run's front end keeps such paths for itself."""
