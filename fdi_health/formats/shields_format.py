"""The JSON of which shields.io makes a badge: https://shields.io/badges/endpoint-badge.

shields.io refuses every member that it does not know, so the marker, the reason and names are not in it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fdi_health.formats.badge_format import COLOURS, LABEL

if TYPE_CHECKING:
    from fdi_health.models import Verdict

CACHE_SECONDS = 300
"""The shortest time that shields.io keeps a badge."""


def render(verdict: Verdict, _document: dict[str, Any]) -> bytes:
    """Return the JSON; `isError` keeps the page that shows the badge from changing the colour of a failing one."""
    fields = {
        "schemaVersion": 1,
        "label": LABEL,
        "message": verdict.status,
        "color": COLOURS[verdict.status],
        "isError": not verdict.healthy,
        "cacheSeconds": CACHE_SECONDS,
    }
    return json.dumps(fields, separators=(",", ":")).encode("ascii")
