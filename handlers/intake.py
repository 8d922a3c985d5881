"""Takes a request's body off the wire before anything else does, bounded in bytes and in time.

functions-framework reads whatever is left of every body after we have answered, whole and however long it takes: a
caller who announces a body and never sends it would hold a thread for ever, and one who sends gigabytes would fill the
memory. What is left on the wire here is thrown away by the server.
"""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from typing import TYPE_CHECKING, Any

from schemas.query import LONGEST_BODY

if TYPE_CHECKING:
    from collections.abc import MutableMapping

BROKEN = "fdi_health.body_is_broken"
"""The key in the WSGI environ that says whether the body failed to come whole."""

BODY_SECONDS = 4.0
"""How long a caller may take to send a body; as long as a check may take by default."""


def take_body(environ: MutableMapping[str, Any], seconds: float = BODY_SECONDS) -> None:
    """Replace `wsgi.input` by what came of a POST's body: all of it, or one byte more than is allowed.

    One that did not come whole and in time is marked with `BROKEN`. Other methods have none.
    """
    body = _read(environ, seconds) if environ.get("REQUEST_METHOD") == "POST" else b""
    environ[BROKEN] = body is None
    environ["wsgi.input"] = io.BytesIO(body or b"")
    environ["wsgi.input_terminated"] = True
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    environ["CONTENT_LENGTH"] = str(len(body or b""))


def _read(environ: MutableMapping[str, Any], seconds: float) -> bytes | None:
    length = environ.get("CONTENT_LENGTH") or ""
    announced = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else None
    if announced is None and not environ.get("wsgi.input_terminated"):
        return b""  # PEP 3333: without a length there is nothing that may be read
    wanted = LONGEST_BODY + 1 if announced is None else min(announced, LONGEST_BODY + 1)
    connection = environ.get("gunicorn.socket")
    late = threading.Timer(seconds, _end_reading, [connection])
    late.daemon = True
    late.start()
    try:
        body = b""
        while len(body) < wanted and (piece := environ["wsgi.input"].read(wanted - len(body))):
            body += piece
    except Exception:  # noqa: BLE001 -- every server has exceptions of its own for a caller who hangs up or breaks a chunk
        return None
    finally:
        late.cancel()
    return None if announced is not None and len(body) < wanted else body


def _end_reading(connection: object) -> None:
    if isinstance(connection, socket.socket):
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RD)
