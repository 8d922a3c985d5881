"""From process start to the first verdict, beside two functions of functions-framework that say hello.

One imports nothing. The other one imports requests and marshmallow, which our users' own functions import: the floor.
"""

from __future__ import annotations

import compileall
import contextlib
import http.client
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measuring import Row
from benchmarks.upstream import fleet_names, fleet_settings, simulator
from tests.servers import ROOT, clean_environ, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LIMIT = 1.18
LATENCY = 0.05
HELLO = "def health(request):\n    return 'hello'\n"
FLOOR = f"import marshmallow, requests\n{HELLO}"


def rows(runs: int = 12) -> Iterator[Row]:
    """Yield the rows for 20 instances and env://, without the 50 ms that the simulator takes to respond."""
    # As a deployment should: some environments write no bytecode, and compiling our source takes 25 ms at every start.
    compileall.compile_file(ROOT / "main.py", quiet=1)
    for package in ("handlers", "schemas", "fdi_health"):
        compileall.compile_dir(ROOT / package, quiet=1)
    with simulator(fleet=20, latency=LATENCY) as url, tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "hello.py").write_text(HELLO)
        (home / "floor.py").write_text(FLOOR)
        settings = fleet_settings(url, fleet_names(20))
        ours: list[float] = []
        bare: list[float] = []
        floor: list[float] = []
        for _ in range(runs + 1):
            ours.append(_first_response(ROOT / "main.py", settings, home) - LATENCY)
            bare.append(_first_response(home / "hello.py", {}, home))
            floor.append(_first_response(home / "floor.py", {}, home))
    # The first of each warms the disk's cache.
    ours_median, *medians = (statistics.median(times[1:]) for times in (ours, bare, floor))
    yield Row("start to first verdict over 20 / functions-framework hello", ours_median, medians[0], None)
    yield Row("  / a hello that imports requests and marshmallow", ours_median, medians[1], LIMIT)


def _first_response(source: Path, settings: Mapping[str, str], home: Path) -> float:
    port = free_port()
    program = str(Path(sys.executable).parent / "functions-framework")
    command = [program, "--target=health", f"--source={source}", "--host=127.0.0.1", f"--port={port}"]
    began = time.perf_counter()
    with subprocess.Popen(command, env=clean_environ(settings, home), stderr=subprocess.DEVNULL) as process:
        try:
            while True:
                with contextlib.suppress(ConnectionError):
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                    connection.request("GET", "/")
                    if connection.getresponse().status != 200:
                        raise RuntimeError("the first verdict is not healthy")
                    return time.perf_counter() - began
                time.sleep(0.002)
        finally:
            connection.close()
            process.terminate()
