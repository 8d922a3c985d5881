"""The page for people on `/status` and `/status/details`: the verdict as HTML, without a script.

It is always 200 for a verdict, links to other paths, and shows problems as pages too. Jinja2 escapes every text that is
not ours; it is imported at the first page and nowhere else.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from fdi_health import __version__
from fdi_health.errors import OWNERS, CheckError
from fdi_health.models import WORST_FIRST
from handlers import request_parameters
from handlers.authentication import presented_key
from handlers.checks import run_check
from handlers.problems import log_as_problem, problem, problem_document
from handlers.response import Response
from handlers.status_rows import by_name, rows_of
from schemas import verdict as verdict_schema
from schemas.query import Query

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Template

    from fdi_health.models import Verdict
    from handlers.application import Application
    from handlers.request_context import RequestContext

CHALLENGE = 'Basic realm="fdi-health", charset="UTF-8", Bearer realm="fdi-health"'
"""The WWW-Authenticate of a page: Basic first, so that every browser opens its dialog for a key."""

REFRESH_SECONDS = 30
"""How often a page loads itself anew, unless its address says `refresh=off`."""

MAX_FULL_ROWS = 30
"""How many instances that need attention are shown in full; the others with their reason only. It bounds the page."""

_FOLDER = Path(__file__).with_name("templates")


class Place(NamedTuple):
    """Where a page stands, for its links.

    Attributes:
        root: the relative URL of `/`. A gateway may put a prefix before every path, which we do not see.
        query: what was asked.
        is_details: whether this is `/status/details`.
        has_keys: whether FDI_CALLERS is set.
        is_paused: whether the page does not refresh itself.

    """

    root: str = "./"
    query: Query = Query()
    is_details: bool = False
    has_keys: bool = False
    is_paused: bool = False

    def link(self, path: str = "", **more: str) -> str:
        """Return the URL of a path of ours with the same parameters.

        They are written anew from what was understood: other text of the caller does not come into the page.
        """
        asked, default = self.query, Query()
        parameters = {
            "instance": ",".join(asked.instance) if asked.instance is not None else None,
            "target": ",".join(asked.target) if asked.target is not None else None,
            "fail_on": (",".join(asked.fail_on) or "none") if asked.fail_on != default.fail_on else None,
            "deadline": f"{asked.deadline:g}" if asked.deadline is not None else None,
            "explain": str(asked.explain or "none") if asked.explain != default.explain else None,
            **more,
        }
        text = urlencode({name: value for name, value in parameters.items() if value is not None}, safe=",")
        return f"{self.root}{path}{'?' if text else ''}{text}"

    @property
    def here(self) -> str:
        """The path of this page, without the first slash."""
        return "status/details" if self.is_details else "status"


def verdict_page(context: RequestContext, application: Application) -> Response:
    """Return the page of `/status`: details only where every caller or this one's key may see them."""
    return _respond(context, application, is_details=False)


def details_page(context: RequestContext, application: Application) -> Response:
    """Return the page of `/status/details`, which asks for a key if there are keys."""
    return _respond(context, application, is_details=True)


def render(verdict: Verdict, place: Place) -> bytes:
    """Return the page of a verdict; raises marshmallow's ValidationError if the verdict contradicts itself."""
    verdict_schema.document(verdict)
    details = verdict.details
    rows = rows_of(details) if details is not None else []
    shown = {row.instance.key for row in rows}
    return _html(
        title=f"{verdict.marker} {verdict.status}: {verdict.reason}",
        problem=None,
        verdict=verdict,
        details=details,
        place=place,
        present=verdict.checked_at + timedelta(seconds=verdict.age_seconds),
        attention=[row for row in rows if row.needs_attention],
        healthy=[row for row in rows if not row.needs_attention],
        warnings=[warning for warning in details.warnings if warning.key not in shown] if details else [],
        totals=list(by_name(details.totals)) if details and details.totals else [],
    )


def _respond(context: RequestContext, application: Application, *, is_details: bool) -> Response:
    try:
        return _checked(context, application, is_details=is_details)
    except CheckError as error:
        return _problem_page(log_as_problem(error), context)


def _checked(context: RequestContext, application: Application, *, is_details: bool) -> Response:
    query = request_parameters.parameters(context)
    if query.format is not None:
        raise CheckError("malformed_query", "this path has one format; leave format out, or ask / for another one")
    has_keys = application.service().callers is not None
    if is_details and has_keys and presented_key(context.headers) is None:
        raise CheckError("unauthorized", "a key is needed: enter it as the password; the user name may be empty")
    is_paused = b"refresh=off" in context.query_string.split(b"&")
    place = Place(_root(context.path), query, is_details, has_keys, is_paused)
    verdict, body = run_check(context, application, query, functools.partial(render, place=place))
    return _response(body, 200, {"FDI-Verdict": verdict.status}, refreshes=not is_paused)


def _problem_page(error: CheckError, context: RequestContext) -> Response:
    document = problem_document(error)
    # The title has the place of a verdict's marker, and no verdict says FDI-OK here.
    title = f"FDI-NOT-OK {document['title']}"
    body = _html(title=title, problem=document, place=Place(_root(context.path)))
    headers = problem(error).headers
    if "WWW-Authenticate" in headers:
        headers["WWW-Authenticate"] = CHALLENGE
    # A page that failed for its own address or key would fail again, and would open the browser's dialog each time.
    return _response(body, document["status"], headers, refreshes=document["status"] >= 500)


def _response(body: bytes, status: int, headers: Mapping[str, str], *, refreshes: bool) -> Response:
    response = Response(body, status, {**headers, "Content-Type": "text/html; charset=utf-8"})
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src '{_style_hash()}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    response.headers["Referrer-Policy"] = "no-referrer"
    if refreshes:
        # The same as a `meta` element for a browser. Axe rejects that element, also beside a link that pauses.
        response.headers["Refresh"] = str(REFRESH_SECONDS)
    return response


def _html(**values: Any) -> bytes:
    shown = {"version": __version__, "refresh_seconds": REFRESH_SECONDS, "full": MAX_FULL_ROWS}
    return _template().render(**shown, **values).encode()


@functools.cache
def _style() -> str:
    return (_FOLDER / "status.css").read_text("utf-8")


@functools.cache
def _style_hash() -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()


@functools.cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined  # 30 ms, for pages only
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {"statuses": WORST_FIRST, "by_name": by_name, "owners": OWNERS}
    environment.globals["style"] = Markup(_style())  # noqa: S704 -- our own file
    environment.filters["utc"] = lambda time: f"{time:%Y-%m-%d %H:%M:%S} UTC"
    environment.filters["number"] = lambda number: f"{number:,}"
    environment.filters["sentence"] = lambda text: f"{text[:1].upper()}{text[1:]}"
    return environment.from_string((_FOLDER / "status.html").read_text("utf-8"))


def _root(path: str) -> str:
    """Return the relative URL of `/`; one slash may follow the path of a page."""
    return "../" * (path.count("/") - 1) or "./"
