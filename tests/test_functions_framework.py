"""The function as functions-framework serves it: a real server, real connections, real signals."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from simulator import Simulator
from tests.conftest import PROJECT_ID, TOKEN
from tests.machine import assert_within
from tests.servers import functions_framework

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator


def settings(upstream: Simulator, **changes: str) -> dict[str, str]:
    return {
        "FDI_ENDPOINT": upstream.url,
        "FDI_PROJECT_ID": PROJECT_ID,
        "FDI_INSTANCES": "payments=id-payments,good=id-good,hung=id-hung",
        "FDI_TOKEN": "env://ROMA_TOKEN",
        "ROMA_TOKEN": TOKEN,
        "FDI_DEADLINE_SECONDS": "1",
        "FDI_ANONYMOUS": "details",
        **changes,
    }


SEND_SECONDS = 2.0
"""More than a server that reads 100 MB needs for it. One that stops reading lets the client wait until this timeout."""


def play_all(upstream: Simulator) -> None:
    for name, play in (("payments", "doc_example"), ("good", "healthy"), ("hung", "silent")):
        upstream.play(f"id-{name}", play)


@pytest.fixture
def server(upstream: Simulator, tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Return a server of one test, which may end it or read its log."""
    play_all(upstream)
    with functions_framework(settings(upstream), tmp_path) as started:
        yield started


