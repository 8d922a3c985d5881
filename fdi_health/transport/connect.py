"""Looks up a host, and connects to the first of its addresses that accepts.

Source: RFC 8305 ("Happy Eyeballs", version 2): address families alternate, and a new attempt begins 250 ms after the
last one, or at once when one fails. So an address that never responds costs 250 ms, not the whole deadline.
"""

from __future__ import annotations

import errno
import itertools
import math
import selectors
import socket
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from fdi_health.clock import now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fdi_health.clock import Deadline, Instant

Sock = TypeVar("Sock", bound=socket.socket)

ATTEMPT_DELAY_SECONDS = 0.25

ADDRESS_SECONDS = 1.0
"""How long the addresses of a host are used without looking them up again."""

MIN_ADDRESS_SECONDS = 0.1
"""The same after a failed connection."""

_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)
"""For a single wait, poll is cheaper than the epoll of the default selector, which costs three system calls more."""


class Address(NamedTuple):
    """Where to connect: a family and an address of it."""

    family: socket.AddressFamily
    address: Any


def resolve(host: str, port: int) -> list[Address]:
    """Return the addresses of a host, families alternating; raises socket.gaierror.

    Limits: the system's resolver decides how long this takes.
    """
    return _alternating(_look_up(host, port), 0)


class _Lookup(NamedTuple):
    host: str
    port: int
    at: Instant
    addresses: tuple[Address, ...]


class Addresses:
    """The addresses of the host that a transport connects to. A lookup serves the connections of the next second.

    A check of thousands of instances makes a new connection for each, and resolvers limit lookups: Amazon's drops what
    exceeds 1,024 packets per second (VPC, "DNS quotas"). Connections that begin at the same time, before the first
    lookup has ended, look up by themselves: a lookup that hangs must not hold up the others.

    Args:
        clock: reads both clocks.

    """

    def __init__(self, clock: Callable[[], Instant] = now) -> None:
        self._clock = clock
        self._turns = itertools.count()
        self._known: _Lookup | None = None

    def resolve(self, host: str, port: int) -> list[Address]:
        """Return the addresses, families alternating, beginning with the next one of each family at each call.

        So the connections of a second are spread over all servers, as those of several lookups would be.

        Raises:
            socket.gaierror: the host has no address, or the resolver did not respond.

        """
        known = self._known  # read once: another thread may forget it
        if known is None or known[:2] != (host, port) or known.at.seconds_until(self._clock()) >= ADDRESS_SECONDS:
            addresses = _look_up(host, port)
            known = self._known = _Lookup(host, port, self._clock(), addresses)
        return _alternating(known.addresses, next(self._turns))

    def forget(self) -> None:
        """Look the host up for the next connection: a request over a new one failed, so the host may have moved.

        Not if it was looked up just now: in an outage, every connection fails.
        """
        known = self._known
        if known is not None and known.at.seconds_until(self._clock()) >= MIN_ADDRESS_SECONDS:
            self._known = None


def _look_up(host: str, port: int) -> tuple[Address, ...]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(Address(family, address) for family, _, _, _, address in found)


def _alternating(addresses: Sequence[Address], turn: int) -> list[Address]:
    """Return the addresses, families alternating, each family rotated by some places."""
    first = [address for address in addresses if address.family == addresses[0].family]
    others = [address for address in addresses if address.family != addresses[0].family]
    pairs = itertools.zip_longest(*(_rotated(family, turn) for family in (first, others)))
    return [address for pair in pairs for address in pair if address is not None]


def _rotated(addresses: list[Address], places: int) -> list[Address]:
    start = places % len(addresses) if addresses else 0
    return addresses[start:] + addresses[:start]


def connect_first(
    addresses: Sequence[Address],
    deadline: Deadline,
    make_socket: Callable[[socket.AddressFamily, socket.SocketKind], Sock],
    options: Iterable[tuple[int, int, int | bytes]] = (),
) -> Sock:
    """Return a blocking socket, without a timeout, that is connected to one of the addresses.

    Args:
        addresses: in the order to try them.
        deadline: when a connection must be there.
        make_socket: makes the sockets.
        options: set on every socket before it connects.

    Raises:
        TimeoutError: no address accepted before the deadline.
        OSError: every address refused.

    """
    waiting = list(reversed(addresses))
    last_error = OSError(errno.EADDRNOTAVAIL, "the host has no address")
    with _Selector() as selector:
        try:
            while waiting or selector.get_map():
                if waiting:
                    try:
                        attempt = _begin(waiting.pop(), options, make_socket)
                    except OSError as error:
                        last_error = error
                        continue
                    selector.register(attempt, selectors.EVENT_WRITE)
                ended = selector.select(min(deadline.remaining(), ATTEMPT_DELAY_SECONDS if waiting else math.inf))
                if not ended and deadline.expired:
                    raise TimeoutError
                for key, _ in ended:
                    ready: Any = key.fileobj
                    selector.unregister(ready)
                    code = ready.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if code == 0:
                        ready.setblocking(True)
                        connected: Sock = ready
                        return connected
                    ready.close()
                    last_error = OSError(code, "the connection failed")
        finally:
            for key in list(selector.get_map().values()):
                key.fileobj.close()
    raise last_error


def _begin(
    address: Address,
    options: Iterable[tuple[int, int, int | bytes]],
    make_socket: Callable[[socket.AddressFamily, socket.SocketKind], Sock],
) -> Sock:
    """Return a socket that is connecting; raises OSError when the system refuses at once."""
    sock = make_socket(address.family, socket.SOCK_STREAM)
    try:
        for option in options:
            sock.setsockopt(*option)
        sock.setblocking(False)
        code = sock.connect_ex(address.address)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, "the connection failed")
    except OSError:
        sock.close()
        raise
    return sock
