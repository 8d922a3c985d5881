"""Makes text that others wrote safe to show: no token, no control characters, no marker, not too long."""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import Any

from schemas.settings_fields import MARKER

_READ_CHARACTERS = 1024
"""How much of a text is looked at; more than can ever be shown."""

_WINDOW = 8
"""How many characters in a row of a token give it away; an upstream may quote only part of one, in its own case."""


_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
"""Secrets are ASCII: no other letter's case matters."""


def clean(text: Any, secret: str, length: int) -> str | None:
    """Return `text` without the secret or any part of it, at most `length` characters long.

    Control, formatting, surrogate and unassigned characters go first, so that nothing hides in between, and white
    space becomes single spaces; then parts of the secret become `[redacted]`, spaced out or not, and the healthy marker
    becomes `FDI_OK`, so that a keyword checker never finds in a failing answer what only a healthy one may hold.

    Returns:
        The text, or None if it was none, or nothing is left of it.

    """
    if not isinstance(text, str):
        return None
    spaced = re.sub(r"\s+", " ", text[:_READ_CHARACTERS])
    printable = "".join(character for character in spaced if unicodedata.category(character)[0] != "C")
    return MARKER.sub("FDI_OK", _redact(printable, secret))[:length].strip() or None


def _redact(text: str, secret: str) -> str:
    window = min(_WINDOW, len(secret))
    windows = _windows(secret, window)
    places = [place for place, character in enumerate(text) if character != " "]
    compact = "".join(text[place] for place in places).translate(_LOWER)
    secret_places: set[int] = set()
    for start in range(len(compact) - window + 1):
        if compact[start : start + window] in windows:
            secret_places.update(range(places[start], places[start + window - 1] + 1))
    kept: list[str] = []
    for place, character in enumerate(text):
        if place not in secret_places:
            kept.append(character)
        elif place - 1 not in secret_places:
            kept.append("[redacted]")
    return "".join(kept)


@functools.lru_cache(maxsize=4)
def _windows(secret: str, length: int) -> frozenset[str]:
    folded = secret.replace(" ", "").translate(_LOWER)
    return frozenset(folded[start : start + length] for start in range(len(folded) - length + 1)) - {""}
