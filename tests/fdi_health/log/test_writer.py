"""Lines go out on a thread of their own; a reader who stops reading stops nobody."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
import requests

from fdi_health.log.writer import LogWriter
from tests.conftest import PROJECT_ID, TOKEN
from tests.fdi_health.fake_secret_store import until
from tests.machine import assert_within
from tests.servers import ROOT, clean_environ, free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from simulator import Simulator

PIPE_BYTES = 4096


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Return both ends of a pipe that holds one page."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    yield read, write
    for end in (read, write):
        os.close(end)


def read_all(descriptor: int, size: int) -> bytes:
    received = b""
    while len(received) < size:
        received += os.read(descriptor, PIPE_BYTES)
    return received


def report(count: int) -> bytes:
    return f"dropped {count}\n".encode()


def test_lines__are_written_in_order(pipe: tuple[int, int]) -> None:
    writer = LogWriter(report, pipe[1])
    for number in range(50):
        writer.write(f"{number}\n".encode())
    assert writer.flush(2.0)
    assert os.read(pipe[0], PIPE_BYTES).split() == [str(number).encode() for number in range(50)]


def test_full_pipe__blocks_no_writer_and_drops_are_counted(pipe: tuple[int, int]) -> None:  # H06
    writer = LogWriter(report, pipe[1], max_lines=3)
    began = time.monotonic()
    for _ in range(20):
        writer.write(b"x" * 1023 + b"\n")
    assert_within(began, 0.2)
    received, written, dropped = b"", 0, 0
    while written + dropped < 20:
        received += os.read(pipe[0], PIPE_BYTES)
        lines = received.split(b"\n")[:-1]
        written = sum(line == b"x" * 1023 for line in lines)
        dropped = sum(int(line.split()[1]) for line in lines if line.startswith(b"dropped"))
    assert (written + dropped, dropped > 0) == (20, True)


def test_flush__of_a_blocked_writer__waits_once_and_not_again(pipe: tuple[int, int]) -> None:  # H06
    writer = LogWriter(report, pipe[1])
    writer.write(b"x" * (2 * PIPE_BYTES))
    began = time.monotonic()
    assert [writer.flush(0.2) for _ in range(10)] == [False] * 10
    assert time.monotonic() - began >= 0.2
    assert_within(began, 0.2 + 0.3)
    read_all(pipe[0], 2 * PIPE_BYTES)
    until(lambda: writer.flush(0.2))


def test_flush__without_lines__is_done(pipe: tuple[int, int]) -> None:
    assert LogWriter(report, pipe[1]).flush()


def test_descriptor_that_is_not_blocking__is_waited_for(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    writer = LogWriter(report, pipe[1])
    writer.write(b"x" * (2 * PIPE_BYTES))
    assert not writer.flush(0.1)  # the pipe is full by now
    assert read_all(pipe[0], 2 * PIPE_BYTES) == b"x" * (2 * PIPE_BYTES)
    until(lambda: writer.flush(2.0))


def test_closed_descriptor__is_nobodys_trouble() -> None:
    read, write = os.pipe()
    os.close(read)
    os.close(write)
    writer = LogWriter(report, write)
    writer.write(b"lost\n")
    assert writer.flush(2.0)


def test_no_thread_to_be_had__is_tried_again_at_the_next_line(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:  # H10
    writer = LogWriter(report, pipe[1])
    with monkeypatch.context() as without_threads:

        def start(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        without_threads.setattr(threading.Thread, "start", start)
        writer.write(b"first\n")
    writer.write(b"second\n")
    assert writer.flush(2.0)
    assert os.read(pipe[0], PIPE_BYTES) == b"first\nsecond\n"


def test_forked_child__writes_with_a_thread_of_its_own(pipe: tuple[int, int]) -> None:
    program = (
        "import os, sys\n"
        "from fdi_health.log.writer import LogWriter\n"
        "writer = LogWriter(lambda count: b'')\n"
        "writer.write(b'parent\\n')\n"
        "writer.flush(2.0)\n"
        "if os.fork() == 0:\n"
        "    writer.write(b'child\\n')\n"
        "    writer.flush(2.0)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    # Python 3.12 and later warn of a fork beside a thread on stderr, where the lines are.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    done = subprocess.run(command, stderr=subprocess.PIPE, cwd=ROOT, timeout=10, check=True)  # noqa: S603 -- a program of ours
    assert done.stderr == b"parent\nchild\n"


def test_exit__writes_what_is_left() -> None:
    program = "from fdi_health import log\nlog.to_stderr()\nfor number in range(100): log.log_fault(RuntimeError())\n"
    done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, cwd=ROOT, timeout=10, check=True)  # noqa: S603 -- a program of ours
    assert [json.loads(line)["severity"] for line in done.stderr.splitlines()] == ["ERROR"] * 100


def test_stderr_that_nobody_reads__stops_neither_verdicts_nor_live_nor_the_exit(
    upstream: Simulator, tmp_path: Path
) -> None:  # H06
    names = [f"i{number}" for number in range(100)]
    for name in names:
        upstream.play(name, "status_500")
    port = free_port()
    settings = {
        "FDI_ENDPOINT": upstream.url,
        "FDI_PROJECT_ID": PROJECT_ID,
        "FDI_INSTANCES": ",".join(names),
        "FDI_TOKEN": "env://ROMA_TOKEN",
        "ROMA_TOKEN": TOKEN,
    }
    program = ["-m", "functions_framework", "--target=health", f"--source={ROOT}/main.py", f"--port={port}"]
    process = subprocess.Popen(  # noqa: S603 -- a program of ours
        [sys.executable, *program, "--host=127.0.0.1"],
        env=clean_environ(settings, tmp_path),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        cwd=ROOT,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}", process)
        assert [requests.get(f"http://127.0.0.1:{port}", timeout=10).status_code for _ in range(30)] == [503] * 30
        assert requests.get(f"http://127.0.0.1:{port}/live", timeout=1).status_code == 200
        process.terminate()
        process.wait(5)
    finally:
        process.kill()
        process.communicate()
