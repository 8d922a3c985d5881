"""HTTP with a deadline, a size limit and one meaning for every way it can fail; the only user of requests.

Foreign exception → our code, first match wins over the exception and all its causes:

 a proxy's                                   → unreachable
 a certificate refused                       → tls_error
 a connection closed during TLS              → unreachable
 other TLS failures                          → tls_error
 a name that can't be resolved               → unreachable
 refused, reset, closed                      → unreachable
 a timeout                                   → timeout
 a broken status line, header, chunk, length → invalid_response
 anything else of requests, urllib3, the OS  → unreachable

Whatever it looks like, past the deadline it is a timeout: a socket that we shut down ourselves reads as a short body
or even as an empty header block, without an error.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import certifi
import requests
import urllib3
import urllib3.exceptions
from requests.utils import get_environ_proxies

from fdi_health.connections import Adapter, Exchange, carrying
from fdi_health.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fdi_health.deadline import Abort, Deadline

BODY_LIMIT = 256 * 1024
"""The largest answer that is read, in bytes; a statistics document has some 400."""

CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")

_NO_RETRIES = urllib3.Retry(0, read=False)

_FOREIGN = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError)

_MEANINGS: tuple[tuple[tuple[type[BaseException], ...], str, str], ...] = (
    (
        (requests.exceptions.ProxyError, urllib3.exceptions.ProxyError, requests.exceptions.InvalidProxyURL),
        "unreachable",
        "the proxy did not let the request through",
    ),
    ((ssl.SSLCertVerificationError,), "tls_error", "the server's certificate was refused"),
    ((ssl.SSLEOFError, ssl.SSLZeroReturnError), "unreachable", "the connection was closed during TLS"),
    ((ssl.SSLError, urllib3.exceptions.SSLError, requests.exceptions.SSLError), "tls_error", "TLS failed"),
    ((socket.gaierror, urllib3.exceptions.NameResolutionError), "unreachable", "the host name could not be resolved"),
    ((ConnectionRefusedError,), "unreachable", "the connection was refused"),
    ((ConnectionError,), "unreachable", "the connection was closed before the answer was complete"),
    # Not urllib3's own class for timeouts: a connection that is refused is one too.
    (
        (requests.Timeout, urllib3.exceptions.ReadTimeoutError, TimeoutError),
        "timeout",
        "no answer before the deadline",
    ),
    (
        (
            urllib3.exceptions.IncompleteRead,
            urllib3.exceptions.InvalidChunkLength,
            urllib3.exceptions.InvalidHeader,
            urllib3.exceptions.ResponseNotChunked,
            urllib3.exceptions.BodyNotHttplibCompatible,
            requests.exceptions.ChunkedEncodingError,
            requests.exceptions.ContentDecodingError,
            urllib3.exceptions.DecodeError,
            http.client.HTTPException,
        ),
        "invalid_response",
        "the answer was broken or cut off",
    ),
    (_FOREIGN, "unreachable", "no connection could be made"),
)

_CERTIFICATE_FAULTS = {
    10: "the server's certificate has expired",
    9: "the server's certificate is not valid yet",
    18: "the server's certificate is signed by itself",
    19: "the server's certificate comes from an unknown CA",
    20: "the server's certificate comes from an unknown CA",
    21: "the server's certificate comes from an unknown CA",
    62: "the server's certificate is for another host name",
    64: "the server's certificate is for another IP address",
}
"""OpenSSL's X509_V_ERR_… → our words (x509_vfy.h)."""


