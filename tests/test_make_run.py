"""`make run`: the demo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from tests.servers import ROOT, clean_environ, free_port


def programs_below(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children]


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_demo__prints_the_first_verdict_and_leaves_no_process(tmp_path: Path, end: signal.Signals) -> None:
    port = free_port()
    environ = clean_environ({"PORT": str(port), "PYTHONUNBUFFERED": "1", "FDI_ANONYMOUS": "nonsense"}, tmp_path)
    with subprocess.Popen(
        [sys.executable, "-m", "simulator.demo"], cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout is not None
        shown = []
        for line in demo.stdout:
            shown.append(line)
            if "Ctrl-C" in line:
                break
        children = programs_below(demo.pid)
        payments = requests.get(f"http://127.0.0.1:{port}/?instance=payments", timeout=5)
        busy = subprocess.run(
            [sys.executable, "-m", "simulator.demo"], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
        )
        demo.send_signal(end)
        demo.wait(15)

    text = "".join(shown)
    assert "2 abnormal tasks in payments (orders-sync, nightly-export); crm unknown (token_rejected)" in text
    assert "FDI_ANONYMOUS=details is set" in text
    assert f"curl -i 'http://127.0.0.1:{port}/'" in text
    assert (payments.status_code, payments.json()["reason"]) == (
        503,
        "2 abnormal tasks in payments (orders-sync, nightly-export)",
    )
    assert (busy.returncode, busy.stdout) == (2, "")
    assert busy.stderr.startswith(f"Port {port} on 127.0.0.1 is taken.")
    assert demo.returncode == 0
    assert len(children) == 2
    time.sleep(0.1)
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
