"""A response with unambiguous framing, which tells whether more bytes came than it has; and how its body is read.

Uses `begin`, `fp` and `_read_next_chunk_size` of http.client.HTTPResponse (read in Python 3.11 to 3.14), which are not
documented.
"""

from __future__ import annotations

import http.client
import io
import re
from typing import TYPE_CHECKING, Any

from urllib3.exceptions import ProtocolError

from fdi_health.errors import CheckError
from fdi_health.transport.deadline_socket import current_exchange

if TYPE_CHECKING:
    import socket

    from urllib3 import BaseHTTPResponse

    from fdi_health.transport.deadline_socket import Exchange

MAX_INTERIM_RESPONSES = 8
"""How many interim responses (1xx; RFC 9110, 15.2) are skipped before a final one."""

_SWITCHING_PROTOCOLS = 101
_MAX_CHUNK_LINE_BYTES = 4096
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?\r?\n", re.DOTALL)
_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] [1-9][0-9]{2}(?: [^\r\n]*)?\r?\n")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LENGTH = re.compile(r"[0-9]{1,18}(, *[0-9]{1,18})*")
"""Several lengths in one line are fine if they agree, which urllib3 checks (RFC 9110, 8.6)."""


_PIECE_BYTES = 1024
"""How much of a body is decoded between two checks of the deadline: a body may come in chunks of one byte."""


class _ResponseStream(io.RawIOBase):
    """The bytes of one response's connection. After `stop` it has no more: a buffer then shows only what it holds."""

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__()
        self._raw = raw
        self._stopped = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        return 0 if self._stopped else self._raw.readinto(buffer)

    def stop(self) -> None:
        self._stopped = True

    def close(self) -> None:
        self._raw.close()
        super().close()


class _ResponseBuffer(io.BufferedReader):
    """Tells the exchange at its end whether bytes were read that do not belong to the response.

    `newest` is what the last `read` returned: for chunks, what http.client takes for the end of one.
    """

    def __init__(self, raw: io.RawIOBase, exchange: Exchange) -> None:
        self._stream = _ResponseStream(raw)
        self._exchange = exchange
        self.newest: bytes | None = None
        super().__init__(self._stream)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return a line; a status line must have the exact form of one, since http.client reads `2_00` as 200."""
        line = super().readline(size)
        if line.startswith(b"HTTP/") and not _STATUS_LINE.fullmatch(line):
            raise http.client.HTTPException("a broken status line")
        return line

    def read(self, size: int | None = -1, /) -> bytes:
        self.newest = super().read(size)
        return self.newest

    def close(self) -> None:
        if not self.closed:
            self._stream.stop()
            if self.peek():
                self._exchange.surplus = True
        super().close()


class StrictResponse(http.client.HTTPResponse):
    """A response with unambiguous framing.

    http.client stops at the first header line that it cannot read and drops the rest, lengths and encodings among it.
    It reads to the end of the connection where it cannot read the length or the transfer coding, and it takes a chunk
    of a negative size to mean everything. urllib3 would log what was dropped, which may be our token.
    """

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        buffered: Any = self.fp
        self.fp = _ResponseBuffer(buffered.detach(), current_exchange())

    def begin(self) -> None:
        """Read status line and headers, skipping interim responses.

        Raises:
            http.client.HTTPException: a header cannot be trusted, or there are too many interim responses.

        """
        for _ in range(MAX_INTERIM_RESPONSES + 1):
            # The base does nothing if it has headers.
            self.headers = self.msg = None  # type: ignore[assignment] # as the base's __init__ sets them
            super().begin()
            if self.status >= 200 or self.status == _SWITCHING_PROTOCOLS:
                break
        else:
            raise http.client.HTTPException("too many interim responses")
        lengths = self.msg.get_all("Content-Length", [])
        codings = self.msg.get_all("Transfer-Encoding", [])
        if (
            self.msg.defects
            or self.msg.get_payload()
            or not all(_HEADER_NAME.fullmatch(name) for name in self.msg)
            or not all(_LENGTH.fullmatch(length) for length in lengths)
            or [coding.strip().lower() for coding in codings] not in ([], ["chunked"])
            or (lengths and codings)  # two framings: RFC 9112, 6.1
        ):
            raise http.client.HTTPException("a broken header")
        current_exchange().begin_body()

    def _read_next_chunk_size(self) -> int:
        stream: Any = self.fp
        if stream.newest not in (None, b"\r\n"):
            raise ValueError("chunk data without its end")  # http.client skips any two bytes there
        # int() would also take signs, underscores and white space inside.
        size = _CHUNK_SIZE.match(stream.readline(_MAX_CHUNK_LINE_BYTES))
        if size is None:
            raise ValueError("a chunk without a valid size")
        return int(size[1], 16)


def read_response_body(response: BaseHTTPResponse, exchange: Exchange) -> tuple[bytes, bool]:
    """Return the body and whether it is complete.

    A body that breaks off is an error for 200 and 201. For other statuses its beginning is enough: it only explains the
    status.

    Raises:
        CheckError: `invalid_response`, if the body is encoded.
        TimeoutError: the deadline has passed.

    """
    body = b""
    try:
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("identity", ""):
            # With a status, which says that another attempt would bring the same (see `retry`).
            message = "the response is encoded although we asked for none"
            raise CheckError("invalid_response", message, upstream_status=response.status)
        while piece := response.read(_PIECE_BYTES):
            exchange.seconds_left()
            body += piece
            if len(body) > exchange.max_body_bytes:
                return body, False
    except (CheckError, ProtocolError):
        if response.status in (200, 201) and not exchange.too_large:
            raise
        return body, False
    return body, True
