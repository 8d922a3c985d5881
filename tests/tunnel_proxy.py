"""An HTTP proxy that makes tunnels (RFC 9110, section 9.3.6) and records its requests."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl
    from types import TracebackType


class TunnelProxy:
    """Listens on a loopback port for as long as it is entered.

    Args:
        ssl_context: of a proxy that is itself spoken to over TLS.
        refusal: the status that it refuses every tunnel with, or None.
        destination: "HOST:PORT" of every tunnel, in place of the one that a request names, or None.

    Attributes:
        url: what a proxy variable is set to.
        heads: the heads of the requests that it got.
        seen: every byte that came from callers behind those heads.

    """

    def __init__(
        self, ssl_context: ssl.SSLContext | None = None, refusal: int | None = None, destination: str | None = None
    ) -> None:
        self.heads: list[str] = []
        self.seen = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ssl_context, self._refusal, self._destination = ssl_context, refusal, destination
        self.url = f"http{'s' if ssl_context else ''}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _start(self, work: object, *arguments: object) -> None:
        assert callable(work)
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                if self._ssl_context is not None:
                    try:
                        caller = self._ssl_context.wrap_socket(caller, server_side=True)
                    except OSError:
                        caller.close()
                        continue
                self._start(self._serve, caller)

    def _serve(self, caller: socket.socket) -> None:
        with caller, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                if not (piece := caller.recv(4096)):
                    return
                head += piece
            self.heads.append(head.decode("latin-1"))
            method, target, *_ = head.decode("latin-1").split()
            if method != "CONNECT":
                caller.sendall(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
                return
            if self._refusal is not None:
                caller.sendall(f"HTTP/1.1 {self._refusal} No\r\nContent-Length: 0\r\n\r\n".encode())
                return
            host, _, port = (self._destination or target).rpartition(":")
            with socket.create_connection((host, int(port)), 5) as upstream:
                caller.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=self._pump, args=(upstream, caller), daemon=True)
                back.start()
                while piece := caller.recv(65536):
                    self.seen += piece
                    upstream.sendall(piece)
                upstream.shutdown(socket.SHUT_WR)
                back.join(10)

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                sink.sendall(piece)
