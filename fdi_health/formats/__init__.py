"""The forms a verdict is answered in: one module each; a new one is one file here and one line in `FORMATS`.

A module has a function `render(verdict) -> bytes`, and is imported when its form is first asked for. No form can show
what the verdict it is given does not hold: what a caller may not see has been taken out before.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NamedTuple

from fdi_health.formats.accept import parse_accept, parse_media_range, weight_of

if TYPE_CHECKING:
    from fdi_health.models import Verdict


class Format(NamedTuple):
    """One form of the answer.

    Attributes:
        media_type: its Content-Type; without its parameters, the Accept header that chooses it.
        module: the module here that makes it.
        status: the HTTP status of every answer in this form, or None where the verdict decides.

    """

    media_type: str
    module: str
    status: int | None = None

    def render(self, verdict: Verdict) -> bytes:
        """Return the body; raises marshmallow's ValidationError for a verdict that does not agree with itself."""
        body: bytes = importlib.import_module(f"{__name__}.{self.module}").render(verdict)
        return body


FORMATS = {
    "json": Format("application/json", "json_format"),
    "health": Format("application/health+json", "health_format"),
    "text": Format("text/plain; charset=utf-8", "text_format"),
    "nagios": Format("text/plain; charset=utf-8", "nagios_format"),
    "prometheus": Format("text/plain; version=0.0.4; charset=utf-8", "prometheus_format", 200),
    "openmetrics": Format("application/openmetrics-text; version=1.0.0; charset=utf-8", "openmetrics_format", 200),
    "badge": Format("image/svg+xml", "badge_format", 200),
}
"""Name → format; the first is for callers who do not choose, and of two with one type the first is chosen by it."""


METRICS = ("prometheus", "openmetrics")


def choose(name: str | None, accept: str | None) -> Format | None:
    """Return the format asked for; None where `name` names none.

    Args:
        name: the `format` parameter, or None; it decides.
        accept: the Accept header, or None; it decides only if it is one media range equal to a format's type, with a
            weight above 0 and other parameters ignored. Lists, `*/*` and nonsense are JSON: some formats are always
            200, and a client that merely also accepts one must not get that status.

    """
    if name is not None:
        return FORMATS.get(name)
    accepted = parse_media_range(accept or "")
    if accepted is not None and accepted.weight > 0:
        for form in FORMATS.values():
            if _type(form) == accepted.media_type:
                return form
    return next(iter(FORMATS.values()))


def choose_metrics(name: str | None, accept: str | None) -> Format | None:
    """Return the metrics format that a scraper asks for; None where `name` names neither of the two.

    Prometheus sends a list with weights. OpenMetrics is chosen if its weight is the higher one, or if both are equal
    and it is named itself. A scraper that accepts neither gets Prometheus' own format.
    """
    if name is not None:
        return FORMATS[name] if name in METRICS else None
    accepted = parse_accept(accept or "")
    prometheus, openmetrics = (weight_of(_type(FORMATS[name]), accepted) for name in METRICS)
    named = any(media_range.media_type == _type(FORMATS["openmetrics"]) for media_range in accepted)
    if openmetrics > prometheus or (named and openmetrics == prometheus > 0):
        return FORMATS["openmetrics"]
    return FORMATS["prometheus"]


def _type(form: Format) -> str:
    return form.media_type.partition(";")[0]
