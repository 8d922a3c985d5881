"""Connections of urllib3 that another thread can cut, that hold one TLS context, and that are dropped when idle.

A timeout of requests is per receive, so a server that drips one byte at a time never trips it. Here the socket of
every exchange is known to the exchange's `Abort` from before it connects, and shutting it down ends a blocked connect,
send or receive within milliseconds, in headers, body and silence, plain and TLS. A TLS handshake takes the socket
object away from us, and is bounded by the seconds that were left when it began. Only DNS can't be ended.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from requests import PreparedRequest
    from urllib3.poolmanager import PoolManager

    from fdi_health.deadline import Abort, Deadline

IDLE_SECONDS = 30.0
"""How long a kept connection is trusted; what sits between us and the upstream may forget an idle one silently."""

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LENGTH = re.compile(r"[0-9]{1,18}(, *[0-9]{1,18})*")
"""Several lengths in one line are fine if they agree, which urllib3 checks (RFC 9110, 8.6)."""

_BODILESS = frozenset({204, 304})


class Exchange:
    """One request and its answer, as the connection that carries it sees them.

    Args:
        deadline: when it must be over.
        abort: what another thread ends it with.
        fresh: whether it must not use a kept connection.

    Attributes:
        reused: whether it went over a kept connection.

    """

    def __init__(self, deadline: Deadline, abort: Abort, *, fresh: bool = False) -> None:
        self.deadline, self.abort, self.fresh = deadline, abort, fresh
        self.reused = False


_here = threading.local()


@contextlib.contextmanager
def carrying(exchange: Exchange) -> Iterator[None]:
    """Let the connections used by this thread know whose exchange they carry."""
    _here.exchange = exchange
    try:
        yield
    finally:
        exchange.abort.disarm()
        del _here.exchange


def _shut(sock: socket.socket) -> None:
    # The base class's method on purpose: an SSLSocket's own would touch the TLS state that the other thread is using.
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _watch(sock: Any) -> None:
    if isinstance(sock, socket.socket):
        _here.exchange.abort.arm(lambda: _shut(sock))


def _connect(connection: HTTPConnection) -> socket.socket:
    """Open a socket to the first address that answers, none of them taking more than its share of what is left."""
    deadline: Deadline = _here.exchange.deadline
    host = connection._dns_host
    try:
        addresses = socket.getaddrinfo(host, connection.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from error
    last: OSError = OSError("the name has no address")
    for untried, (family, kind, protocol, _, address) in zip(range(len(addresses), 0, -1), addresses, strict=True):
        sock = socket.socket(family, kind, protocol)
        try:
            for option in connection.socket_options or ():
                sock.setsockopt(*option)
            # A timeout of zero would mean "do not block".
            sock.settimeout(max(0.001, deadline.remaining() / untried))
            _watch(sock)
            sock.connect(address)
            sock.settimeout(max(0.001, deadline.remaining()))
        except OSError as error:
            sock.close()
            last = error
        else:
            return sock
    if isinstance(last, TimeoutError):
        raise ConnectTimeoutError(connection, "no address answered in time") from last
    raise NewConnectionError(connection, "no address accepted the connection") from last


class _StrictResponse(http.client.HTTPResponse):
    """An answer whose framing is taken at its word or not at all.

    Python stops at the first header line that it can't read and drops the rest, lengths and encodings among it; it
    reads to the end of the connection where it can't read the length; and it takes a chunk of a negative size to mean
    everything. urllib3 would log what was dropped, which may be our token.
    """

    def begin(self) -> None:
        """Read status line and headers; raises HTTPException where a header can't be trusted."""
        super().begin()
        lengths = self.msg.get_all("Content-Length", [])
        if (
            self.msg.defects
            or self.msg.get_payload()
            or not all(_HEADER_NAME.fullmatch(name) for name in self.msg)
            or not all(_LENGTH.fullmatch(length) for length in lengths)
        ):
            raise http.client.HTTPException("a broken header")

    def _read_next_chunk_size(self) -> int:
        size: int = super()._read_next_chunk_size()  # type: ignore[misc] # the hook has no public name
        if size < 0:
            raise ValueError("a chunk of a negative size")
        return size


class _Watched(HTTPConnection):
    """A connection whose socket the exchange under way can cut."""

    response_class = _StrictResponse
    last_used = 0.0

    def _new_conn(self) -> socket.socket:
        return _connect(self)

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        # A kept connection has its socket already; a new one gets it here, behind a handshake if there is one.
        _watch(self.sock)
        super().putrequest(*args, **kwargs)

    def getresponse(self) -> Any:
        self.last_used = time.time()
        response = super().getresponse()
        if response.status < 200 or response.status in _BODILESS:
            # Should a body follow all the same, it would be read as the answer to the next question.
            self.close()
        return response


class _WatchedTLS(_Watched, HTTPSConnection):
    """The same over TLS."""


def _checked_out(connection: Any) -> Any:
    exchange: Exchange = _here.exchange
    kept = connection.sock is not None
    # The wall clock goes on while a platform freezes the process.
    if kept and (exchange.fresh or not 0 <= time.time() - connection.last_used < IDLE_SECONDS):
        connection.close()
        kept = False
    exchange.reused = kept
    return connection


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched

    def _get_conn(self, timeout: float | None = None) -> Any:
        return _checked_out(super()._get_conn(timeout))


class _PoolTLS(HTTPSConnectionPool):
    ConnectionCls = _WatchedTLS

    def _get_conn(self, timeout: float | None = None) -> Any:
        return _checked_out(super()._get_conn(timeout))


class Adapter(HTTPAdapter):
    """The adapter of requests over such connections.

    Args:
        context: the one TLS context of all connections, or None where there is only plain HTTP. requests itself loads
            the CA bundle anew for each connection, which costs 30 ms of CPU every time.
        connections: how many connections are kept.

    """

    _classes: ClassVar[dict[str, Any]] = {"http": _Pool, "https": _PoolTLS}

    def __init__(self, context: ssl.SSLContext | None, connections: int) -> None:
        self._context = context
        super().__init__(pool_connections=4, pool_maxsize=connections)
        self.poolmanager.pool_classes_by_scheme = self._classes

    def build_connection_pool_key_attributes(self, request: PreparedRequest, verify: Any, cert: Any = None) -> Any:
        """Put the shared context into the pool's key, in place of a CA bundle to load."""
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {"ssl_context": self._context}

    def pool_for(self, request: PreparedRequest, proxies: dict[str, str]) -> HTTPConnectionPool:
        """Return the pool that leads where the request goes, through a proxy perhaps."""
        pool: Any = self.get_connection_with_tls_context(request, verify=True, proxies=proxies)
        found: HTTPConnectionPool = pool
        return found

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> PoolManager:
        """Use the same connections through a proxy."""
        manager: PoolManager = super().proxy_manager_for(proxy, proxy_ssl_context=self._context, **proxy_kwargs)
        manager.pool_classes_by_scheme = self._classes
        return manager
