"""The verdict as compact JSON; checkers match bytes, so there are no spaces, and everything is ASCII."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from schemas import verdict as verdict_schema

if TYPE_CHECKING:
    from fdi_health.models import Verdict


def render(verdict: Verdict) -> bytes:
    """Return the verdict's JSON document; raises ValidationError for one that does not agree with itself."""
    return json.dumps(verdict_schema.document(verdict), separators=(",", ":"), allow_nan=False).encode("ascii")
