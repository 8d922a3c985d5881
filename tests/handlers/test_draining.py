"""A stopping gunicorn worker is noticed, and its callers' connections are let go."""

from __future__ import annotations

import signal
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from werkzeug import Request
from werkzeug.test import EnvironBuilder

import main
from fdi_health import log
from handlers import draining, wsgi
from handlers.process import Process

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Worker:
    """What a gunicorn worker looks like from here."""

    alive: bool = True

    def handle_exit(self, *_: object) -> None:
        self.alive = False


@pytest.fixture
def worker() -> Iterator[Worker]:
    before = signal.getsignal(signal.SIGTERM)
    ours = Worker()
    signal.signal(signal.SIGTERM, ours.handle_exit)
    yield ours
    signal.signal(signal.SIGTERM, before)


def request(**environ: object) -> Request:
    return Request(EnvironBuilder("/live", environ_overrides=environ).get_environ())


def test_stopping__is_known_from_the_worker_alone(worker: Worker) -> None:
    assert draining.is_stopping() is False
    signal.raise_signal(signal.SIGTERM)
    assert draining.is_stopping() is True


def test_stopping__is_never_true_without_a_worker() -> None:
    assert draining.is_stopping() is False


def test_answer_of_a_stopping_worker__ends_the_callers_connection(worker: Worker) -> None:
    ours, callers = socket.socketpair()
    with ours, callers:
        worker.alive = False
        assert main.health(request(**{"gunicorn.socket": ours})).status_code == 200
        assert ours.recv(1) == b""
        ours.close()
        draining.release(request(**{"gunicorn.socket": ours}))


def test_release__without_a_socket_does_nothing() -> None:
    draining.release(request())


def test_answer_before_a_body_that_is_still_to_come__is_the_last_on_its_connection() -> None:
    ours, callers = socket.socketpair()
    with ours, callers, ours.makefile("rb") as stream:
        environ = {"gunicorn.socket": ours, "CONTENT_LENGTH": "9", "wsgi.input": stream}
        answer = main.health(request(**environ))
        assert answer.status_code == 200
        callers.setblocking(False)
        with pytest.raises(BlockingIOError):
            callers.recv(1)  # not before the answer is out
        answer.close()
        assert callers.recv(1) == b""


def test_answer_on_a_platform_that_freezes_the_process__comes_after_its_log_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flushed: list[bool] = []
    monkeypatch.setattr(log, "flush", lambda: flushed.append(True))
    for environ in ({}, {"K_SERVICE": "fdi-health"}):
        wsgi.answer(request(), Process(environ))
    assert flushed == [True]
