"""Responses that are expensive to decode end at the deadline and use little memory, for any number of instances."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from tests.conftest import PROJECT_ID, TOKEN
from tests.machine import assert_within
from tests.servers import ROOT, functions_framework

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEADLINE_SECONDS = 2.0
INSTANCES = [f"i{number}" for number in range(64)]


@pytest.fixture
def simulator_process() -> Iterator[Callable[[str], str]]:
    """Return a function that starts a simulator in a process of its own. All its instances play one behaviour."""
    started: list[subprocess.Popen[str]] = []

    def start(behaviour: str) -> str:
        instances = [f"--instance={name}={behaviour}" for name in INSTANCES]
        options = ["--port=0", f"--token={TOKEN}", f"--project-id={PROJECT_ID}", *instances]
        process = subprocess.Popen(  # noqa: S603 -- a program of ours
            [sys.executable, "-m", "simulator", *options], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        started.append(process)
        assert process.stdout is not None
        return process.stdout.readline().split()[-1]

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=5)


def most_memory_mib(process_id: int) -> float:
    """Return the largest resident size that a process has had."""
    status = Path(f"/proc/{process_id}/status").read_text()
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert match is not None
    return int(match[1]) / 1024


@pytest.mark.parametrize(
    "behaviour", ["one_byte_chunks", "folded_headers", "huge_header", "many_keys", "deep_nesting", "interim_103_many"]
)
def test_expensive_responses__of_64_instances__end_at_the_deadline_in_little_memory(
    simulator_process: Callable[[str], str], tmp_path: Path, behaviour: str
) -> None:  # H01
    settings = {
        "FDI_ENDPOINT": simulator_process(behaviour),
        "FDI_PROJECT_ID": PROJECT_ID,
        "FDI_INSTANCES": ",".join(INSTANCES),
        "FDI_TOKEN": "env://ROMA_TOKEN",
        "ROMA_TOKEN": TOKEN,
        "FDI_DEADLINE_SECONDS": str(DEADLINE_SECONDS),
    }
    with functions_framework(settings, tmp_path) as (url, process):
        before = most_memory_mib(process.pid)
        began = time.monotonic()
        response = requests.get(url, timeout=30)
        assert_within(began, DEADLINE_SECONDS + 0.3)
        assert response.status_code == 503
        assert most_memory_mib(process.pid) - before < 64
