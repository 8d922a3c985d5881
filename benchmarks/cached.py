"""The CPU time of a cached verdict for an anonymous caller, log line included, beside a Werkzeug hello.

The container's server is measured in requests per second, beside a WSGI hello under the same server.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from werkzeug import Request, Response
from werkzeug.test import create_environ

from benchmarks.capacity import requests_per_second
from benchmarks.upstream import fleet_names, fleet_settings, simulator
from tests.servers import ROOT, clean_environ, container_server, free_port, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from wsgiref.types import WSGIApplication

LIMITS_MICROSECONDS = {20: 350, 200: 450}
MIN_RATIO = 0.6
CALLERS = 8
_REQUESTS, _ROUNDS = 200, 15

HELLO = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", "7")])
    return [b'"hello"']
"""


def lines() -> Iterator[str]:
    """Yield a line for each number of instances, and one for the container's server."""
    for size, limit in LIMITS_MICROSECONDS.items():
        ours, hello = _cpu(size)
        verdict = "ok" if ours <= limit else "TOO SLOW"
        what = f"CPU of a cached verdict over {size} instances / Werkzeug hello"
        yield f"{what:<58}{ours:>8.0f} us{hello:>8.0f} us   (limit {limit} us) {verdict}"
    yield _container()
    yield "  (the hello is one Python function; a verdict also reads parameters, checks keys, validates and logs)"


def _settings(url: str, size: int) -> dict[str, str]:
    return fleet_settings(url, fleet_names(size), FDI_CACHE_SECONDS="60", FDI_ANONYMOUS="verdict")


def _cpu(size: int) -> tuple[float, float]:
    """Return the microseconds of ours and of the hello, measured by a process of its own."""
    with simulator(fleet=size, latency=0) as url:
        environ = clean_environ(_settings(url, size), Path(os.devnull))
        command = [sys.executable, "-m", "benchmarks.cached"]
        # The process writes its log line for every verdict.
        done = subprocess.run(
            command, cwd=ROOT, env=environ, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    ours, hello = json.loads(done.stdout)
    return ours, hello


def _container() -> str:
    with simulator(fleet=20, latency=0) as url, tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "hello.py").write_text(HELLO)
        port = free_port()
        options = "--interface wsgi --http 1 --no-ws --blocking-threads 64 --backlog 4096 --backpressure 4000"
        granian = [str(Path(sys.executable).parent / "granian"), *options.split(), f"--working-dir={home}"]
        with (
            container_server(_settings(url, 20), home) as (ours_url, _),
            serving([*granian, "--host=127.0.0.1", f"--port={port}", "hello:app"], {}, home, port) as (hello_url, _),
        ):
            requests_per_second(ours_url, CALLERS)
            ours, hello = requests_per_second(ours_url, CALLERS), requests_per_second(hello_url, CALLERS)
    verdict = "ok" if ours >= MIN_RATIO * hello else "TOO SLOW"
    return (
        f"{f'container, {CALLERS} callers, cached verdict over 20 / WSGI hello':<58}{ours:>7.0f} /s{hello:>8.0f} /s"
        f"{ours / hello:>8.2f} x  (limit {MIN_RATIO:.2f} x) {verdict}"
    )


@Request.application
def _hello(_request: Request) -> Response:
    return Response("hello")


def _microseconds(app: WSGIApplication) -> float:
    """Return the CPU time of one request, all threads included."""
    environs = [create_environ("/") for _ in range(_REQUESTS)]
    start_response: Callable[..., Any] = lambda *_: None  # noqa: E731 -- a stand-in for a server
    began = time.process_time()
    for environ in environs:
        b"".join(app(environ, start_response))
    return (time.process_time() - began) / _REQUESTS * 1e6


def main() -> None:
    """Measure in this process, the settings of which are in its environment, and print both figures as JSON."""
    from main import app  # reads the environment

    if Response.from_app(app, create_environ("/")).status_code != 200:
        raise RuntimeError("the verdict is not healthy")
    rounds = [(_microseconds(app), _microseconds(_hello)) for _ in range(_ROUNDS)]
    # The least of the rounds, as timeit takes it: other programs on the machine can only add.
    print(json.dumps([min(times) for times in zip(*rounds, strict=True)]))


if __name__ == "__main__":
    main()
