"""Reads a request's body before the handlers run, bounded in bytes and in time.

functions-framework (gunicorn) reads what is left of a body before it takes the next request, whole and however long
that takes. So a body that is not read here is left on a connection that carries no other response: what comes late must
never be read as the next request, since another user of a proxy may wait for its response. granian (hyper) does so
itself. It has no time limit for bodies, so their number is limited (`AdmissionControl.body`), and once there are too
many, those that are silent for long are ended.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from fdi_health.errors import CheckError
from handlers.request_context import broken_body
from handlers.triggers.silent_connections import end_silent_connections
from schemas.query import MAX_BODY_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from handlers.application import Application

MAX_BODY_SECONDS = 4.0
"""How long a caller may take to send a body; as long as a check may take by default."""

_MARGIN_SECONDS = 5.0
"""How much longer than a check a caller is silent before it counts as gone."""


class ReceivedBody(NamedTuple):
    """What came of a body.

    Attributes:
        content: the body of a POST of at most 64 KiB, b"" for other bodies; or the error that says why it was not read.
        is_complete: whether the connection may carry another request: nothing of this body is left on it.

    """

    content: bytes | CheckError
    is_complete: bool


def read_body(environ: Mapping[str, Any], application: Application, seconds: float = MAX_BODY_SECONDS) -> ReceivedBody:
    """Read the body of a POST of at most 64 KiB; other bodies cannot steer a check and are not read.

    Args:
        environ: the request's.
        application: limits how many bodies are waited for at once.
        seconds: the time limit. At its end the connection is closed without a response.

    """
    length, is_chunked = environ.get("CONTENT_LENGTH") or "", "HTTP_TRANSFER_ENCODING" in environ
    if not is_chunked and not length.strip("0"):
        return ReceivedBody(b"", is_complete=True)
    if environ.get("REQUEST_METHOD") != "POST" or not _may_be_read(environ, length, is_chunked):
        return ReceivedBody(b"", is_complete=False)
    try:
        with application.admission.body(), _time_limit(environ, seconds):
            body = _read_chunks(environ) if is_chunked else _read_length(environ, int(length))
    except CheckError as error:
        _end_silent_bodies(environ, application)
        return ReceivedBody(error, is_complete=False)
    if body is None:
        return ReceivedBody(broken_body(), is_complete=False)
    if len(body) > MAX_BODY_BYTES:
        return ReceivedBody(b"", is_complete=False)
    return ReceivedBody(body, is_complete=True)


def end_connection(environ: Mapping[str, Any]) -> None:
    """Let a connection of gunicorn carry no other response.

    Both ways, never SHUT_RD alone: Linux still hands over what comes later, which gunicorn would take for a request.
    """
    connection = environ.get("gunicorn.socket")
    if isinstance(connection, socket.socket):
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def _end_silent_bodies(environ: Mapping[str, Any], application: Application) -> None:
    """Make room for other bodies, where the server does not do so itself."""
    port = environ.get("SERVER_PORT", "")
    if "gunicorn.socket" not in environ and port.isascii() and port.isdigit():
        with contextlib.suppress(CheckError):
            end_silent_connections(int(port), application.service().deadline_seconds + _MARGIN_SECONDS)


def _may_be_read(environ: Mapping[str, Any], length: str, is_chunked: bool) -> bool:
    """Whether there is a body that the server bounds (PEP 3333) and that is not longer than may steer a check."""
    if is_chunked:
        return bool(environ.get("wsgi.input_terminated"))
    digits = length.lstrip("0")
    return length.isascii() and length.isdigit() and len(digits) < 10 and int(digits) <= MAX_BODY_BYTES


@contextlib.contextmanager
def _time_limit(environ: Mapping[str, Any], seconds: float) -> Iterator[None]:
    """Close the connection after some seconds; granian hands out no connection, so there is no limit.

    Raises:
        CheckError: `overloaded`, if no thread can be started for it.

    """
    if "gunicorn.socket" not in environ:
        yield
        return
    timer = threading.Timer(seconds, end_connection, [environ])
    timer.daemon = True
    try:
        timer.start()
    except RuntimeError:
        raise CheckError("overloaded", "no thread could be started to limit the time of a body") from None
    try:
        yield
    finally:
        timer.cancel()


def _read_length(environ: Mapping[str, Any], length: int) -> bytes | None:
    """Return the body of a known length, or None for one that did not arrive whole."""
    body = _read(environ, length)
    return body if body is not None and len(body) == length else None


def _read_chunks(environ: Mapping[str, Any]) -> bytes | None:
    """Return a chunked body, or its first 64 KiB and a byte; None for one that did not arrive whole.

    granian treats a body with missing chunks like a complete one. Such a part of a JSON object is not JSON, and
    must not pass for a body that asks nothing.

    Limits: granian also ends a body at a chunk without a valid size. If that is the first one, the body is empty here.
    """
    body = _read(environ, MAX_BODY_BYTES + 1)
    if body is None or len(body) > MAX_BODY_BYTES or not body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return body
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return None
    return body


def _read(environ: Mapping[str, Any], size: int) -> bytes | None:
    """Return at most `size` bytes of the body, or None if reading failed; a server may return less at a time."""
    body = b""
    try:
        while piece := environ["wsgi.input"].read(size - len(body)):
            body += piece
    except Exception:  # noqa: BLE001 -- each server has its own exceptions for a caller who disconnects or breaks a chunk
        return None
    return body
