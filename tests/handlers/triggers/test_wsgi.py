"""What the WSGI application does to the connection of a request, as gunicorn hands it over."""

from __future__ import annotations

import io
import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug import Request
from werkzeug.test import run_wsgi_app

from fdi_health import log
from handlers.application import Application
from handlers.response import Response
from handlers.triggers.wsgi import flask_view, wsgi_application
from tests.conformance.platform import Question, environ_of

if TYPE_CHECKING:
    from collections.abc import Iterator


class Worker:
    """What gunicorn's worker has: its method handles SIGTERM."""

    def __init__(self, alive: bool) -> None:
        self.alive = alive

    def handle_exit(self, *_: object) -> None:
        self.alive = False


@pytest.fixture
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return the server's and the caller's end of a connection."""
    ours, callers = socket.socketpair()
    with ours, callers:
        callers.settimeout(0.2)
        yield ours, callers


def is_ended_after(question: Question, ours: socket.socket, callers: socket.socket, **more: Any) -> bool:
    """Answer a request, and return whether its connection carries no other response."""
    environ = environ_of(question) | {"gunicorn.socket": ours} | more
    content, status, _ = run_wsgi_app(wsgi_application(Application({})), environ)
    assert status.startswith(("200", "405"))
    ours.sendall(b"".join(content))  # before the end of the response nothing ends the connection
    getattr(content, "close", lambda: None)()  # servers call it if it is there (PEP 3333)
    assert callers.recv(65536)
    try:
        return callers.recv(1) == b""
    except TimeoutError:
        return False


@pytest.mark.parametrize(
    ("asked", "ended"),
    [
        (Question("GET", "/live"), False),
        (Question("POST", "/live", body=b"x"), False),
        (Question("POST", "/live", body=b"x" * 65_537), True),
        (Question("GET", "/live", body=b"x"), True),
    ],
)
def test_connection__with_an_unread_body__carries_no_other_response(
    connection: tuple[socket.socket, socket.socket], asked: Question, ended: bool
) -> None:
    assert is_ended_after(asked, *connection) is ended


@pytest.mark.parametrize("alive", [True, False])
def test_connection__of_a_gunicorn_that_stops__carries_no_other_response(
    connection: tuple[socket.socket, socket.socket], alive: bool
) -> None:  # C12
    before = signal.signal(signal.SIGTERM, Worker(alive).handle_exit)
    try:
        assert is_ended_after(Question("GET", "/live"), *connection) is not alive
    finally:
        signal.signal(signal.SIGTERM, before)


def test_connection__that_a_server_does_not_hand_out__is_left_alone() -> None:
    environ = environ_of(Question("PUT", "/live")) | {"CONTENT_LENGTH": "9", "wsgi.input": io.BytesIO()}
    content, status, _ = run_wsgi_app(wsgi_application(Application({})), environ)
    getattr(content, "close", lambda: None)()
    assert status.startswith("405")


@pytest.mark.parametrize(("environ", "written"), [({}, False), ({"K_SERVICE": "fdi-health"}, True)])
def test_log__of_a_process_that_may_be_frozen__is_written_before_the_response(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], written: bool
) -> None:
    flushed: list[bool] = []
    monkeypatch.setattr(log, "flush", lambda: flushed.append(True))
    run_wsgi_app(wsgi_application(Application(environ)), environ_of(Question("GET", "/live")))
    assert bool(flushed) is written


@pytest.mark.parametrize("method", ["post", "Get", "pOST"])
def test_method__in_other_letters__is_not_ours(method: str) -> None:
    # RFC 9110, 9.1: methods are case-sensitive. The body of a `post` is not read, so it must not be answered like one.
    environ = environ_of(Question(method, "/", body=b'{"fail_on":"degraded"}'))
    _, status, _ = run_wsgi_app(wsgi_application(Application({})), environ)
    assert status == "405 Method Not Allowed"


def test_flask_view__of_an_application__returns_its_response() -> None:
    view = flask_view(wsgi_application(Application({})))
    response = view(Request(environ_of(Question("GET", "/live"))))
    assert (response.status_code, response.get_data()) == (200, b'{"live":true}')


def test_response__repr__shows_the_status_alone() -> None:
    assert repr(Response(b"a body with a name", 503, {})) == "Response(503)"
