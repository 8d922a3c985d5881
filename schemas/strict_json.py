"""Bytes to JSON values, refusing everything that two JSON readers could read differently."""

from __future__ import annotations

import codecs
import json
import math
from typing import Any, Never


class InvalidJSON(ValueError):  # noqa: N818 -- it names the thing refused; "Error" would say no more
    """The bytes are no JSON document that every reader reads alike; the text says why and holds none of the bytes."""


def loads(data: bytes) -> Any:
    """Return the JSON value in `data`.

    UTF-8 with or without a byte-order mark. Python's own `json.loads` also takes UTF-16, repeated keys (the last one
    wins), NaN and Infinity, numbers that overflow to infinity, and lone surrogates; RFC 8259 and RFC 7493 (I-JSON)
    forbid them or call them unpredictable, so they are refused here.

    Raises:
        InvalidJSON: the bytes are not such a document; deep nesting and endless digits included.

    """
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError:
        raise InvalidJSON("not UTF-8") from None
    try:
        value = json.loads(
            text, object_pairs_hook=_no_repeated_keys, parse_constant=_no_constant, parse_float=_finite_float
        )
        # Lone surrogates come in as escapes and would make the value impossible to encode anywhere later.
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except InvalidJSON:
        raise
    except UnicodeEncodeError:
        raise InvalidJSON("a lone surrogate") from None
    except RecursionError:
        raise InvalidJSON("nested too deeply") from None
    except ValueError:
        # JSONDecodeError carries the whole document as an attribute, which may be a secret: not chained.
        raise InvalidJSON("a syntax error") from None
    return value


def _no_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise InvalidJSON("a key stands twice in one object")
    return value


def _no_constant(_name: str) -> Never:
    raise InvalidJSON("NaN or Infinity")


def _finite_float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise InvalidJSON("a number too large")
    return value
