"""What a request asks for: its parameters, its body and how long its caller is ready to wait."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from marshmallow import ValidationError
from marshmallow.exceptions import SCHEMA

from fdi_health.clock import Deadline
from fdi_health.errors import CheckError
from handlers.triggers.request_body import ARRIVED, BROKEN, REFUSED
from schemas import query as query_schema
from schemas.settings_fields import NUMBER

if TYPE_CHECKING:
    from werkzeug import Request

SECONDS_LEFT = "fdi_health.seconds_left"
"""The key in the WSGI environ for the seconds until the platform ends the invocation, or None."""

INVOCATION = "fdi_health.invocation"
"""The key in the WSGI environ for the platform's own context of the invocation."""

_LONGEST_RESERVE_SECONDS = 0.5
"""What is kept of somebody else's timeout to render and send the answer; never more than half of it."""


def parameters(request: Request) -> query_schema.Query:
    """Return the request's parameters; see `schemas.query.load`.

    Raises:
        CheckError: `malformed_query`; or what `REFUSED` holds.

    """
    if len(request.query_string) > query_schema.MAX_QUERY_BYTES:
        raise CheckError("malformed_query", "the query is longer than 32 KiB; name many instances in a POST body")
    try:
        return query_schema.load(dict(request.args.lists()), _body(request))
    except ValidationError as error:
        raise malformed_query(error) from None


def malformed_query(error: ValidationError) -> CheckError:
    """Return the problem that says the first fault of a query; it holds nothing of the caller's own text."""
    name, messages = next(iter(error.messages_dict.items()))
    return CheckError("malformed_query", messages[0] if name == SCHEMA else f"{name} {messages[0]}")


def deadline(request: Request, own_seconds: float, asked_seconds: float | None) -> Deadline:
    """Return the moment by which the answer must be out: the nearest of all bounds.

    Args:
        request: Prometheus says in a header how long it waits, a platform in the environ how long it lets us live.
        own_seconds: FDI_DEADLINE_SECONDS.
        asked_seconds: the `deadline` parameter, or None.

    """
    scrape = request.headers.get("X-Prometheus-Scrape-Timeout-Seconds", "").strip()
    scrape_seconds = float(scrape) if NUMBER.fullmatch(scrape) else None
    bounds = [asked_seconds, seconds_within(scrape_seconds), seconds_within(request.environ.get(SECONDS_LEFT))]
    seconds = min([own_seconds, *(bound for bound in bounds if bound and math.isfinite(bound))])
    # A body that came slowly has used up some of the caller's patience already.
    arrived = request.environ.get(ARRIVED)
    return Deadline.after(seconds) if arrived is None else Deadline(arrived + seconds)


def seconds_within(limit: float | None) -> float | None:
    """Return how long a check may take within somebody else's limit in seconds; None for a limit that is none."""
    if limit is None or not math.isfinite(limit) or limit <= 0:
        return None
    return limit - min(_LONGEST_RESERVE_SECONDS, limit / 2)


def _body(request: Request) -> bytes:
    """Return the body of a POST that may steer the check; b"" where it cannot.

    Raises:
        CheckError: `malformed_query`, for a body that did not arrive whole: nobody can tell what it asked. One of more
            than 64 KiB could not have steered, whole or not, and is ignored like any other webhook's.

    """
    if request.method != "POST":
        return b""
    refused = request.environ.get(REFUSED)
    if refused is not None:
        raise refused
    if (request.content_length or 0) > query_schema.MAX_BODY_BYTES:
        return b""
    if request.environ.get(BROKEN):
        raise _incomplete()
    body = b""
    # A chunked body says its length only by ending, and a read may return less than it was asked for.
    while chunk := _read(request, query_schema.MAX_BODY_BYTES + 1 - len(body)):
        body += chunk
    return body if len(body) <= query_schema.MAX_BODY_BYTES else b""


def _read(request: Request, size: int) -> bytes:
    try:
        chunk: bytes = request.stream.read(size) if size > 0 else b""
    except Exception:  # noqa: BLE001 -- every server has its own exceptions for a caller who disconnects or breaks a chunk
        raise _incomplete() from None
    return chunk


def _incomplete() -> CheckError:
    return CheckError("malformed_query", "the body ended early, came too slowly or is broken; send it again")
