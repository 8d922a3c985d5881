"""One TCP connection: requests in, the bytes of their responses out, in order."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from simulator.request_parser import MAX_BODY_BYTES, MAX_HEAD_BYTES, Head, MalformedRequestError, parse_head
from simulator.responses import Response, response_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.request_parser import Request

# SO_LINGER with zero seconds: close() then sends RST instead of FIN.
_LINGER_ZERO = struct.pack("ii", 1, 0)


class Connection(asyncio.Protocol):
    """Reads requests, calls `decide` for each response and sends it; a pipelined request waits for its turn.

    `opened` and `closed` are called once each with this connection. asyncio sets TCP_NODELAY, so each
    step is sent at once.
    """

    def __init__(
        self,
        serial: int,
        decide: Callable[[Request], Response],
        opened: Callable[[Connection], None],
        closed: Callable[[Connection], None],
    ) -> None:
        self._serial = serial
        self._decide = decide
        self._opened = opened
        self._closed = closed
        self._received = b""
        self._body_left = 0
        self._playing: asyncio.Task[None] | None = None
        self._silenced = False
        self._answered = False
        self._writable = asyncio.Event()
        self._writable.set()

    @property
    def idle(self) -> bool:
        """Whether the connection is kept alive between two requests, with nothing left to read or to send."""
        busy = self._playing or self._silenced or self._received or self._body_left
        return self._answered and not busy and self._transport.get_write_buffer_size() == 0

    def reset(self) -> None:
        """Close with RST; what was not sent yet is lost."""
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self._transport.abort()

    def abort(self) -> None:
        """Close at once, without waiting for data to be sent."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # Both stream transports of asyncio, plain and TLS, are full transports.
        self._transport = cast("asyncio.Transport", transport)
        self._opened(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- the interface of asyncio.Protocol
        """Stop sending: the client has gone."""
        if self._playing:
            self._playing.cancel()
        self._closed(self)

    def pause_writing(self) -> None:
        """Wait: the client reads more slowly than we send."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Go on sending."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Buffer the data, and respond to each request that is complete."""
        if self._silenced:
            return
        self._received += data
        self._respond_to_received()

    def _respond_to_received(self) -> None:
        while not (self._playing or self._silenced or self._transport.is_closing()):
            try:
                head = self._next_head()
            except MalformedRequestError as error:
                self._transport.write(response_bytes(400, f"{error}\n".encode(), "text/plain"))
                self._transport.close()
                return
            if head is None:
                return
            response = self._decide(head.request)
            if len(response.steps) == 1 and not response.steps[0][0] and not response.repeat_last:
                self._transport.write(response.steps[0][1])
                self._end(response, head)
            else:
                self._playing = asyncio.get_running_loop().create_task(self._play(response, head))

    def _next_head(self) -> Head | None:
        """Take the next request off what was received, or return None while it is not whole.

        A short body is part of it; a long one is skipped as it comes, and does not keep the response waiting.
        """
        if self._body_left:
            skipped = min(self._body_left, len(self._received))
            self._body_left -= skipped
            self._received = self._received[skipped:]
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            if len(self._received) > MAX_HEAD_BYTES:
                raise MalformedRequestError("the request head has no end")
            return None
        head = parse_head(self._received[:end], self._serial)
        if head.body_length > MAX_BODY_BYTES:
            self._received = self._received[end + 4 :]
            self._body_left = head.body_length
            return head
        start, stop = end + 4, end + 4 + head.body_length
        if len(self._received) < stop:
            return None
        body, self._received = self._received[start:stop], self._received[stop:]
        return replace(head, request=replace(head.request, body=body))

    async def _play(self, response: Response, head: Head) -> None:
        for seconds, data in response.steps:
            await self._send(seconds, data)
        while response.repeat_last:
            await self._send(*response.steps[-1])
        self._playing = None
        self._end(response, head)
        self._respond_to_received()

    async def _send(self, seconds: float, data: bytes) -> None:
        # Even without a wait the loop gets its turn, so that a big response does not starve the other connections.
        await asyncio.sleep(seconds)
        await self._writable.wait()
        if data:
            self._transport.write(data)

    def _end(self, response: Response, head: Head) -> None:
        self._answered = True
        if response.end == "hang":
            self._silenced = True
        elif response.end == "reset":
            self.reset()
        elif response.end == "close" or not head.keep_alive:
            self._transport.close()
