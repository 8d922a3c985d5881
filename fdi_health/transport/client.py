"""HTTP with a deadline, size limits, and an error code for every failure.

Past the deadline the result is a timeout, even if the response looks complete.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import urlsplit

import urllib3

from fdi_health.errors import CheckError
from fdi_health.transport.connections import Connections, is_reusable
from fdi_health.transport.deadline_socket import Exchange, bound_to
from fdi_health.transport.exception_mapping import LIBRARY_EXCEPTIONS, map_exception
from fdi_health.transport.proxies import environment_proxies, proxy_fault, proxy_for, proxy_url
from fdi_health.transport.strict_response import read_response_body
from fdi_health.transport.tls import ca_folder_variable, tls_context

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fdi_health.clock import Deadline

MAX_STATISTICS_BYTES = 16 * 1024
"""The largest body of a statistics response; a usual one has some 400 bytes."""

MAX_IAM_BYTES = 256 * 1024
"""The largest body of an IAM response."""

_NO_RETRIES = urllib3.Retry(0, read=False)


class Response(NamedTuple):
    """An HTTP response.

    Attributes:
        status: the status code, of any class; redirects are not followed.
        headers: case-insensitive.
        body: the bytes; only the first ones if `complete` is false.
        complete: whether the whole body was read. For 200 and 201 it is false only if the body is too large.

    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    complete: bool = True

    def __repr__(self) -> str:
        return f"Response({self.status})"


class _Request(NamedTuple):
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None = None
    instance_id: str | None = None
    new_connection: bool = False
    compare: bool = True

    def __repr__(self) -> str:
        return f"_Request({self.method} {self.path})"


