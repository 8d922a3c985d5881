"""`make run` and `fdi-health demo`: simulator and function side by side, and the first verdict to read."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HOST, PORT = "127.0.0.1", 8080
ROOT = Path(__file__).parent.parent
CREDENTIALS = {"username": "fdi-probe", "password": "demo-password", "domain_name": "Acme"}
"""Of a user whom the simulator alone knows."""

PROJECT_ID = "c53626012ba84727b938ca8bf03108ef"
INSTANCES = {
    "payments": ("fae7ff6c-8e07-4cf8-9e67-589cab2f017c", "doc_example"),
    "orders": ("11111111-2222-4333-8444-555555555555", "healthy"),
    "crm": ("99999999-8888-4777-8666-555555555555", "refuses_token"),
}
"""Name → instance ID and what the simulator plays for it."""

TASKS = (
    f"--task={INSTANCES['payments'][0]}=nightly-export:connect to ftp.acme.example timed out",
    f"--realtime-task={INSTANCES['payments'][0]}=orders-sync:Duplicate entry for key PRIMARY",
)
"""The two abnormal tasks of the documented example, which has no names for them: options of the simulator."""

KEY = "demo-key-of-the-person-on-call"
"""Opens the remarks of failed tasks."""

START_SECONDS = 20.0


def main() -> int:
    """Start both, show the first verdict, and stay until Ctrl-C; returns the exit status."""
    port = int(os.environ.get("PORT", PORT))
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            print(
                f"Port {port} on {HOST} is taken. Free it, or choose another one: make run PORT=8081, or "
                "PORT=8081 fdi-health demo",
                file=sys.stderr,
            )
            return 2
    # However we are told to stop, the two programs are ended first. Shells start background jobs deaf to SIGINT.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        with (
            tempfile.TemporaryDirectory() as home,
            _simulator() as upstream,
            _function(upstream, port, home) as function,
        ):
            _show(port, upstream)
            function.wait()
            print("The function has ended by itself; what it said stands above.", file=sys.stderr)
            return 1
    except KeyboardInterrupt:
        print("\nStopped.")
        return 0


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _user() -> str:
    return f"--iam-user={CREDENTIALS['domain_name']}/{CREDENTIALS['username']}:{CREDENTIALS['password']}"


@contextlib.contextmanager
def _simulator() -> Iterator[str]:
    """Run the simulated ROMA Connect on a free port; yields its URL."""
    instances = [f"--instance={instance_id}={play}" for instance_id, play in INSTANCES.values()]
    command = [sys.executable, "-m", "simulator", "--port=0", f"--project-id={PROJECT_ID}", _user()]
    with _running([*command, *instances, *TASKS], {}, stdout=subprocess.PIPE) as process:
        line = process.stdout.readline().decode() if process.stdout else ""
        if "http://" not in line:
            raise SystemExit("The simulator did not start; what it said stands above.")
        yield line[line.index("http://") :].strip()


@contextlib.contextmanager
def _function(upstream: str, port: int, home: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the function as its platform does; yields its process once it answers."""
    settings = {
        "FDI_ENDPOINT": upstream,
        "FDI_PROJECT_ID": PROJECT_ID,
        "FDI_INSTANCES": ",".join(f"{name}={instance_id}" for name, (instance_id, _) in INSTANCES.items()),
        "FDI_IAM_ENDPOINT": upstream,
        "FDI_TOKEN": "env://ROMA_CREDENTIALS",
        "ROMA_CREDENTIALS": json.dumps(CREDENTIALS),
        "FDI_ANONYMOUS": "details",
        "FDI_CALLERS": "env://DEMO_CALLERS",
        "DEMO_CALLERS": json.dumps({"oncall": {"key": KEY, "remarks": True}}),
        "THREADS": "64",
        "HOME": home,  # gunicorn opens a control socket under it
        "no_proxy": "127.0.0.1",
    }
    program = Path(sys.executable).parent / "functions-framework"
    command = [str(program), "--target=health", f"--source={ROOT / 'main.py'}", f"--host={HOST}", f"--port={port}"]
    if not program.exists():  # the smallest installation
        command = [sys.executable, "-m", "simulator.demo_server", HOST, str(port)]
    with _running(command, settings) as process:
        end = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(OSError):
                _ask(port, "/live")
                break
            time.sleep(0.05)
        yield process


@contextlib.contextmanager
def _running(
    command: Sequence[str], settings: dict[str, str], stdout: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a session of its own, so that Ctrl-C reaches us alone and we end it in order."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("FDI_", "ROMA_"))}
    process = subprocess.Popen(  # noqa: S603 -- our own programs, no shell
        command, env={**ours, **settings}, cwd=ROOT, stdout=stdout, start_new_session=True
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def _ask(port: int, path: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def _show(port: int, upstream: str) -> None:
    url = f"http://{HOST}:{port}"
    status, verdict = _ask(port, "/")
    print(f"\nfdi-health answers on {url} and asks a simulated ROMA Connect on {upstream}.")
    print("FDI_ANONYMOUS=details is set, so that you see everything; the default shows callers only the verdict.\n")
    print(f"GET /  ->  {status}  FDI-Verdict: {verdict['status']}\n{json.dumps(verdict, indent=2)}\n")
    print("In short:")
    for instance in verdict["instances"]:
        print(f"  {instance['name']:<10}{instance['status']:<11}{instance['reason']}")
        for task in instance.get("abnormal_tasks", []):
            print(f"  {'':<21}{task['task_name']}, failed at {task['failed_at']}")
    print("\nTry:")
    for line in (
        f"curl -i '{url}/'                       # the verdict: 200 or 503",
        f"curl '{url}/?format=text' -H 'X-Api-Key: {KEY}'   # why the tasks failed",
        f"curl -i '{url}/?instance=orders'       # one instance, healthy",
        f"curl -i '{url}/?fail_on=unknown'       # which statuses answer 503",
        f"curl -i '{url}/?deadline=0.5'          # answer sooner",
        f"curl -i '{url}/live'                   # is the process up",
        f"curl -i '{url}/ready'                  # do settings and secret load",
        f"curl -i '{url}/?instance=nope'         # a problem says what to fix",
    ):
        print(f"  {line}")
    print("\nCtrl-C stops everything.", flush=True)


if __name__ == "__main__":
    sys.exit(main())
