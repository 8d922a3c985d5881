"""Nothing delays a response beyond its deadline, and no hanging call affects other instances."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.conftest import TOKEN
from tests.machine import assert_within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from simulator import Simulator
    from tests.conftest import Function

SPARE_SECONDS = 0.3


@pytest.fixture
def slow_dns(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every name resolve only when the test is over."""
    over = threading.Event()

    def getaddrinfo(*_: object, **__: object) -> None:
        over.wait(30)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield
    over.set()


def test_slow_dns__ends_at_the_deadline_with_bounded_threads(
    function: Callable[..., Function], slow_dns: None
) -> None:  # C04
    checked = function("healthy", FDI_DEADLINE_SECONDS="0.2", FDI_ENDPOINT="https://roma.example")
    before = threading.active_count()

    for _ in range(20):
        began = time.monotonic()
        instance = checked.instance()
        assert_within(began, 0.2 + SPARE_SECONDS)
        assert instance["error"]["code"] == "timeout"

    assert threading.active_count() - before <= 4


def test_hanging_instance__keeps_the_other_results_and_bounded_threads(
    function: Callable[..., Function], upstream: Simulator
) -> None:  # C101
    checked = function("healthy", "silent", FDI_DEADLINE_SECONDS="1")
    before = threading.active_count()

    for _ in range(4):
        verdict = checked.verdict()
        assert [instance["status"] for instance in verdict["instances"]] == ["healthy", "unknown"]

    # The pool's threads, of which each check needs two, and what is still being cut loose.
    assert threading.active_count() - before <= 6


@pytest.mark.parametrize(
    ("deadline", "headers", "seconds"),
    [
        ("0.3", {}, 0.3),
        ("50", {}, 0.6),  # may only shorten
        ("0.4", {"X-Prometheus-Scrape-Timeout-Seconds": "0.4"}, 0.2),  # half is kept in reserve
        ("50", {"X-Prometheus-Scrape-Timeout-Seconds": "10"}, 0.6),
        ("50", {"X-Prometheus-Scrape-Timeout-Seconds": "0"}, 0.6),
        ("50", {"X-Prometheus-Scrape-Timeout-Seconds": "-1"}, 0.6),
        ("50", {"X-Prometheus-Scrape-Timeout-Seconds": "nan"}, 0.6),
        ("50", {"X-Prometheus-Scrape-Timeout-Seconds": "9" * 400}, 0.6),
    ],
)
def test_deadline__is_the_smallest_of_all_limits(
    function: Callable[..., Function], deadline: str, headers: dict[str, str], seconds: float
) -> None:
    checked = function("silent", FDI_DEADLINE_SECONDS="0.6")

    began = time.monotonic()
    checked.get(f"/?deadline={deadline}", headers=headers)

    assert time.monotonic() - began >= seconds
    assert_within(began, seconds + SPARE_SECONDS)


def test_secret_file__that_is_a_fifo__does_not_hang(function: Callable[..., Function], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "token")

    error = function("healthy", FDI_TOKEN=f"file://{tmp_path}/token").instance()["error"]

    assert (error["code"], error["message"]) == ("token_unavailable", "the secret is not a regular file")


def test_hanging_instances__more_than_threads__have_a_result_each(function: Callable[..., Function]) -> None:
    checked = function("silent", "silent", "silent", "healthy", FDI_DEADLINE_SECONDS="0.4", FDI_MAX_PARALLEL="2")

    began = time.monotonic()
    verdict = checked.verdict()

    assert_within(began, 0.4 + SPARE_SECONDS)
    assert [instance["error"]["code"] for instance in verdict["instances"]] == ["timeout"] * 4


def test_instances__that_no_check_waits_for_any_more__are_not_asked(
    function: Callable[..., Function], upstream: Simulator
) -> None:
    checked = function("slow", "healthy", "healthy", FDI_MAX_PARALLEL="1")

    assert checked.verdict("/?deadline=0.1")["status"] == "unknown"
    assert checked.verdict("/?instance=three")["status"] == "healthy"

    assert [request.instance_id for request in upstream.requests] == ["id-one", "id-three"]


def test_thousands_of_instances__leave_time_to_evaluate_and_render_them(function: Callable[..., Function]) -> None:
    names = ",".join(f"instance-{number:04}" for number in range(3000))
    checked = function("silent", FDI_INSTANCES=f"one=id-one,{names}", FDI_DEADLINE_SECONDS="3", FDI_MAX_PARALLEL="1")

    (one, *others) = checked.verdict()["instances"]

    assert one["error"]["code"] == "timeout"
    assert len(others) == 3000
    # 0.24 ms for each of them: 0.7 s.
    assert one["duration_seconds"] < 2.7


def test_live__answers_while_checks_hang(function: Callable[..., Function]) -> None:
    checked = function("silent", FDI_DEADLINE_SECONDS="1")

    with ThreadPoolExecutor(50) as callers:
        checks = [callers.submit(checked.get) for _ in range(50)]
        time.sleep(0.1)
        began = time.monotonic()
        assert checked.get("/live").status_code == 200
        assert_within(began, SPARE_SECONDS)
        assert {check.result().status_code for check in checks} == {503}


