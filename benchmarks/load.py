"""Many callers at once, and instances that hang: calls, threads and wrong responses are counted."""

from __future__ import annotations

import signal
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import Caller, seconds
from benchmarks.upstream import PROJECT_ID, TOKEN, fleet_names, fleet_settings, simulator
from simulator import Simulator
from tests.servers import functions_framework

if TYPE_CHECKING:
    from collections.abc import Iterator


def lines() -> Iterator[str]:
    """Yield one line per count."""
    yield _burst()
    yield from _hanging()


def _ask(url: str, path: str = "/") -> tuple[int, Any]:
    caller = Caller(url)
    try:
        return caller.get(path)
    finally:
        caller.close()


def _burst() -> str:
    names = fleet_names(20)
    with Simulator(tokens=[TOKEN], project_id=PROJECT_ID, latency_seconds=0.05) as upstream:
        for name in names:
            upstream.play(name, "healthy")
        with tempfile.TemporaryDirectory() as home:
            settings = fleet_settings(upstream.url, names, FDI_CACHE_SECONDS="5")
            with functions_framework(settings, Path(home)) as (url, _):
                together = threading.Barrier(24)

                def ask(_: int) -> int:
                    together.wait()
                    return _ask(url)[0]

                with ThreadPoolExecutor(24) as callers:
                    right = list(callers.map(ask, range(24))).count(200)
            warnings = (Path(home) / "server.log").read_text().lower().count("pool is full")
        calls = len(upstream.requests)
    return (
        f"24 cold requests at once over 20 instances: {right} right, {calls} upstream calls, {warnings} pool warnings"
    )


def _hanging() -> Iterator[str]:
    with simulator("hung=silent", "good=healthy", latency=0.0) as upstream, tempfile.TemporaryDirectory() as home:
        settings = fleet_settings(upstream, ["hung", "good"], FDI_DEADLINE_SECONDS="0.2")
        with functions_framework(settings, Path(home)) as (url, process):
            caller = Caller(url)
            kept = 0
            threads_before = _threads(process.pid)
            for _ in range(500):
                _, verdict = caller.get("/")
                kept += [instance["status"] for instance in verdict["instances"]] == ["unknown", "healthy"]
            caller.close()
            yield (
                f"500 requests with a hanging instance: {kept} kept the other's result, "
                f"threads {threads_before} -> {_threads(process.pid)}"
            )
    with simulator("hung=silent", "good=healthy", latency=0.0) as upstream, tempfile.TemporaryDirectory() as home:
        settings = fleet_settings(upstream, ["hung", "good"], FDI_DEADLINE_SECONDS="2")
        with functions_framework(settings, Path(home)) as (url, process), ThreadPoolExecutor(50) as callers:
            _ask(url, "/?instance=good")
            checks = [callers.submit(_ask, url) for _ in range(50)]
            time.sleep(0.5)
            live = max(seconds(lambda: _ask(url, "/live")) for _ in range(5))
            began = time.perf_counter()
            process.send_signal(signal.SIGTERM)
            answered = [check.result()[0] for check in checks].count(503)
            process.wait()
            gone = time.perf_counter() - began
            yield f"/live during 50 hung checks: {live * 1000:.0f} ms at most"
            yield f"SIGTERM during 50 hung checks (deadline 2 s): {answered} answered, process gone after {gone:.1f} s"


def _threads(worker_parent: int) -> int:
    """Return the threads of a server's worker process."""
    children = Path(f"/proc/{worker_parent}/task/{worker_parent}/children").read_text().split()
    status = Path(f"/proc/{children[-1]}/status").read_text()
    return int(status.partition("Threads:")[2].split()[0])
