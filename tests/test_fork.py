"""A process that was forked from one that already checked, as servers do that load an application before they fork."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from handlers import application
from handlers.application import Application
from tests.conftest import PROJECT_ID, TOKEN
from tests.servers import ROOT, clean_environ

if TYPE_CHECKING:
    from pathlib import Path

    from simulator import Simulator

PROGRAM = """
import os, random, time, main
from werkzeug.test import Client
from fdi_health.transport.retry import Retries

client = Client(main.app)
def check():
    began = time.monotonic()
    verdict = client.get("/").get_json()
    jitter = Retries("them")._jitter(1.0)
    print(verdict["status"], verdict["age_seconds"], jitter, time.monotonic() - began, flush=True)

check()
time.sleep(0.3)
for _ in range(2):
    if os.fork() == 0:
        check()
        os._exit(0)
    os.wait()
check()
"""


DECODING = """
import os
from fdi_health.transport import deadline_socket

places = deadline_socket._decoding.places
while places.acquire(blocking=False):  # as threads do that decode large responses
    pass
if os.fork() == 0:
    print(deadline_socket._decoding.places.acquire(blocking=False), flush=True)
    os._exit(0)
os.wait()
print(deadline_socket._decoding.places.acquire(blocking=False))
"""


def test_forked_process__while_large_responses_are_decoded__has_all_places() -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", DECODING]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)  # noqa: S603 -- a program of ours
    assert done.stdout.split() == ["True", "False"]


@pytest.mark.parametrize("token", ["token", "credentials"])
def test_forked_process__of_a_process_that_checked__starts_anew(
    upstream: Simulator, tmp_path: Path, token: str
) -> None:
    upstream.play("id-orders", "healthy")
    password = {"username": "fdi-probe", "password": "Pw-Canary3Hn7Yt5Kc1Mv", "domain_name": "Acme"}
    settings = {
        "FDI_ENDPOINT": upstream.url,
        "FDI_IAM_ENDPOINT": upstream.url,
        "FDI_PROJECT_ID": PROJECT_ID,
        "FDI_INSTANCES": "orders=id-orders",
        "FDI_TOKEN": "env://ROMA_TOKEN",
        "ROMA_TOKEN": TOKEN if token == "token" else json.dumps(password),
        "FDI_CACHE_SECONDS": "60",
    }
    done = subprocess.run(  # noqa: S603 -- a program of ours
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM],
        env=clean_environ({"PYTHONPATH": str(ROOT), **settings}, tmp_path),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    first, *forked, last = (line.split() for line in done.stdout.splitlines())
    assert [line[0] for line in (first, *forked, last)] == ["healthy"] * 4
    assert [line[1] for line in forked] == ["0.0", "0.0"]  # nothing of the other process's cache
    assert float(last[1]) >= 0.3  # which that one still has
    assert len({line[2] for line in (first, *forked)}) == 3
    assert all(float(line[3]) < 2 for line in forked)  # far below the deadline
    # Each process has a connection of its own.
    connections = [request.connection for request in upstream.requests_for("id-orders")]
    assert len(connections) == len(set(connections)) == 3


def test_applications__after_a_fork__have_nothing_of_the_other_process() -> None:
    environ = {"FDI_REGION": "cn-north-4", "FDI_PROJECT_ID": "p", "FDI_INSTANCES": "a=1", "FDI_TOKEN": "env://T"}
    forked = Application(environ)
    service, admission = forked.service(), forked.admission

    with forked.rendering:
        application._start_anew()
        assert not forked.rendering.locked()

    assert forked.service() is not service
    assert forked.admission is not admission
