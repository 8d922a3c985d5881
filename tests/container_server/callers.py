"""Slow and hostile callers: what they send, and how they keep connections open."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path


DEADLINE_SECONDS = 1.5
LIVE_BODY = b'{"live":true}'
SMUGGLED = b"GET /?fail_on=none HTTP/1.1\r\nHost: x\r\n\r\n"
GET, PUT, POST = (b"%s HTTP/1.1\r\nHost: x\r\n" % start for start in (b"GET /live", b"PUT /live", b"POST /"))
HALF_A_HEAD = GET
SILENT_BODY = POST + b"Content-Length: 9\r\n\r\n"
BYTE_SIZED_CHUNKS = POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 60_000 + b"0\r\n\r\n"


class Server(NamedTuple):
    """A running server; its log is in `home`."""

    url: str
    process: subprocess.Popen[bytes]
    home: Path

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", urlsplit(self.url).port or 0

    def connect(self, timeout: float = 10.0) -> socket.socket:
        return socket.create_connection(self.address, timeout)

    def exchange(self, *pieces: bytes, pause: float = 0.2, half_close: bool = False) -> bytes:
        """Send pieces with pauses between them, and return all that comes back until the connection is silent."""
        received = b""
        with self.connect(2.0) as caller, contextlib.suppress(OSError):
            for number, piece in enumerate(pieces):
                time.sleep(pause if number else 0)
                with contextlib.suppress(ConnectionError):
                    caller.sendall(piece)
            if half_close:
                caller.shutdown(socket.SHUT_WR)
            while data := caller.recv(65536):
                received += data
        return received

    def log_lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.home / "server.log").read_text().splitlines()]


@contextlib.contextmanager
def held_connections(server: Server, count: int, sent: bytes) -> Iterator[list[socket.socket]]:
    """Open connections that send something and read nothing."""
    with contextlib.ExitStack() as opened:
        callers = []
        for _ in range(count):
            caller = opened.enter_context(socket.socket())
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            caller.connect(server.address)
            caller.setblocking(False)
            caller.send(sent)
            callers.append(caller)
        yield callers


@contextlib.contextmanager
def in_threads(count: int, work: Callable[[], None]) -> Iterator[None]:
    """Repeat some work in threads until the block ends."""
    over = threading.Event()

    def repeat() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):
                work()

    with ThreadPoolExecutor(count) as senders:
        for _ in range(count):
            senders.submit(repeat)
        try:
            yield
        finally:
            over.set()
