"""What a request asks: its parameters, and by when its caller needs the response."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from marshmallow import ValidationError
from marshmallow.exceptions import SCHEMA

from fdi_health.clock import Deadline
from fdi_health.errors import CheckError
from schemas import query as query_schema
from schemas.settings_fields import NUMBER

if TYPE_CHECKING:
    from handlers.request_context import RequestContext

_MAX_RESERVE_SECONDS = 0.5
"""How much of another party's timeout is kept to render and send the response; never more than half of it."""


def parameters(context: RequestContext) -> query_schema.Query:
    """Return the request's parameters; see `schemas.query.load`.

    Raises:
        CheckError: `malformed_query`; or the error that says why the body was not read.

    """
    if len(context.query_string) > query_schema.MAX_QUERY_BYTES:
        raise CheckError("malformed_query", "the query is longer than 32 KiB; name many instances in a POST body")
    body = context.body if context.method == "POST" else b""
    if isinstance(body, CheckError):
        raise body
    try:
        return query_schema.load(parse_qs(context.query_string.decode(errors="replace"), keep_blank_values=True), body)
    except ValidationError as error:
        raise malformed_query(error) from None


def malformed_query(error: ValidationError) -> CheckError:
    """Return the problem that says the first fault of a query; it holds nothing of the caller's own text."""
    name, messages = next(iter(error.messages_dict.items()))
    return CheckError("malformed_query", messages[0] if name == SCHEMA else f"{name} {messages[0]}")


def deadline(context: RequestContext, own_seconds: float, asked_seconds: float | None) -> Deadline:
    """Return the nearest of all deadlines, counted from the arrival: reading a body takes up some of the time.

    Args:
        context: the request. Its scrape-timeout header and `seconds_left` limit the deadline.
        own_seconds: FDI_DEADLINE_SECONDS.
        asked_seconds: the `deadline` parameter, or None.

    """
    seconds = own_seconds if asked_seconds is None else min(own_seconds, asked_seconds)
    scrape = context.headers.get("x-prometheus-scrape-timeout-seconds", "").strip()
    for limit in (float(scrape) if NUMBER.fullmatch(scrape) else None, context.seconds_left):
        if limit is not None and limit > 0:
            seconds = min(seconds, limit - min(_MAX_RESERVE_SECONDS, limit / 2))
    return Deadline(context.arrived + seconds)
