"""Makes the fields of platforms' events valid: no nulls, no wrong types, no text that a server would refuse."""

from __future__ import annotations

import base64
import contextlib
import re
from typing import Any
from urllib.parse import quote

from fdi_health.errors import CheckError
from handlers.request_context import broken_body

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^`|~-]+", re.ASCII)
"""Without the underscore: servers drop such names, which a WSGI environ can't tell from those with a hyphen."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_ASCII = "".join(map(chr, range(33, 127)))


_ORIGIN = re.compile(r"\A[^:/?#]*://[^/?#]*")
"""Scheme and authority of an absolute URL (RFC 3986, appendix B)."""


def path_and_query(url: str) -> tuple[str, str]:
    """Return the path and the query of a URL, in ASCII.

    urlsplit would refuse some absolute ones, and a caller chooses the Host in it.
    """
    path, _, query = _ORIGIN.sub("", ascii_url(url)).partition("#")[0].partition("?")
    return path, query


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


def body(event: dict[str, Any]) -> bytes | CheckError:
    """Return the event's body, or the error of one that is not text or not Base64."""
    text = event.get("body")
    if text is None:
        return b""
    if isinstance(text, str):
        if event.get("isBase64Encoded") is not True:
            return text.encode("utf-8", "replace")
        with contextlib.suppress(ValueError):
            return base64.b64decode("".join(text.split()), validate=True)
    return broken_body()


def mixed_body() -> CheckError:
    """Return the error of a body that cannot be told from the query: somebody's webhook must not choose instances."""
    return CheckError("malformed_query", "the platform has mixed body and query; make it a raw web function (web: raw)")
