"""gunicorn's worker with our bounds: whatever callers do, threads come back and the main loop goes on."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from handlers import gunicorn_worker
from handlers.gunicorn_worker import Limits, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

THREADS = 2
LARGE = b"x" * 16_000_000


class _Application(BaseApplication):
    """Answers /large with more than any socket holds, everything else with a byte, /later in a while."""

    def load_config(self) -> None:
        for name, value in {"threads": THREADS, "keepalive": 5, "worker_connections": 8}.items():
            self.cfg.set(name, value)

    def load(self) -> Callable[..., Iterable[bytes]]:
        def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            if environ["PATH_INFO"] == "/later":
                time.sleep(0.3)
            body = LARGE if environ["PATH_INFO"] == "/large" else b"x"
            start_response("200 OK", [("Content-Length", str(len(body)))])
            return [body]

        return application


class _Served:
    def __init__(self, worker: Worker, port: int) -> None:
        self.worker = worker
        self.port = port
        self._connections: list[socket.socket] = []

    def connect(self, sent: bytes = b"") -> socket.socket:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(10)
        connection.connect(("127.0.0.1", self.port))
        connection.sendall(sent)
        self._connections.append(connection)
        return connection

    def ask(self) -> int:
        return requests.get(f"http://127.0.0.1:{self.port}/", timeout=10).status_code

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[_Served]:
    """Run a worker as gunicorn does, in a thread, its bounds a tenth of their length and its loop's second shorter."""
    for bound in ("HEAD_SECONDS", "ANSWER_SECONDS", "PARTING_SECONDS"):
        monkeypatch.setattr(gunicorn_worker, bound, 0.6)
    application = _Application()
    listener = socket.create_server(("127.0.0.1", 0))
    cfg = application.cfg
    cfg.set("worker_tmp_dir", str(tmp_path))
    worker = Worker(0, os.getppid(), [listener], application, 30, cfg, Logger(cfg))
    worker.tpool = worker.get_thread_pool()
    worker.poller = selectors.DefaultSelector()
    worker.method_queue.init()
    worker.load_wsgi()
    loop = threading.Thread(target=worker.run)
    loop.start()
    served = _Served(worker, listener.getsockname()[1])
    try:
        yield served
    finally:
        served.close()
        worker.alive = False
        loop.join(20)
        worker.tmp.close()
        assert not loop.is_alive()
        assert worker.nr_conns == 0


def ended(connection: socket.socket) -> bool:
    """Read until the other side hangs up, however it does."""
    with contextlib.suppress(ConnectionError):
        while connection.recv(65536):
            pass
    return True


def test_worker__answers(served: _Served) -> None:
    assert served.ask() == 200


def test_kept_connection__takes_the_next_request(served: _Served) -> None:
    with requests.Session() as session:
        assert [session.get(f"http://127.0.0.1:{served.port}/").status_code for _ in range(3)] == [200, 200, 200]
    assert served.worker.nr == 3


@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_heads_that_never_end__give_their_threads_back(served: _Served, sent: bytes) -> None:
    slow = [served.connect(sent) for _ in range(2 * THREADS)]
    assert served.ask() == 200
    assert all(ended(connection) for connection in slow)


def test_head_that_comes_byte_by_byte__is_cut_all_the_same(served: _Served) -> None:
    slow = served.connect()
    end = time.monotonic() + 10
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < end:
            slow.sendall(b"x")
            time.sleep(0.05)
    assert time.monotonic() < end


def test_callers_that_send_nothing__take_no_thread_and_are_let_go(served: _Served) -> None:
    silent = [served.connect() for _ in range(2 * THREADS)]
    began = time.monotonic()
    assert served.ask() == 200
    assert time.monotonic() - began < 2.0
    assert all(ended(connection) for connection in silent)


def test_callers_that_do_not_read__give_their_threads_back(served: _Served) -> None:
    deaf = [served.connect(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(2 * THREADS)]
    assert served.ask() == 200
    assert all(ended(connection) for connection in deaf)


def test_caller_that_reads__gets_the_whole_of_a_large_answer(served: _Served) -> None:
    answer = requests.get(f"http://127.0.0.1:{served.port}/large", timeout=10)
    assert len(answer.content) == len(LARGE)


def test_callers_that_do_not_hang_up__do_not_hold_the_loop(served: _Served) -> None:
    lingering = [served.connect(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") for _ in range(4)]
    time.sleep(0.2)
    began = time.monotonic()
    assert served.ask() == 200
    assert time.monotonic() - began < 2.0
    for connection in lingering:
        assert ended(connection)
        connection.sendall(b"x")  # it may say something yet: what ends it is the bound
    end = time.monotonic() + 10
    while served.worker.nr_conns > 1 and time.monotonic() < end:
        time.sleep(0.05)
    assert time.monotonic() < end


def test_caller_that_hangs_up__is_gone_at_once(served: _Served) -> None:
    caller = served.connect(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert ended(caller)
    caller.close()
    end = time.monotonic() + 10
    while served.worker.nr_conns and time.monotonic() < end:
        time.sleep(0.01)
    assert time.monotonic() < end


@pytest.mark.parametrize("when", ["before the answer", "behind the answer"])
def test_caller_that_breaks_off__leaves_nothing(served: _Served, when: str) -> None:
    caller = served.connect(b"GET /later HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    if when == "behind the answer":
        assert ended(caller)
    else:
        time.sleep(0.1)
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # what closes it is a reset
    caller.close()
    end = time.monotonic() + 10
    while served.worker.nr_conns and time.monotonic() < end:
        time.sleep(0.01)
    assert time.monotonic() < end


def test_kept_connections__make_room_for_new_callers(served: _Served) -> None:
    kept = [served.connect(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(8)]
    assert served.ask() == 200
    assert ended(kept[0])


def test_limit__cuts_when_it_is_over_and_not_before() -> None:
    ours, theirs = socket.socketpair()
    now = 100.0
    with ours, theirs:
        ours.setblocking(False)
        limits = Limits(lambda: now)
        limits.set(ours, 8.0, socket.SHUT_RD)
        now = 107.9
        limits.enforce()
        with pytest.raises(BlockingIOError):
            ours.recv(1)
        now = 108.0
        limits.enforce()
        assert ours.recv(1) == b""
        ours.sendall(b"an answer may still be sent")


def test_limit__that_was_lifted_cuts_nothing() -> None:
    ours, theirs = socket.socketpair()
    now = 100.0
    with ours, theirs:
        ours.setblocking(False)
        limits = Limits(lambda: now)
        limits.set(ours, 8.0, socket.SHUT_RDWR)
        limits.lift(ours)
        limits.lift(ours)
        now = 200.0
        limits.enforce()
        with pytest.raises(BlockingIOError):
            ours.recv(1)


def test_limit__of_a_closed_connection_harms_nobody() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        limits = Limits(lambda: 0.0)
        limits.set(ours, 0.0, socket.SHUT_RD)
        ours.close()
        limits.enforce()
