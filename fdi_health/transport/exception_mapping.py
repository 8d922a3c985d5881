"""Maps the exceptions of urllib3, http.client and the operating system to error codes.

First match wins, over the exception and all its causes:

 a tunnel refused by a proxy, 4xx or 511     → blocked
 a tunnel refused by a proxy, any other 5xx   → unreachable
 a certificate refused                       → tls_error
 a connection closed during TLS              → unreachable
 other TLS failures                          → tls_error
 a name that can't be resolved               → unreachable
 refused, reset, closed                      → unreachable
 a timeout                                   → timeout
 a broken status line, header, chunk, length → invalid_response
 any other exception of these libraries      → unreachable

If the connection to a proxy failed, the message says so. Apart from a refused tunnel and TLS failures, that is
`unreachable`.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from typing import TYPE_CHECKING

import urllib3.exceptions

from fdi_health.errors import CheckError
from fdi_health.transport.tls import map_certificate_error

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBRARY_EXCEPTIONS = (
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
)
"""What a call may raise that is not ours."""

_PROXY_CHECK_STEP = (
    "Check the host and port in HTTPS_PROXY, and that the proxy runs, or exempt the endpoint's host with NO_PROXY."
)
_TUNNEL_STEP = "Have the proxy allow connections to the endpoint, or exempt the endpoint's host with NO_PROXY."
_LOGIN_STEP = "Put the proxy's user name and password into HTTPS_PROXY, before an @ that precedes its host name."

_ERRORS: tuple[tuple[tuple[type[BaseException], ...], str, str], ...] = (
    ((ssl.SSLEOFError, ssl.SSLZeroReturnError), "unreachable", "the connection was closed during TLS"),
    ((ssl.SSLError, urllib3.exceptions.SSLError), "tls_error", "TLS failed"),
    ((socket.gaierror, urllib3.exceptions.NameResolutionError), "unreachable", "the host name could not be resolved"),
    ((ConnectionRefusedError,), "unreachable", "the connection was refused"),
    ((ConnectionError,), "unreachable", "the connection was closed before the response was complete"),
    # Not urllib3's own class for timeouts: a connection that is refused is one too.
    ((urllib3.exceptions.ReadTimeoutError, TimeoutError), "timeout", "no response before the deadline"),
    (
        (
            urllib3.exceptions.IncompleteRead,
            urllib3.exceptions.InvalidChunkLength,
            urllib3.exceptions.InvalidHeader,
            urllib3.exceptions.ResponseNotChunked,
            urllib3.exceptions.BodyNotHttplibCompatible,
            urllib3.exceptions.DecodeError,
            http.client.HTTPException,
        ),
        "invalid_response",
        "the response is broken or cut off",
    ),
)
_NO_CONNECTION = ("unreachable", "no connection could be made")

_OLD_TLS = (
    "{party} speaks only a TLS version that is no longer safe",
    "Have TLS 1.2 or later enabled on the server or on the proxy that intercepts TLS.",
)
_CLIENT_CERTIFICATE = (
    "{party} asks for a client certificate, which is not supported",
    "Check FDI_ENDPOINT, and exempt this function from client certificates on the proxy or gateway on the way.",
)
_TLS_FAULTS: dict[str, tuple[str, str]] = {
    "TLSV1_ALERT_PROTOCOL_VERSION": _OLD_TLS,
    "UNSUPPORTED_PROTOCOL": _OLD_TLS,
    "WRONG_VERSION_NUMBER": (
        "{party} does not speak TLS there",
        "Check the port in FDI_ENDPOINT, and write http:// in HTTPS_PROXY where the proxy itself speaks no TLS.",
    ),
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": _CLIENT_CERTIFICATE,
    "TLSV1_UNRECOGNIZED_NAME": (
        "{party} does not serve the host name over TLS",
        "Check FDI_ENDPOINT, and what intercepts TLS on the way.",
    ),
    "UNSAFE_LEGACY_RENEGOTIATION_DISABLED": (
        "{party} does not support secure renegotiation",
        "Have the proxy that intercepts TLS updated, or exempt the endpoint's host with NO_PROXY.",
    ),
}
"""OpenSSL's reason → message and next step; TLS below 1.2 is refused (RFC 8996)."""

