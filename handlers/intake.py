"""Takes a request's body off the wire before anything else does, bounded in bytes and in time.

functions-framework reads what is left of every body after we have answered, whole and however long it takes, and
gunicorn reads what is left before the next request: a caller who announces a body and never sends it would hold a
thread for ever, and one who sends gigabytes would fill the memory. What is not taken here is left on a connection that
carries no other answer: what comes of it later must never be read as the next request, behind which another user may
wait for an answer of his own.
"""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from fdi_health.errors import CheckError
from handlers.wire import Bound, unreader_of
from schemas.query import LONGEST_BODY

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from contextlib import AbstractContextManager

ARRIVED = "fdi_health.arrived"
"""The key in the WSGI environ for the moment the request came in, in seconds of the monotonic clock."""

BROKEN = "fdi_health.body_is_broken"
"""The key in the WSGI environ that says whether the body failed to come whole."""

REFUSED = "fdi_health.body_is_refused"
"""The key in the WSGI environ for the CheckError for which the body was not waited for, or None."""

BODY_SECONDS = 4.0
"""How long a caller may take to send a body; as long as a check may take by default."""

_UNWANTED_BODY_SECONDS = 0.05

_UNWANTED_CHUNKS_BYTES = 8 * 1024
"""How much of a chunked body that nobody wants is taken off the wire; what is longer is left there."""

_DISCARDED_BYTES = 1024 * 1024
"""How much more of a body that is too large is read and thrown away, so that its sender sees the answer."""

_FRAMING_BYTES = 64 * 1024
"""How much more than a body may come over the wire: what was read ahead, and what frames its chunks."""

_PIECE_BYTES = 8 * 1024
"""How much is asked for at a time: what was read of a piece that breaks off is lost."""

_MAX_CHUNKED_BODIES = 16
"""How many chunked bodies are read at once: each chunk may be one byte, and costs as much CPU as a large one."""

_chunked_bodies = threading.BoundedSemaphore(_MAX_CHUNKED_BODIES)


def take_body(
    environ: MutableMapping[str, Any],
    seconds: float = BODY_SECONDS,
    admitted: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> bool:
    """Replace `wsgi.input` by what came of a POST's body: all of it, or one byte more than is allowed.

    One that did not come whole and in time is marked with `BROKEN`. Other methods' bodies are thrown away, and hardly
    waited for: clients send such ones together with the head.

    Args:
        environ: the request's.
        seconds: how long to wait for a POST's body.
        admitted: entered while it is waited for; raises CheckError, which `REFUSED` then holds, where too many wait.

    Returns:
        Whether the wire is clear: nothing of the body can still be on it.

    """
    environ[ARRIVED] = time.monotonic()
    length = environ.get("CONTENT_LENGTH") or ""
    announced = (
        (int(length) if len(length) < 20 else LONGEST_BODY + 1) if length.isascii() and length.isdigit() else None
    )
    terminated = bool(environ.get("wsgi.input_terminated")) and "HTTP_TRANSFER_ENCODING" in environ
    body: bytes | None = b""
    # PEP 3333: without a length or a server that marks the end there is nothing that may be read.
    clear = not announced and not terminated
    environ[REFUSED] = None
    if not clear and environ.get("REQUEST_METHOD") == "POST":
        try:
            with admitted():
                body, clear = _read(environ, announced, seconds)
        except CheckError as error:
            environ[REFUSED] = error
    elif not clear:
        # Nobody needs this body: if it cannot be read, the connection just carries no other request.
        with contextlib.suppress(CheckError):
            _, clear = _read(environ, announced, _UNWANTED_BODY_SECONDS, _UNWANTED_CHUNKS_BYTES)
    if not clear:
        # gunicorn counts what it asked for as read, and would take what comes late for the next request.
        with contextlib.suppress(AttributeError):
            environ["wsgi.input"].failed = True
    environ[BROKEN] = body is None
    environ["wsgi.input"] = io.BytesIO(body or b"")
    environ["wsgi.input_terminated"] = True
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    environ["CONTENT_LENGTH"] = str(len(body or b""))
    return clear


def _read(
    environ: MutableMapping[str, Any],
    announced: int | None,
    seconds: float,
    chunks_bytes: int = LONGEST_BODY + _FRAMING_BYTES,
) -> tuple[bytes | None, bool]:
    """Return (the body or None for a broken one, whether the wire is clear).

    Raises:
        CheckError: `overloaded`, if too many bodies are being read or there is no thread to end the reading.

    """
    if announced is not None:
        return _taken(environ, announced, seconds, announced + _FRAMING_BYTES)
    if not _chunked_bodies.acquire(blocking=False):
        # At once: slow senders hold their places for seconds, and this caller has a deadline.
        raise CheckError("overloaded", "too many chunked bodies are being read; ask again in a moment")
    try:
        return _taken(environ, None, seconds, chunks_bytes)
    finally:
        _chunked_bodies.release()


def _taken(
    environ: MutableMapping[str, Any], announced: int | None, seconds: float, wire_bytes: int
) -> tuple[bytes | None, bool]:
    end = threading.Event()
    late = threading.Timer(seconds, _end_reading, [environ.get("gunicorn.socket"), end])
    late.daemon = True
    try:
        late.start()
    except RuntimeError:
        raise CheckError("overloaded", "no thread could be started to end the reading of a slow body") from None
    most = LONGEST_BODY + 1 + _DISCARDED_BYTES
    wanted = most if announced is None else min(announced, most)
    body, taken = b"", 0
    bound = Bound(unreader_of(environ["wsgi.input"]), end.is_set, wire_bytes)
    try:
        while taken < wanted and (piece := environ["wsgi.input"].read(min(wanted - taken, _PIECE_BYTES))):
            taken += len(piece)
            body = (body + piece)[: LONGEST_BODY + 1]
    except Exception:  # noqa: BLE001 -- every server has exceptions of its own for a caller who hangs up or breaks a chunk
        return (body if len(body) > LONGEST_BODY else None), False
    finally:
        bound.lift()
        late.cancel()
    whole = taken == announced if announced is not None else taken < most
    if end.is_set() or (not whole and len(body) <= LONGEST_BODY):
        return None, False
    return body, whole


def _end_reading(connection: object, end: threading.Event) -> None:
    end.set()
    if isinstance(connection, socket.socket):
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RD)
