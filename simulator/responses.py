"""What an answer is, byte for byte, and the constructors that build one."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulator.received import Request

End: TypeAlias = Literal["keep", "close", "reset", "hang"]
Step: TypeAlias = tuple[float, bytes]
Headers: TypeAlias = "Sequence[tuple[str, str]]"


@dataclass(frozen=True, slots=True)
class Answer:
    """The bytes that answer one request, and when they are sent.

    `steps` are pairs of (seconds to wait first, bytes to send then). `end` says what becomes of the connection: "keep"
    waits for the next request, "close" sends FIN, "reset" sends RST, "hang" stays open and never says another word.
    `repeat_last` sends the last step again and again until the client leaves. `statistics` marks the plain statistics,
    which a restricted token sees as zeros. `token_checked=False` is played even to a token that would be refused.
    """

    steps: tuple[Step, ...] = ()
    end: End = "keep"
    repeat_last: bool = False
    statistics: bool = False
    token_checked: bool = True

    def after(self, seconds: float) -> Answer:
        """Return the same answer, begun `seconds` later."""
        return replace(self, steps=((seconds, b""), *self.steps)) if seconds > 0 else self


# A behaviour that depends on what was asked, such as one that repeats the token.
Reply: TypeAlias = "Callable[[Request], Answer]"


@dataclass(frozen=True, slots=True)
class BuiltOnUse:
    """An answer too big to hold for those who do not play it: `build` is called when it is first played."""

    build: Callable[[], Answer]


Behaviour: TypeAlias = "Answer | Reply | BuiltOnUse"


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


def raw_answer(data: bytes, end: End = "keep", wait_seconds: float = 0.0) -> Answer:
    """Return an answer of exactly these bytes, sent `wait_seconds` after the request."""
    return Answer(((wait_seconds, data),), end)


def body_answer(
    body: bytes, status: int = 200, content_type: str | None = "application/json", headers: Headers = ()
) -> Answer:
    """Return a well-framed answer with this body."""
    return raw_answer(response_bytes(status, body, content_type, headers))


def json_answer(document: object, status: int = 200, headers: Headers = ()) -> Answer:
    """Return a well-framed answer whose body is the document as JSON."""
    return body_answer(json.dumps(document).encode(), status, headers=headers)


def statistics_answer(document: object, wait_seconds: float = 0.0) -> Answer:
    """Return plain statistics: a 200 that a restricted token sees with all eight counts zero."""
    return replace(json_answer(document), statistics=True).after(wait_seconds)


def drip(data: bytes, every_seconds: float, at_once: bytes = b"", end: End = "keep") -> Answer:
    """Return an answer that sends `at_once` at once, then `data` one byte per `every_seconds`.

    Without `at_once` the first byte of `data` goes out at once.
    """
    dripped = [(every_seconds, data[index : index + 1]) for index in range(len(data))]
    if at_once:
        return Answer(((0.0, at_once), *dripped), end)
    return Answer(((0.0, data[:1]), *dripped[1:]), end)


def redirect(status: int, location: str) -> Answer:
    """Return an answer that sends the client elsewhere: the status, a Location and no body."""
    return body_answer(b"", status, content_type=None, headers=(("Location", location),))
