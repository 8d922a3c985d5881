"""Reads a request's body before the handlers run, bounded in bytes and in time.

functions-framework (gunicorn) reads what is left of a body before it takes the next request, whole and however long
that takes. So a body that is not read here is left on a connection that carries no other response: what comes late must
never be read as the next request, since another user of a proxy may wait for its response. granian (hyper) does so
itself. It has no time limit for bodies, so their number is limited (`Application.reading_body`), and once there are too
many, those that are silent for long are ended.
"""

from __future__ import annotations

import contextlib
import io
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from fdi_health.errors import CheckError
from handlers.triggers.silent_connections import end_silent_connections
from schemas.query import MAX_BODY_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

    from handlers.application import Application

ARRIVED = "fdi_health.arrived"
"""The key in the WSGI environ for the time the request came in, in seconds of the monotonic clock."""

BROKEN = "fdi_health.body_is_broken"
"""The key in the WSGI environ that says whether the body did not arrive whole."""

REFUSED = "fdi_health.body_is_refused"
"""The key in the WSGI environ for the CheckError that says why the body was not read, or None."""

MAX_BODY_SECONDS = 4.0
"""How long a caller may take to send a body; as long as a check may take by default."""

_MARGIN_SECONDS = 5.0
"""How much longer than a check a caller is silent before it counts as gone."""


def read_body(environ: MutableMapping[str, Any], application: Application, seconds: float = MAX_BODY_SECONDS) -> bool:
    """Replace `wsgi.input` by the body of a POST of at most 64 KiB; other bodies are not read.

    Args:
        environ: the request's.
        application: limits how many bodies are waited for at once.
        seconds: the time limit. At its end the connection is closed without a response.

    Returns:
        Whether the connection may carry another request: nothing of this body is left on it.

    """
    environ[ARRIVED] = time.monotonic()
    environ[REFUSED] = None
    length, is_chunked = environ.get("CONTENT_LENGTH") or "", "HTTP_TRANSFER_ENCODING" in environ
    is_steering = environ.get("REQUEST_METHOD") == "POST" and _may_be_read(environ, length, is_chunked)
    body: bytes | None = b""
    is_read = not is_chunked and not length.strip("0")
    if is_steering and not is_read:
        try:
            with application.reading_body(), _time_limit(environ, seconds):
                body = _read_chunks(environ) if is_chunked else _read_length(environ, int(length))
            is_read = body is not None and len(body) <= MAX_BODY_BYTES
        except CheckError as error:
            environ[REFUSED] = error
            _end_silent_bodies(environ, application)
    environ[BROKEN] = body is None
    environ["wsgi.input"] = io.BytesIO(body or b"")
    environ["wsgi.input_terminated"] = True
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    environ["CONTENT_LENGTH"] = str(len(body or b""))
    return is_read


def end_connection(environ: MutableMapping[str, Any]) -> None:
    """Let a connection of gunicorn carry no other response.

    Both ways, never SHUT_RD alone: Linux still hands over what comes later, which gunicorn would take for a request.
    """
    connection = environ.get("gunicorn.socket")
    if isinstance(connection, socket.socket):
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def _end_silent_bodies(environ: MutableMapping[str, Any], application: Application) -> None:
    """Make room for other bodies, where the server does not do so itself."""
    port = environ.get("SERVER_PORT", "")
    if "gunicorn.socket" not in environ and port.isascii() and port.isdigit():
        with contextlib.suppress(CheckError):
            end_silent_connections(int(port), application.service().deadline_seconds + _MARGIN_SECONDS)


def _may_be_read(environ: MutableMapping[str, Any], length: str, is_chunked: bool) -> bool:
    """Whether there is a body that the server bounds (PEP 3333) and that is not longer than may steer a check."""
    if is_chunked:
        return bool(environ.get("wsgi.input_terminated"))
    return length.isascii() and length.isdigit() and len(length) < 10 and int(length) <= MAX_BODY_BYTES


@contextlib.contextmanager
def _time_limit(environ: MutableMapping[str, Any], seconds: float) -> Iterator[None]:
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


def _read_length(environ: MutableMapping[str, Any], length: int) -> bytes | None:
    """Return the body of a known length, or None for one that did not arrive whole."""
    body = _read(environ, length)
    return body if body is not None and len(body) == length else None


def _read_chunks(environ: MutableMapping[str, Any]) -> bytes | None:
    """Return a chunked body, or its first 64 KiB and a byte; None for one that did not arrive whole.

    granian ends a body whose chunks break off like one that is complete. Such a part of a JSON object is not JSON, and
    must not pass for a body that asks nothing.
    """
    body = _read(environ, MAX_BODY_BYTES + 1)
    if body is None or len(body) > MAX_BODY_BYTES or not body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return body
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return None
    return body


def _read(environ: MutableMapping[str, Any], size: int) -> bytes | None:
    """Return at most `size` bytes of the body, or None if reading failed; a server may return less at a time."""
    body = b""
    try:
        while piece := environ["wsgi.input"].read(size - len(body)):
            body += piece
    except Exception:  # noqa: BLE001 -- each server has its own exceptions for a caller who disconnects or breaks a chunk
        return None
    return body
