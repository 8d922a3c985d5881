"""serverless-offline serves the function as API Gateway would; curl is the client."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conformance.platform import settings_for
from tests.servers import ROOT, clean_environ, free_port
from tests.tools import osls, tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator import Simulator


@pytest.fixture
def url(upstream: Simulator, tmp_path: Path) -> Iterator[str]:
    program, port = osls(), free_port()
    settings = settings_for(upstream)
    # The plugin ignores the runtime and runs the python3 on PATH; it starts it with serverless.yml's variables alone
    # unless these name others.
    environ = {
        **clean_environ(settings, tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SLS_TELEMETRY_DISABLED": "1",
        "CI": "1",
    }
    command = [program, "offline", "--httpPort", str(port), "--lambdaPort", str(free_port()), "--reloadHandler"]
    command += ["--host", "127.0.0.1", "--noTimeout"]
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("main.py", "handlers", "schemas", "fdi_health", "deploy", "node_modules", "package.json"):
        (tree / name).symlink_to(ROOT / name)
    text = (ROOT / "serverless.yml").read_text()
    changed = "\n".join(f"    {name}: {value!r}" for name, value in settings.items())
    head, marker, tail = text.partition("  environment:\n")
    rest = tail[tail.index("\nfunctions:") :]
    (tree / "serverless.yml").write_text(f"{head}{marker}{changed}\n{rest}")
    with (tmp_path / "offline.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 -- a program of ours
            command, cwd=tree, env=environ, stdout=log, stderr=log, start_new_session=True
        )
    try:
        end = time.monotonic() + 60
        while "Server ready" not in (tmp_path / "offline.log").read_text():
            assert process.poll() is None, (tmp_path / "offline.log").read_text()
            assert time.monotonic() < end, (tmp_path / "offline.log").read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        # The group is the session that was started above: node and the Pythons it started.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def curl(*words: str) -> tuple[int, str]:
    program = tool("curl")
    command = [program, "--silent", "--show-error", "--include", "--max-time", "30", *words]
    text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout  # noqa: S603 -- as above
    return int(text.split()[1]), text


def test_serverless_offline__serves_verdicts(url: str) -> None:
    status, text = curl(f"{url}/?instance=payments")
    assert status == 503
    assert "fdi-verdict: unhealthy" in text.lower()
    assert "cache-control: no-store" in text.lower()

    status, text = curl(f"{url}/health?instance=orders&instance=sandbox")
    assert (status, "FDI-OK" in text) == (200, True)

    status, text = curl("--data", '{"instance":"orders"}', "--header", "Content-Type: application/json", url)
    assert (status, '"status":"healthy"' in text) == (200, True)

    assert curl(f"{url}/live")[0] == 200
    assert curl(f"{url}/nowhere")[0] == 404