@pytest.fixture(scope="module")
def shared_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of one server for all tests of the module that leave it as it was."""
    with Simulator(tokens=[TOKEN], project_id=PROJECT_ID) as simulator:
        play_all(simulator)
        with functions_framework(settings(simulator), tmp_path_factory.mktemp("home")) as (url, _):
            yield url


def test_server__serves_every_method(shared_url: str) -> None:
    url = shared_url
    good = f"{url}/?instance=good"
    with requests.Session() as session:
        assert session.get(good, timeout=5).json()["healthy"] is True
        assert session.get(f"{url}/?instance=payments", timeout=5).status_code == 503
        assert session.head(good, timeout=5).headers["FDI-Verdict"] == "healthy"
        assert session.options(url, timeout=5).status_code == 204
        assert session.post(url, data=b'{"instance":"good"}', timeout=5).status_code == 200
        assert session.post(url, data=iter([b'{"instance":', b'"good"}']), timeout=5).status_code == 200
        assert session.post(good, headers={"Content-Type": "application/json"}, timeout=5).status_code == 200
        assert session.get(f"{url}/%ff", timeout=5).status_code == 404
        assert session.get(f"{url}/health/?instance=good", timeout=5, allow_redirects=False).status_code == 200
        assert session.get(f"{url}//health?instance=good", timeout=5, allow_redirects=False).status_code in (200, 404)
        for path in ("/robots.txt", "/favicon.ico"):
            assert session.get(f"{url}{path}", timeout=5).status_code == 404


def test_body_that_is_not_read__gets_a_response_and_ends_the_connection(shared_url: str) -> None:
    good = f"{shared_url}/?instance=good"
    assert requests.put(good, data=b"x", timeout=5).status_code == 405
    assert requests.post(good, data=b" " * 100_000, timeout=5).status_code == 200  # E20
    assert requests.post(good, data=iter([b" " * 70_000]), timeout=5).status_code == 200


def test_very_long_url__is_refused_quickly(shared_url: str) -> None:  # C60
    url = shared_url
    response = requests.get(f"{url}/?{'&instance=good' * 14_000}", timeout=5)
    assert response.status_code in (400, 414)


def test_live__answers_while_every_check_hangs(shared_url: str) -> None:
    url = shared_url
    requests.get(f"{url}/?instance=good", timeout=5)

    with ThreadPoolExecutor(50) as callers:
        checks = [callers.submit(requests.get, f"{url}/?instance=hung", timeout=10) for _ in range(50)]
        time.sleep(0.4)
        began = time.monotonic()
        assert requests.get(f"{url}/live", timeout=5).status_code == 200
        assert_within(began, 0.5)  # the checks go on for longer
        assert {check.result().status_code for check in checks} == {503}


def test_sigterm__sends_the_response_and_ends(server: tuple[str, subprocess.Popen[bytes]]) -> None:  # C05, C12
    url, process = server
    requests.get(f"{url}/?instance=good", timeout=5)

    with ThreadPoolExecutor(1) as caller:
        pending = caller.submit(requests.get, url, timeout=10)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        response = pending.result()
        process.wait(10)

    assert_within(began, 1 + 1)
    assert response.status_code == 503
    statuses = {instance["name"]: instance["status"] for instance in response.json()["instances"]}
    assert statuses == {"payments": "unhealthy", "good": "healthy", "hung": "unknown"}
    assert process.returncode == 0


def test_sigterm__with_a_thread_stuck_in_dns__ends(upstream: Simulator, tmp_path: Path) -> None:  # C05
    (tmp_path / "sitecustomize.py").write_text(
        "import socket, time\nsocket.getaddrinfo = lambda *a, **k: time.sleep(30)\n"
    )
    changes = {"FDI_ENDPOINT": "https://roma.example", "PYTHONPATH": str(tmp_path), "FDI_DEADLINE_SECONDS": "0.5"}
    with functions_framework(settings(upstream, **changes), tmp_path) as (url, process):
        assert requests.get(url, timeout=5).json()["status"] == "unknown"
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        process.wait(10)
        assert_within(began, 2)


def test_invalid_settings__do_not_stop_the_start(upstream: Simulator, tmp_path: Path) -> None:  # C97
    with functions_framework({"FDI_REGION": "cn-north-4"}, tmp_path) as (url, _):
        assert requests.get(f"{url}/live", timeout=5).status_code == 200
        assert requests.get(f"{url}/ready", timeout=5).status_code == 503
        assert requests.get(url, timeout=5).json()["code"] == "settings_invalid"


def test_caller__closing_early__logs_no_error(server: tuple[str, subprocess.Popen[bytes]], tmp_path: Path) -> None:
    url, _ = server
    host, port = url.removeprefix("http://").split(":")
    for request in (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /?instance=hung HTTP/1.1\r\nHost: x\r\n\r\n",
    ):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(request)
    time.sleep(0.3)

    assert requests.get(f"{url}/?instance=good", timeout=5).status_code == 200
    assert b"itself failed" not in (tmp_path / "server.log").read_bytes()


@pytest.mark.parametrize(
    ("method", "length", "status"), [("GET", 5, b"200"), ("PUT", 5, b"405"), ("POST", 65_537, b"405")]
)
def test_body__not_needed__is_not_waited_for(shared_url: str, method: str, length: int, status: bytes) -> None:
    host, port = shared_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=3) as connection:
        connection.sendall(f"{method} /live HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
        received = b"".join(iter(lambda: connection.recv(65536), b""))  # until the server ends the connection
    assert received.split()[1] == status


def test_body__never_sent__ends_the_connection_after_4_seconds(shared_url: str) -> None:
    host, port = shared_url.removeprefix("http://").split(":")

    def send(body: bytes) -> tuple[bytes, float]:
        with socket.create_connection((host, int(port)), timeout=8) as connection:
            began = time.monotonic()
            connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n" + body)
            return connection.recv(65536), time.monotonic() - began

    bodies = [b"Content-Length: 5\r\n\r\nab", b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"]
    with ThreadPoolExecutor(len(bodies)) as callers:
        for body, (received, seconds) in zip(bodies, callers.map(send, bodies), strict=True):
            assert received == b"", body
            assert 3.5 < seconds < 5, body


def test_rest_of_a_body__occupies_no_thread(upstream: Simulator, tmp_path: Path) -> None:
    with functions_framework(settings(upstream, THREADS="4"), tmp_path) as (url, _):
        host, port = url.removeprefix("http://").split(":")
        slow = [socket.create_connection((host, int(port)), timeout=5) for _ in range(8)]
        for connection in slow:
            connection.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\na")
            assert connection.recv(200).split()[1] == b"200"
        for connection in slow:
            with contextlib.suppress(OSError):
                connection.sendall(b"b")
        assert requests.get(f"{url}/live", timeout=2).status_code == 200
        for connection in slow:
            connection.close()


def test_slow_body__uses_up_the_deadline(shared_url: str) -> None:
    url = shared_url
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        began = time.monotonic()
        connection.sendall(b"POST /?instance=hung HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{")
        time.sleep(0.7)
        connection.sendall(b"}")
        assert connection.recv(200).split()[1] == b"503"
        assert_within(began, 1 + 0.3)


def test_endless_body__does_not_fill_the_memory(server: tuple[str, subprocess.Popen[bytes]]) -> None:
    url, process = server
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()

    def kibibytes() -> int:
        return int(Path(f"/proc/{children[-1]}/status").read_text().partition("VmRSS:")[2].split()[0])

    before = kibibytes()
    for method, path, status in (("POST", "/?instance=good", 200), ("PUT", "/live", 405)):
        pieces = iter([b"x" * 1_000_000] * 100)
        try:
            assert requests.request(method, f"{url}{path}", data=pieces, timeout=SEND_SECONDS).status_code == status
        except requests.ConnectionError:
            continue  # the server may hang up on what it does not want, or stop reading
    assert kibibytes() - before < 20_000


def test_first_requests_at_once__open_one_service(upstream: Simulator, tmp_path: Path) -> None:
    names = [f"i{number}" for number in range(20)]
    for name in names:
        upstream.play(name, "healthy")
    upstream.latency_seconds = 0.05
    changes = {"FDI_INSTANCES": ",".join(names), "FDI_DEADLINE_SECONDS": "4"}
    with functions_framework(settings(upstream, **changes), tmp_path) as (url, _):
        together = threading.Barrier(24)

        def ask(_: int) -> dict[str, object]:
            together.wait()
            document: dict[str, object] = json.loads(requests.get(url, timeout=10).content)
            return document

        with ThreadPoolExecutor(24) as callers:
            answers = list(callers.map(ask, range(24)))
    assert {answer["status"] for answer in answers} == {"healthy"}
    assert len(upstream.requests) == 20
    assert b"pool" not in (tmp_path / "server.log").read_bytes()


CHUNKED_HEAD = (
    b"POST /?instance=good HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n"
)


@pytest.mark.parametrize("drippers", [6, 20])
def test_dripping_chunked_bodies__delay_no_other_chunked_post(shared_url: str, drippers: int) -> None:  # H07
    url = shared_url
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    over = threading.Event()
    with contextlib.ExitStack() as opened:
        slow = [opened.enter_context(socket.create_connection(address)) for _ in range(drippers)]
        for connection in slow:
            connection.sendall(CHUNKED_HEAD)

        def drip() -> None:
            while not over.wait(0.2):
                for connection in slow:
                    with contextlib.suppress(OSError):
                        connection.sendall(b"1\r\n \r\n")

        dripping = threading.Thread(target=drip)
        dripping.start()
        time.sleep(0.5)
        began = time.monotonic()
        response = requests.post(url, data=iter([b'{"instance":', b'"good"}']), timeout=10)
        over.set()
        assert_within(began, 1 + 0.3)
        dripping.join()
    assert response.status_code == 200 or response.json()["code"] == "overloaded"


def test_process_that_is_stopped_in_the_middle_of_a_probe__does_not_use_the_old_result(
    upstream: Simulator, tmp_path: Path
) -> None:
    upstream.play("id-good", "healthy")
    upstream.latency_seconds = 0.5
    changes = {"FDI_INSTANCES": "good=id-good", "FDI_CACHE_SECONDS": "60"}
    with functions_framework(settings(upstream, **changes), tmp_path) as (url, process):
        worker = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
        with ThreadPoolExecutor(1) as callers:
            stopped = callers.submit(requests.get, url, timeout=10)
            time.sleep(0.3)
            os.kill(worker, signal.SIGSTOP)
            time.sleep(1.5)
            upstream.play("id-good", "doc_example")
            os.kill(worker, signal.SIGCONT)
            assert stopped.result().json()["status"] == "unknown"
        assert requests.get(url, timeout=10).json()["status"] == "unhealthy"
