"""gunicorn's threaded worker, held to bounds: what a caller may take is seconds of a thread, never a thread for ever.

As it comes, gunicorn's waits without end for the rest of a head and for a caller who does not read, and its only main
loop waits up to 2 seconds for each caller who does not hang up behind `Connection: close`. A few dozen connections that
cost nothing keep `/live` from being answered. A proxy that buffers, as those in front of Cloud Run and of other
platforms, keeps such callers away; a container's own port does not.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import selectors
import socket
import sys
import termios
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from gunicorn.workers.gthread import TConn, ThreadWorker

from handlers.wire import Bound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping
    from concurrent.futures import Future

HEAD_SECONDS = 8.0
"""How long a caller may take for the first byte, and then for a whole head."""

HEAD_BYTES = 64 * 1024
"""The largest head; gunicorn bounds each, and their number."""

ANSWER_SECONDS = 8.0
"""How long a caller may take to read an answer, once it is ready."""

ANSWER_BYTES = 256 * 1024
"""How much of an answer a socket takes before anything of it is read, if the system lets it: then no thread waits."""

STOPPING_SECONDS = 1.0
"""How long a worker that stops waits for a request that has not come whole."""

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

    def hurry(self, seconds: float, how: int) -> None:
        """Leave those of one kind no more than some seconds from now."""
        end = self._clock() + seconds
        with self._lock:
            for connection, limit in self._limits.items():
                if limit.how == how:
                    self._limits[connection] = _Limit(min(limit.end, end), how)

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
        self._heads: dict[TConn, Bound] = {}

    def init_process(self) -> None:
        """Begin, in a process of its own; what the application lets in goes by the threads that there really are."""
        os.environ["THREADS"] = str(self.cfg.threads)
        super().init_process()

    def load_wsgi(self) -> None:
        """Load the application, and begin to count when it has its answer ready."""
        super().load_wsgi()
        application = self.wsgi

        def timed(environ: MutableMapping[str, Any], start_response: Any) -> Iterable[bytes]:
            connection = environ["gunicorn.socket"]
            self._limits.lift(connection)
            answer = application(environ, start_response)
            self._limits.set(connection, ANSWER_SECONDS, socket.SHUT_RDWR)
            return answer

        self.wsgi = timed

    def accept(self, listener: Any) -> None:
        """Let a caller in, or let another one go first where there are no descriptors left for that."""
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self._let_go(1)

    def enqueue_req(self, conn: TConn) -> None:
        """Give a connection to a thread, whose head must then be here soon; a new one only once it sent something."""
        if conn.initialized or conn.data_ready:
            self._limits.set(conn.sock, HEAD_SECONDS, socket.SHUT_RD)
            super().enqueue_req(conn)
            return
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ANSWER_BYTES)
        conn.timeout = time.monotonic() + HEAD_SECONDS
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def on_client_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        """Take the next request of a kept connection, if its last answer has been read: whoever asks next has it."""
        if _unread(client):
            self.poller.unregister(client)
            self.keepalived_conns.remove(conn)
            self._begin_parting(conn)
        else:
            super().on_client_socket_readable(conn, client)

    def handle(self, conn: TConn) -> Any:
        """Serve one request of a connection, in a thread of the pool."""
        end = time.monotonic() + HEAD_SECONDS
        try:
            conn.sock.setblocking(True)
            conn.init()
            unreader = getattr(conn.parser, "unreader", None)
            self._heads[conn] = Bound(unreader, lambda: time.monotonic() >= end, HEAD_BYTES)
            return super().handle(conn)
        except OSError:
            return False
        finally:
            self._lift(conn)
            self._limits.lift(conn.sock)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """Answer a request whose head has been read; before the application does, the server may answer `100`."""
        self._lift(conn)
        self._limits.set(conn.sock, ANSWER_SECONDS, socket.SHUT_RDWR)
        return super().handle_request(req, conn)

    def _lift(self, conn: TConn) -> None:
        head = self._heads.pop(conn, None)
        if head is not None:
            head.lift()

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        """Keep a connection, or part with it, in the main loop, which must not wait."""
        over = not fs.cancelled() and fs.exception() is None and fs.result() is False
        parser: Any = conn.parser
        # Whoever asks again before the answer is there may never read one.
        if not over and not (parser and parser.unreader.buf.getvalue()):
            super().finish_request(conn, fs)
        else:
            self._begin_parting(conn)

    def _begin_parting(self, conn: TConn) -> None:
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
        now = time.monotonic()
        if not self.alive:
            # Whoever has not asked yet has 1 second left to do so.
            self._limits.hurry(STOPPING_SECONDS, socket.SHUT_RD)
            for conn in self.pending_conns:
                conn.timeout = min(conn.timeout or 0.0, now + STOPPING_SECONDS)
        self._limits.enforce()
        for conn in [conn for conn, end in self._parting.items() if end <= now]:
            self._part(conn)
        self._let_go(self.nr_conns - self.max_keepalived)

    def _let_go(self, excess: int) -> None:
        """End some connections that nobody waits on, the oldest first, so that a new caller is let in."""
        idle = itertools.chain(self.keepalived_conns, self.pending_conns)
        for conn in itertools.islice(idle, max(0, excess)):
            conn.timeout = 0.0


def _unread(connection: socket.socket) -> int:
    """Return how many bytes of what was sent have not arrived yet; 0 where the system does not say."""
    try:
        return int.from_bytes(fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0
