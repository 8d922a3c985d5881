"""The simulator as a process of its own, so that it does not share our interpreter lock."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROJECT_ID = "c53626012ba84727b938ca8bf03108ef"
TOKEN = "bench-token"  # noqa: S105 -- accepted by the simulator alone


@contextlib.contextmanager
def simulator(*instances: str, fleet: int = 0, latency: float = 0.05) -> Iterator[str]:
    """Run it on a free port; yields its URL.

    Args:
        instances: `ID=BEHAVIOUR`.
        fleet: how many more healthy ones, `instance-0000` and so on.
        latency: seconds before every answer.

    """
    command = [sys.executable, "-m", "simulator", "--port=0", f"--token={TOKEN}", f"--project-id={PROJECT_ID}"]
    command += [f"--latency={latency}", f"--fleet={fleet}", *(f"--instance={instance}" for instance in instances)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            line = process.stdout.readline().decode() if process.stdout else ""
            yield line[line.index("http://") :].strip()
        finally:
            process.terminate()


def fleet_settings(url: str, names: Sequence[str], **changes: str) -> dict[str, str]:
    """Return the settings of a function that asks these instances, with details and without a cache."""
    return {
        "FDI_ENDPOINT": url,
        "FDI_PROJECT_ID": PROJECT_ID,
        "FDI_INSTANCES": ",".join(names),
        "FDI_TOKEN": "env://ROMA_TOKEN",
        "ROMA_TOKEN": TOKEN,
        "FDI_ANONYMOUS": "details",
        "FDI_CACHE_SECONDS": "0",
        "THREADS": "64",
        "no_proxy": "127.0.0.1",
        **changes,
    }


def fleet_names(size: int) -> list[str]:
    """Return the names that `simulator(fleet=size)` gives its instances."""
    return [f"instance-{number:04d}" for number in range(size)]
