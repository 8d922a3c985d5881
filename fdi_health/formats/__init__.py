"""The forms a verdict is answered in: one module each; a new one is one file here and one line in `FORMATS`.

A module has a function `render(verdict) -> bytes`, and is imported when its form is first asked for. No form can show
what the verdict it is given does not hold: what a caller may not see has been taken out before.
"""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fdi_health.model import Verdict


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

_NOT_WANTED = re.compile(r";\s*q\s*=\s*0(\.0*)?\s*(;|$)", re.IGNORECASE)


def choose(name: str | None, accept: str | None) -> Format | None:
    """Return the format asked for; None where `name` names none.

    Args:
        name: the `format` parameter, or None; it decides.
        accept: the Accept header, or None; it decides only if it is one media range equal to a format's type, its
            parameters ignored: `*/*`, lists and nonsense never keep a balancer from its answer.

    """
    if name is not None:
        return FORMATS.get(name)
    wanted = _type(accept or "")
    default = next(iter(FORMATS.values()))
    return next((form for form in FORMATS.values() if _type(form.media_type) == wanted), default)


def choose_metrics(name: str | None, accept: str | None) -> Format | None:
    """Return the form of metrics that a scraper asks for; None where `name` names none of the two.

    Prometheus sends a list with weights in Accept, and OpenMetrics stands in it only if it is wanted.
    """
    if name is None:
        wanted = {_type(part) for part in (accept or "").split(",") if not _NOT_WANTED.search(part)}
        name = "openmetrics" if _type(FORMATS["openmetrics"].media_type) in wanted else "prometheus"
    return FORMATS[name] if name in METRICS else None


def _type(media_range: str) -> str:
    return media_range.partition(";")[0].strip().lower()