_TUNNEL_REFUSED = re.compile(r"Tunnel connection failed: ([1-5][0-9]{2})\b")
"""The beginning of the only message that http.client and urllib3 have for a refused CONNECT."""


def map_exception(error: BaseException, ca_folder_variable: str | None = None) -> CheckError:
    """Map an exception by the table in the module docstring; none of its text is kept.

    Args:
        error: the exception.
        ca_folder_variable: the variable that names the folder of trusted CA certificates, or None.

    """
    causes = tuple(_causes(error))
    by_proxy = any(isinstance(cause, urllib3.exceptions.ProxyError) for cause in causes)
    party = "the proxy" if by_proxy else "the server"
    for cause in causes:
        if type(cause) is OSError and (tunnel := _TUNNEL_REFUSED.match(str(cause))):
            return _refused_tunnel(int(tunnel[1]))
        if isinstance(cause, ssl.SSLCertVerificationError):
            message, next_step = map_certificate_error(cause.verify_code, ca_folder_variable)
            return CheckError("tls_error", f"{party}'s certificate {message}", next_step=next_step)
        if isinstance(cause, ssl.SSLError) and (found := _TLS_FAULTS.get(str(getattr(cause, "reason", None)))):
            return CheckError("tls_error", found[0].format(party=party), next_step=found[1])
    code, message = next(
        ((code, message) for types, code, message in _ERRORS if any(isinstance(cause, types) for cause in causes)),
        _NO_CONNECTION,
    )
    if by_proxy:
        code = "tls_error" if code == "tls_error" else "unreachable"
        return CheckError(code, "the proxy did not let the request through", next_step=_PROXY_CHECK_STEP)
    return CheckError(code, message)


_BEFORE_SENDING = (
    socket.gaierror,
    ssl.SSLError,
    urllib3.exceptions.NameResolutionError,
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.SSLError,
    urllib3.exceptions.ProxyError,
    urllib3.exceptions.LocationParseError,
    UnicodeError,
)
"""DNS, connect, TLS and proxy; and a host name or a proxy's URL that cannot be used. TLS nearly always fails in the
handshake; later only if something breaks a response."""


def may_have_been_sent(error: CheckError) -> bool:
    """Return False if the request certainly did not reach the server's application.

    Limits: a TLS handshake that times out can't be told from a response that does.

    Args:
        error: as a Transport raised it, with its cause.

    """
    # Without a cause it was the transport that refused to send, e.g. through a SOCKS proxy.
    refused_by_us = error.code == "unreachable" and error.__cause__ is None
    sent_nothing = refused_by_us or any(isinstance(cause, _BEFORE_SENDING) for cause in _causes(error))
    return error.code != "tls_error" and not sent_nothing


def _refused_tunnel(status: int) -> CheckError:
    """Map a proxy's response to CONNECT; with a status of 5xx, the proxy itself could not connect."""
    if status >= 500 and status != 511:
        return CheckError(
            "unreachable", f"the proxy could not reach the server (HTTP {status})", next_step=_PROXY_CHECK_STEP
        )
    if status == 407:
        message = "the proxy asks for a user name and a password (HTTP 407)"
        return CheckError("blocked", message, next_step=_LOGIN_STEP)
    return CheckError(
        "blocked", f"the proxy refused a connection to the server (HTTP {status})", next_step=_TUNNEL_STEP
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the exception and everything that urllib3 and Python wrapped into it, the outermost first."""
    seen: set[int] = set()
    found: list[BaseException] = [error]
    while found:
        cause = found.pop(0)
        if id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            wrapped = (*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__)
            found += [inner for inner in wrapped if isinstance(inner, BaseException)]
