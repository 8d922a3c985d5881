"""functions-framework and gunicorn, started as the platforms start them: the suite, and what happens when they stop."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests

from simulator import Simulator
from tests.conformance.platform import PlatformSuite, settings_for
from tests.conftest import PROJECT_ID, TOKEN
from tests.platform_servers import over_http
from tests.secret_manager_server import SecretManager
from tests.servers import functions_framework, gunicorn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conformance.platform import WayIn


class _OneServerForAll(PlatformSuite):
    """One upstream and one server for the whole suite."""

    @pytest.fixture(scope="class")
    @classmethod
    def upstream(cls) -> Iterator[Simulator]:
        with Simulator(tokens=[TOKEN], project_id=PROJECT_ID) as simulator:
            yield simulator


class TestFunctionsFramework(_OneServerForAll):
    """The console script, which answers two paths by itself."""

    not_ours = frozenset({"GET /robots.txt", "GET /favicon.ico"})

    @pytest.fixture(scope="class")
    @classmethod
    def way_in(cls, upstream: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WayIn]:
        with functions_framework(settings_for(upstream), tmp_path_factory.mktemp("home")) as (url, _):
            yield over_http(url)


class TestGunicorn(_OneServerForAll):
    """gunicorn with the container's settings."""

    @pytest.fixture(scope="class")
    @classmethod
    def way_in(cls, upstream: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WayIn]:
        with gunicorn(settings_for(upstream), tmp_path_factory.mktemp("home")) as (url, _):
            yield over_http(url)


@pytest.fixture
def hung(upstream: Simulator) -> dict[str, str]:
    """Return settings whose instance `hung` is answered after a second."""
    settings = settings_for(upstream)
    upstream.play("id-crm", "silent")
    return {**settings, "FDI_DEADLINE_SECONDS": "1.5", "FDI_ANONYMOUS": "details"}


def ask(url: str, path: str = "/") -> tuple[int, dict[str, object]]:
    response = requests.get(f"{url}{path}", timeout=20)
    document: dict[str, object] = response.json()
    return response.status_code, document


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["each worker loads", "preload"])
def test_two_workers__read_a_secret_over_grpc(upstream: Simulator, tmp_path: Path, options: tuple[str, ...]) -> None:
    # A process that forks with a gRPC channel open breaks its children: nothing is opened before the first request.
    with SecretManager(payload=TOKEN.encode()) as manager:
        settings = {
            **settings_for(upstream),
            "FDI_TOKEN": "gcpsecretmanager://projects/acme/secrets/roma-token/versions/latest",
            "SECRET_MANAGER_EMULATOR_HOST": manager.host,
            "WORKERS": "2",
        }
        with gunicorn(settings, tmp_path, *options) as (url, _), ThreadPoolExecutor(16) as callers:
            found = list(callers.map(lambda _: ask(url, "/?instance=orders"), range(40)))
        assert {status for status, _ in found} == {200}
        assert 1 <= len(manager.names) <= 2  # one read for each worker that was asked


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm__lets_the_answers_under_way_out(hung: dict[str, str], tmp_path: Path, workers: str) -> None:  # C12
    with gunicorn({**hung, "WORKERS": workers}, tmp_path) as (url, process), ThreadPoolExecutor(12) as callers:
        waiting = [callers.submit(ask, url, "/?instance=crm,orders") for _ in range(12)]
        time.sleep(0.7)
        process.send_signal(signal.SIGTERM)
        told = time.monotonic()
        answers = [answer.result() for answer in waiting]
        process.wait(10)
        assert time.monotonic() - told < 1.5 + 1
    assert {status for status, _ in answers} == {503}
    assert {str(document["reason"]) for _, document in answers} == {"crm unknown (timeout)"}


def test_worker_that_is_replaced__loses_no_answer(hung: dict[str, str], tmp_path: Path) -> None:
    settings = {**hung, "MAX_REQUESTS": "10", "FDI_DEADLINE_SECONDS": "0.5", "WORKERS": "2"}
    with gunicorn(settings, tmp_path) as (url, _), ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda _: ask(url, "/?instance=crm"), range(80)))
    assert {status for status, _ in answers} == {503}
    assert (tmp_path / "server.log").read_text().count("Autorestarting worker") >= 2


@pytest.mark.parametrize("target", [f"/?x={'a' * 9000}", f"/{'a' * 9000}"])
def test_line_that_is_too_long__is_refused(upstream: Simulator, tmp_path: Path, target: str) -> None:  # C60
    with gunicorn(settings_for(upstream), tmp_path) as (url, _):
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
        with contextlib.closing(connection):
            connection.request("GET", target)
            assert connection.getresponse().status in (400, 414)
        assert ask(url, "/live")[0] == 200
    assert upstream.requests == []


HALF_A_HEAD = b"GET /live HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        HALF_A_HEAD,
        (HALF_A_HEAD.replace(b"live", b"openapi.json") + b"\r\n") * 200,
        HALF_A_HEAD + b"Connection: close\r\n\r\n",
    ],
    ids=["send half a head", "read no answer", "do not hang up"],
)
def test_more_callers_than_threads__that_hold_what_they_can_do_not_hold_live(
    upstream: Simulator, tmp_path: Path, sent: bytes
) -> None:
    settings = {**settings_for(upstream), "THREADS": "16"}
    with gunicorn(settings, tmp_path) as (url, _), contextlib.ExitStack() as open_connections:
        for _ in range(32):
            caller = open_connections.enter_context(socket.socket())
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            caller.connect((urlsplit(url).hostname, urlsplit(url).port))
            caller.setblocking(False)
            caller.send(sent)
        time.sleep(3.0)
        assert requests.get(f"{url}/live", timeout=20).status_code == 200


def test_file_system_that_is_read_only__is_enough(upstream: Simulator, tmp_path: Path) -> None:
    # As far as it can be had without a container: nothing is written below HOME, the settings folder or here.
    before = set(os.listdir("."))  # noqa: PTH208 -- names are all that is compared
    home = tmp_path / "home"
    home.mkdir()
    with gunicorn(settings_for(upstream), home) as (url, _):
        assert ask(url, "/live")[0] == 200
    assert [entry.name for entry in home.iterdir()] == ["server.log"]
    assert set(os.listdir(".")) - before <= {".coverage"}  # noqa: PTH208 -- as above
