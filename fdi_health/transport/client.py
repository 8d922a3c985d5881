"""HTTP with a deadline, a size limit and one meaning for every way it can fail; the only user of requests.

Whatever it looks like, past the deadline it is a timeout: a socket that we shut down ourselves reads as a short body or
even as an empty header block, without an error.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import urlsplit

import requests
import urllib3
import urllib3.exceptions
from requests.utils import get_environ_proxies, select_proxy

from fdi_health.errors import CheckError
from fdi_health.transport.connections import Adapter, Exchange, carrying
from fdi_health.transport.exception_mapping import FOREIGN, map_exception
from fdi_health.transport.proxies import proxy_fault, proxy_url
from fdi_health.transport.tls import ca_folder_variable, tls_context

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fdi_health.deadline import Abort, Deadline

BODY_LIMIT = 256 * 1024
"""The largest answer that is read, in bytes; a statistics document has some 400."""

_NO_RETRIES = urllib3.Retry(0, read=False)


class Reply(NamedTuple):
    """A whole HTTP answer.

    Attributes:
        status: the status code, whatever it is; redirects are not followed.
        headers: case-insensitive.
        body: the bytes; empty where the status is neither 200 nor 201 and the body was encoded, too large or broken.

    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Kept connections to one endpoint.

    Args:
        endpoint: the base URL, without a slash at its end.
        context: the TLS context, or the error that kept us from making one; None for plain HTTP.
        proxies: scheme → proxy URL; may hold passwords.
        connections: how many connections are kept.

    Attributes:
        endpoint, context: as given.

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
        self._ca_folder_variable: str | None = None
        self._adapter = Adapter(context if isinstance(context, ssl.SSLContext) else None, connections)
        self._proxies = dict(proxies or {})
        self._way: tuple[urllib3.HTTPConnectionPool, str] | None = None

    @classmethod
    def open(
        cls,
        endpoint: str,
        environ: Mapping[str, str],
        connections: int,
        context: ssl.SSLContext | CheckError | None = None,
    ) -> Self:
        """Return a transport with a CA bundle and proxies, both read now; connects to nothing.

        The CA bundle's variables are looked up in `environ`, the proxies' by requests, in the process's environment.
        requests reads a netrc file, which would add or replace credentials: nothing here does. Plain HTTP, which only
        this machine is asked over, never goes through a proxy: it would carry the token elsewhere in the clear.

        Args:
            endpoint: the base URL, without a slash at its end.
            environ: the process's environment.
            connections: how many connections are kept.
            context: another transport's, so that the CA bundle is not read twice.

        """
        if not endpoint.startswith("https:"):
            return cls(endpoint, connections=connections)
        transport = cls(endpoint, context or tls_context(environ), get_environ_proxies(endpoint), connections)
        transport._no_context = transport._no_context or proxy_fault(transport.proxy)
        transport._ca_folder_variable = ca_folder_variable(environ)
        return transport

    def get(self, path: str, headers: Mapping[str, str], deadline: Deadline, abort: Abort) -> Reply:
        """Return the answer to a GET; see `post`."""
        return self._send("GET", path, headers, None, deadline, abort)

    def post(self, path: str, headers: Mapping[str, str], body: bytes, deadline: Deadline, abort: Abort) -> Reply:
        """Return the answer to a POST.

        A kept connection that died meanwhile is tried again once, at once, over a new one.

        Args:
            path: the path below the endpoint, beginning with a slash.
            headers: sent as they are.
            body: sent as it is; safe to be sent twice.
            deadline: when the whole answer must be here.
            abort: ends the exchange from another thread, as the deadline would.

        Raises:
            CheckError: `timeout`, `unreachable`, `blocked` (by a proxy), `tls_error` or `invalid_response`.

        """
        return self._send("POST", path, headers, body, deadline, abort)

    def _send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, deadline: Deadline, abort: Abort
    ) -> Reply:
        if self._no_context is not None:
            raise self._no_context
        headers = {"Accept-Encoding": "identity", **headers}
        exchange = Exchange(deadline, abort)
        try:
            return self._exchange(method, path, headers, body, exchange)
        except CheckError as error:
            if error.code != "unreachable" or not exchange.reused:
                raise
        return self._exchange(method, path, headers, body, Exchange(deadline, abort, fresh=True))

    @property
    def proxy(self) -> str | None:
        """The URL of the proxy that leads to the endpoint, or None; may hold a password, and may be malformed."""
        return proxy_url(select_proxy(self.endpoint, self._proxies))

    def close(self) -> None:
        """Close the kept connections."""
        if self._way is not None:
            self._way[0].close()
            self._way = None
        self._adapter.close()

    def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, exchange: Exchange
    ) -> Reply:
        seconds = max(0.001, exchange.deadline.remaining())
        try:
            pool, prefix = self._way or self._find_way()
            # The adapter's own pool, asked as the adapter's `send` would: what that adds, cookies and a copy of every
            # header among it, costs a third of the CPU of a whole probe.
            with carrying(exchange):
                response = pool.urlopen(
                    method,
                    f"{prefix}{path}",
                    body=body,
                    headers=headers,
                    retries=_NO_RETRIES,
                    redirect=False,
                    preload_content=False,
                    decode_content=False,
                    timeout=seconds,
                )
                with contextlib.closing(response):
                    content = _read(response)
        except FOREIGN as error:
            raise _meaning(error, exchange, self._ca_folder_variable) from error
        if exchange.abort.fired or exchange.deadline.expired:
            raise _timeout()
        return Reply(response.status, response.headers, content)

    def _find_way(self) -> tuple[urllib3.HTTPConnectionPool, str]:
        """Return the pool that leads to the endpoint, through a proxy perhaps, and what goes before every path."""
        request = requests.Request("GET", self.endpoint).prepare()
        pool = self._adapter.pool_for(request, self._proxies)
        way = pool, urlsplit(self.endpoint).path
        self._way = way
        return way


def _read(response: urllib3.BaseHTTPResponse) -> bytes:
    """Read the whole body; for any status that is no success an unreadable one is as good as none."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    try:
        if encoding not in ("identity", ""):
            raise _invalid("the answer is encoded although we asked for none")
        body = b""
        while chunk := response.read(BODY_LIMIT + 1 - len(body)):
            body += chunk
            if len(body) > BODY_LIMIT:
                raise _invalid("the answer is far too large")
    except (CheckError, urllib3.exceptions.ProtocolError):
        if response.status in (200, 201):
            raise
        return b""
    return body


def _invalid(message: str) -> CheckError:
    # With the status: the connection was sound, and another try would bring the same.
    return CheckError("invalid_response", message, upstream_status=200)


def _timeout() -> CheckError:
    return CheckError("timeout", "no answer before the deadline")


def _meaning(error: BaseException, exchange: Exchange, ca_folder_variable: str | None) -> CheckError:
    if exchange.abort.fired or exchange.deadline.expired:
        return _timeout()
    return map_exception(error, ca_folder_variable)
