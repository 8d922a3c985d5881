"""Maps a response that is not a valid statistics document to an error code, a message and a next step.

The vendor's `error_code` decides before the HTTP status does: a 404 is not proof that an instance is missing
(FDI.3081), a missing instance may come as a 500 (ROMA.00110002), and a token fault as a 400 (ROMA.1002). A code that is
not in the tables falls back to the status, and a response without any code may come from a proxy or a firewall.
The text of a response decides only the next step, and only by phrases: single words may be part of a user's name.

Sources: the vendor's API references of ROMA Connect (CountTasks and its sibling pages), API Gateway and IAM.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from fdi_health.errors import NEXT_STEPS
from fdi_health.roma.error_codes import (
    ADDRESS_STEP,
    FORBIDDEN,
    NOT_FOUND,
    THROTTLED,
    TOKEN,
    MappedError,
    gateway_number,
    map_error_code,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_SEARCHED_BYTES = 8192
"""How much of a body is searched for phrases; the error page of a proxy gives its reason at the beginning."""


class ErrorResponse(NamedTuple):
    """A response that is not a valid statistics document.

    Attributes:
        status: its HTTP status.
        headers: case-insensitive.
        body: its bytes.
        document: the body as JSON, or None if it is not JSON.
        endpoint: the base URL of the request.

    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    document: Any
    endpoint: str

    def is_page(self) -> bool:
        """Whether the body is an HTML page."""
        return self.document is None and is_html_page(self.headers.get("Content-Type"), self.body)

    def is_of_vendor(self) -> bool:
        """Whether the body has the form of the vendor's errors, with a code that we know or without."""
        return isinstance(self.document, dict) and ("error_code" in self.document or "error_msg" in self.document)

    def __repr__(self) -> str:
        return f"ErrorResponse({self.status})"


_TOO_LONG = "the request's headers are too large for a proxy or gateway: the token is too long"
_TOO_LONG_STEP = (
    "Raise the header size limit of the proxy or gateway on the way, exempt the endpoint's host with NO_PROXY, or use "
    "a user with a shorter token, one with fewer rights."
)

APP_STEP = "Check FDI_ENDPOINT: it must be ROMA Connect's own API, not an API that somebody published with it."
_APP_NUMBERS = frozenset({"0303", "0304", "0305"})
_SIZE_STATUSES, _HEADER_SIZE_STATUSES = frozenset({413, 414}), frozenset({431, 494})

_BLOCKED: dict[int, tuple[str, str]] = {
    407: (
        "a proxy asks for a user name and a password",
        "Put the proxy's user name and password into HTTPS_PROXY, or exempt the endpoint's host with NO_PROXY.",
    ),
    418: (
        "a web application firewall refused the request",
        "Ask the firewall's operator to allow this function's outbound IP address.",
    ),
    421: (
        "the server that answered does not serve the endpoint's host name",
        "Check FDI_ENDPOINT and the proxy or load balancer that leads there.",
    ),
    451: (
        "access was denied for legal reasons",
        "Ask the network's operator which rule denies the access, and run the function where access is allowed.",
    ),
    511: (
        "the network asks for a login",
        "Log in to the network's portal, or run the function in a network that needs no login.",
    ),
}
"""A status that ROMA Connect itself never sends → message and next step."""

_REDIRECT_STEP = (
    "Check FDI_ENDPOINT, and exempt this function from the login page or proxy that redirects it; redirects are never "
    "followed."
)
_PAGE_STEP = (
    "Check FDI_ENDPOINT, and ask the operator of the proxy, firewall or login page on the way to let this function "
    "pass."
)
_LOGIN_STEP = "Check FDI_ENDPOINT, and exempt this function from the login of the proxy or gateway on the way."
_REFUSED_STEP = (
    "Put a fresh token into the secret; if that does not help, look for a proxy or login page on the way: the response "
    "is not ROMA Connect's own."
)
_RIGHTS_OR_PROXY_STEP = (
    "Grant the user roma:tasks:list and roma:tasks:get; if it has them, look for a proxy or firewall on the "
    "way: the response has no error code of ROMA Connect."
)

_TOKEN_PHRASES: tuple[tuple[str, str], ...] = (
    ("token expires", "The token has expired. Put a new token into the secret."),
    (
        "decrypt token fail",
        "The token is incomplete, expired or from another region, or it is no token. Put a new one into the secret.",
    ),
    ("x-auth-token not found", "Check that no proxy on the way removes the header X-Auth-Token."),
    (
        "token must be updated",
        "Put a fresh token into the secret: changed rights end every earlier token of the account.",
    ),
)
"""A phrase in the vendor's text for a refused token → the next step."""

TOKEN_STEPS = frozenset({NEXT_STEPS["token_rejected"], *(step for _, step in _TOKEN_PHRASES)})
"""Next steps for a refused token that the secret itself holds; they do not fit a token that IAM issued."""

_HEADER_TOO_LARGE = re.compile(
    r"\bheaders?(?: \w+){0,4} (?:too (?:large|long|big)|(?:larger|longer) than|exceeds?)\b"
    r"|\btoo (?:large|long|big) (?:\w+ )?headers?\b|\brequest too long\b"
)
_HTML = re.compile(
    rb"\s*(?:<\?xml[^>]{0,200}\?>\s*)?(?:<!--.{0,1000}?-->\s*)?<(?:!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL
)
_PASSWORD_SCHEME = re.compile(r"(?:^|,)\s*(?:basic|digest|negotiate|ntlm)\b", re.IGNORECASE)


