"""Starts the programs of the monitoring on loopback, and ends them by their process."""

from __future__ import annotations

import contextlib
import subprocess
import time
import zipfile
from typing import TYPE_CHECKING

import requests

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


def run(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 -- a program that is being tested
        command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


def unzip(archive: Path, folder: Path) -> Path:
    """Unzip a package into a folder, and return the folder."""
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    return folder


@contextlib.contextmanager
def running(command: Sequence[str], url: str, folder: Path) -> Iterator[None]:
    """Run a server, ready when its URL answers with 200: Prometheus answers with 503 while it starts."""
    with (folder / "program.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)  # noqa: S603 -- as above
    try:
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(requests.RequestException):
                if requests.get(url, timeout=2).status_code == 200:
                    break
            assert process.poll() is None, (folder / "program.log").read_text()
            assert time.monotonic() < end
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(15)
