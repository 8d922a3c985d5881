"""Sockets that end every wait at the deadline of the exchange they serve, and that bound what they receive.

A socket's own timeout is per receive: a server that sends one byte per second never reaches it. Here each send and each
receive first sees to it that the timeout is the time that is left, or a little more (`MAX_EXTRA_SECONDS`). Name
resolution is the only wait that this cannot bound.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fdi_health.clock import Deadline
    from fdi_health.transport.connect import Addresses

MAX_HEAD_BYTES = 32 * 1024
"""The most bytes of status lines and headers, interim responses included."""

MAX_FRAMING_RATIO = 2
"""How many bytes of chunk framing may come for each byte that a body may have."""

MAX_EXTRA_SECONDS = 0.1
"""How much longer than the time left a socket's timeout may be. Setting it is a system call, during which another
thread takes the interpreter lock; a quick response would need three of them."""

SMALL_RESPONSE_BYTES = 4 * 1024
MAX_DECODING = 2
"""How many responses that are not small are decoded at once. Decoding keeps Python's interpreter lock: if hundreds of
threads compete for it, the thread that has to answer at the deadline gets it too late."""


class _Decoding:
    """The places for decoding; made anew in a forked process, where the threads that held some are gone."""

    def __init__(self) -> None:
        self._start_anew()
        os.register_at_fork(after_in_child=self._start_anew)

    def _start_anew(self) -> None:
        self.places = threading.BoundedSemaphore(MAX_DECODING)


_decoding = _Decoding()


class ResponseTooLargeError(http.client.HTTPException):
    """More bytes arrived than a response of this kind may have."""


class Exchange:
    """One request and its response: until when it may last, and how many bytes may still arrive.

    Args:
        deadline: when the whole response must be here.
        max_body_bytes: the largest body.
        addresses: looks up the host.

    Attributes:
        deadline, max_body_bytes, addresses: as given.
        needed_connection: whether it did not go over a kept connection.
        too_large: whether more bytes arrived than may.
        surplus: whether more bytes were read than the response has.
        may_be_stray: whether the response, over a kept connection, may belong to the request before: it differs from
            the last one, or more bytes came than it has, or the connection ends with it.
        connection: what it went over, once a response has begun.

    """

    def __init__(self, deadline: Deadline, max_body_bytes: int, addresses: Addresses) -> None:
        self.deadline, self.max_body_bytes, self.addresses = deadline, max_body_bytes, addresses
        self.needed_connection = False
        self.too_large = False
        self.surplus = False
        self.may_be_stray = False
        self.connection: Any = None
        self._received = 0
        self._bytes_left = MAX_HEAD_BYTES
        self._place: threading.BoundedSemaphore | None = None

    def begin_body(self) -> None:
        """Allow as many bytes as a body of the largest size and its framing may have."""
        self._bytes_left = self.max_body_bytes * (1 + MAX_FRAMING_RATIO)

    def seconds_left(self) -> float:
        """Return the time left, as a socket timeout.

        Raises:
            TimeoutError: the deadline has passed. Zero would mean "do not block" to a socket.

        """
        seconds = self.deadline.remaining()
        if seconds <= 0.0:
            raise TimeoutError
        return seconds

    def end_decoding(self) -> None:
        """Let another response be decoded, e.g. while the next bytes of this one are awaited."""
        if self._place is not None:
            self._place.release()
            self._place = None

    def count_received(self, received: int) -> None:
        """Count received bytes. Those of a large response may be decoded when this returns, see `MAX_DECODING`.

        Raises:
            ResponseTooLargeError: too many bytes have arrived.
            TimeoutError: the deadline has passed.

        """
        self._received += received
        self._bytes_left -= received
        if self._bytes_left < 0:
            self.too_large = True
            raise ResponseTooLargeError
        if self._received > SMALL_RESPONSE_BYTES:
            places = _decoding.places
            if not places.acquire(timeout=self.seconds_left()):
                raise TimeoutError
            self._place = places


_thread = threading.local()


@contextlib.contextmanager
def bound_to(exchange: Exchange) -> Iterator[None]:
    """Apply the deadline and the limits of an exchange to every socket call of this thread."""
    _thread.exchange = exchange
    try:
        yield
    finally:
        exchange.end_decoding()
        del _thread.exchange


def current_exchange() -> Exchange:
    """Return the exchange that this thread is bound to."""
    exchange: Exchange = _thread.exchange
    return exchange


class _WithDeadline:
    """Makes a socket obey the deadline. It stands before socket.socket or ssl.SSLSocket in the list of bases."""

    def _begin_wait(self: Any) -> Exchange:
        exchange: Exchange = _thread.exchange
        exchange.end_decoding()
        seconds, timeout = exchange.seconds_left(), self.gettimeout()
        if timeout is None or not seconds <= timeout <= seconds + MAX_EXTRA_SECONDS:
            super().settimeout(seconds)  # type: ignore[misc] # of the other base
        return exchange

    def settimeout(self, seconds: float | None) -> None:
        """Do nothing: the time that is left counts, and not the timeouts that urllib3 and ssl set."""

    def recv_into(self, *args: Any) -> int:
        exchange = self._begin_wait()
        received: int = super().recv_into(*args)  # type: ignore[misc] # of the other base
        exchange.count_received(received)
        return received

    def recv(self, *args: Any) -> bytes:
        exchange = self._begin_wait()
        received: bytes = super().recv(*args)  # type: ignore[misc] # of the other base
        exchange.count_received(len(received))
        return received

    def send(self, *args: Any) -> int:
        self._begin_wait()
        sent: int = super().send(*args)  # type: ignore[misc] # of the other base
        return sent

    def sendall(self, *args: Any) -> None:
        self._begin_wait()
        super().sendall(*args)  # type: ignore[misc] # of the other base


class DeadlineSocket(_WithDeadline, socket.socket):
    """A TCP socket that obeys the deadline of the current exchange."""


class DeadlineSSLSocket(_WithDeadline, ssl.SSLSocket):
    """A TLS socket that obeys the deadline of the current exchange."""

    def do_handshake(self, block: bool = False) -> None:
        """Perform the handshake; its timeout is a total one."""
        self._begin_wait()
        super().do_handshake(block)
