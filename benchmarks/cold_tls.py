"""20 instances asked with nothing kept: no connection, no TLS session, no CA bundle in memory; wall and CPU."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import alternatives
from benchmarks.upstream import fleet_names, fleet_settings, simulator
from fdi_health.clock import Deadline
from fdi_health.service import Service
from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZE = 20
OURS, OPENED = "fdi-health", "fdi-health, CA bundle read before"
WALL_LIMIT, CPU_LIMIT = 0.110, 0.080


def lines(runs: int = 9) -> Iterator[str]:
    """Yield the two tables, over TLS and plain, each on one upstream and taken in turn."""
    names = fleet_names(SIZE)
    with tempfile.TemporaryDirectory() as folder:
        ca = str(Path(folder) / "ca.pem")
        command = [sys.executable, "-m", "benchmarks.tls_upstream", ca, str(SIZE)]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            url = process.stdout.readline().strip() if process.stdout else ""
            contenders: dict[str, Callable[[], bool]] = {
                OURS: lambda: _ours(url, names, {"SSL_CERT_FILE": ca}),
                OPENED: _Opened(url, names, {"SSL_CERT_FILE": ca}),
                "requests, a thread per instance": lambda: alternatives.threads(url, names, ca),
                "libcurl multi (the limit)": lambda: alternatives.libcurl(url, names, ca),
            }
            yield f"{SIZE} instances cold over TLS, upstream 50 ms away"
            yield from _table(contenders, runs, (WALL_LIMIT, CPU_LIMIT))
            if process.stdin:
                process.stdin.close()
    with simulator(fleet=SIZE) as url:
        django = alternatives.django_health_check(url, names)
        contenders = {
            OURS: lambda: _ours(url, names, {}),
            "requests in a loop": lambda: alternatives.loop(url, names),
            "requests, a thread per instance": lambda: alternatives.threads(url, names),
            "django-health-check, a check per instance": django,
            "libcurl multi (the limit)": lambda: alternatives.libcurl(url, names),
        }
        yield ""
        yield f"{SIZE} instances cold over plain HTTP, upstream 50 ms away"
        yield from _table(contenders, runs, None)


class _Opened:
    """A check by a service that has read its settings and its CA bundle, and has connected to nothing yet."""

    def __init__(self, url: str, names: list[str], changes: dict[str, str]) -> None:
        self._settings = fleet_settings(url, names, **changes)
        self.get_ready()

    def get_ready(self) -> None:
        """Open the next one, which is not measured."""
        self._next = Service.open(self._settings)

    def __call__(self) -> bool:
        """Check."""
        try:
            deadline = Deadline.after(4)
            return self._next.check(self._next.select(None, None, deadline), deadline).healthy
        finally:
            self._next.close()


def _ours(url: str, names: list[str], changes: dict[str, str]) -> bool:
    service = Service.open(fleet_settings(url, names, **changes))
    try:
        deadline = Deadline.after(4)
        return service.check(service.select(None, None, deadline), deadline).healthy
    finally:
        service.close()


def _table(contenders: dict[str, Callable[[], bool]], runs: int, limits: tuple[float, float] | None) -> Iterator[str]:
    walls: dict[str, list[float]] = {name: [] for name in contenders}
    cpus: dict[str, list[float]] = {name: [] for name in contenders}
    for run in range(runs + 1):
        for name, ask in contenders.items():
            if isinstance(ask, _Opened):
                ask.get_ready()
            wall, cpu = time.perf_counter(), time.process_time()
            if not ask():
                raise RuntimeError(f"{name} gave a wrong answer")
            if run:  # the first one imports and warms
                walls[name].append(time.perf_counter() - wall)
                cpus[name].append(time.process_time() - cpu)
    ours_wall, ours_cpu = statistics.median(walls[OURS]), statistics.median(cpus[OURS])
    for name in contenders:
        wall, cpu = statistics.median(walls[name]), statistics.median(cpus[name])
        note = f"{wall / ours_wall:>6.2f} x wall {cpu / ours_cpu:>6.2f} x CPU of ours"
        if name == OPENED and limits:
            good = wall <= limits[0] and cpu <= limits[1]
            note = f"(limit {limits[0] * 1000:.0f} / {limits[1] * 1000:.0f} ms) {'ok' if good else 'TOO SLOW'}"
        yield f"  {name:<44}{wall * 1000:>8.1f} ms wall{cpu * 1000:>8.1f} ms CPU  {note}"
