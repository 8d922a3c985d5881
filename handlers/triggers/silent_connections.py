"""Ends connections of a server that sets no time limit for bodies, as granian.

A thread that waits for a body waits until the caller sends it or the connection ends, and a caller who lost its power
or its network does neither. granian hands out no connection, so the system says which ones are silent: nothing
came for longer than a check takes, and nothing was sent since it came (Linux only).
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time

SWEEP_SECONDS = 1.0
"""How often connections are looked at, at most: thousands of them take some 10 ms."""

_LAST_TIMES = struct.Struct("44x 3I")
"""In `struct tcp_info` of linux/tcp.h: milliseconds since data was sent, an ACK was sent, data was received."""

_lock = threading.Lock()
_next_sweep = 0.0


def end_silent_connections(port: int, seconds: float) -> None:
    """End the connections that have waited for the rest of a request for some seconds.

    Args:
        port: the one that the server listens on.
        seconds: longer than a response may take, since callers are silent while they wait for it.

    """
    global _next_sweep  # noqa: PLW0603 -- guarded by the lock
    with _lock:
        if time.monotonic() < _next_sweep:
            return
        _next_sweep = time.monotonic() + SWEEP_SECONDS
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 -- names are numbers here
            _end_if_silent(int(name), port, seconds)


def _duplicate(descriptor: int) -> socket.socket:
    """Return a socket of our own for a descriptor, since the server may close its own at any time.

    Raises:
        OSError: the descriptor is closed, or not a socket.

    """
    duplicate = os.dup(descriptor)
    try:
        return socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)  # socket.fromfd would leave it open
        raise


def _end_if_silent(descriptor: int, port: int, seconds: float) -> None:
    with contextlib.suppress(OSError), _duplicate(descriptor) as connection:
        address = connection.getsockname()
        if not isinstance(address, tuple) or address[1] != port:
            return
        times = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_TIMES.size)
        sent, _, received = _LAST_TIMES.unpack(times)
        if received >= seconds * 1000 and sent >= received:
            connection.getpeername()  # the listening socket has none, and is left alone
            connection.shutdown(socket.SHUT_RDWR)
