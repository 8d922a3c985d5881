"""Reads the limit that ROMA Connect's gateway states when it refuses a request with a 429.

Source: the vendor's API Gateway reference, APIG.0308: "policy user over ratelimit, limit:XX, time:1 second".
"""

from __future__ import annotations

import re

MAX_LIMIT = 1_000_000
"""A larger number is a mistake."""

_SECONDS = {"second": 1, "minute": 60}
_STATED = re.compile(r"(?<![\w.-])limit: ?([1-9][0-9]{0,6}), ?time: ?1 (second|minute)(?!\w)", re.ASCII)


def stated_limit(error_msg: str | None) -> float | None:
    """Return the requests per second that a response with a 429 allows, None if it does not state them.

    Args:
        error_msg: the vendor's text.

    """
    match = _STATED.search(error_msg or "")
    if match is None or int(match[1]) > MAX_LIMIT:
        return None
    return int(match[1]) / _SECONDS[match[2]]