def is_html_page(content_type: str | None, body: bytes) -> bool:
    """Return whether a response is an HTML page, by its type or by its first bytes.

    A valid JSON document may be labelled as HTML by mistake: call this only for a body that is not JSON.
    """
    kind = (content_type or "").partition(";")[0].strip().casefold()
    return kind in ("text/html", "application/xhtml+xml") or _HTML.match(body.removeprefix(b"\xef\xbb\xbf")) is not None


def map_error_response(response: ErrorResponse, error_msg: str | None = None) -> MappedError:
    """Map a response that is not a valid statistics document.

    Args:
        response: the response.
        error_msg: its `error_msg`, redacted; it decides only the next step.

    """
    error_code = response.document.get("error_code") if isinstance(response.document, dict) else None
    found = (_by_code(error_code, response) if isinstance(error_code, str) else None) or _by_status(response)
    if found.code == "token_rejected":
        # The verdict's reason for a refused token is a fixed text; the status stands beside it.
        words = (error_msg or "").casefold()
        next_step = next((step for phrase, step in _TOKEN_PHRASES if phrase in words), found.next_step)
        return found._replace(next_step=next_step)
    return found._replace(message=f"{found.message} (HTTP {response.status})")


def _by_code(error_code: str, response: ErrorResponse) -> MappedError | None:
    number = gateway_number(error_code)
    if number in _APP_NUMBERS:
        code = "token_rejected" if response.status == 401 else "forbidden"
        return MappedError(code, "the gateway wants an app's authentication instead of a token", APP_STEP)
    return _map_0201(response) if number == "0201" else map_error_code(error_code)


def _map_0201(response: ErrorResponse) -> MappedError:
    """Map number 0201, which the gateways use for four faults."""
    if response.status >= 500:
        return MappedError("upstream_error", "ROMA Connect's backend did not answer its gateway in time")
    if response.status in _HEADER_SIZE_STATUSES or _says_header_too_large(response):
        return MappedError("blocked", _TOO_LONG, _TOO_LONG_STEP)
    if response.status in _SIZE_STATUSES:
        return MappedError("bad_request", "the request is too large for ROMA Connect's gateway", _TOO_LONG_STEP)
    return MappedError("bad_request", "ROMA Connect's gateway calls the request malformed")


def _by_status(response: ErrorResponse) -> MappedError:
    status, page = response.status, response.is_page()
    if status in _BLOCKED:
        return MappedError("blocked", *_BLOCKED[status])
    if status == 429:
        return THROTTLED
    if status == 401:
        return _unauthorized(response)
    if status in _HEADER_SIZE_STATUSES or (status == 400 and _says_header_too_large(response)):
        return MappedError("blocked", _TOO_LONG, _TOO_LONG_STEP)
    # A 408 is about this connection, and what failed inside ROMA Connect may say so in a page as well.
    if page and (status // 100 == 2 or (status // 100 == 4 and status != 408)):
        return MappedError("blocked", "an HTML page came instead of ROMA Connect's response", _PAGE_STEP)
    if status == 403:
        return FORBIDDEN if response.is_of_vendor() else FORBIDDEN._replace(next_step=_RIGHTS_OR_PROXY_STEP)
    if status == 404:
        if response.is_of_vendor():
            return NOT_FOUND
        return MappedError("api_not_found", "nothing is known at the API's address", ADDRESS_STEP)
    return _by_class(response)


def _by_class(response: ErrorResponse) -> MappedError:
    kind = response.status // 100
    if kind == 3 and _leads_to_another_host(response):
        return MappedError("blocked", "the request was redirected to another host", _REDIRECT_STEP)
    return {
        1: MappedError("invalid_response", "the response is not a final one"),
        3: MappedError("upstream_error", "the server redirects the request; redirects are never followed"),
        4: MappedError("bad_request", "the server refused the request"),
        5: MappedError("upstream_error", "ROMA Connect failed"),
    }.get(kind, MappedError("invalid_response", "the response is not a statistics document"))


def _unauthorized(response: ErrorResponse) -> MappedError:
    """Map a 401 without a known code.

    ROMA Connect never asks for a password. Any other 401 counts as a refused token, also with an HTML page: a proxy may
    have replaced ROMA Connect's body, and a token that is not renewed would leave the instance unknown for good.
    """
    if response.is_of_vendor():
        return TOKEN
    if _PASSWORD_SCHEME.search(response.headers.get("WWW-Authenticate", "")):
        return MappedError("blocked", "a proxy or gateway asks for a user name and a password", _LOGIN_STEP)
    return TOKEN._replace(next_step=_REFUSED_STEP)


def _leads_to_another_host(response: ErrorResponse) -> bool:
    location = response.headers.get("Location", "").strip()
    try:
        host = urlsplit(urljoin(response.endpoint, location)).hostname
    except ValueError:
        return False
    own = urlsplit(response.endpoint).hostname or ""
    return host is not None and host.rstrip(".") != own.rstrip(".")


def _says_header_too_large(response: ErrorResponse) -> bool:
    text = re.sub("<[^<>]*>", " ", response.body[:_MAX_SEARCHED_BYTES].decode("latin-1"))
    return _HEADER_TOO_LARGE.search(" ".join(text.casefold().split())) is not None
