"""A request's body is read once, bounded in bytes and in time, and only where it may steer a check."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from fdi_health.errors import CheckError
from handlers.admission_control import MAX_BODIES
from handlers.application import Application
from handlers.triggers import request_body
from handlers.triggers.request_body import end_connection, read_body

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNKED: dict[str, Any] = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}


class Unread(io.BytesIO):
    def read(self, *_: object) -> bytes:
        raise AssertionError("the body was read")


class Broken(io.BytesIO):
    def read(self, *_: object) -> bytes:
        raise RuntimeError("a server's own")


class OneByteAtATime(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 1))


def environ_of(
    stream: io.BytesIO, length: int | str | None = None, method: str = "POST", **more: Any
) -> dict[str, Any]:
    environ = {"REQUEST_METHOD": method, "wsgi.input": stream, **more}
    return environ if length is None else {**environ, "CONTENT_LENGTH": str(length)}


def outcome(environ: dict[str, Any], application: Application | None = None) -> tuple[bytes, str | None, bool]:
    """Read a body; return (the body, the error's code, whether the connection may carry another request)."""
    content, is_complete = read_body(environ, application or Application({}))
    return (b"", content.code, is_complete) if isinstance(content, CheckError) else (content, None, is_complete)


@pytest.mark.parametrize("stream", [io.BytesIO, OneByteAtATime])
@pytest.mark.parametrize(
    ("length", "more", "body"),
    [
        (5, {}, b"hello"),
        ("005", {}, b"hello"),
        ("0000000000005", {}, b"hello"),
        (None, CHUNKED, b"hello"),
        ("", CHUNKED, b"hello"),
    ],
)
def test_body__of_a_post__is_read(
    stream: Callable[[bytes], io.BytesIO], length: int | str | None, more: dict[str, Any], body: bytes
) -> None:
    assert outcome(environ_of(stream(b"hello"), length, **more)) == (body, None, True)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
@pytest.mark.parametrize("length", [None, "", "0", "00"])
def test_body__that_is_not_announced__is_empty(method: str, length: str | None) -> None:
    assert outcome(environ_of(Unread(), length, method)) == (b"", None, True)


@pytest.mark.parametrize(
    ("method", "length", "more"),
    [
        ("GET", 5, {}),
        ("PUT", 5, {}),
        ("DELETE", None, CHUNKED),
        ("POST", 65_537, {}),  # E20
        ("POST", "9" * 5000, {}),
        ("POST", "many", {}),
        ("POST", "-1", {}),
        ("POST", "\u0665", {}),
        ("POST", None, {"HTTP_TRANSFER_ENCODING": "chunked"}),  # PEP 3333: the server marks no end
    ],
)
def test_body__that_cannot_steer__is_not_read_and_ends_the_connection(
    method: str, length: int | str | None, more: dict[str, Any]
) -> None:
    assert outcome(environ_of(Unread(), length, method, **more)) == (b"", None, False)


@pytest.mark.parametrize(
    ("stream", "length", "more"), [(io.BytesIO(b"hell"), 5, {}), (Broken(), 5, {}), (Broken(), None, CHUNKED)]
)
def test_body__that_did_not_arrive_whole__is_broken(
    stream: io.BytesIO, length: int | None, more: dict[str, Any]
) -> None:
    assert outcome(environ_of(stream, length, **more)) == (b"", "malformed_query", False)


@pytest.mark.parametrize("cut", [b"{", b' \r\n{"fail_on":"degra', b'\xef\xbb\xbf{"instance":"a"', b'{"a":' * 2_000])
def test_chunks__that_end_within_an_object__are_broken(cut: bytes) -> None:
    # granian treats a body with missing chunks like a complete one.
    assert outcome(environ_of(io.BytesIO(cut), **CHUNKED)) == (b"", "malformed_query", False)
    # A body of a known length is complete, and then it is somebody's webhook.
    assert outcome(environ_of(io.BytesIO(cut), len(cut))) == (cut, None, True)


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"null", b"[", b"a=b", b'{"instance":"a"} \r\n', b'\xef\xbb\xbf{"a":1}', b'{"a":1,"a":2}', b"\xff"],
)
def test_chunks__that_are_complete_or_no_object__are_read(body: bytes) -> None:
    assert outcome(environ_of(io.BytesIO(body), **CHUNKED)) == (body, None, True)


