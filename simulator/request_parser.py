"""What a client sent: the request a test looks at, and the parser of its head."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from urllib.parse import unquote

# A client may send a token of tens of kilobytes (C93); more than this is not a head.
MAX_HEAD_BYTES = 1024 * 1024

# What a login needs and more; a longer body is read past and not kept.
MAX_BODY_BYTES = 64 * 1024

STATISTICS_PATH = re.compile(r"/v2/([^/?]*)/fdi/instances/([^/?]*)/statistics/tasks(?:\?.*)?", re.DOTALL)

INSTANCE_PATH = re.compile(r"/v1/([^/?]*)/roma/instances/([^/?]*)/statistics(?:\?.*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came in.

    `headers` keep the order and the case they were sent in, decoded as latin-1. `token` is the value of X-Auth-Token,
    None without one. `instance_id` is None when the path is not that of the statistics. `connection` is the serial
    number of the TCP connection, counted from 1; `at` is in seconds of `time.monotonic`. `body` is empty where it is
    longer than `MAX_BODY_BYTES`.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    token: str | None
    instance_id: str | None
    connection: int
    at: float
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """Return the first value of a header, or None; names are not case sensitive."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)


@dataclass(frozen=True, slots=True)
class Head:
    """A parsed request head: the request, the length of the body after it, and whether the client stays connected."""

    request: Request
    body_length: int
    keep_alive: bool


class MalformedRequestError(ValueError):
    """The client did not speak HTTP/1; the message says where."""


def project_of(target: str) -> str | None:
    """Return the project ID in a statistics path, or None for any other target."""
    match = STATISTICS_PATH.fullmatch(target)
    return unquote(match[1]) if match else None


def parse_head(head: bytes, connection: int) -> Head:
    """Parse a request head without its final empty line.

    Raises: MalformedRequestError for a request line or header that is not HTTP/1, and for a chunked request body,
    which no client of this API sends.
    """
    request_line, *lines = head.decode("latin-1").split("\r\n")
    words = request_line.split(" ")
    if len(words) != 3 or not words[0] or not words[2].startswith("HTTP/1."):
        raise MalformedRequestError("the request line is not METHOD TARGET HTTP/1.x")
    method, target, version = words
    headers = []
    token: str | None = None
    body_length = 0
    keep_alive = version != "HTTP/1.0"
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name[-1] in " \t" or name[0] in " \t":
            raise MalformedRequestError("a header line is not NAME: VALUE")
        value = value.strip(" \t")
        headers.append((name, value))
        lowered = name.lower()
        if lowered == "x-auth-token":
            token = value if token is None else token
        elif lowered == "content-length":
            if not (value.isascii() and value.isdigit() and len(value) < 16):
                raise MalformedRequestError("Content-Length is not a number")
            body_length = int(value)
        elif lowered == "transfer-encoding":
            raise MalformedRequestError("a request body in chunks is not understood")
        elif lowered == "connection":
            options = value.lower()
            keep_alive = "close" not in options and (keep_alive or "keep-alive" in options)
    path = STATISTICS_PATH.fullmatch(target)
    instance_id = unquote(path[2]) if path else None
    request = Request(method, target, tuple(headers), token, instance_id, connection, time.monotonic())
    return Head(request, body_length, keep_alive)
