"""Only connections that wait for the rest of a request are ended."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from typing import TYPE_CHECKING

import pytest

from handlers.triggers import silent_connections
from handlers.triggers.silent_connections import end_silent_connections

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 0.2


@pytest.fixture(autouse=True)
def _swept_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silent_connections, "SWEEP_SECONDS", 0.0)
    monkeypatch.setattr(silent_connections, "_next_sweep", 0.0)


class Listener:
    def __init__(self, family: socket.AddressFamily, opened: contextlib.ExitStack) -> None:
        address = "127.0.0.1" if family == socket.AF_INET else "::1"
        self._socket = opened.enter_context(socket.create_server((address, 0), family=family))
        self._opened = opened
        self.port: int = self._socket.getsockname()[1]

    def connection(self) -> tuple[socket.socket, socket.socket]:
        """Return the server's and the caller's end of a new connection."""
        caller = self._opened.enter_context(socket.create_connection(self._socket.getsockname()[:2]))
        ours = self._opened.enter_context(self._socket.accept()[0])
        caller.settimeout(0.1)
        return ours, caller


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def listener(request: pytest.FixtureRequest) -> Iterator[Listener]:
    with contextlib.ExitStack() as opened:
        try:
            found = Listener(request.param, opened)
        except OSError:
            pytest.skip("this machine has no IPv6")
        yield found


def is_ended(caller: socket.socket) -> bool:
    try:
        return caller.recv(100) == b""
    except TimeoutError:
        return False


def test_connections__only_those_that_are_owed_a_request__are_ended(listener: Listener) -> None:
    (_, silent), (_, fresh), (answered, idle) = (listener.connection() for _ in range(3))
    for caller in (silent, idle):
        caller.sendall(b"half a request")
    time.sleep(SECONDS + 0.1)
    answered.sendall(b"x")
    assert idle.recv(1) == b"x"
    fresh.sendall(b"half a request")
    time.sleep(0.05)

    end_silent_connections(listener.port + 1, SECONDS)
    assert not is_ended(silent)

    end_silent_connections(listener.port, SECONDS)
    assert [is_ended(caller) for caller in (silent, fresh, idle)] == [True, False, False]

    again = listener.connection()  # the listening socket goes on
    again[1].sendall(b"x")
    assert again[0].recv(1) == b"x"


def test_other_descriptors__are_not_left_open_twice(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w"), contextlib.closing(select.epoll()):
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 -- names are numbers here
        end_silent_connections(1, SECONDS)
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 -- as above


def test_connections__swept_a_moment_ago__are_not_looked_at_again(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silent_connections, "SWEEP_SECONDS", 60.0)
    end_silent_connections(listener.port, SECONDS)
    _, silent = listener.connection()
    silent.sendall(b"half a request")
    time.sleep(SECONDS + 0.1)

    end_silent_connections(listener.port, SECONDS)
    assert not is_ended(silent)


def test_connections__where_the_system_does_not_list_them__are_left_alone(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listdir(_: str) -> list[str]:
        raise FileNotFoundError

    _, silent = listener.connection()
    silent.sendall(b"half a request")
    time.sleep(SECONDS + 0.1)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("os.listdir", listdir)
        end_silent_connections(listener.port, SECONDS)
    assert not is_ended(silent)
