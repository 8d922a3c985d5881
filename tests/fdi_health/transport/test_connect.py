"""Several addresses of one host: the first that accepts wins, and dead ones cost little."""

from __future__ import annotations

import contextlib
import itertools
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from fdi_health.clock import Deadline, Instant
from fdi_health.errors import CheckError
from fdi_health.transport.client import Transport
from fdi_health.transport.connect import (
    ADDRESS_SECONDS,
    ATTEMPT_DELAY_SECONDS,
    MIN_ADDRESS_SECONDS,
    Address,
    Addresses,
    connect_first,
    resolve,
)
from tests.conftest import PROJECT_ID, TOKEN
from tests.machine import assert_within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulator import Simulator
    from tests.conftest import Function


@pytest.fixture
def listening() -> Iterator[Address]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Address(socket.AF_INET, listener.getsockname())


@pytest.fixture
def refusing() -> Address:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return Address(socket.AF_INET, listener.getsockname())


@pytest.fixture
def silent() -> Iterator[Address]:
    """Return an address that never accepts: its backlog is full."""
    with contextlib.ExitStack() as opened:
        full = opened.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):
            filler = opened.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        yield Address(socket.AF_INET, full.getsockname())


def test_connect_first__one_address__is_connected(listening: Address) -> None:
    with connect_first([listening], Deadline.after(1), socket.socket) as connected:
        assert connected.getpeername() == listening.address


def test_connect_first__refused_address__costs_no_delay(listening: Address, refusing: Address) -> None:
    began = time.monotonic()
    connect_first([refusing, refusing, listening], Deadline.after(1), socket.socket).close()
    assert_within(began, ATTEMPT_DELAY_SECONDS)


@pytest.mark.parametrize("dead", [1, 2])
def test_connect_first__silent_addresses__cost_a_quarter_second_each(
    listening: Address, silent: Address, dead: int
) -> None:  # D11
    began = time.monotonic()
    connect_first([silent] * dead + [listening], Deadline.after(10), socket.socket).close()
    assert time.monotonic() - began >= dead * ATTEMPT_DELAY_SECONDS
    assert_within(began, dead * ATTEMPT_DELAY_SECONDS + 0.3)


def test_connect_first__slow_first_address__is_not_given_up(listening: Address, silent: Address) -> None:
    with connect_first([listening, silent], Deadline.after(1), socket.socket) as connected:
        assert connected.getpeername() == listening.address


def test_connect_first__only_silent_addresses__times_out_at_the_deadline(silent: Address) -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        connect_first([silent, silent], Deadline.after(0.4), socket.socket)
    assert time.monotonic() - began >= 0.4
    assert_within(began, 0.4 + 0.3)


def test_connect_first__all_refused__is_refused(refusing: Address) -> None:
    with pytest.raises(ConnectionRefusedError):
        connect_first([refusing, refusing], Deadline.after(1), socket.socket)


def test_connect_first__address_that_cannot_be_tried__is_passed_over(listening: Address) -> None:
    families = iter([OSError(97, "no such family"), None])

    def make_socket(*args: Any) -> socket.socket:
        error = next(families)
        if error is not None:
            raise error
        return socket.socket(*args)

    connect_first([listening, listening], Deadline.after(1), make_socket).close()


def test_connect_first__option_that_the_system_refuses__is_an_error(listening: Address) -> None:
    with pytest.raises(OSError, match="rotocol"):
        connect_first([listening], Deadline.after(1), socket.socket, [(socket.IPPROTO_TCP, 9999, 1)])


def test_connect_first__no_address__is_an_error() -> None:
    with pytest.raises(OSError, match="no address"):
        connect_first([], Deadline.after(1), socket.socket)


