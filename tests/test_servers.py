"""functions-framework and gunicorn, started as the platforms start them: the suite, and what happens when they stop."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests

from simulator import Simulator
from tests.conformance.platform import PlatformSuite, settings_for
from tests.conftest import PROJECT_ID, TOKEN
from tests.platform_servers import over_http
from tests.secret_manager_server import SecretManager
from tests.servers import functions_framework, gunicorn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conformance.platform import WayIn


class _OneServerForAll(PlatformSuite):
    """One upstream and one server for the whole suite."""

    @pytest.fixture(scope="class")
    @classmethod
    def upstream(cls) -> Iterator[Simulator]:
        with Simulator(tokens=[TOKEN], project_id=PROJECT_ID) as simulator:
            yield simulator


class TestFunctionsFramework(_OneServerForAll):
    """The console script; E12, E18: no path is answered by the framework itself."""

    @pytest.fixture(scope="class")
    @classmethod
    def way_in(cls, upstream: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WayIn]:
        with functions_framework(settings_for(upstream), tmp_path_factory.mktemp("home")) as (url, _):
            yield over_http(url)


class TestGunicorn(_OneServerForAll):
    """gunicorn with the container's settings."""

    @pytest.fixture(scope="class")
    @classmethod
    def way_in(cls, upstream: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WayIn]:
        with gunicorn(settings_for(upstream), tmp_path_factory.mktemp("home")) as (url, _):
            yield over_http(url)


@pytest.fixture
def hung(upstream: Simulator) -> dict[str, str]:
    """Return settings whose instance `hung` is answered after a second."""
    settings = settings_for(upstream)
    upstream.play("id-crm", "silent")
    return {**settings, "FDI_DEADLINE_SECONDS": "1.5", "FDI_ANONYMOUS": "details"}


def ask(url: str, path: str = "/") -> tuple[int, dict[str, object]]:
    response = requests.get(f"{url}{path}", timeout=20)
    document: dict[str, object] = response.json()
    return response.status_code, document


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["each worker loads", "preload"])
def test_two_workers__read_a_secret_over_grpc(upstream: Simulator, tmp_path: Path, options: tuple[str, ...]) -> None:
    # A process that forks with a gRPC channel open breaks its children: nothing is opened before the first request.
    with SecretManager(payload=TOKEN.encode()) as manager:
        settings = {
            **settings_for(upstream),
            "FDI_TOKEN": "gcpsecretmanager://projects/acme/secrets/roma-token/versions/latest",
            "SECRET_MANAGER_EMULATOR_HOST": manager.host,
            "WORKERS": "2",
        }
        with gunicorn(settings, tmp_path, *options) as (url, _), ThreadPoolExecutor(16) as callers:
            found = list(callers.map(lambda _: ask(url, "/?instance=orders"), range(40)))
        assert {status for status, _ in found} == {200}
        assert 1 <= len(manager.names) <= 2  # one read for each worker that was asked


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm__lets_the_answers_under_way_out(hung: dict[str, str], tmp_path: Path, workers: str) -> None:  # C12
    with gunicorn({**hung, "WORKERS": workers}, tmp_path) as (url, process), ThreadPoolExecutor(12) as callers:
        waiting = [callers.submit(ask, url, "/?instance=crm,orders") for _ in range(12)]
        time.sleep(0.7)
        process.send_signal(signal.SIGTERM)
        told = time.monotonic()
        answers = [answer.result() for answer in waiting]
        process.wait(10)
        assert time.monotonic() - told < 1.5 + 1
    assert {status for status, _ in answers} == {503}
    assert {str(document["reason"]) for _, document in answers} == {"crm unknown (timeout)"}


def test_worker_that_is_replaced__loses_no_answer(hung: dict[str, str], tmp_path: Path) -> None:
    settings = {**hung, "MAX_REQUESTS": "10", "FDI_DEADLINE_SECONDS": "0.5", "WORKERS": "2"}
    with gunicorn(settings, tmp_path) as (url, _), ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda _: ask(url, "/?instance=crm"), range(80)))
    assert {status for status, _ in answers} == {503}
    assert (tmp_path / "server.log").read_text().count("Autorestarting worker") >= 2