def test_checks__above_the_limit__are_overloaded_at_once(function: Callable[..., Function]) -> None:
    checked = function("silent", FDI_DEADLINE_SECONDS="1", THREADS="9")

    with ThreadPoolExecutor(5) as callers:
        checks = [callers.submit(checked.get) for _ in range(5)]
        time.sleep(0.2)
        began = time.monotonic()
        response = checked.get()
        assert_within(began, SPARE_SECONDS)
        assert (response.status_code, response.get_json()["code"]) == (503, "overloaded")
        assert "FDI-Verdict" not in response.headers
        assert checked.get("/ready").status_code == 200  # E34
        assert {check.result().status_code for check in checks} == {503}

    assert checked.get("/?deadline=0.1").get_json()["marker"] == "FDI-NOT-OK"


def test_callers_with_short_deadlines__neither_multiply_calls_nor_fail_others(
    function: Callable[..., Function], upstream: Simulator
) -> None:  # H02
    names = [f"i{number}" for number in range(20)]
    for name in names:
        upstream.play(name, "healthy")
    upstream.latency_seconds = 0.2
    checked = function(FDI_INSTANCES=",".join(names))
    end = time.monotonic() + 2.0

    def hurry() -> None:
        while time.monotonic() < end:
            checked.get("/?deadline=0.02")

    with ThreadPoolExecutor(5) as callers:
        for _ in range(4):
            callers.submit(hurry)
        patient = [checked.get().status_code for _ in range(5)]

    assert patient == [200] * 5
    per_instance = Counter(request.instance_id for request in upstream.requests)
    assert max(per_instance.values()) <= 2.0 / 0.2 + 1  # one after the other


def test_caller_with_a_short_deadline__does_not_end_a_shared_call(function: Callable[..., Function]) -> None:
    checked = function("slow", FDI_DEADLINE_SECONDS="2")

    with ThreadPoolExecutor(2) as callers:
        patient = callers.submit(checked.verdict)
        time.sleep(0.05)
        hasty = callers.submit(checked.verdict, "/?deadline=0.1")

    assert hasty.result()["instances"][0]["error"]["code"] == "timeout"
    assert patient.result()["status"] == "healthy"


def test_burst__makes_one_token_read_and_one_call_per_instance(
    function: Callable[..., Function], upstream: Simulator, tmp_path: Path
) -> None:  # C99
    names = [f"i{number}" for number in range(20)]
    for name in names:
        upstream.play(name, "healthy")
    upstream.latency_seconds = 0.1
    (tmp_path / "token").write_text(TOKEN)
    checked = function(FDI_INSTANCES=",".join(names), FDI_TOKEN=f"file://{tmp_path}/token", FDI_CACHE_SECONDS="5")

    with ThreadPoolExecutor(24) as callers:
        answers = list(callers.map(lambda _: checked.get(), range(24)))

    assert [answer.status_code for answer in answers] == [200] * 24
    assert sorted(request.instance_id or "" for request in upstream.requests) == sorted(names)


def test_connections__are_reused_and_the_pool_is_never_full(
    function: Callable[..., Function], upstream: Simulator, caplog: pytest.LogCaptureFixture
) -> None:  # C100
    names = [f"i{number}" for number in range(20)]
    for name in names:
        upstream.play(name, "healthy")
    upstream.latency_seconds = 0.05
    checked = function(FDI_INSTANCES=",".join(names))

    assert [checked.get().status_code for _ in range(3)] == [200] * 3

    assert not [record for record in caplog.records if "pool" in record.getMessage().lower()]
    assert len({request.connection for request in upstream.requests}) <= 20


@pytest.mark.parametrize("play", ["reset_idle", "close_idle"])
def test_kept_connection__closed_by_the_server__is_replaced(
    function: Callable[..., Function], upstream: Simulator, play: str
) -> None:  # C79
    checked = function(play)

    assert [checked.get().status_code for _ in range(3)] == [200] * 3
    assert len(upstream.requests) == 3


def test_cache__is_used_for_its_time_and_not_longer(
    function: Callable[..., Function], upstream: Simulator
) -> None:  # C14
    checked = function(("healthy", "silent"), FDI_CACHE_SECONDS="2", FDI_DEADLINE_SECONDS="1")

    fresh, kept = checked.verdict(), checked.verdict()
    time.sleep(2)
    late = checked.verdict()

    assert (fresh["status"], kept["status"], late["status"]) == ("healthy", "healthy", "unknown")
    assert kept["instances"][0]["duration_seconds"] == fresh["instances"][0]["duration_seconds"]
    assert kept["age_seconds"] <= 2
    assert late["age_seconds"] == 0.0


def test_unknown__is_never_cached(function: Callable[..., Function], upstream: Simulator) -> None:  # C15
    checked = function(("status_500", "status_500", "healthy"), FDI_CACHE_SECONDS="60")

    assert [checked.get().status_code for _ in range(3)] == [503, 503, 200]
