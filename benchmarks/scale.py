"""Checks of thousands of instances in several targets: time, CPU, memory and size; `make scale` writes docs/scale.md.

Each row is a process of its own, which calls the function in memory. ROMA Connect is simulated by another process,
which needs one of the two cores.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.upstream import PROJECT_ID, TOKEN, fleet_names, simulator
from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LATENCY = 0.05
MAX_PARALLEL = 256
DEADLINE_SECONDS = 4.0
LONG_DEADLINE_SECONDS = 60.0
"""The longest that FDI_DEADLINE_SECONDS can be: every instance responds within it."""

SIZES = [(1, 1), *((size, targets) for size in (200, 1000, 2500) for targets in (1, 5, 30)), (5010, 30)]
"""Instances, and the targets that share them."""

_TABLE = re.compile("(?<=<!-- scale -->\n).*(?=<!-- /scale -->)", re.DOTALL)


def main() -> None:
    """Measure, print each line, and put the table into the page."""
    shown = []
    for line in lines():
        print(line, flush=True)
        shown.append(f"{line}\n")
    page = ROOT / "docs" / "scale.md"
    page.write_text(_TABLE.sub(lambda _: "".join(shown), page.read_text()))


def lines() -> Iterator[str]:
    """Yield the table."""
    machine = f"Python {platform.python_version()}, {os.cpu_count()} shared cores"
    yield (
        f"{datetime.now(UTC):%Y-%m-%d}, {machine}, ROMA Connect simulated {LATENCY * 1000:.0f} ms away over plain HTTP,"
        f" `FDI_MAX_PARALLEL={MAX_PARALLEL}`, nothing reused:"
    )
    yield ""
    yield (
        f"| Instances | Targets | Answered in {DEADLINE_SECONDS:.0f} s, first check | second check | "
        "Second check without that limit | Its CPU | Memory | JSON |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for size, targets in SIZES:
        with simulator(fleet=-(-size // targets), latency=LATENCY) as url:
            document = _document([url] * targets, size)
            limited = _measure(document, DEADLINE_SECONDS)
            whole = _measure(document, LONG_DEADLINE_SECONDS)
        first, second = (f"{one['answered']:,} in {one['wall']:.1f} s" for one in limited)
        yield (
            f"| {size:,} | {targets} | {first} | {second} | {whole[1]['answered']:,} in {whole[1]['wall']:.2f} s | "
            f"{whole[1]['cpu']:.2f} s | {whole[1]['memory'] / 2**20:.0f} MiB | {whole[1]['size'] / 1024:,.0f} KiB |"
        )
    names = fleet_names(20)
    silent = [f"{name}=silent" for name in names]
    with simulator(fleet=20, latency=LATENCY) as url, simulator(*silent, latency=LATENCY) as hanging:
        checks = _measure(_document([hanging, *[url] * 29], 600), DEADLINE_SECONDS)
    yield ""
    yield (
        f"With 30 targets of 20 instances, one of which hangs, {checks[1]['answered']} of 600 are answered in "
        f"{checks[1]['wall']:.1f} s: all but the 20 that hang."
    )


def _document(urls: Sequence[str], size: int) -> str:
    """Return the document for FDI_CONFIG: the instances are shared out evenly."""
    share = -(-size // len(urls))
    targets = [
        {
            "name": f"target-{number}",
            "endpoint": url,
            "project_id": PROJECT_ID,
            "token": "env://ROMA_TOKEN",
            "instances": {name: name for name in fleet_names(min(share, size - number * share))},
        }
        for number, url in enumerate(urls)
        if size > number * share
    ]
    return json.dumps({"targets": targets})


def _measure(document: str, deadline: float) -> list[dict[str, Any]]:
    """Return what two checks in a new process take."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "targets.json"
        path.write_text(document)
        command = [sys.executable, "-m", "benchmarks.scale", str(path), str(deadline)]
        out = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def _check_twice(path: str, deadline: str) -> None:
    """Print the figures of two checks; runs in a process of its own."""
    from werkzeug.test import Client

    from handlers.application import Application
    from handlers.triggers.wsgi import wsgi_application

    logging.getLogger("fdi_health").setLevel(logging.CRITICAL)
    environ = {
        "FDI_CONFIG": f"file://{path}",
        "ROMA_TOKEN": TOKEN,
        "FDI_ANONYMOUS": "details",
        "FDI_CACHE_SECONDS": "0",
        "FDI_MAX_PARALLEL": str(MAX_PARALLEL),
        "FDI_DEADLINE_SECONDS": deadline,
    }
    application = Application(environ)
    client = Client(wsgi_application(application))
    for _ in range(2):
        began, cpu = time.perf_counter(), time.process_time()
        response = client.get("/")
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        counts = response.get_json()["instances_count"]
        figures = {
            "answered": counts["total"] - counts["unknown"],
            "wall": wall,
            "cpu": cpu,
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "size": len(response.data),
        }
        print(json.dumps(figures), flush=True)
    application.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _check_twice(*sys.argv[1:])
    else:
        main()