@pytest.mark.parametrize("target", [f"/?x={'a' * 9000}", f"/{'a' * 9000}"])
def test_line_that_is_too_long__is_refused(upstream: Simulator, tmp_path: Path, target: str) -> None:  # C60
    with gunicorn(settings_for(upstream), tmp_path) as (url, _):
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
        with contextlib.closing(connection):
            connection.request("GET", target)
            assert connection.getresponse().status in (400, 414)
        assert ask(url, "/live")[0] == 200
    assert upstream.requests == []


HALF_A_HEAD = b"GET /live HTTP/1.1\r\nHost: x\r\n"
HOLDS = {
    "send half a head": (HALF_A_HEAD, 10.0),
    "send half a body": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", 2.0),
    "read no answer": ((HALF_A_HEAD.replace(b"live", b"openapi.json") + b"\r\n") * 200, 2.0),
    "do not hang up": (HALF_A_HEAD + b"Connection: close\r\n\r\n", 2.0),
    "say nothing": (b"", 2.0),
}
"""What callers do → (what they send, how many seconds /live may take meanwhile)."""


@pytest.mark.parametrize("what", HOLDS)
def test_more_callers_than_threads__that_hold_what_they_can_do_not_hold_live(
    upstream: Simulator, tmp_path: Path, what: str
) -> None:
    sent, seconds = HOLDS[what]
    settings = {**settings_for(upstream), "THREADS": "16"}
    with gunicorn(settings, tmp_path) as (url, _), contextlib.ExitStack() as open_connections:
        for _ in range(64):
            caller = open_connections.enter_context(socket.socket())
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            caller.connect((urlsplit(url).hostname, urlsplit(url).port))
            caller.setblocking(False)
            caller.send(sent)
        for _ in range(3):
            time.sleep(0.5)
            assert requests.get(f"{url}/live", timeout=seconds).status_code == 200


@pytest.mark.parametrize("server", [gunicorn, functions_framework])
def test_body_that_comes_late__is_not_the_next_request(
    upstream: Simulator, tmp_path: Path, server: Callable[..., Any]
) -> None:
    # Behind a proxy that shares its connections the next user would get the answer to it.
    smuggled = b"GET /?fail_on=none HTTP/1.1\r\nHost: x\r\n\r\n"
    with server(settings_for(upstream), tmp_path) as (url, _), socket.socket() as shared:
        shared.settimeout(10)
        shared.connect((urlsplit(url).hostname, urlsplit(url).port))
        shared.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(smuggled))
        time.sleep(0.15)
        shared.sendall(smuggled)
        time.sleep(0.15)
        with contextlib.suppress(ConnectionError):
            shared.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
        answers = b""
        with contextlib.suppress(ConnectionError):
            while piece := shared.recv(65536):
                answers += piece
    assert answers.count(b"HTTP/1.1 ") == 1
    assert b"live" in answers


