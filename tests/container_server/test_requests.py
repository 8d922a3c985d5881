"""The container's server separates requests from bodies: framing, limits and slow bodies."""

from __future__ import annotations

import contextlib
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from tests.container_server.callers import (
    DEADLINE_SECONDS,
    GET,
    POST,
    PUT,
    SILENT_BODY,
    SMUGGLED,
    Server,
    held_connections,
)
from tests.machine import assert_within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator import Simulator


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ([GET + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED), SMUGGLED], 200),
        ([PUT + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED), SMUGGLED, SMUGGLED], 405),
        ([GET + b"Content-Length: 99\r\n\r\n" + SMUGGLED, SMUGGLED], 200),
        ([GET + b"Transfer-Encoding: chunked\r\n\r\n", SMUGGLED], 200),
        ([POST + b"Content-Length: 65537\r\n\r\n", SMUGGLED], 503),
        ([POST + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED), SMUGGLED], 503),
        ([POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED], 503),
        ([POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + SMUGGLED], 503),
        ([POST + b"Content-Length: 5\r\nContent-Length: 9\r\n\r\nhello" + SMUGGLED], 400),
        ([POST + b"Content-Length: +5\r\n\r\nhello" + SMUGGLED], 400),
        ([POST + b"Content-Length: 5, 5\r\n\r\nhello" + SMUGGLED], 400),
        ([POST + b"Content-Length : 5\r\n\r\nhello" + SMUGGLED], 400),
        ([POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED], 400),
        ([POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED], 400),
        ([b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED], 400),
        ([GET + b"X-A: b\r\n c: d\r\n\r\n" + SMUGGLED], 400),
        ([PUT + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n", SMUGGLED], 405),
    ],
)  # fmt: skip
def test_bytes_after_a_body__are_not_the_next_request(
    shared_server: Server, pieces: Sequence[bytes], status: int
) -> None:
    # Behind a proxy that shares its connections the next user would get the response to it.
    received = shared_server.exchange(*pieces)
    assert [int(code) for code in re.findall(rb"HTTP/1\.[01] (\d{3}) ", received)] == [status]


@pytest.mark.parametrize("name", ["SCRIPT_NAME", "Script-Name", "PATH_INFO", "Transfer_Encoding", "Content_Length"])
def test_header_with_an_underscore__does_not_change_path_or_body(shared_server: Server, name: str) -> None:
    head, body = f"POST / HTTP/1.1\r\nHost: x\r\n{name}: 9\r\nContent-Length: 21\r\n".encode(), b'{"instance":"orders"}'
    received = shared_server.exchange((head + b"\r\n" + body) * 2 + head + b"Connection: close\r\n\r\n" + body)
    assert received.count(b"HTTP/1.1 200 ") == 3
    assert received.count(b'"total":1') == 3


def test_pipelined_requests__are_answered_in_order(shared_server: Server) -> None:
    kept = [b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target for target in (b"/live", b"/nowhere")]
    last = b"GET /?instance=orders HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    received = shared_server.exchange(b"".join(kept) + last)
    assert re.findall(rb"HTTP/1.1 (\d{3}) ", received) == [b"200", b"404", b"200"]


def test_expect_100_continue__is_answered_only_before_a_body_that_is_read(shared_server: Server) -> None:
    head = b"%s / HTTP/1.1\r\nHost: x\r\nContent-Length: 21\r\nExpect: 100-continue\r\n\r\n"
    read = shared_server.exchange(head % b"POST", b'{"instance":"orders"}')
    unread = shared_server.exchange(head % b"PUT")
    assert re.findall(rb"HTTP/1.1 (\d{3}) ", read) == [b"100", b"200"]
    assert re.findall(rb"HTTP/1.1 (\d{3}) ", unread) == [b"405"]


def test_body__cut_off__is_a_malformed_request(shared_server: Server) -> None:
    cut = b'{"fail_on":"degra'
    head = b"POST / HTTP/1.1\r\nHost: x\r\n"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(cut), cut)
    for sent, half_close in (
        (chunked, True),
        (chunked + b"zz\r\n", False),
        (head + b"Content-Length: 99\r\n\r\n" + cut, True),
    ):
        received = shared_server.exchange(sent, half_close=half_close)
        assert not received or b'"code":"malformed_query"' in received


def test_silent_bodies__above_the_limit__are_overloaded_at_once(server: Server) -> None:
    with held_connections(server, 16, SILENT_BODY):
        time.sleep(0.3)
        began = time.monotonic()
        response = requests.post(f"{server.url}/?instance=orders", json={}, timeout=10)
        assert (response.status_code, response.json()["code"]) == (503, "overloaded")
        assert response.headers["Retry-After"] == "1"
        assert_within(began, 0.3)
        assert requests.get(f"{server.url}/?instance=orders", timeout=10).status_code == 200
        assert requests.post(f"{server.url}/?instance=orders", timeout=10).status_code == 200
    time.sleep(0.3)
    assert requests.post(f"{server.url}/?instance=orders", json={}, timeout=10).status_code == 200


def test_silent_bodies__after_the_deadline__free_their_places(server: Server) -> None:
    def steered() -> int:
        return requests.post(f"{server.url}/?instance=orders", json={}, timeout=10).status_code

    with held_connections(server, 16, SILENT_BODY), requests.Session() as idle:
        assert idle.get(f"{server.url}/live", timeout=10).status_code == 200
        time.sleep(DEADLINE_SECONDS + 5.2)
        with ThreadPoolExecutor(1) as callers:
            checked = callers.submit(requests.get, f"{server.url}/?instance=crm", timeout=10)
            time.sleep(0.3)
            assert steered() == 503  # ends the silent connections
            time.sleep(0.3)
            assert steered() == 200
            assert checked.result().json()["reason"] == "crm unknown (timeout)"
        assert idle.get(f"{server.url}/live", timeout=10).status_code == 200


@pytest.mark.parametrize(("length", "statuses"), [(40_000, {400}), (70_000, {414}), (5_000_000, {414, 431, None})])
def test_request_line__too_long__is_refused(
    server: Server, upstream: Simulator, length: int, statuses: set[int | None]
) -> None:  # C60
    received = server.exchange(b"GET /?x=" + b"a" * length + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (int(received.split()[1]) if received else None) in statuses
    assert requests.get(f"{server.url}/live", timeout=5).status_code == 200
    assert upstream.requests == []


def test_endless_body__does_not_fill_the_memory(server: Server) -> None:
    worker = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()[-1]

    def kibibytes() -> int:
        return int(Path(f"/proc/{worker}/status").read_text().partition("VmRSS:")[2].split()[0])

    before = kibibytes()
    for method in ("POST", "PUT"):
        with contextlib.suppress(requests.ConnectionError):
            requests.request(method, f"{server.url}/?instance=orders", data=iter([b"x" * 1_000_000] * 100), timeout=20)
    assert kibibytes() - before < 20_000
