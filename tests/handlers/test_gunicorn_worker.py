"""gunicorn's worker with our bounds: whatever callers do, threads come back and the main loop goes on."""

from __future__ import annotations

import contextlib
import errno
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
from gunicorn.workers.gthread import ThreadWorker

from handlers import gunicorn_worker
from handlers.gunicorn_worker import Limits, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

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


def made(*listeners: socket.socket) -> Worker:
    application = _Application()
    return Worker(0, os.getppid(), listeners, application, 30, application.cfg, Logger(application.cfg))


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
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Served]:
    """Run a worker as gunicorn does, in a thread, its bounds a tenth of their length and its loop's second shorter."""
    for bound in ("HEAD_SECONDS", "ANSWER_SECONDS", "PARTING_SECONDS"):
        monkeypatch.setattr(gunicorn_worker, bound, 0.6)
    listener = socket.create_server(("127.0.0.1", 0))
    worker = made(listener)
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


def test_head_that_is_too_large__is_cut(served: _Served) -> None:
    caller = served.connect()
    with contextlib.suppress(ConnectionError):
        caller.sendall(b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 8000) for n in range(9)))
    assert ended(caller)
    assert served.worker._heads == {}


def test_connection_that_can_not_be_begun__is_closed(served: _Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Any) -> None:
        raise OSError("no handshake")

    monkeypatch.setattr("gunicorn.workers.gthread.TConn.init", broken)
    assert ended(served.connect(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))


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


def test_caller_that_asks_again_before_the_answer__gets_one_answer(served: _Served) -> None:
    hasty = served.connect(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 5)
    answers = b""
    while piece := hasty.recv(65536):
        answers += piece
    assert answers.count(b"HTTP/1.1 200 OK") == 1


def test_caller_that_has_not_read_its_answer__is_not_asked_what_else(
    served: _Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gunicorn_worker, "_unread", lambda _: 1)
    deaf = served.connect(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert deaf.recv(65536).startswith(b"HTTP/1.1 200 OK")
    time.sleep(0.1)
    deaf.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert ended(deaf)


def test_unread__are_the_bytes_that_have_not_arrived() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(listener.getsockname())
        ours, _ = listener.accept()
        with ours:
            assert gunicorn_worker._unread(ours) == 0
            ours.setblocking(False)
            ours.send(b"x" * 100_000)
            time.sleep(0.1)
            assert gunicorn_worker._unread(ours) > 0
        assert gunicorn_worker._unread(listener) == 0  # nobody knows


def test_silent_callers__make_room_for_new_ones(served: _Served) -> None:
    silent = [served.connect() for _ in range(20)]
    assert served.ask() == 200
    assert ended(silent[0])


def test_descriptors_that_run_out__end_the_oldest_idle_connection_and_not_the_worker(
    served: _Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = served.connect()
    time.sleep(0.1)
    accept, failures = ThreadWorker.accept, [errno.EMFILE, errno.ENFILE]

    def scarce(worker: Worker, listener: Any) -> None:
        if failures:
            raise OSError(failures.pop(), "too many")
        accept(worker, listener)

    monkeypatch.setattr(ThreadWorker, "accept", scarce)
    assert served.ask() == 200
    assert (ended(silent), failures) == (True, [])


def test_other_fault_while_a_caller_is_let_in__is_the_server_s() -> None:
    class Broken:
        def accept(self) -> None:
            raise OSError(errno.EINVAL, "not a listener")

    worker = made()
    with pytest.raises(OSError, match="not a listener"):
        worker.accept(Broken())
    worker.tmp.close()


def test_threads__are_told_to_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THREADS", "64")
    monkeypatch.setattr(ThreadWorker, "init_process", lambda _: None)
    worker = made()
    worker.init_process()
    worker.tmp.close()
    assert os.environ["THREADS"] == str(THREADS)


def test_answer_that_the_server_gives_itself__has_a_limit_too(served: _Served, monkeypatch: pytest.MonkeyPatch) -> None:
    # `100 Continue` is sent before the application is asked, and may find no room.
    seen: list[bool] = []
    handle_request = ThreadWorker.handle_request

    def looking(worker: Worker, req: Any, conn: Any) -> Any:
        seen.append(conn.sock in worker._limits._limits)
        return handle_request(worker, req, conn)

    monkeypatch.setattr(ThreadWorker, "handle_request", looking)
    assert served.ask() == 200
    assert seen == [True]


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n"])
def test_worker_that_stops__gives_who_has_not_asked_a_second(
    served: _Served, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(gunicorn_worker, "HEAD_SECONDS", 20.0)
    caller = served.connect(sent)
    time.sleep(0.1)
    served.worker.alive = False
    assert ended(caller)


def test_limits_of_one_kind__can_be_shortened_and_not_lengthened() -> None:
    kinds = ((9.0, socket.SHUT_RD), (0.5, socket.SHUT_RD), (9.0, socket.SHUT_RDWR))
    with contextlib.ExitStack() as opened:
        now, ours = 0.0, []
        limits = Limits(lambda: now)
        for seconds, how in kinds:
            one, other = socket.socketpair()
            opened.enter_context(other)
            ours.append(opened.enter_context(one))
            one.setblocking(False)
            limits.set(one, seconds, how)
        limits.hurry(1.0, socket.SHUT_RD)
        for now, cut in ((0.5, [False, True, False]), (1.0, [True, True, False]), (9.0, [True, True, True])):  # noqa: B007 -- the clock reads it
            limits.enforce()
            assert [is_cut(connection) for connection in ours] == cut


def is_cut(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False


@pytest.fixture
def limited() -> Iterator[tuple[socket.socket, Limits, list[float]]]:
    """Return a connection with a limit of 8 seconds on reading, its limits, and the moment by their clock."""
    ours, theirs = socket.socketpair()
    now = [100.0]
    with ours, theirs:
        ours.setblocking(False)
        limits = Limits(lambda: now[0])
        limits.set(ours, 8.0, socket.SHUT_RD)
        yield ours, limits, now


def test_limit__cuts_when_it_is_over_and_not_before(limited: tuple[socket.socket, Limits, list[float]]) -> None:
    ours, limits, now = limited
    now[0] = 107.9
    limits.enforce()
    with pytest.raises(BlockingIOError):
        ours.recv(1)
    now[0] = 108.0
    limits.enforce()
    assert ours.recv(1) == b""
    ours.sendall(b"an answer may still be sent")


def test_limit__that_was_lifted_cuts_nothing(limited: tuple[socket.socket, Limits, list[float]]) -> None:
    ours, limits, now = limited
    limits.lift(ours)
    limits.lift(ours)
    now[0] = 200.0
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
