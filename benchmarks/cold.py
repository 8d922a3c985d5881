"""From process start to the first verdict, against a functions-framework function that says hello."""

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
    from collections.abc import Mapping

LIMIT = 1.6
LATENCY = 0.05
HELLO = "def health(request):\n    return 'hello'\n"


def row(runs: int = 12) -> Row:
    """Return the row for 20 instances and env://; the upstream's own 50 ms are taken off."""
    # As a deployment should: some environments write no bytecode, and compiling our source takes 25 ms at every start.
    compileall.compile_file(ROOT / "main.py", quiet=1)
    for package in ("handlers", "schemas", "fdi_health"):
        compileall.compile_dir(ROOT / package, quiet=1)
    with simulator(fleet=20, latency=LATENCY) as url, tempfile.TemporaryDirectory() as folder:
        hello = Path(folder) / "hello.py"
        hello.write_text(HELLO)
        settings = fleet_settings(url, fleet_names(20))
        ours: list[float] = []
        bare: list[float] = []
        for _ in range(runs + 1):
            ours.append(_first_answer(ROOT / "main.py", settings, Path(folder)) - LATENCY)
            bare.append(_first_answer(hello, {}, Path(folder)))
    # The first of each warms the disk's cache.
    return Row(
        "start to first verdict over 20 / bare functions-framework",
        statistics.median(ours[1:]),
        statistics.median(bare[1:]),
        LIMIT,
    )


def _first_answer(source: Path, settings: Mapping[str, str], home: Path) -> float:
    port = free_port()
    program = str(Path(sys.executable).parent / "functions-framework")
    command = [program, "--target=health", f"--source={source}", "--host=127.0.0.1", f"--port={port}"]
    began = time.perf_counter()
    with subprocess.Popen(command, env=clean_environ(settings, home)) as process:
        try:
            while True:
                with contextlib.suppress(ConnectionError):
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                    connection.request("GET", "/")
                    if connection.getresponse().status != 200:
                        raise RuntimeError("the first answer was no healthy one")
                    return time.perf_counter() - began
                time.sleep(0.002)
        finally:
            connection.close()
            process.terminate()
