"""Makes text that others wrote safe to show: no token, no control characters, no marker, not too long."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from schemas.settings import MARKER

_READ_CHARACTERS = 2048
"""How much of a text is looked at; more than can ever be shown."""

_WINDOW = 8
"""How many characters in a row of a token give it away; an upstream may quote only part of one, in its own case."""


def clean(text: Any, secret: str, length: int) -> str | None:
    """Return `text` without the secret or any part of it, at most `length` characters long.

    Control, formatting, surrogate and unassigned characters and line separators become spaces first, so that nothing
    hides in between; then parts of the secret become `[redacted]`, and the healthy marker becomes `FDI_OK`, so that a
    keyword checker never finds in a failing answer what only a healthy one may hold.

    Returns:
        The text, or None if it was none, or nothing is left of it.

    """
    if not isinstance(text, str):
        return None
    printable = "".join(
        " " if unicodedata.category(character)[0] == "C" or character in "\u2028\u2029" else character
        for character in text[:_READ_CHARACTERS]
    )
    single_spaced = re.sub(r"\s+", " ", printable).strip()
    return MARKER.sub("FDI_OK", _redact(single_spaced, secret))[:length].strip() or None


def _redact(text: str, secret: str) -> str:
    window = min(_WINDOW, len(secret))
    if window == 0:
        return text
    folded_text, folded_secret = text.casefold(), secret.casefold()
    if len(folded_text) != len(text):
        # A few characters grow when folded, and positions would no longer agree; secrets are ASCII.
        folded_text = text.translate({code: code + 32 for code in range(ord("A"), ord("Z") + 1)})
    kept: list[str] = []
    position = 0
    while position < len(text):
        end = position + window
        if folded_text[position:end] not in folded_secret or end > len(text):
            kept.append(text[position])
            position += 1
            continue
        while end < len(text) and folded_text[end - window + 1 : end + 1] in folded_secret:
            end += 1
        kept.append("[redacted]")
        position = end
    return "".join(kept)
