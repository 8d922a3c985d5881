"""A client on plain sockets, so that tests see the exact bytes that the simulator sent."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from typing import TYPE_CHECKING

from simulator import DOC_PROJECT_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator import Simulator

TOKEN = "the-token"
INSTANCE = "instance-1"
OTHER = "healthy-instance"
MOST_BYTES = 80 * 1024 * 1024


def statistics_path(instance_id: str = INSTANCE, project_id: str = DOC_PROJECT_ID) -> str:
    return f"/v2/{project_id}/fdi/instances/{instance_id}/statistics/tasks"


def request_bytes(
    target: str | None = None, *, token: str | None = TOKEN, method: str = "GET", close: bool = False, extra: str = ""
) -> bytes:
    auth = "" if token is None else f"X-Auth-Token: {token}\r\n"
    ending = "Connection: close\r\n" if close else ""
    return f"{method} {target or statistics_path()} HTTP/1.1\r\nHost: h\r\n{auth}{ending}{extra}\r\n".encode("latin-1")


@contextlib.contextmanager
def connected(simulator: Simulator, timeout_seconds: float = 2.0) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", simulator.port), timeout=timeout_seconds) as connection:
        yield connection


def read_for(connection: socket.socket, seconds: float) -> tuple[bytes, str]:
    """Read until the end, for so long or so much; return the bytes and how it ended: "open", "closed" or "reset"."""
    parts: list[bytes] = []
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and sum(map(len, parts)) < MOST_BYTES:
        connection.settimeout(left)
        try:
            part = connection.recv(1024 * 1024)
        except TimeoutError:
            break
        except ConnectionResetError:
            return b"".join(parts), "reset"
        if not part:
            return b"".join(parts), "closed"
        parts.append(part)
    return b"".join(parts), "open"


def exchange(simulator: Simulator, request: bytes | None = None, seconds: float = 2.0) -> tuple[bytes, str]:
    """Send one request on a fresh connection and read its answer."""
    with connected(simulator) as connection:
        connection.sendall(request_bytes(close=True) if request is None else request)
        return read_for(connection, seconds)


def status_and_document(answer: bytes) -> tuple[int, dict[str, object]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    document = json.loads(body)
    assert isinstance(document, dict)
    return int(head.split(b" ")[1]), document
