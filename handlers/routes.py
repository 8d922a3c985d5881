"""Path → methods and view, one short function per view."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fdi_health import __version__
from fdi_health.errors import CheckError
from fdi_health.formats import FORMATS, METRICS, choose, choose_metrics
from handlers import authentication, request_parameters
from handlers.checks import run_check
from handlers.problems import json_response, log_as_problem
from handlers.response import Response
from schemas.problem import ReadinessSchema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fdi_health.errors import Fault
    from fdi_health.formats import Format
    from handlers.application import Application
    from handlers.request_context import RequestContext
    from schemas.query import Query


class Route(NamedTuple):
    """The view and the methods of a path; every path takes OPTIONS too.

    Attributes:
        view: makes the response; may raise CheckError with a problem's code.
        methods: the methods it takes.

    """

    view: Callable[[RequestContext, Application], Response]
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


def _verdict(context: RequestContext, application: Application) -> Response:
    query = request_parameters.parameters(context)
    form = choose(query.format, context.headers.get("accept"))
    return _check(context, application, query, _known(form, FORMATS))


def _metrics(context: RequestContext, application: Application) -> Response:
    query = request_parameters.parameters(context)
    form = choose_metrics(query.format, context.headers.get("accept"))
    return _check(context, application, query, _known(form, METRICS))


def _badge(context: RequestContext, application: Application) -> Response:
    query = request_parameters.parameters(context)
    form = _known(FORMATS["badge"] if query.format in (None, "badge") else None, ["badge"])
    try:
        response = _check(context, application, query, form)
    except CheckError as error:
        if error.code not in ("settings_invalid", "overloaded"):
            raise
        log_as_problem(error)
        from fdi_health.formats.badge_format import badge

        # A page that shows the badge would show nothing at all for any other status.
        svg = badge("unknown", f"FDI-NOT-OK unknown: {error.code}")
        response = Response(svg, 200, {"Content-Type": form.media_type, "FDI-Verdict": "unknown"})
    # Weak: two badges for one status may differ in their titles.
    response.headers["ETag"] = f'W/"{response.headers["FDI-Verdict"]}"'
    return response


def _known(form: Format | None, names: Iterable[str]) -> Format:
    if form is None:
        raise CheckError(
            "malformed_query", f"format must be one of {', '.join(names)}, e.g. format={next(iter(names))}"
        )
    return form


def _check(context: RequestContext, application: Application, query: Query, form: Format) -> Response:
    """Run the check that is asked for, and return the verdict in a format."""
    verdict, body = run_check(context, application, query, form.render, names_tasks=form.names_tasks)
    status = form.status or verdict.outcome.http_status
    return Response(body, status, {"Content-Type": form.media_type, "FDI-Verdict": verdict.status})


def _live(_context: RequestContext, _application: Application) -> Response:
    return json_response({"live": True}, 200)


def _ready(context: RequestContext, application: Application) -> Response:
    try:
        service = application.service()
    except CheckError as error:
        # FDI_ANONYMOUS may be one of the faults; the verdict's problem shows the same list to every caller.
        return _readiness(ready=False, faults=error.faults, details={"faults": error.faults})
    deadline = request_parameters.deadline(context, service.deadline_seconds, None)
    # Once ready, nothing below waits for the upstream, and too many checks must not take the process out of service.
    with contextlib.nullcontext() if service.is_ready() else application.admission.check():
        faults = service.readiness(deadline)
    details: dict[str, object] = {}
    caller = authentication.identify_if_possible(context.headers, application, service, deadline)
    if caller.sees_details:
        seen = tuple(fault for fault in faults if service.may_see(fault, caller.targets))
        details = {"faults": seen, **service.token_states(caller.targets), "version": __version__}
    return _readiness(ready=service.is_ready(), faults=faults, details=details)


def _readiness(*, ready: bool, faults: tuple[Fault, ...], details: dict[str, object]) -> Response:
    document = ReadinessSchema().dump({"ready": ready, "faults_count": len(faults), **details})
    return json_response(document, 200 if ready else 503)


def _openapi(_context: RequestContext, _application: Application) -> Response:
    # docs/build_openapi.py writes this file.
    document = Path(__file__).with_name("openapi.json").read_bytes()
    return Response(document, 200, {"Content-Type": "application/json"})


def _page(context: RequestContext, application: Application) -> Response:
    from handlers import status_page

    return status_page.verdict_page(context, application)


def _details_page(context: RequestContext, application: Application) -> Response:
    from handlers import status_page

    return status_page.details_page(context, application)


_VERDICT = Route(_verdict, ("GET", "HEAD", "POST"))

ROUTES = {
    "/": _VERDICT,
    "/health": _VERDICT,
    "/live": Route(_live),
    "/metrics": Route(_metrics),
    "/badge.svg": Route(_badge),
    "/openapi.json": Route(_openapi),
    "/ready": Route(_ready),
    "/status": Route(_page),
    "/status/details": Route(_details_page),
}
"""Path → route; none ends in z, since Cloud Run's front end keeps such paths for itself."""
