"""Responses: their bytes, when each byte is sent, and functions that build them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulator.request_parser import Request

End: TypeAlias = Literal["keep", "close", "reset", "hang"]
Step: TypeAlias = tuple[float, bytes]
Headers: TypeAlias = "Sequence[tuple[str, str]]"


@dataclass(frozen=True, slots=True)
class Response:
    """The bytes of one response, and when they are sent.

    `steps` are pairs of (seconds to wait first, bytes to send then). `end` says what happens to the connection then:
    "keep" waits for the next request, "close" sends FIN, "reset" sends RST, "hang" leaves it open and sends nothing.
    `repeat_last` sends the last step again and again until the client leaves. `statistics` marks the plain statistics,
    which a restricted token sees as zeros. `token_checked=False` is sent even to a request without a valid token.
    """

    steps: tuple[Step, ...] = ()
    end: End = "keep"
    repeat_last: bool = False
    statistics: bool = False
    token_checked: bool = True

    def after(self, seconds: float) -> Response:
        """Return the same response, started `seconds` later."""
        return replace(self, steps=((seconds, b""), *self.steps)) if seconds > 0 else self


# A behaviour that depends on the request, such as one that repeats its token.
Responder: TypeAlias = "Callable[[Request], Response]"


@dataclass(frozen=True, slots=True)
class LazyResponse:
    """A response that is too large to build at import: `build` is called when it is first played."""

    build: Callable[[], Response]


Behaviour: TypeAlias = "Response | Responder | LazyResponse"


def reason_phrase(status: int) -> str:
    """Return the registered reason phrase of a status, or "Unknown"."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def head_bytes(status: int, headers: Headers = ()) -> bytes:
    """Return status line and headers with the empty line, exactly these headers and no others."""
    lines = [f"HTTP/1.1 {status} {reason_phrase(status)}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def response_bytes(
    status: int, body: bytes, content_type: str | None = "application/json", headers: Headers = ()
) -> bytes:
    """Return a well-framed response: Content-Type unless None, a right Content-Length, then `headers`."""
    typed = () if content_type is None else (("Content-Type", content_type),)
    return head_bytes(status, (*typed, ("Content-Length", str(len(body))), *headers)) + body


def raw_response(data: bytes, end: End = "keep", wait_seconds: float = 0.0) -> Response:
    """Return a response of exactly these bytes, sent `wait_seconds` after the request."""
    return Response(((wait_seconds, data),), end)


def body_response(
    body: bytes, status: int = 200, content_type: str | None = "application/json", headers: Headers = ()
) -> Response:
    """Return a well-framed response with this body."""
    return raw_response(response_bytes(status, body, content_type, headers))


def json_response(document: object, status: int = 200, headers: Headers = ()) -> Response:
    """Return a well-framed response with the document as JSON."""
    return body_response(json.dumps(document).encode(), status, headers=headers)


def statistics_response(document: object, wait_seconds: float = 0.0) -> Response:
    """Return plain statistics: a 200 that a restricted token sees with all eight counts zero."""
    return replace(json_response(document), statistics=True).after(wait_seconds)


def drip(data: bytes, every_seconds: float, at_once: bytes = b"", end: End = "keep") -> Response:
    """Return a response that sends `at_once` at once, then `data` one byte per `every_seconds`.

    Without `at_once` the first byte of `data` goes out at once.
    """
    dripped = [(every_seconds, data[index : index + 1]) for index in range(len(data))]
    if at_once:
        return Response(((0.0, at_once), *dripped), end)
    return Response(((0.0, data[:1]), *dripped[1:]), end)


def redirect(status: int, location: str) -> Response:
    """Return a response that redirects the client: the status, a Location and no body."""
    return body_response(b"", status, content_type=None, headers=(("Location", location),))
