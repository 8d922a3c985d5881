"""A badge for a page or a README: a small SVG, all ASCII, that screen readers can read too."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fdi_health.models import Status, Verdict

COLOURS: dict[Status, str] = {
    "healthy": "#1a7f37",
    "degraded": "#9a6700",
    "unhealthy": "#cf222e",
    "unknown": "#57606a",
}
"""Status → background; white text on each has a contrast of 4.5 or more (WCAG 2.1, AA)."""

LABEL = "pipelines"
_CHARACTER_WIDTH = 7.0
_PADDING = 12


def render(verdict: Verdict, _document: dict[str, Any]) -> bytes:
    """Return the SVG."""
    return badge(verdict.status, f"{verdict.marker} {verdict.status}: {verdict.reason}")


def badge(status: Status, title: str) -> bytes:
    """Return a badge for a status.

    Args:
        status: what it shows.
        title: what is read out, and shown on hovering.

    """
    left, right = (round(len(text) * _CHARACTER_WIDTH) + _PADDING for text in (LABEL, status))
    width = left + right
    text = escape(title)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{text}">'
        f"<title>{text}</title>"
        f'<clipPath id="r"><rect width="{width}" height="20" rx="3"/></clipPath>'
        f'<g clip-path="url(#r)"><rect width="{left}" height="20" fill="#24292f"/>'
        f'<rect x="{left}" width="{right}" height="20" fill="{COLOURS[status]}"/></g>'
        f'<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f'<text x="{left / 2:g}" y="14">{LABEL}</text><text x="{left + right / 2:g}" y="14">{status}</text></g></svg>'
    )
    return svg.encode("ascii", "xmlcharrefreplace")
