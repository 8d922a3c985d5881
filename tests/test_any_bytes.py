"""Arbitrary bytes: as the upstream's whole response, and as a request to the running server."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator import Simulator
from simulator.responses import raw_response
from tests.conformance.platform import settings_for
from tests.conftest import PROJECT_ID, TOKEN
from tests.servers import functions_framework

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Function

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
PIECES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 ",
        b"Content-Length: 0\r\n",
        b"Content-Length: 400\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"0\r\n\r\n",
        b"5\r\nhello\r\n",
        b'{"common_task_details":',
        b"FDI-OK",
    ]
)
ANYTHING = st.binary(max_size=60) | st.lists(PIECES | st.binary(max_size=12), max_size=8).map(b"".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=ANYTHING, with_head=st.booleans())
def test_upstream_response__of_any_bytes__is_never_healthy(
    function: Callable[..., Function], data: bytes, with_head: bool
) -> None:
    checked = function(raw_response((HEAD if with_head else b"") + data, "close"), FDI_DEADLINE_SECONDS="0.4")
    response = checked.get("/?explain=none")
    assert response.get_json()["status"] == "unknown"
    assert "FDI-OK" not in response.text
    checked.process.close()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("home")
    with (
        Simulator(tokens=[TOKEN], project_id=PROJECT_ID) as upstream,
        functions_framework(settings_for(upstream), home) as (served, _),
    ):
        yield served


REQUEST_PIECES = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"POST /health HTTP/1.1\r\n",
        b"HEAD /metrics?format=",
        b"Host: x\r\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"X-Api-Key: ",
        b"Authorization: Basic ",
        b"\r\n",
        b"\r\n\r\n",
        b'{"instance":"orders"}',
        b"0\r\n\r\n",
        b" HTTP/1.1\r\n",
    ]
)
REQUESTS = st.binary(max_size=80) | st.lists(REQUEST_PIECES | st.binary(max_size=12), max_size=10).map(b"".join)


@given(data=REQUESTS)
def test_server__after_any_bytes__still_serves(url: str, data: bytes) -> None:
    parts = urlsplit(url)
    place = str(parts.hostname), int(parts.port or 0)
    # The server may hang up at once on what it takes for nonsense.
    with socket.create_connection(place, timeout=5) as connection, contextlib.suppress(OSError):
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(5)
        while connection.recv(65536):
            pass
    assert requests.get(f"{url}/live", timeout=5).json() == {"live": True}
