"""Reads the body of a response, bounded in size and time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from urllib3.exceptions import ProtocolError

from fdi_health.errors import CheckError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

    from fdi_health.transport.deadline_socket import Exchange

_PIECE_BYTES = 1024
"""How much of a body is decoded between two checks of the deadline: a body may come in chunks of one byte."""


def read_body(response: BaseHTTPResponse, exchange: Exchange) -> tuple[bytes, bool]:
    """Return the body and whether it is complete.

    A body that breaks off is an error for 200 and 201. For other statuses its beginning is enough: it only explains the
    status.

    Raises:
        CheckError: `invalid_response`, if the body is encoded.
        TimeoutError: the deadline has passed.

    """
    body = b""
    try:
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("identity", ""):
            # With the status, since the connection works: a retry would bring the same response.
            message = "the response is encoded although we asked for none"
            raise CheckError("invalid_response", message, upstream_status=200)
        while piece := response.read(_PIECE_BYTES):
            exchange.seconds_left()
            body += piece
            if len(body) > exchange.max_body_bytes:
                return body, False
    except (CheckError, ProtocolError):
        if response.status in (200, 201) and not exchange.too_large:
            raise
        return body, False
    return body, True
