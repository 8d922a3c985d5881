"""The fields of platforms' events, made sound: no nulls, no wrong types, no text that no server would hand on."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any
from urllib.parse import quote

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^`|~-]+", re.ASCII)
"""Without the underscore: servers drop such names, which a WSGI environ can't tell from those with a hyphen."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_ASCII = "".join(map(chr, range(33, 127)))


def ascii_url(text: str) -> str:
    """Return text as it would stand in a URL: everything beyond ASCII as the percent-encoded bytes of UTF-8."""
    return quote(text, safe=_ASCII, errors="replace")


def headers(single: Any, multiple: Any) -> dict[str, str]:
    """Return name → value out of what an event gives in one form or both, names in lower case.

    As servers do it: repeated headers are joined by commas, and what would break a line becomes a space. How the body
    was framed on its way to the platform says nothing any more.
    """
    lists = {name: [text] for name, text in single_values(single).items()} | multiple_values(multiple)
    found: dict[str, str] = {}
    for name, texts in lists.items():
        lowered = name.lower()
        if _HEADER_NAME.fullmatch(name) and lowered not in ("transfer-encoding", "content-length"):
            earlier = [found[lowered]] if lowered in found else []
            found[lowered] = _CONTROL.sub(" ", ",".join([*earlier, *texts]))
    return found


def single_values(values: Any) -> dict[str, str]:
    """Return the entries of an object that are text, fit to be encoded."""
    if not isinstance(values, dict):
        return {}
    return {_encodable(name): _encodable(text) for name, text in values.items() if isinstance(text, str)}


def multiple_values(values: Any) -> dict[str, list[str]]:
    """Return the entries of an object that are lists with text in them, fit to be encoded."""
    if not isinstance(values, dict):
        return {}
    lists = {name: texts for name, texts in values.items() if isinstance(texts, list)}
    kept = {name: [_encodable(text) for text in texts if isinstance(text, str)] for name, texts in lists.items()}
    return {_encodable(name): texts for name, texts in kept.items() if texts}


def _encodable(text: str) -> str:
    # JSON can hold lone surrogates, which no encoding has.
    return text.encode("utf-8", "replace").decode("utf-8")


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
