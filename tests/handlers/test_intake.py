"""A body is taken off the wire once, bounded in bytes and in time."""

from __future__ import annotations

import io
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from fdi_health.errors import CheckError
from handlers.intake import BROKEN, REFUSED, take_body

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

CHUNKED = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}


def taken(
    method: str = "POST", body: bytes = b"", length: str | None = None, environ: dict[str, Any] | None = None
) -> dict[str, Any]:
    wsgi: dict[str, Any] = {"REQUEST_METHOD": method, "wsgi.input": io.BytesIO(body), **(environ or {})}
    if length is not None:
        wsgi["CONTENT_LENGTH"] = length
    wsgi["clear"] = take_body(wsgi)
    return wsgi


def left(wsgi: dict[str, Any]) -> bytes:
    body: bytes = wsgi["wsgi.input"].read()
    assert wsgi["CONTENT_LENGTH"] == str(len(body))
    return body


@pytest.mark.parametrize(
    ("length", "terminated", "expected"),
    [("5", False, b"hello"), ("3", False, b"hel"), (None, True, b"hello"), ("", True, b"hello"), (None, False, b"")],
)
def test_body__comes_by_its_length_or_its_end(length: str | None, terminated: bool, expected: bytes) -> None:
    wsgi = taken(body=b"hello", length=length, environ=CHUNKED if terminated else {})
    assert (left(wsgi), wsgi[BROKEN]) == (expected, False)


@pytest.mark.parametrize("length", ["9", "many", "9" * 30])
def test_body__shorter_than_announced_is_broken(length: str) -> None:
    wsgi = taken(body=b"hello", length=length)
    assert wsgi[BROKEN] is (length != "many")
    assert wsgi["clear"] is (length == "many")
    assert left(wsgi) == b""


def test_body__is_taken_no_further_than_is_allowed() -> None:
    assert len(left(taken(body=b"x" * 200_000, length="200000"))) == 65_537
    assert len(left(taken(body=b"x" * 200_000, environ=CHUNKED))) == 65_537


def test_body__of_other_methods_is_thrown_away() -> None:
    wsgi = taken("GET", b"hello", "5")
    assert (left(wsgi), wsgi[BROKEN], wsgi["clear"]) == (b"", False, True)
    wsgi = taken("GET", b"hell", "5")
    assert (left(wsgi), wsgi[BROKEN], wsgi["clear"]) == (b"", False, False)
    assert taken("GET")["clear"] is True
    assert taken("GET", length="0")["clear"] is True
    assert taken("DELETE", b"hello", environ=CHUNKED)["clear"] is True


def test_body__that_is_too_large_is_cleared_off_the_wire_up_to_a_point() -> None:
    assert taken(body=b"x" * 200_000, length="200000")["clear"] is True
    wsgi = taken(body=b"x" * 2_000_000, length="2000000")
    assert (len(left(wsgi)), wsgi["clear"], wsgi[BROKEN]) == (65_537, False, False)
    assert taken(body=b"x" * 2_000_000, environ=CHUNKED)["clear"] is False


def test_body__that_raises_is_broken() -> None:
    class Broken(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise RuntimeError("a server's own")

    assert taken(length="5", environ={"wsgi.input": Broken()})[BROKEN] is True


@pytest.mark.parametrize("with_socket", [True, False])
def test_body__that_does_not_come_is_given_up(with_socket: bool) -> None:
    ours, callers = socket.socketpair()
    with ours, callers, ours.makefile("rb") as stream:
        ours.settimeout(0.5)
        wsgi: dict[str, Any] = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "5", "wsgi.input": stream}
        wsgi["gunicorn.socket"] = ours if with_socket else None
        began = time.monotonic()
        take_body(wsgi, seconds=0.1)
        assert wsgi[BROKEN] is True
        assert (time.monotonic() - began < 0.4) is with_socket


def test_body__that_is_not_admitted_is_not_waited_for() -> None:
    def full() -> AbstractContextManager[None]:
        raise CheckError("overloaded", "too many")

    class Unread(io.BytesIO):
        failed = False

        def read(self, *_: object) -> bytes:
            raise AssertionError("read")

    stream = Unread()
    wsgi: dict[str, Any] = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "5", "wsgi.input": stream}
    assert take_body(wsgi, admitted=full) is False
    assert (wsgi[REFUSED].code, wsgi[BROKEN], stream.failed) == ("overloaded", False, True)


def test_body__that_is_left_on_the_wire_is_marked_for_gunicorn() -> None:
    class Marked(io.BytesIO):
        failed = False

    for body, failed in ((b"hello", False), (b"hell", True)):
        stream = Marked(body)
        wsgi: dict[str, Any] = {"REQUEST_METHOD": "GET", "CONTENT_LENGTH": "5", "wsgi.input": stream}
        assert take_body(wsgi) is not failed
        assert stream.failed is failed


class Chunked(io.BytesIO):
    """A body whose pieces are what is left of a source that ends too soon."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def read(self, size: int | None = -1, /) -> bytes:
        if not self.pieces:
            raise RuntimeError("no more data")
        self.pieces -= 1
        return b"x" * (size or 0)


@pytest.mark.parametrize(("pieces", "too_large"), [(8, False), (9, True)])
def test_body__that_breaks_off_when_it_is_too_large_already_is_too_large(pieces: int, too_large: bool) -> None:
    wsgi = taken(environ={**CHUNKED, "wsgi.input": Chunked(pieces)})
    assert (wsgi[BROKEN], wsgi["clear"]) == (not too_large, False)
    assert (len(left(wsgi)) > 65_536) is too_large


def test_chunked_body__more_are_being_read_than_may__is_overloaded_at_once() -> None:  # H07
    over, entered = threading.Event(), threading.Semaphore(0)

    class Slow(io.BytesIO):
        def read(self, *_: object) -> bytes:
            entered.release()
            over.wait(10)
            return b""

    with ThreadPoolExecutor(16) as others:
        waiting = [others.submit(taken, environ={**CHUNKED, "wsgi.input": Slow()}) for _ in range(16)]
        assert all(entered.acquire(timeout=5) for _ in range(16))
        began = time.monotonic()
        refused = taken(body=b"hello", environ=CHUNKED)
        assert (refused[REFUSED].code, refused["clear"], time.monotonic() - began < 0.2) == ("overloaded", False, True)
        unwanted = taken("GET", b"hello", environ=CHUNKED)
        assert (unwanted[REFUSED], unwanted["clear"]) == (None, False)
        assert taken(body=b"hello", length="5")["clear"] is True  # those with a length do not wait
        over.set()
        assert all(body.result()["clear"] for body in waiting)


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_body__no_thread_to_be_had__is_overloaded(monkeypatch: pytest.MonkeyPatch, method: str) -> None:  # H10
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    wsgi = taken(method, b"hello", "5")
    assert ((wsgi[REFUSED].code if wsgi[REFUSED] else None), wsgi["clear"]) == (
        "overloaded" if method == "POST" else None,
        False,
    )
