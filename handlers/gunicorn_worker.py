"""gunicorn's threaded worker, held to bounds: what a caller may take is seconds of a thread, never a thread for ever.

As it comes, gunicorn's waits without end for the rest of a head and for a caller who does not read, and its only main
loop waits up to 2 seconds for each caller who does not hang up behind `Connection: close`. A few dozen connections that
cost nothing keep `/live` from being answered. A proxy that buffers, as those in front of Cloud Run and of other
platforms, keeps such callers away; a container's own port does not.
"""

from __future__ import annotations

import contextlib
import itertools
import selectors
import socket
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from gunicorn.workers.gthread import TConn, ThreadWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping
    from concurrent.futures import Future

HEAD_SECONDS = 8.0
"""How long a caller may take for the first byte, and then for a whole head."""

ANSWER_SECONDS = 8.0
"""How long a caller may take to read an answer, once it is ready."""

PARTING_SECONDS = 2.0
"""How long we listen to a caller whose connection ends: closed at once, it could lose the end of the answer.

Source: RFC 9112, section 9.6.
"""


class _Limit(NamedTuple):
    end: float
    how: int


class Limits:
    """How long a thread waits for each connection.

    Args:
        clock: returns seconds of a clock that never jumps.

    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._limits: dict[socket.socket, _Limit] = {}

    def set(self, connection: socket.socket, seconds: float, how: int) -> None:
        """Have a connection shut down in some seconds (`how`: socket.SHUT_RD or SHUT_RDWR); replaces its last limit."""
        with self._lock:
            self._limits[connection] = _Limit(self._clock() + seconds, how)

    def lift(self, connection: socket.socket) -> None:
        """Note that nobody waits for this connection any more."""
        with self._lock:
            self._limits.pop(connection, None)

    def enforce(self) -> None:
        """Shut down the connections that took too long: to who waits for them, the caller has hung up."""
        now = self._clock()
        with self._lock:
            for connection, limit in list(self._limits.items()):
                if limit.end <= now:
                    del self._limits[connection]
                    with contextlib.suppress(OSError):
                        connection.shutdown(limit.how)


class Worker(ThreadWorker):
    """What deploy/container/gunicorn.conf.py runs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = Limits()
        self._parting: dict[TConn, float] = {}

    def load_wsgi(self) -> None:
        """Load the application, and begin to count when it has its answer ready."""
        super().load_wsgi()
        application = self.wsgi

        def timed(environ: MutableMapping[str, Any], start_response: Any) -> Iterable[bytes]:
            answer = application(environ, start_response)
            self._limits.set(environ["gunicorn.socket"], ANSWER_SECONDS, socket.SHUT_RDWR)
            return answer

        self.wsgi = timed

    def enqueue_req(self, conn: TConn) -> None:
        """Give a connection to a thread, whose head must then be here soon; a new one only once it sent something."""
        if conn.initialized or conn.data_ready:
            self._limits.set(conn.sock, HEAD_SECONDS, socket.SHUT_RD)
            super().enqueue_req(conn)
            return
        conn.timeout = time.monotonic() + HEAD_SECONDS
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def handle(self, conn: TConn) -> Any:
        """Serve one request of a connection, in a thread of the pool."""
        try:
            return super().handle(conn)
        finally:
            self._limits.lift(conn.sock)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """Answer a request whose head has been read."""
        self._limits.lift(conn.sock)
        return super().handle_request(req, conn)

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        """Keep a connection, or part with it, in the main loop, which must not wait."""
        if fs.cancelled() or fs.exception() is not None or fs.result() is not False:
            super().finish_request(conn, fs)
            return
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(conn)
            return
        self._parting[conn] = time.monotonic() + PARTING_SECONDS
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._listen, conn))

    def _listen(self, conn: TConn, connection: socket.socket) -> None:
        """Take what a caller still sends; when nothing more can come, close."""
        with contextlib.suppress(OSError):
            if connection.recv(65536):
                return
        self._part(conn)

    def _part(self, conn: TConn) -> None:
        del self._parting[conn]
        self.poller.unregister(conn.sock)
        self._close(conn)

    def _close(self, conn: TConn) -> None:
        self.nr_conns -= 1
        conn.close()

    def notify(self) -> None:
        """Say that this worker lives; gunicorn's main loop does so about once a second."""
        super().notify()
        self._limits.enforce()
        now = time.monotonic()
        for conn in [conn for conn, end in self._parting.items() if end <= now]:
            self._part(conn)
        # Rather a kept connection less than a new caller who is not let in.
        for conn in itertools.islice(self.keepalived_conns, max(0, self.nr_conns - self.max_keepalived)):
            conn.timeout = 0.0
