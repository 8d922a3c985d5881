"""The fields of platforms' events, made sound: no nulls, no wrong types, no text that no server would hand on."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any
from urllib.parse import quote

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^`|~-]+", re.ASCII)
"""Without the underscore: servers drop such names, which a WSGI environ can't tell from those with a hyphen."""

_ASCII = "".join(map(chr, range(33, 127)))


def ascii_url(text: str) -> str:
    """Return text as it would stand in a URL: everything beyond ASCII as the percent-encoded bytes of UTF-8."""
    return quote(text, safe=_ASCII, errors="replace")


def headers(single: Any, multiple: Any) -> dict[str, str]:
    """Return name → value out of what an event gives in one form or both; repeated ones are joined by commas."""
    values = {**single_values(single), **{name: ",".join(texts) for name, texts in multiple_values(multiple).items()}}
    return {name: value for name, value in values.items() if _HEADER_NAME.fullmatch(name) and value.isprintable()}


def single_values(values: Any) -> dict[str, str]:
    """Return the entries of an object that are text."""
    return {name: text for name, text in values.items() if isinstance(text, str)} if isinstance(values, dict) else {}


def multiple_values(values: Any) -> dict[str, list[str]]:
    """Return the entries of an object that are lists with text in them."""
    lists = (
        {name: texts for name, texts in values.items() if isinstance(texts, list)} if isinstance(values, dict) else {}
    )
    kept = {name: [text for text in texts if isinstance(text, str)] for name, texts in lists.items()}
    return {name: texts for name, texts in kept.items() if texts}


def body_in_base64(event: dict[str, Any]) -> tuple[str, bool]:
    """Return (the event's body in Base64, whether it was broken)."""
    body = event.get("body")
    if not isinstance(body, str):
        return "", body is not None
    if event.get("isBase64Encoded") is not True:
        return base64.b64encode(body.encode("utf-8", "replace")).decode("ascii"), False
    text = "".join(body.split())
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return "", True
    return text, False
