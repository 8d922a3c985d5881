"""Verdicts per second of one process, and its memory."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measuring import Caller
from benchmarks.upstream import fleet_names, fleet_settings, simulator
from tests.servers import functions_framework

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 4.0
LATENCY = 0.05
CASES = [
    # instances, callers at once, FDI_CACHE_SECONDS
    (1, 8, "5"),
    (20, 8, "5"),
    (1, 32, "0"),
    (20, 8, "0"),
    (200, 4, "5"),
]


def lines() -> Iterator[str]:
    """Yield one line per case. The callers share the machine with the measured process."""
    for size, callers, cache in CASES:
        with simulator(fleet=size, latency=LATENCY) as url, tempfile.TemporaryDirectory() as home:
            settings = fleet_settings(url, fleet_names(size), FDI_CACHE_SECONDS=cache, FDI_ANONYMOUS="verdict")
            with functions_framework(settings, Path(home)) as (function_url, process):
                each = requests_per_second(function_url, callers)
                memory = _megabytes(process.pid)
        reuse = f"results reused for {cache} s" if cache != "0" else "nothing reused"
        # One call per instance at a time, so the latency of ROMA Connect limits their rate.
        calls = size / max(float(cache), LATENCY)
        yield (
            f"one process, {size} instances, {callers} callers, {reuse}: {each:.0f} verdicts/s, "
            f"at most {calls:.0f} upstream calls/s, {memory:.0f} MB"
        )


def requests_per_second(url: str, callers: int) -> float:
    """Return how many requests that many callers at once make, each over a kept connection."""
    counts = [0] * callers
    end = time.monotonic() + SECONDS

    def ask(number: int) -> None:
        caller = Caller(url)
        while time.monotonic() < end:
            if caller.get("/")[0] != 200:
                raise RuntimeError("a wrong verdict")
            counts[number] += 1
        caller.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / SECONDS


def _megabytes(pid: int) -> float:
    """Return the resident memory of the largest process under functions-framework's, its worker."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    sizes = [Path(f"/proc/{child}/statm").read_text().split()[1] for child in [str(pid), *children]]
    return max(map(int, sizes)) * 4096 / 1024 / 1024
