"""functions-framework and the container's server, started as the platforms start them: what both guarantee."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests

from simulator import Simulator
from tests.conformance.platform import PlatformSuite, settings_for
from tests.conftest import PROJECT_ID, TOKEN
from tests.platform_servers import over_http
from tests.servers import container_server, functions_framework

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conformance.platform import EntryPoint


class TestFunctionsFramework(PlatformSuite):
    """The console script; E12, E18: no path is answered by the framework itself."""

    @pytest.fixture(scope="class")
    @classmethod
    def entry_point(cls, upstream: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EntryPoint]:
        with functions_framework(settings_for(upstream), tmp_path_factory.mktemp("home")) as (url, _):
            yield over_http(url)


class TestContainer(PlatformSuite):
    """The container's server."""

    @pytest.fixture(scope="class")
    @classmethod
    def entry_point(cls, upstream: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EntryPoint]:
        with container_server(settings_for(upstream), tmp_path_factory.mktemp("home")) as (url, _):
            yield over_http(url)


@pytest.fixture(scope="module", params=[container_server, functions_framework])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a server that tests share."""
    with (
        Simulator(tokens=[TOKEN], project_id=PROJECT_ID) as simulator,
        request.param(settings_for(simulator), tmp_path_factory.mktemp("home")) as (url, _),
    ):
        yield url


def test_late_body__is_not_the_next_request(server: str) -> None:
    # Behind a proxy that shares its connections the next user would get the response to it.
    smuggled = b"GET /?fail_on=none HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.socket() as shared:
        shared.settimeout(10)
        shared.connect((urlsplit(server).hostname, urlsplit(server).port))
        shared.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(smuggled))
        time.sleep(0.15)
        shared.sendall(smuggled)
        time.sleep(0.15)
        with contextlib.suppress(ConnectionError):
            shared.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        with contextlib.suppress(ConnectionError):
            while piece := shared.recv(65536):
                received += piece
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"live" in received


@pytest.mark.parametrize("size", [5, 70_000, 5_000_000])  # E20
def test_chunked_body__is_read_up_to_the_limit(server: str, size: int) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(size // 1000):
            yield b"x" * 1000
        yield b"x" * (size % 1000)

    with contextlib.suppress(requests.ConnectionError):  # the server may close the connection or stop reading
        response = requests.post(f"{server}/", data=body(), timeout=3)
        assert response.headers["FDI-Verdict"] == "unhealthy"
    assert requests.get(f"{server}/live", timeout=10).status_code == 200


@pytest.mark.parametrize("start", [container_server, functions_framework])
def test_key_in_a_malformed_header__is_not_logged(
    upstream: Simulator, tmp_path: Path, start: Callable[..., Any]
) -> None:
    with start(settings_for(upstream), tmp_path) as (url, _):
        for line in (
            b"X-Api-Key s3cr3tKEY",
            b"s3cr3tKEY",
            b"Transfer-Encoding: s3cr3tKEY",
            b"Content-Length: s3cr3tKEY",
        ):
            with socket.create_connection((urlsplit(url).hostname or "", urlsplit(url).port or 0), 10) as caller:
                caller.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n\r\n")
                assert caller.recv(12) != b"HTTP/1.1 200"
    # Only now, when the server has ended, is its log complete.
    assert "s3cr3t" not in (tmp_path / "server.log").read_text()
