"""Starts the servers on free loopback ports, as users start them, and ends them by their process ID."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import requests

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).parent.parent


def free_port() -> int:
    """Return a port that was free just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def clean_environ(settings: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return our environment without settings of the function; gunicorn, in functions-framework, writes below HOME."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("FDI_") and name != "THREADS"}
    return {**ours, "HOME": str(home), **settings}


@contextlib.contextmanager
def serving(
    command: Sequence[str], settings: Mapping[str, str], home: Path, port: int
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a server that listens on a port; yields its URL and process."""
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 -- a program of ours
            command, env=clean_environ(settings, home), stdout=log, stderr=log, cwd=ROOT
        )
        url = f"http://127.0.0.1:{port}"
        try:
            wait_for(url, process)
            yield url, process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(15)


@contextlib.contextmanager
def container_server(settings: Mapping[str, str], home: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Serve the application as the container does; yields its URL and process."""
    port = free_port()
    command = [sys.executable, str(ROOT / "deploy" / "container" / "serve")]
    with serving(command, {**settings, "PORT": str(port)}, home, port) as served:
        yield served


@contextlib.contextmanager
def functions_framework(settings: Mapping[str, str], home: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Serve the function as the platform does; yields its URL and process."""
    port = free_port()
    program = Path(sys.executable).parent / "functions-framework"
    command = [str(program), "--target=health", f"--source={ROOT}/main.py", "--host=127.0.0.1", f"--port={port}"]
    with serving(command, settings, home, port) as served:
        yield served


def wait_for(url: str, process: subprocess.Popen[bytes], seconds: float = 15.0) -> None:
    """Wait until a server answers /live; raises if its process ends first or the seconds run out."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(requests.RequestException):
            requests.get(f"{url}/live", timeout=1)
            return
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        time.sleep(0.02)
    raise TimeoutError("the server did not answer in time")