@pytest.mark.parametrize("server", [gunicorn, functions_framework])
@pytest.mark.parametrize("size", [5, 70_000, 5_000_000])  # E20
def test_chunked_body__is_taken_as_far_as_it_may_go(
    upstream: Simulator, tmp_path: Path, server: Callable[..., Any], size: int
) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(size // 1000):
            yield b"x" * 1000
        yield b"x" * (size % 1000)

    with server(settings_for(upstream), tmp_path) as (url, _):
        with contextlib.suppress(requests.ConnectionError):  # what is left of it may meet a closed connection
            answer = requests.post(f"{url}/", data=body(), timeout=10)
            assert answer.headers["FDI-Verdict"] == "unhealthy"
        assert requests.get(f"{url}/live", timeout=10).status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_chunks_of_one_byte__do_not_hold_live(upstream: Simulator, tmp_path: Path, method: str) -> None:
    sent = f"{method} /live HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + b"1\r\nx\r\n" * 60_000
    with gunicorn(settings_for(upstream), tmp_path) as (url, _), ThreadPoolExecutor(20) as senders:
        address = urlsplit(url).hostname or "", urlsplit(url).port or 0

        def send(_: int) -> None:
            with contextlib.suppress(OSError), socket.create_connection(address, 10) as caller:
                caller.sendall(sent)

        flood = [senders.submit(send, number) for number in range(24)]
        time.sleep(0.3)
        assert requests.get(f"{url}/live", timeout=6).status_code == 200
        for sender in flood:
            sender.result(60)


def test_head_that_grows_byte_by_byte__does_not_hold_live(upstream: Simulator, tmp_path: Path) -> None:
    sent = b"GET /live HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 16_000) for n in range(40))
    with gunicorn({**settings_for(upstream), "THREADS": "16"}, tmp_path) as (url, _), contextlib.ExitStack() as opened:
        callers = [opened.enter_context(socket.socket()) for _ in range(24)]
        for caller in callers:
            caller.connect((urlsplit(url).hostname, urlsplit(url).port))
            caller.setblocking(False)
        end = time.monotonic() + 3
        for caller in callers:
            with contextlib.suppress(OSError):
                caller.send(sent)
        while time.monotonic() < end:
            for caller in callers:
                with contextlib.suppress(OSError):
                    caller.send(b"x")
            time.sleep(0.005)
        assert requests.get(f"{url}/live", timeout=6).status_code == 200


@pytest.mark.parametrize("server", [gunicorn, functions_framework])
def test_key_with_a_slip_in_its_header__is_not_logged(
    upstream: Simulator, tmp_path: Path, server: Callable[..., Any]
) -> None:
    with server(settings_for(upstream), tmp_path) as (url, _):
        for line in (b"X-Api-Key s3cr3tKEY", b"s3cr3tKEY", b"Transfer-Encoding: s3cr3tKEY", b"Expect: s3cr3tKEY"):
            with socket.create_connection((urlsplit(url).hostname or "", urlsplit(url).port or 0), 10) as caller:
                caller.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n\r\n")
                assert caller.recv(12) != b"HTTP/1.1 200"
    logged = (tmp_path / "server.log").read_text()
    assert ("Invalid request from ip=127.0.0.1" in logged) is (server is gunicorn)
    assert "s3cr3t" not in logged


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["each worker loads", "preload"])
def test_threads_of_the_command_line__are_what_checks_are_let_in_by(
    hung: dict[str, str], tmp_path: Path, options: tuple[str, ...]
) -> None:
    with gunicorn(hung, tmp_path, "--threads=4", *options) as (url, _), ThreadPoolExecutor(6) as callers:
        asked = [callers.submit(ask, url) for _ in range(6)]
        time.sleep(0.5)
        assert requests.get(f"{url}/live", timeout=0.8).status_code == 200
        codes = [answer.result()[1].get("code") for answer in asked]
        assert (codes.count("overloaded"), codes.count(None)) == (4, 2)


@pytest.mark.parametrize("sent", [b"", HALF_A_HEAD])
def test_sigterm__waits_for_nobody_who_has_not_asked(upstream: Simulator, tmp_path: Path, sent: bytes) -> None:
    with gunicorn(settings_for(upstream), tmp_path) as (url, process), socket.socket() as caller:
        caller.connect((urlsplit(url).hostname, urlsplit(url).port))
        caller.sendall(sent)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(4) == 0


def test_file_system_that_is_read_only__is_enough(upstream: Simulator, tmp_path: Path) -> None:
    # As far as it can be had without a container: nothing is written below HOME, the settings folder or here.
    before = set(os.listdir("."))  # noqa: PTH208 -- names are all that is compared
    home = tmp_path / "home"
    home.mkdir()
    with gunicorn(settings_for(upstream), home) as (url, _):
        assert ask(url, "/live")[0] == 200
    assert [entry.name for entry in home.iterdir()] == ["server.log"]
    assert set(os.listdir(".")) - before <= {".coverage"}  # noqa: PTH208 -- as above
