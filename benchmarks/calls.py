"""Counts what one uncached GET runs: our calls, the files they are in, and hand-offs between threads.

The request takes functions-framework's path, over one instance. The log writer's thread is not counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.upstream import fleet_names, fleet_settings, simulator
from tests.servers import ROOT, clean_environ

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

LIMITS = {"calls": 150, "files": 20, "hand-offs": 2}
_PACKAGES = ("main.py", "handlers", "schemas", "fdi_health")
_COMPREHENSIONS = ("<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>")
"""Python 3.11 runs these as functions, later versions do not."""


def lines() -> Iterator[str]:
    """Yield the line of the three counts."""
    counts = measure()
    verdict = "ok" if all(counts[name] <= limit for name, limit in LIMITS.items()) else "TOO MANY"
    shown = ", ".join(f"{counts[name]} {name}" for name in LIMITS)
    limits = " / ".join(str(limit) for limit in LIMITS.values())
    yield f"one uncached GET through functions-framework: {shown} (limits {limits}) {verdict}"


def measure() -> dict[str, Any]:
    """Return the counts, and the calls of each file, of a process of its own."""
    with simulator(fleet=1, latency=0) as url:
        settings = fleet_settings(url, fleet_names(1), FDI_ANONYMOUS="verdict")
        command = [sys.executable, "-m", "benchmarks.calls"]
        environ = clean_environ(settings, Path(os.devnull))
        output = subprocess.run(command, cwd=ROOT, env=environ, check=True, capture_output=True).stdout
    counts: dict[str, Any] = json.loads(output)
    return counts


class _Counter:
    """Counts calls of our functions in every thread that starts after `install`."""

    def __init__(self) -> None:
        self.is_on = False
        self.calls: list[tuple[str, str]] = []
        self.threads: set[str] = set()

    def install(self) -> None:
        threading.setprofile(self._count)
        sys.setprofile(self._count)

    def _count(self, frame: FrameType, event: str, _argument: object) -> None:
        thread = threading.current_thread().name
        if not self.is_on or event != "call" or thread == "fdi-health-log":
            return
        code = frame.f_code
        path = Path(code.co_filename)
        is_ours = path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in _PACKAGES
        if is_ours and code.co_name not in _COMPREHENSIONS:
            self.calls.append((str(path.relative_to(ROOT)), code.co_name))
            self.threads.add(thread)


def main() -> None:
    """Count in this process, the settings of which are in its environment, and print the counts as JSON."""
    import functions_framework  # not where `measure` is called

    counter = _Counter()
    counter.install()
    client = functions_framework.create_app("health", str(ROOT / "main.py")).test_client()  # type: ignore[no-untyped-call] # ships no types
    client.get("/")  # opens the service, starts the threads, connects
    counter.is_on = True
    status = client.get("/").status_code
    counter.is_on = False
    if status != 200:
        raise RuntimeError(f"the verdict is not healthy: {status}")
    files: dict[str, list[str]] = {}
    for path, name in counter.calls:
        files.setdefault(path, []).append(name)
    # Each other thread gets the work once and gives it back once.
    hand_offs = 2 * (len(counter.threads) - 1)
    print(json.dumps({"calls": len(counter.calls), "files": len(files), "hand-offs": hand_offs, "by_file": files}))


if __name__ == "__main__":
    main()
