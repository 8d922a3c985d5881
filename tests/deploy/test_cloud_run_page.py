"""docs/deploy/cloud-run.md: the responses of functions-framework and gunicorn themselves are as the page says."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests

from tests.conformance.platform import settings_for
from tests.servers import ROOT, free_port, functions_framework, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator import Simulator

PAGE = (ROOT / "docs" / "deploy" / "cloud-run.md").read_text().partition("## functions-framework\n")[2]
WRAPPER = "import main\n\n\ndef guarded(request):\n    return main.health(request)\n"


@pytest.fixture
def wrapped(upstream: Simulator, tmp_path: Path) -> Iterator[str]:
    """Return the URL of somebody's function that calls `health`."""
    (tmp_path / "wrapper.py").write_text(WRAPPER)
    port = free_port()
    program = Path(sys.executable).parent / "functions-framework"
    command = [
        str(program),
        "--target=guarded",
        f"--source={tmp_path}/wrapper.py",
        "--host=127.0.0.1",
        f"--port={port}",
    ]
    settings = {**settings_for(upstream), "PYTHONPATH": str(ROOT)}
    with serving(command, settings, tmp_path, port) as (url, _):
        yield url


def head_of(url: str, request_line: str) -> str:
    """Send a request line as it is and return the head of the response."""
    address = urlsplit(url).hostname or "", urlsplit(url).port or 0
    with socket.create_connection(address, 10) as connection:
        connection.sendall(f"{request_line}\r\nHost: host\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")[0].decode()


@pytest.mark.parametrize("path", ["/robots.txt", "/favicon.ico"])
def test_wrapped_function__two_paths__are_served_by_functions_framework(wrapped: str, path: str) -> None:  # E12, E18
    assert path in PAGE
    answer = requests.get(f"{wrapped}{path}", timeout=10)
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")


def test_wrapped_function__empty_path__is_served_by_functions_framework(wrapped: str) -> None:  # E11
    assert "308" in PAGE
    assert head_of(wrapped, "GET http://host HTTP/1.1").startswith("HTTP/1.1 308 ")
    # With a path there is no redirect.
    assert head_of(wrapped, "GET http://host/?instance=orders HTTP/1.1").startswith("HTTP/1.1 200 ")


def test_invalid_request_line__gets_gunicorns_own_400(upstream: Simulator, tmp_path: Path) -> None:
    assert "GET ?instance=a HTTP/1.1" in PAGE
    with functions_framework(settings_for(upstream), tmp_path) as (url, _):
        head = head_of(url, "GET ?instance=a HTTP/1.1")
    assert head.startswith("HTTP/1.1 400 ")
    assert "Content-Type: text/html" in head
