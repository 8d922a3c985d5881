"""Connections: kept, pipelined, dropped, broken, encrypted, and closed at the end."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest
import requests
import trustme

from simulator import HEALTHY, Simulator
from tests.simulator.wire import (
    INSTANCE,
    OTHER,
    TOKEN,
    connected,
    exchange,
    read_for,
    request_bytes,
    statistics_path,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def wait_until_open(simulator: Simulator, count: int) -> None:
    until = time.monotonic() + 2
    while simulator.connections_open != count:
        assert time.monotonic() < until, f"{simulator.connections_open} connections open instead of {count}"
        time.sleep(0.005)


def test_keep_alive__many_requests__use_one_connection(sim: Simulator) -> None:
    connection = HTTPConnection("127.0.0.1", sim.port, timeout=2)
    for _ in range(3):
        connection.request("GET", statistics_path(), headers={"X-Auth-Token": TOKEN})
        assert connection.getresponse().read()
    connection.close()
    exchange(sim)
    assert [request.connection for request in sim.requests] == [1, 1, 1, 2]


def test_keep_alive__http_1_0__closes_unless_requested(sim: Simulator) -> None:
    old = request_bytes(close=False).replace(b"HTTP/1.1", b"HTTP/1.0")
    assert exchange(sim, old)[1] == "closed"
    kept = request_bytes(extra="Connection: Keep-Alive\r\n").replace(b"HTTP/1.1", b"HTTP/1.0")
    assert exchange(sim, kept, seconds=0.05)[1] == "open"


def test_pipelining__responses_stay_in_order(sim: Simulator) -> None:
    sim.play("late", "slow")
    sim.play("odd", "status_503")
    targets = [statistics_path(instance_id) for instance_id in ("late", "odd", OTHER, "nobody")]
    with connected(sim) as connection:
        connection.sendall(b"".join(request_bytes(target) for target in targets[:-1]))
        connection.sendall(request_bytes(targets[-1], close=True))
        answers, end = read_for(connection, 2)
    statuses = [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert (statuses, end) == ([200, 503, 200, 404], "closed")


def test_request__in_pieces__gets_a_response(sim: Simulator) -> None:
    with connected(sim) as connection:
        for byte in request_bytes(close=True):
            connection.sendall(bytes([byte]))
        assert read_for(connection, 2)[0].startswith(b"HTTP/1.1 200 ")


def test_request__with_a_body__skips_it(sim: Simulator) -> None:
    with connected(sim) as connection:
        connection.sendall(request_bytes(extra="Content-Length: 10\r\n") + b"01234")
        time.sleep(0.02)
        connection.sendall(b"56789" + request_bytes(statistics_path(OTHER), close=True))
        assert read_for(connection, 2)[0].count(b"HTTP/1.1 200 ") == 2


def test_request__with_a_token_of_20000_characters__is_read(sim: Simulator) -> None:
    """C93."""
    token = "M" * 20_000
    sim.tokens.add(token)
    assert exchange(sim, request_bytes(token=token, close=True))[0].startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "request_",
    [
        b"\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nName : x\r\n\r\n",
        b"GET / HTTP/1.1\r\n folded: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"\x16\x03\x01" + b"\x00" * 1024 * 1024,
    ],
)
def test_request__malformed__gets_400(sim: Simulator, request_: bytes) -> None:
    answer, end = exchange(sim, request_)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert end == "closed"
    assert sim.requests == []


def test_connections_open__counts_open_connections(sim: Simulator) -> None:
    with connected(sim), connected(sim):
        wait_until_open(sim, 2)
    wait_until_open(sim, 0)


def test_connections_open__after_a_client_left_early__drops(sim: Simulator) -> None:
    for behaviour in ("drip_body", "silent", "huge_chunked_endless"):
        sim.play(INSTANCE, behaviour)
        exchange(sim, seconds=0.05)
        wait_until_open(sim, 0)


def test_client_reset__leaves_the_server_working(sim: Simulator) -> None:
    sim.play(INSTANCE, "huge")
    with connected(sim) as connection:
        connection.sendall(request_bytes())
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until_open(sim, 0)
    assert exchange(sim, request_bytes(statistics_path(OTHER), close=True))[0].startswith(b"HTTP/1.1 200 ")


def test_drop_idle_connections__resets_only_idle_ones(sim: Simulator) -> None:
    """C79."""
    sim.play("hung", "silent")
    with connected(sim) as idle, connected(sim) as hung, connected(sim) as fresh:
        idle.sendall(request_bytes())
        assert read_for(idle, 0.05)[1] == "open"
        hung.sendall(request_bytes(statistics_path("hung")))
        wait_until_open(sim, 3)
        assert sim.drop_idle_connections() == 1
        assert read_for(idle, 1) == (b"", "reset")
        assert read_for(hung, 0.05) == (b"", "open")
        assert read_for(fresh, 0.05) == (b"", "open")
        assert sim.connections_open == 2


def test_stop__with_hung_connections__closes_them_and_ends_the_thread() -> None:
    with Simulator(tokens=[TOKEN]) as simulator:
        simulator.play(INSTANCE, "silent", "drip_headers", "huge_chunked_endless")
        port = simulator.port
        clients = [socket.create_connection(("127.0.0.1", port), timeout=2) for _ in range(4)]
        for client in clients[:3]:
            client.sendall(request_bytes())
        wait_until_open(simulator, 4)
        begun = time.monotonic()
    assert time.monotonic() - begun < 0.5
    assert not [thread for thread in threading.enumerate() if thread.name == "simulator"]
    for client in clients:
        assert read_for(client, 2)[1] in {"closed", "reset"}
        client.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=2)


def test_start__after_a_stop__works() -> None:
    simulator = Simulator(tokens=[TOKEN])
    simulator.play(INSTANCE, "healthy")
    for _ in range(2):
        with simulator:
            assert exchange(simulator)[0].startswith(b"HTTP/1.1 200 ")


def test_start__twice__raises(sim: Simulator) -> None:
    with pytest.raises(RuntimeError, match="running already"), sim:
        pass


def test_start__on_a_taken_port__raises(sim: Simulator) -> None:
    with pytest.raises(OSError, match="Address already in use"), Simulator(tokens=[TOKEN], port=sim.port):
        pass


def test_listener__is_on_loopback_only(sim: Simulator) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", sim.port), timeout=2)


def test_huge__does_not_delay_other_connections(sim: Simulator) -> None:
    sim.play(INSTANCE, "huge_chunked_endless")
    stop = threading.Event()

    def swallow() -> None:
        with connected(sim) as connection:
            connection.sendall(request_bytes())
            while not stop.is_set():
                connection.recv(1024 * 1024)

    swallower = threading.Thread(target=swallow)
    swallower.start()
    begun = time.monotonic()
    answers = [exchange(sim, request_bytes(statistics_path(OTHER), close=True))[1] for _ in range(5)]
    stop.set()
    swallower.join()
    assert answers == ["closed"] * 5
    assert time.monotonic() - begun < 1


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def tls_sim(server_context: ssl.SSLContext) -> Iterator[Simulator]:
    with Simulator(tokens=[TOKEN], ssl_context=server_context) as simulator:
        yield simulator


def test_tls__serves_clients_that_trust_its_authority_only(
    tls_sim: Simulator, authority: trustme.CA, tmp_path: Path
) -> None:
    trusted = str(tmp_path / "ca.pem")
    authority.cert_pem.write_to_path(trusted)
    tls_sim.play(INSTANCE, "healthy", "reset", "silent")
    url = tls_sim.url + statistics_path()
    assert url.startswith("https://127.0.0.1:")
    headers = {"X-Auth-Token": TOKEN}
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(url, headers=headers, timeout=2)
    assert requests.get(url, headers=headers, timeout=2, verify=trusted).json() == HEALTHY
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(url, headers=headers, timeout=2, verify=trusted)
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.get(url, headers=headers, timeout=0.1, verify=trusted)


@pytest.mark.parametrize("seconds_before_the_stop", [0, 0.02])
def test_tls__stop__does_not_wait_for_a_handshake(
    server_context: ssl.SSLContext, seconds_before_the_stop: float
) -> None:
    with contextlib.ExitStack() as running:
        simulator = running.enter_context(Simulator(tokens=[TOKEN], ssl_context=server_context))
        with connected(simulator) as client:
            client.sendall(b"\x16")
            time.sleep(seconds_before_the_stop)
            begun = time.monotonic()
            running.close()
            assert time.monotonic() - begun < 0.5
            assert read_for(client, 1)[1] in {"closed", "reset"}