def test_chunks__of_more_than_64_kib__are_read_no_further_and_end_the_connection() -> None:
    stream = io.BytesIO(b"{" * 200_000)
    assert outcome(environ_of(stream, **CHUNKED)) == (b"", None, False)
    assert stream.tell() == 65_537
    assert outcome(environ_of(io.BytesIO(b"{" * 65_536), 65_536)) == (b"{" * 65_536, None, True)


@pytest.mark.parametrize("more", [{"CONTENT_LENGTH": "5"}, CHUNKED])
def test_body__that_does_not_come__is_broken_at_the_time_limit(more: dict[str, Any]) -> None:
    ours, callers = socket.socketpair()
    with ours, callers, ours.makefile("rb") as stream:
        environ = {"REQUEST_METHOD": "POST", "wsgi.input": stream, "gunicorn.socket": ours, **more}
        callers.sendall(b"{")
        began = time.monotonic()
        content, is_complete = read_body(environ, Application({}), seconds=0.2)
        assert isinstance(content, CheckError)
        assert (content.code, is_complete) == ("malformed_query", False)
        assert 0.15 < time.monotonic() - began < 1.0
        assert callers.recv(1) == b""


def test_body__that_came_in_time__leaves_the_connection_open() -> None:
    ours, callers = socket.socketpair()
    with ours, callers:
        environ = environ_of(io.BytesIO(b"hello"), 5) | {"gunicorn.socket": ours}
        assert read_body(environ, Application({}), seconds=0.1) == (b"hello", True)
        time.sleep(0.2)
        ours.sendall(b"response")
        assert callers.recv(10) == b"response"


def test_body__no_thread_for_its_time_limit__is_overloaded(monkeypatch: pytest.MonkeyPatch) -> None:  # H10
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    application = Application({})
    environ = environ_of(Unread(), 5) | {"gunicorn.socket": None}
    assert outcome(environ, application) == (b"", "overloaded", False)
    monkeypatch.undo()
    assert outcome(environ_of(io.BytesIO(b"hello"), 5), application) == (b"hello", None, True)


@pytest.mark.parametrize(("threads", "most"), [("64", MAX_BODIES), ("16", 4), ("4", 1), ("1", 1)])
def test_bodies__more_than_may_be_waited_for__are_overloaded_at_once(threads: str, most: int) -> None:  # H07
    application = Application({"THREADS": threads})
    over, waiting = threading.Event(), threading.Semaphore(0)

    class Silent(io.BytesIO):
        def read(self, *_: object) -> bytes:
            waiting.release()
            over.wait(10)
            return b""

    readers = [threading.Thread(target=read_body, args=(environ_of(Silent(), 5), application)) for _ in range(most)]
    for reader in readers:
        reader.start()
    assert all(waiting.acquire(timeout=10) for _ in readers)

    environ = environ_of(Unread(), 5)
    assert outcome(environ, application) == (b"", "overloaded", False)

    over.set()
    for reader in readers:
        reader.join(10)
    assert outcome(environ_of(io.BytesIO(b"hello"), 5), application) == (b"hello", None, True)


@pytest.mark.parametrize(
    ("more", "ended"),
    [
        ({"SERVER_PORT": "8080"}, [(8080, 7.0)]),
        ({"SERVER_PORT": "8080", "gunicorn.socket": None}, []),
        ({"SERVER_PORT": "x"}, []),
        ({}, []),
    ],
)
def test_body__that_is_refused__ends_silent_connections_of_a_server_that_does_not(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], ended: list[tuple[int, float]]
) -> None:
    found: list[tuple[int, float]] = []
    monkeypatch.setattr(request_body, "end_silent_connections", lambda *args: found.append(args))
    settings = {"FDI_REGION": "cn-north-4", "FDI_PROJECT_ID": "p", "FDI_INSTANCES": "a", "FDI_TOKEN": "env://T"}
    for application in (
        Application({**settings, "FDI_DEADLINE_SECONDS": "2"}),
        Application({}),
    ):  # broken settings check nothing
        with contextlib.ExitStack() as held:
            for _ in range(MAX_BODIES):
                held.enter_context(application.admission.body())
            assert outcome(environ_of(Unread(), 5) | more, application) == (b"", "overloaded", False)
    assert found == ended


@pytest.mark.parametrize("connection", [None, "a name", "closed"])
def test_end_connection__without_an_open_socket__does_nothing(connection: str | None) -> None:
    closed = socket.socket()
    closed.close()
    end_connection({"gunicorn.socket": closed if connection == "closed" else connection})
