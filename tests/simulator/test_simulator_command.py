"""The simulator's command line."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from fdi_health.credentials.signer import AccessKey, sign
from simulator import DOC_EXAMPLE, DOC_INSTANCE_ID, DOC_PROJECT_ID, HEALTHY, NO_TASKS, fault_names
from tests.simulator.wire import statistics_path

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "simulator")


@contextlib.contextmanager
def started(*arguments: str, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the command on a free port, and give the process and the URL of its ready line."""
    with subprocess.Popen(  # noqa: S603 -- our own program
        (*COMMAND, "--port", "0", *arguments),
        cwd=ROOT,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            ready = re.fullmatch(r"simulator listening on (http://127\.0\.0\.1:\d+)\n", process.stdout.readline())
            assert ready
            yield process, ready[1]
        finally:
            process.kill()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 -- our own program
        (*COMMAND, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=10, check=False
    )


def get(url: str, instance_id: str, token: str) -> requests.Response:
    return requests.get(url + statistics_path(instance_id), headers={"X-Auth-Token": token}, timeout=2)


def test_command__with_access_key_and_csms_secret__answers_signed_requests(tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    file.write_text('{"access_key": "HPUAOFROMA"}')
    with started("--access-key", "HPUAEXAMPLE:made-up-key", "--csms-secret", f"roma-key={file}") as (_, url):
        headers = {"Host": url.removeprefix("http://")}
        path = "/v1/p/secrets/roma-key/versions/latest"
        signed = sign(AccessKey("HPUAEXAMPLE", "made-up-key"), "GET", path, (), headers, b"", time.time())
        found = requests.get(url + path, headers=headers | signed, timeout=2)
        assert found.json()["version"]["secret_string"] == '{"access_key": "HPUAOFROMA"}'


@pytest.mark.parametrize(
    ("option", "text", "form"),
    [
        ("--access-key", "HPUAEXAMPLE", "must be ACCESS_KEY:SECRET_KEY"),
        ("--csms-secret", "roma-key", "must be NAME=FILE"),
        ("--csms-secret", "roma-key=nowhere", "must be NAME=FILE"),
    ],
)
def test_command__malformed_key_or_secret__shows_the_form(option: str, text: str, form: str) -> None:
    done = run(option, text)
    assert done.returncode == 2
    assert form in done.stderr


def test_command__without_options__plays_the_documented_example() -> None:
    with started() as (_, url):
        assert get(url, DOC_INSTANCE_ID, "simulator-token").json() == DOC_EXAMPLE
        assert get(url, DOC_INSTANCE_ID, "another").status_code == 401


def test_command__with_a_token_in_the_environment__accepts_it() -> None:
    with started(SIMULATOR_TOKEN="from-the-environment") as (_, url):
        assert get(url, DOC_INSTANCE_ID, "from-the-environment").status_code == 200
        assert get(url, DOC_INSTANCE_ID, "simulator-token").status_code == 401


def test_command__with_all_options__obeys_each() -> None:
    options = ("--token", "a", "--token", "b", "--restricted-token", "c", "--fleet", "3", "--limit-per-second", "3")
    with started(*options, "--instance", "x=status_503,healthy", "--instance", "y=doc_example") as (_, url):
        assert get(url, "x", "a").status_code == 503
        assert get(url, "x", "b").json() == HEALTHY
        assert get(url, "y", "c").json() == NO_TASKS
        assert [get(url, f"instance-{number:04}", "b").status_code for number in (0, 2, 3)] == [200, 200, 429]
        assert get(url, "instance-0003", "a").status_code == 404


def test_command__with_tasks__lists_them_with_their_remarks() -> None:
    options = ("--instance", "x=doc_example", "--task", "x=nightly-export:connect to a:21 failed, a=b", "--task", "y=b")
    with started(*options, "--realtime-task", "x=orders-sync") as (_, url):
        base, headers = f"{url}/v2/{DOC_PROJECT_ID}/fdi/instances", {"X-Auth-Token": "simulator-token"}
        tasks = requests.get(f"{base}/x/task-monitors", headers=headers, timeout=2).json()["entities"]
        assert [(task["task_name"], task["task_type"], task["position"]) for task in tasks] == [
            ("nightly-export", "TIMING", "READER"),
            ("orders-sync", "REALTIME", "WRITER"),
        ]
        logs = [
            requests.get(f"{base}/x/tasks/{task['task_id']}/monitor-logs", headers=headers, timeout=2).json()
            for task in tasks
        ]
        assert [log["entities"][0]["remarks"] for log in logs] == ["connect to a:21 failed, a=b", None]


def test_command__with_latency__delays_responses() -> None:
    with started("--latency", "0.2") as (_, url):
        begun = time.monotonic()
        get(url, DOC_INSTANCE_ID, "simulator-token")
        assert time.monotonic() - begun >= 0.2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_command__on_a_signal__exits_0_at_once(number: signal.Signals) -> None:
    with started("--instance", "x=silent", "--token", "t") as (process, url):
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=2) as hung:
            hung.sendall(f"GET {statistics_path('x')} HTTP/1.1\r\nX-Auth-Token: t\r\n\r\n".encode())
            begun = time.monotonic()
            process.send_signal(number)
            assert process.wait(timeout=5) == 0
            assert time.monotonic() - begun < 0.5
        assert process.communicate() == ("", "")


def test_command__list_faults__prints_one_per_line() -> None:
    assert run("--list-faults").stdout.splitlines() == fault_names()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--instance", "x=healhty"), "argument --instance: unknown behaviour 'healhty': did you mean healthy?"),
        (("--instance", "x=zzzzzz"), "unknown behaviour 'zzzzzz': python -m simulator --list-faults lists them"),
        (("--instance", "x"), "argument --instance: 'x' must be [PROJECT/]ID=BEHAVIOUR[,BEHAVIOUR...]"),
        (("--instance", "x="), "'x=' must be [PROJECT/]ID=BEHAVIOUR"),
        (("--instance", "x=healthy,"), "'x=healthy,' must be [PROJECT/]ID=BEHAVIOUR"),
        (("--instance", "/x=healthy"), "'/x=healthy' must be [PROJECT/]ID=BEHAVIOUR"),
        (("--task", "x"), "argument --task: 'x' must be INSTANCE=NAME[:REMARKS]"),
        (("--realtime-task", "x=:failed"), "argument --realtime-task: 'x=:failed' must be INSTANCE=NAME[:REMARKS]"),
        (("--port", "70000"), "argument --port: '70000' must be a port from 0"),
        (("--fleet", "-1"), "argument --fleet: "),
        (("--latency", "nan"), "argument --latency: 'nan' must be seconds from 0 to 3600, e.g. 0.25"),
        (("--latency", "soon"), "argument --latency: 'soon' must be seconds from 0 to 3600, e.g. 0.25"),
        (("--nothing",), "unrecognized arguments: --nothing"),
    ],
)
def test_command__with_a_bad_argument__prints_one_line(arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("simulator: ")
    assert message in line


def test_command__with_a_taken_port__prints_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("--port", str(port))
    expected = f"simulator: cannot listen on port {port}: Address already in use\n"
    assert (result.returncode, result.stdout, result.stderr) == (2, "", expected)
