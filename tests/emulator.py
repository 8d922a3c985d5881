"""Runs a folder as AWS Lambda would, with AWS's own emulator and runtime client and no other package."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_RUNTIME_CLIENT = ("awslambdaric", "simplejson", "snapshot-restore-py")


def gather_runtime_client(folder: Path) -> None:
    """Put links to AWS's runtime client, and to what it needs, into a folder."""
    for name in _RUNTIME_CLIENT:
        files = importlib.metadata.files(name) or []
        for top in {file.parts[0] for file in files if not file.parts[0].startswith((".", "_"))}:
            place = Path(str(importlib.metadata.distribution(name).locate_file(top)))
            if place.exists() and not top.endswith(".dist-info"):
                (folder / top).symlink_to(place)


@contextlib.contextmanager
def emulated(
    program: str, code: Path, client: Path, home: Path, settings: Mapping[str, str], handler: str
) -> Iterator[Callable[[Any], Any]]:
    """Run a folder's handler; yields what invokes it with an event and returns its reply.

    Args:
        program: the emulator.
        code: the unzipped package.
        client: a folder made by `gather_runtime_client`.
        home: where the log goes.
        settings: the function's environment.
        handler: `module.function`.

    """
    emulator, runtime = free_port(), free_port()
    command = [program, f"--runtime-interface-emulator-address=127.0.0.1:{emulator}"]
    command += [f"--runtime-api-address=127.0.0.1:{runtime}"]
    # -S: no site-packages, as in the runtime; what is found is the package and the runtime client.
    command += [sys._base_executable, "-S", "-m", "awslambdaric", handler]  # type: ignore[attr-defined] # typeshed has no such name
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": f"{code}:{client}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": "10",
        **settings,
    }
    with (home / "lambda.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=code, env=environ, stdout=log, stderr=log)  # noqa: S603 -- as the caller says
    url = f"http://127.0.0.1:{emulator}/2015-03-31/functions/function/invocations"
    session = requests.Session()

    def invoke(event: Any) -> Any:
        return session.post(url, json=event, timeout=30).json()

    try:
        _wait_for(emulator)
        yield invoke
    finally:
        session.close()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: int, seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.005)
    raise TimeoutError("the emulator did not listen in time")
