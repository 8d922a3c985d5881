"""SIGTERM: responses under way are sent, and idle connections do not delay the end."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.container_server.callers import (
    DEADLINE_SECONDS,
    HALF_A_HEAD,
    SILENT_BODY,
    Server,
    held_connections,
)
from tests.machine import assert_within


def test_sigterm__during_50_checks__sends_and_logs_every_response(server: Server) -> None:  # C12
    with ThreadPoolExecutor(50) as callers:
        asked = [callers.submit(requests.get, f"{server.url}/?instance=crm,orders", timeout=20) for _ in range(50)]
        time.sleep(0.8)
        server.process.send_signal(signal.SIGTERM)
        told = time.monotonic()
        responses = [answer.result() for answer in asked]
        server.process.wait(20)
        assert_within(told, DEADLINE_SECONDS + 1)
        seconds = time.monotonic() - told
    assert {response.status_code for response in responses} == {503}
    assert {response.json()["reason"] for response in responses} == {"crm unknown (timeout)"}
    print(f"ended after {seconds:.2f} s")  # noqa: T201 -- figures for docs/reliability.md
    assert len([line for line in server.log_lines() if line.get("status") == "unknown"]) == 50
    assert server.process.returncode == 0


@pytest.mark.parametrize(
    ("count", "sent"),
    [
        (60, SILENT_BODY),
        (200, HALF_A_HEAD),
        (200, b""),
        (200, HALF_A_HEAD + b"\r\n"),
        (60, (b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n") * 50),
    ],
    ids=["silent bodies", "half a head", "nothing sent", "idle", "unread responses"],
)
def test_sigterm__with_idle_connections__ends_in_time_and_answers_checks(
    server: Server, count: int, sent: bytes
) -> None:
    with held_connections(server, count, sent), ThreadPoolExecutor(20) as callers:
        time.sleep(0.3)
        asked = [callers.submit(requests.get, f"{server.url}/?instance=crm", timeout=20) for _ in range(20)]
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        told = time.monotonic()
        assert {answer.result().status_code for answer in asked} == {503}
        server.process.wait(20)
        assert_within(told, DEADLINE_SECONDS + 1)
        seconds = time.monotonic() - told
    print(f"ended after {seconds:.2f} s")  # noqa: T201 -- figures for docs/reliability.md
    assert server.process.returncode == 0
