"""The formats of a verdict. To add one, add a module here and a line in `FORMATS`.

A module has a function `render(verdict, document) -> bytes` and is imported at the first request for its format.
`document` is the verdict as JSON, validated once for every format. Details that a caller may not see are removed from
the verdict before it is rendered.
"""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

from schemas import verdict as verdict_schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from fdi_health.models import Verdict


class Format(NamedTuple):
    """One format.

    Attributes:
        media_type: the Content-Type; without its parameters, the Accept header that chooses the format.
        module: the module here that renders it.
        status: the HTTP status of every response in this format, or None if the verdict decides.

    """

    media_type: str
    module: str
    status: int | None = None

    @property
    def names_tasks(self) -> bool:
        """Whether abnormal tasks are named in it: not in metrics and badges."""
        return self.status is None

    def render(self, verdict: Verdict) -> bytes:
        """Return the body; raises marshmallow's ValidationError if the verdict contradicts itself."""
        return _renderer(self.module)(verdict, verdict_schema.document(verdict))


@functools.cache
def _renderer(module: str) -> Callable[[Verdict, dict[str, Any]], bytes]:
    render: Callable[[Verdict, dict[str, Any]], bytes] = importlib.import_module(f"{__name__}.{module}").render
    return render


FORMATS = {
    "json": Format("application/json", "json_format"),
    "health": Format("application/health+json", "health_format"),
    "text": Format("text/plain; charset=utf-8", "text_format"),
    "nagios": Format("text/plain; charset=utf-8", "nagios_format"),
    "prometheus": Format("text/plain; version=0.0.4; charset=utf-8", "prometheus_format", 200),
    "openmetrics": Format("application/openmetrics-text; version=1.0.0; charset=utf-8", "openmetrics_format", 200),
    "badge": Format("image/svg+xml", "badge_format", 200),
    "shields": Format("application/json", "shields_format", 200),
}
"""Name → format. The first is the default; an Accept header chooses the first of those with its type."""


METRICS = ("prometheus", "openmetrics")


def choose(name: str | None, accept: str | None) -> Format | None:
    """Return the requested format; None if `name` is not a format.

    Args:
        name: the `format` parameter, or None; it decides.
        accept: the Accept header, or None; it decides only if it is one media range equal to a format's type, with a
            weight above 0 and other parameters ignored. Lists, `*/*` and nonsense are JSON: some formats are always
            200, and a client that merely also accepts one must not get that status.

    """
    if name is not None:
        return FORMATS.get(name)
    if accept in (None, "*/*"):  # most callers: skip loading the parser
        return next(iter(FORMATS.values()))
    from fdi_health.formats.accept import parse_media_range

    accepted = parse_media_range(accept)
    if accepted is not None and accepted.weight > 0:
        for form in FORMATS.values():
            if _type(form) == accepted.media_type:
                return form
    return next(iter(FORMATS.values()))


def choose_metrics(name: str | None, accept: str | None) -> Format | None:
    """Return the requested metrics format; None if `name` is neither of the two.

    Prometheus sends a list with weights. OpenMetrics is chosen if its weight is the higher one, or if both are equal
    and it is named itself. A scraper that accepts neither gets Prometheus' own format.
    """
    if name is not None:
        return FORMATS[name] if name in METRICS else None
    from fdi_health.formats.accept import parse_accept, weight_of

    accepted = parse_accept(accept or "")
    prometheus, openmetrics = (weight_of(_type(FORMATS[name]), accepted) for name in METRICS)
    named = any(media_range.media_type == _type(FORMATS["openmetrics"]) for media_range in accepted)
    if openmetrics > prometheus or (named and openmetrics == prometheus > 0):
        return FORMATS["openmetrics"]
    return FORMATS["prometheus"]


def _type(form: Format) -> str:
    return form.media_type.partition(";")[0]
