"""What every exception of requests, urllib3, http.client and the operating system means here.

First match wins, over the exception and all its causes:

 a proxy's                                   → unreachable
 a certificate refused                       → tls_error
 a connection closed during TLS              → unreachable
 other TLS failures                          → tls_error
 a name that can't be resolved               → unreachable
 refused, reset, closed                      → unreachable
 a timeout                                   → timeout
 a broken status line, header, chunk, length → invalid_response
 anything else of theirs                     → unreachable
"""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import TYPE_CHECKING

import requests
import urllib3.exceptions

from fdi_health.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Iterator

FOREIGN = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError)
"""What a call may raise that is not ours."""

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
    (FOREIGN, "unreachable", "no connection could be made"),
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


_TLS_FAULTS = {
    "TLSV1_ALERT_PROTOCOL_VERSION": "the server speaks only a TLS version that is no longer safe",
    "UNSUPPORTED_PROTOCOL": "the server speaks only a TLS version that is no longer safe",
    "WRONG_VERSION_NUMBER": "the server does not speak TLS there",
}
"""OpenSSL's reason → our words; TLS below 1.2 is refused (RFC 8996)."""


def map_exception(error: BaseException) -> CheckError:
    """Return what a foreign exception means, by the table in the module docstring; none of its text is kept."""
    causes = tuple(_causes(error))
    for types, code, message in _MEANINGS:
        if any(isinstance(cause, types) for cause in causes):
            return CheckError(code, _what_tls_says(causes) or message)
    return CheckError("unreachable", "no connection could be made")


_BEFORE_SENDING = (
    socket.gaierror,
    ssl.SSLError,
    urllib3.exceptions.NameResolutionError,
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.SSLError,
    urllib3.exceptions.ProxyError,
    requests.exceptions.ProxyError,
    requests.exceptions.InvalidProxyURL,
)
"""DNS, connect, TLS and proxy. TLS nearly always fails in the handshake; later only if something breaks a response."""


def may_have_been_sent(error: CheckError) -> bool:
    """Return False if the request certainly did not reach the server's application.

    Limits: a TLS handshake that times out can't be told from a response that does.

    Args:
        error: as a Transport raised it, with its cause.

    """
    return error.code != "tls_error" and not any(isinstance(cause, _BEFORE_SENDING) for cause in _causes(error))


def _what_tls_says(causes: tuple[BaseException, ...]) -> str | None:
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _CERTIFICATE_FAULTS.get(cause.verify_code)
        if isinstance(cause, ssl.SSLError):
            return _TLS_FAULTS.get(str(getattr(cause, "reason", None)))
    return None


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