class Transport:
    """Kept connections to one endpoint.

    Args:
        endpoint: the base URL, without a slash at its end.
        context: the TLS context, or the error that kept us from making one; None for plain HTTP.
        proxies: scheme → proxy URL; may hold passwords.
        connections: how many connections are kept.

    Attributes:
        endpoint, context: as given.
        host: the value of the header `Host`: the name, and the port if the URL has one.
        path_prefix: the path of the endpoint, without a slash at its end; may be empty.
        ca_folder_variable: the variable that names a folder of trusted CA certificates, or None.

    """

    def __init__(
        self,
        endpoint: str,
        context: ssl.SSLContext | CheckError | None = None,
        proxies: Mapping[str, str] | None = None,
        connections: int = 64,
    ) -> None:
        self.endpoint = endpoint
        self.context = context
        self._no_context = context if isinstance(context, CheckError) else None
        self.ca_folder_variable: str | None = None
        self._proxies = dict(proxies or {})
        self._connections = Connections(
            endpoint,
            context if isinstance(context, ssl.SSLContext) else None,
            self._proxies,
            connections,
        )
        self.host, self.path_prefix = urlsplit(endpoint)[1:3]

    @classmethod
    def open(
        cls,
        endpoint: str,
        environ: Mapping[str, str],
        connections: int,
        context: ssl.SSLContext | CheckError | None = None,
    ) -> Self:
        """Return a transport with a CA bundle and proxies, both read now; connects to nothing.

        The CA bundle's variables are looked up in `environ`, the proxies' in the process's environment (`proxies`).
        No netrc file is read: it could replace credentials. Plain HTTP is for loopback only and never uses a proxy,
        which would see the token.

        Args:
            endpoint: the base URL, without a slash at its end.
            environ: the process's environment.
            connections: how many connections are kept.
            context: another transport's, so that the CA bundle is not read twice.

        """
        if not endpoint.startswith("https:"):
            return cls(endpoint, connections=connections)
        transport = cls(endpoint, context or tls_context(environ), environment_proxies(endpoint), connections)
        transport._no_context = transport._no_context or proxy_fault(transport.proxy)
        transport.ca_folder_variable = ca_folder_variable(environ)
        return transport

    def get(
        self,
        path: str,
        headers: Mapping[str, str],
        deadline: Deadline,
        *,
        instance_id: str | None = None,
        new_connection: bool = False,
        compare: bool = True,
        max_body_bytes: int = MAX_STATISTICS_BYTES,
    ) -> Response:
        """Return the response to a GET.

        A request over a kept connection is sent once more, at once, over a new one if the kept one turns out to be dead
        or if its response may belong to the request before.

        Args:
            path: the path below the endpoint, beginning with a slash.
            headers: sent as they are.
            deadline: when the whole response must be here.
            instance_id: which instance the request is about; the connection is kept for that one. None: for nobody.
            new_connection: whether to use a new connection instead of a kept one, so that the request is sent once.
            compare: whether a 200 that differs from the last one is asked for again. Without it, the caller must tell.
            max_body_bytes: the largest body.

        Raises:
            CheckError: `timeout`, `unreachable`, `blocked` (by a proxy), `tls_error` or `invalid_response`.

        """
        request = _Request("GET", path, headers, None, instance_id, new_connection, compare)
        exchange = Exchange(deadline, max_body_bytes, self._connections.addresses)
        try:
            response = self._send(request, exchange)
        except CheckError as error:
            if error.code != "unreachable" or exchange.needed_connection:
                raise
        else:
            # A rate limit is believed at once: one more request would only make it worse.
            if not exchange.may_be_stray or response.status == 429:
                return response
        # The kept connection is closed now, so this one is new.
        return self._send(request, Exchange(deadline, max_body_bytes, self._connections.addresses))

    def post(
        self,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        deadline: Deadline,
        *,
        max_body_bytes: int = MAX_IAM_BYTES,
    ) -> Response:
        """Return the response to a POST over a new connection; see `get`."""
        request = _Request("POST", path, headers, body)
        return self._send(request, Exchange(deadline, max_body_bytes, self._connections.addresses))

    @property
    def proxy(self) -> str | None:
        """The URL of the proxy that leads to the endpoint, or None; may hold a password, and may be malformed."""
        return proxy_url(proxy_for(self.endpoint, self._proxies))

    def close(self) -> None:
        """Close the kept connections."""
        self._connections.close()

    def _send(self, request: _Request, exchange: Exchange) -> Response:
        if self._no_context is not None:
            raise self._no_context
        try:
            response = self._exchange(request, exchange)
        except LIBRARY_EXCEPTIONS as error:
            if exchange.needed_connection:
                exchange.addresses.forget()
            mapped = map_exception(error, self.ca_folder_variable)
            raise (_timeout() if exchange.deadline.expired else mapped) from error
        if exchange.deadline.expired:
            raise _timeout()
        return response

    def _exchange(self, request: _Request, exchange: Exchange) -> Response:
        connection = self._connections.take(None if request.new_connection else request.instance_id)
        keep_for = None
        try:
            # The adapter's `send` would cost a third of the CPU of a probe, for cookies and copies of headers.
            with bound_to(exchange):
                response = connection.pool.urlopen(
                    request.method,
                    f"{self.path_prefix}{request.path}",
                    body=request.body,
                    headers={"Accept-Encoding": "identity", **request.headers},
                    retries=_NO_RETRIES,
                    redirect=False,
                    preload_content=False,
                    decode_content=False,
                    timeout=exchange.seconds_left(),
                )
                with contextlib.closing(response):
                    content, complete = read_response_body(response, exchange)
            reusable = is_reusable(exchange)
            differs_from_last = request.compare and response.status == 200 and content != connection.last_body
            exchange.may_be_stray = not exchange.needed_connection and (differs_from_last or not reusable)
            # A connection without a last body would cost the next request one more.
            comparable = request.compare or bool(connection.last_body)
            if response.status == 200 and complete and reusable and comparable and not exchange.may_be_stray:
                keep_for = request.instance_id
        finally:
            if keep_for is None:
                connection.close()
            else:
                self._connections.keep(keep_for, connection, content if request.compare else connection.last_body)
        return Response(response.status, response.headers, content, complete)


def _timeout() -> CheckError:
    return CheckError("timeout", "no response before the deadline")
