"""The verdict as compact JSON; checkers match bytes, so there are no spaces, and everything is ASCII."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fdi_health.models import Verdict


def render(_verdict: Verdict, document: dict[str, Any]) -> bytes:
    """Return the verdict's JSON document."""
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode("ascii")