class Reply(NamedTuple):
    """A whole HTTP answer.

    Attributes:
        status: the status code, whatever it is; redirects are not followed.
        headers: case-insensitive.
        body: the bytes; empty where the status is not 200 and the body was encoded, too large or broken.

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

    """

    def __init__(
        self,
        endpoint: str,
        context: ssl.SSLContext | CheckError | None = None,
        proxies: Mapping[str, str] | None = None,
        connections: int = 64,
    ) -> None:
        self.endpoint = endpoint
        self._no_context = context if isinstance(context, CheckError) else None
        self._adapter = Adapter(context if isinstance(context, ssl.SSLContext) else None, connections)
        self._proxies = dict(proxies or {})
        self._way: tuple[urllib3.HTTPConnectionPool, str] | None = None

    @classmethod
    def open(cls, endpoint: str, environ: Mapping[str, str], connections: int) -> Self:
        """Return a transport with a CA bundle and proxies, both read now; connects to nothing.

        The CA bundle's variables are looked up in `environ`, the proxies' by requests, in the process's environment.
        requests reads a netrc file, which would add or replace credentials: nothing here does.
        """
        context = _tls_context(environ) if endpoint.startswith("https:") else None
        return cls(endpoint, context, get_environ_proxies(endpoint), connections)

    def get(self, path: str, headers: Mapping[str, str], deadline: Deadline, abort: Abort) -> Reply:
        """Return the answer to a GET.

        A kept connection that died meanwhile is tried again once, at once, over a new one.

        Args:
            path: the path below the endpoint, beginning with a slash.
            headers: sent as they are.
            deadline: when the whole answer must be here.
            abort: ends the exchange from another thread, as the deadline would.

        Raises:
            CheckError: `timeout`, `unreachable`, `tls_error` or `invalid_response`.

        """
        if self._no_context is not None:
            raise self._no_context
        headers = {"Accept-Encoding": "identity", **headers}
        exchange = Exchange(deadline, abort)
        try:
            return self._exchange(path, headers, exchange)
        except CheckError as error:
            if error.code != "unreachable" or not exchange.reused:
                raise
        return self._exchange(path, headers, Exchange(deadline, abort, fresh=True))

    def close(self) -> None:
        """Close the kept connections."""
        if self._way is not None:
            self._way[0].close()
            self._way = None
        self._adapter.close()

    def _exchange(self, path: str, headers: Mapping[str, str], exchange: Exchange) -> Reply:
        seconds = max(0.001, exchange.deadline.remaining())
        try:
            pool, prefix = self._way or self._find_way()
            # The adapter's own pool, asked as the adapter's `send` would: what that adds, cookies and a copy of every
            # header among it, costs a third of the CPU of a whole probe.
            with carrying(exchange):
                response = pool.urlopen(
                    "GET",
                    f"{prefix}{path}",
                    headers=headers,
                    retries=_NO_RETRIES,
                    redirect=False,
                    assert_same_host=False,
                    preload_content=False,
                    decode_content=False,
                    timeout=urllib3.Timeout(connect=seconds, read=seconds),
                )
                with contextlib.closing(response):
                    body = _read(response)
        except _FOREIGN as error:
            raise _meaning(error, exchange) from error
        if exchange.abort.fired or exchange.deadline.expired:
            raise _timeout()
        return Reply(response.status, response.headers, body)

    def _find_way(self) -> tuple[urllib3.HTTPConnectionPool, str]:
        """Return the pool that leads to the endpoint, through a proxy perhaps, and what goes before every path."""
        request = requests.Request("GET", self.endpoint).prepare()
        pool = self._adapter.pool_for(request, self._proxies)
        way = pool, self._adapter.request_url(request, self._proxies).rstrip("/")
        self._way = way
        return way


def _read(response: urllib3.BaseHTTPResponse) -> bytes:
    """Read the whole body; for any status but 200 an unreadable one is as good as none."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    try:
        if encoding not in ("identity", ""):
            raise _invalid("the answer is encoded although we asked for none")
        body = b""
        while chunk := response.read(BODY_LIMIT + 1 - len(body), decode_content=False):
            body += chunk
            if len(body) > BODY_LIMIT:
                raise _invalid("the answer is far too large")
    except (CheckError, urllib3.exceptions.ProtocolError):
        if response.status == 200:
            raise
        return b""
    return body


def _invalid(message: str) -> CheckError:
    # With the status: the connection was sound, and another try would bring the same.
    return CheckError("invalid_response", message, upstream_status=200)


def _timeout() -> CheckError:
    return CheckError("timeout", "no answer before the deadline")


def _meaning(error: BaseException, exchange: Exchange) -> CheckError:
    if exchange.abort.fired or exchange.deadline.expired:
        return _timeout()
    return meaning(error)


def meaning(error: BaseException) -> CheckError:
    """Return what a foreign exception means, by the table in the module docstring; none of its text is kept."""
    causes = tuple(_causes(error))
    for types, code, message in _MEANINGS:
        for cause in causes:
            if isinstance(cause, types):
                if isinstance(cause, ssl.SSLCertVerificationError):
                    message = _CERTIFICATE_FAULTS.get(cause.verify_code, message)  # noqa: PLW2901 -- said more precisely
                return CheckError(code, message)
    return CheckError("unreachable", "no connection could be made")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the exception and everything that requests, urllib3 and Python wrapped into it, the outermost first."""
    seen: set[int] = set()
    found: list[BaseException] = [error]
    while found:
        cause = found.pop(0)
        if id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            wrapped = (*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__)
            found += [inner for inner in wrapped if isinstance(inner, BaseException)]


def _tls_context(environ: Mapping[str, str]) -> ssl.SSLContext | CheckError:
    variable = next((name for name in CA_VARIABLES if environ.get(name)), None)
    place = Path(environ[variable] if variable else certifi.where())
    try:
        if place.is_dir():
            return ssl.create_default_context(capath=str(place))
        return ssl.create_default_context(cafile=str(place))
    except (OSError, ValueError):
        source = f"the CA bundle that {variable} names" if variable else "the built-in CA bundle"
        return CheckError(
            "tls_error",
            f"{source} could not be read",
            next_step=f"Let {variable} name a PEM file or a folder of certificates, or unset it." if variable else None,
        )
