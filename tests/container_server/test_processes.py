"""Threads, workers and files of the container's server."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from tests.conformance.platform import settings_for
from tests.conftest import TOKEN
from tests.secret_manager_server import SecretManager
from tests.servers import clean_environ, container_server

if TYPE_CHECKING:
    from simulator import Simulator
    from tests.container_server.callers import (
        Server,
    )


def test_checks__more_than_threads_allow__are_overloaded_and_leave_live_alone(
    settings: dict[str, str], tmp_path: Path
) -> None:
    with container_server({**settings, "THREADS": "4"}, tmp_path) as (url, _), ThreadPoolExecutor(6) as callers:
        asked = [callers.submit(requests.get, f"{url}/?instance=crm", timeout=20) for _ in range(6)]
        time.sleep(0.5)
        assert requests.get(f"{url}/live", timeout=0.8).status_code == 200
        codes = [answer.result().json().get("code") for answer in asked]
    assert (codes.count("overloaded"), codes.count(None)) == (4, 2)


def test_two_workers__read_a_secret_over_grpc(upstream: Simulator, tmp_path: Path) -> None:
    # A process that forks with a gRPC channel open breaks its children: nothing is opened before the first request.
    with SecretManager(payload=TOKEN.encode()) as manager:
        settings = {
            **settings_for(upstream),
            "FDI_TOKEN": "gcpsecretmanager://projects/acme/secrets/roma-token/versions/latest",
            "SECRET_MANAGER_EMULATOR_HOST": manager.host,
            "WORKERS": "2",
        }
        with container_server(settings, tmp_path) as (url, _), ThreadPoolExecutor(16) as callers:
            responses = callers.map(lambda _: requests.get(f"{url}/?instance=orders", timeout=20), range(40))
            assert {response.status_code for response in responses} == {200}
        assert 1 <= len(manager.names) <= 2  # one read for each worker that was asked


def test_workers__one_is_killed__another_replaces_it(server: Server) -> None:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    end = time.monotonic() + 10
    status = None
    while status != 200 and time.monotonic() < end:
        with contextlib.suppress(requests.ConnectionError):
            status = requests.get(f"{server.url}/live", timeout=5).status_code
    assert status == 200


def test_server__on_a_taken_port__does_not_start(server: Server, settings: dict[str, str]) -> None:
    second = subprocess.run(  # noqa: S603 -- our own program
        server.process.args,
        env=clean_environ({**settings, "PORT": str(server.address[1])}, server.home),
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert second.returncode != 0
    assert b"Address already in use" in second.stderr


def test_server__with_a_read_only_file_system__serves(upstream: Simulator, tmp_path: Path) -> None:
    # As far as it can be tried without a container: nothing is written below HOME or the source.
    before = {path for path in Path().iterdir() if path.name != ".coverage"}
    home = tmp_path / "home"
    home.mkdir()
    with container_server(settings_for(upstream), home) as (url, _):
        assert requests.get(f"{url}/live", timeout=5).status_code == 200
    assert [entry.name for entry in home.iterdir()] == ["server.log"]
    assert {path for path in Path().iterdir() if not path.name.startswith(".coverage")} <= before