def test_resolve__families_alternate(monkeypatch: pytest.MonkeyPatch) -> None:
    six = [(socket.AF_INET6, 0, 0, "", (f"::{number}", 1, 0, 0)) for number in range(3)]
    four = [(socket.AF_INET, 0, 0, "", ("127.0.0.1", 1))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [*six, *four])
    families = [address.family for address in resolve("host", 1)]
    assert families == [socket.AF_INET6, socket.AF_INET, socket.AF_INET6, socket.AF_INET6]


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the hosts that are looked up, as it happens."""
    hosts: list[str] = []

    def getaddrinfo(host: str, *_: object, **__: object) -> object:
        hosts.append(host)
        return [(socket.AF_INET, 0, 0, "", ("127.0.0.1", 1))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return hosts


@pytest.mark.parametrize(("seconds", "times"), [(0.0, 1), (ADDRESS_SECONDS * 0.9, 1), (ADDRESS_SECONDS, 2)])
def test_addresses__asked_again_after_seconds__are_looked_up_if_old(
    lookups: list[str], seconds: float, times: int
) -> None:
    present = [Instant(0.0, 0.0)]
    addresses = Addresses(lambda: present[0])
    first = addresses.resolve("host", 1)
    present.append(present.pop()._replace(wall=seconds))  # the monotonic clock stands still, as in a frozen process
    assert addresses.resolve("host", 1) == first
    assert lookups == ["host"] * times


def test_addresses__another_host_or_port__is_looked_up(lookups: list[str]) -> None:
    addresses = Addresses()
    for host, port in [("one", 1), ("two", 1), ("two", 2)]:
        addresses.resolve(host, port)
    assert lookups == ["one", "two", "two"]


@pytest.mark.parametrize(("seconds", "times"), [(0.0, 1), (MIN_ADDRESS_SECONDS * 0.9, 1), (MIN_ADDRESS_SECONDS, 2)])
def test_addresses__a_connection_failed__are_looked_up_unless_they_just_were(
    lookups: list[str], seconds: float, times: int
) -> None:
    present = [Instant(0.0, 0.0)]
    addresses = Addresses(lambda: present[0])
    addresses.resolve("host", 1)
    present.append(present.pop()._replace(monotonic=seconds))
    addresses.forget()
    addresses.resolve("host", 1)
    assert lookups == ["host"] * times


def test_addresses__several_servers__take_turns_within_their_family(monkeypatch: pytest.MonkeyPatch) -> None:
    six = [(socket.AF_INET6, 0, 0, "", (f"::{number}", 1, 0, 0)) for number in range(2)]
    four = [(socket.AF_INET, 0, 0, "", (f"127.0.0.{number}", 1)) for number in range(3)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [*six, *four])
    addresses = Addresses()
    asked = [[address.address[0] for address in addresses.resolve("host", 1)] for _ in range(6)]
    assert [one[0] for one in asked] == ["::0", "::1"] * 3
    assert [one[1] for one in asked] == ["127.0.0.0", "127.0.0.1", "127.0.0.2"] * 2
    assert all(sorted(one) == sorted(asked[0]) for one in asked)


def test_addresses__host_without_any__are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    assert Addresses().resolve("host", 1) == []


def test_addresses__forgotten_by_another_thread_in_the_middle_of_a_call__are_there(lookups: list[str]) -> None:
    readings, forgetting = itertools.count(), [False]

    def clock() -> Instant:
        """Forget at each reading, where another thread may do so; each reading finds an old lookup."""
        if not forgetting[0]:
            forgetting[0] = True
            addresses.forget()
            forgetting[0] = False
        return Instant(next(readings), 0.0)

    addresses = Addresses(clock)
    found = [addresses.resolve("host", 1) for _ in range(3)]
    assert [len(one) for one in found] == [1, 1, 1]
    assert lookups == ["host"] * 3


def test_check__many_instances__one_lookup(
    function: Callable[..., Function], upstream: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, hosts = socket.getaddrinfo, []

    def getaddrinfo(host: str, *args: Any, **kwargs: Any) -> Any:
        hosts.append(host)
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    called = function("healthy", "healthy", "healthy", FDI_MAX_PARALLEL="1")
    assert called.verdict()["instances_count"]["healthy"] == 3
    assert len(upstream.requests) == 3
    assert hosts == ["127.0.0.1"]


def test_transport__host_moved_after_its_lookup__is_found_after_one_failure(
    upstream: Simulator, refusing: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.play("i", "healthy")
    transport = Transport(upstream.url)
    before = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", refusing.address)]
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: before)
    for _ in range(2):
        with pytest.raises(CheckError, match="refused"):
            transport.get("/", {}, Deadline.after(1))
        monkeypatch.setattr(socket, "getaddrinfo", real)
        time.sleep(MIN_ADDRESS_SECONDS * 1.1)
    began = time.monotonic()
    path = f"/v2/{PROJECT_ID}/fdi/instances/i/statistics/tasks"
    assert transport.get(path, {"X-Auth-Token": TOKEN}, Deadline.after(2)).status == 200
    assert_within(began, ADDRESS_SECONDS - 3 * MIN_ADDRESS_SECONDS)
    transport.close()


def test_check__first_address_is_dead__is_in_time(
    function: Callable[..., Function], upstream: Simulator, silent: Address, monkeypatch: pytest.MonkeyPatch
) -> None:  # D11
    real = socket.getaddrinfo

    def two_addresses(host: str, port: int, *args: object, **kwargs: object) -> object:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", silent.address), *real(host, port, type=socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", two_addresses)
    upstream.latency_seconds = 1.2
    assert function("healthy", FDI_DEADLINE_SECONDS="2").verdict()["status"] == "healthy"


def test_connect_first__address_that_the_system_refuses_at_once__is_passed_over(listening: Address) -> None:
    broadcast = Address(socket.AF_INET, ("255.255.255.255", 80))  # needs SO_BROADCAST; EACCES without
    with connect_first([broadcast, listening], Deadline.after(1), socket.socket) as connected:
        assert connected.getpeername() == listening.address
    with pytest.raises(OSError, match="the connection failed"):
        connect_first([broadcast], Deadline.after(1), socket.socket)


def test_connect_first__last_address_that_stays_silent__is_waited_for_until_the_deadline(silent: Address) -> None:
    with pytest.raises(TimeoutError):
        connect_first([silent], Deadline.after(0.1), socket.socket)


def test_connect_first__last_address_refuses__the_silent_one_before_it_is_still_waited_for(
    silent: Address, refusing: Address
) -> None:
    with pytest.raises(TimeoutError):
        connect_first([silent, refusing], Deadline.after(0.4), socket.socket)
