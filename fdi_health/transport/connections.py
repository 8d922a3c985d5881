"""Connections of urllib3 on sockets with a deadline. Each pool has one connection, which is kept for one instance.

`_new_conn` is a hook of urllib3 (2.8) without public documentation. `strict_response` uses three of http.client.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from fdi_health.transport.connect import Addresses, connect_first
from fdi_health.transport.deadline_socket import DeadlineSocket, DeadlineSSLSocket, current_exchange
from fdi_health.transport.proxies import proxy_for
from fdi_health.transport.strict_response import StrictResponse

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from fdi_health.transport.deadline_socket import Exchange

MAX_IDLE_SECONDS = 30.0
"""How long a kept connection may be idle; what is between us and the server may forget an idle one silently."""


class _Connection(HTTPConnection):
    """A connection over a DeadlineSocket."""

    response_class = StrictResponse

    def _new_conn(self) -> socket.socket:
        exchange = current_exchange()
        exchange.needed_connection = True
        try:
            addresses = exchange.addresses.resolve(self.host, self.port or 0)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        options: Any = self.socket_options or ()
        try:
            sock = connect_first(addresses, exchange.deadline, DeadlineSocket, options)
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "no address accepted in time") from error
        except OSError as error:
            raise NewConnectionError(self, "no address accepted the connection") from error
        return sock

    def getresponse(self) -> Any:
        """Return the response; the exchange learns which connection it came over."""
        current_exchange().connection = self
        return super().getresponse()


class _TLSConnection(_Connection, HTTPSConnection):
    """The same over TLS."""


class Pool(HTTPConnectionPool):
    """A pool of such connections."""

    ConnectionCls = _Connection


class TLSPool(HTTPSConnectionPool):
    """The same over TLS."""

    ConnectionCls = _TLSConnection


class PooledConnection(NamedTuple):
    """A connection that was made or kept for one request.

    Attributes:
        pool: a pool of urllib3, which holds this one connection.
        last_body: the body of the last response that came over it, b"" for a new one.
        last_used: when that was, in seconds since the epoch.

    """

    pool: HTTPConnectionPool
    last_body: bytes = b""
    last_used: float = 0.0

    def __repr__(self) -> str:
        return f"PooledConnection(last_used={self.last_used})"

    def close(self) -> None:
        """Close it."""
        self.pool.close()


class Connections:
    """Connections to one endpoint. A kept one serves only the instance that it last served.

    An HTTP response does not say what it answers: a server that sends one response too many makes the next request on
    that connection read it. It can then at worst be a response about the same instance, and one that differs from the
    last is asked for again over a new connection.

    Args:
        endpoint: the base URL.
        context: the TLS context, or None for plain HTTP.
        proxies: scheme → proxy URL.
        max_kept: the most idle connections; the one idle for longest is closed first.
        wall: returns seconds since the epoch. Unlike the monotonic clock, it goes on while a platform freezes us.

    Attributes:
        addresses: looks up the host of the endpoint or of its proxy.

    """

    def __init__(
        self,
        endpoint: str,
        context: ssl.SSLContext | None,
        proxies: dict[str, str],
        max_kept: int,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._endpoint, self._context, self._proxies = endpoint, context, proxies
        if context is not None:
            context.sslsocket_class = DeadlineSSLSocket
        self._uses_proxy = proxy_for(endpoint, proxies) is not None
        self._max_kept = max_kept
        self._wall = wall
        self.addresses = Addresses()
        self._lock = threading.Lock()
        self._idle: OrderedDict[str, PooledConnection] = OrderedDict()
        self._is_closed = False

    def take(self, instance_id: str | None) -> PooledConnection:
        """Return the connection that is kept for an instance, or a new one."""
        with self._lock:
            kept = self._idle.pop(instance_id, None) if instance_id is not None else None
        if kept is not None:
            if 0.0 <= self._wall() - kept.last_used < MAX_IDLE_SECONDS:
                return kept
            kept.close()
        return PooledConnection(self._new_pool())

    def _new_pool(self) -> HTTPConnectionPool:
        if self._uses_proxy:
            # Only here: without a proxy, a cold start need not load requests.
            from fdi_health.transport.proxy_adapter import pool_through_proxy

            return pool_through_proxy(self._endpoint, self._context, self._proxies, {"http": Pool, "https": TLSPool})
        # The adapter would make the same pool; it costs a tenth of the CPU of a probe.
        parts = urlsplit(self._endpoint)
        host = str(parts.hostname)
        if self._context is not None:
            return TLSPool(host, parts.port or 443, maxsize=1, ssl_context=self._context)
        return Pool(host, parts.port or 80, maxsize=1)

    def keep(self, instance_id: str, used: PooledConnection, body: bytes) -> None:
        """Keep a connection for the next request about an instance; `body` is that of the last response."""
        with self._lock:
            closed = [self._idle.pop(instance_id)] if instance_id in self._idle else []
            self._idle[instance_id] = used._replace(last_body=body, last_used=self._wall())
            # A request may still be in progress when the process stops.
            if self._is_closed or len(self._idle) > self._max_kept:
                closed.append(self._idle.popitem(last=False)[1])
        for connection in closed:
            connection.close()

    def close(self) -> None:
        """Close the kept connections, and keep none from now on."""
        with self._lock:
            self._is_closed = True
            closed, self._idle = list(self._idle.values()), OrderedDict()
        for connection in closed:
            connection.close()


def is_reusable(exchange: Exchange) -> bool:
    """Whether exactly the bytes of the response arrived on a connection that can carry another request.

    The TLS layer and the socket may hold bytes that nobody has read yet. urllib3's TLS inside TLS, which an https proxy
    needs, does not say what it holds: such a connection is not reused.
    """
    sock = exchange.connection.sock
    if exchange.surplus or not isinstance(sock, DeadlineSocket | DeadlineSSLSocket):
        return False
    if isinstance(sock, DeadlineSSLSocket) and sock.pending():
        return False
    readable = select.poll()
    readable.register(sock, select.POLLIN)
    return not readable.poll(0)
