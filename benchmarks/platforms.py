"""What a platform's trigger adds, and a cold start in the emulator of AWS Lambda beside the smallest handler."""

from __future__ import annotations

import compileall
import functools
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import Row, in_turn
from benchmarks.upstream import PROJECT_ID, TOKEN, fleet_names, fleet_settings, simulator
from handlers.application import Application
from handlers.triggers.aws_lambda import make_handler
from handlers.triggers.functiongraph import Handler
from tests.conformance.platform import Question, over_wsgi
from tests.emulator import emulated, gather_runtime_client
from tests.platform_events import functiongraph, http_api, rest_api
from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ADAPTER_LIMIT_SECONDS = 0.001
COLD_LIMIT = 1.7
EMULATOR = ROOT / "build" / "tools" / "aws-lambda-rie"

BARE = """
import requests
def handler(event, context):
    return {"statusCode": requests.get(URL, headers={"X-Auth-Token": TOKEN}, timeout=5).status_code}
"""


def lines() -> Iterator[str]:
    """Yield one line per trigger, and one for the cold start."""
    yield from _adapters()
    if EMULATOR.exists():
        yield str(_cold())
    else:
        yield "cold start under the Lambda emulator: not measured; .ci/install brings the emulator"


def _adapters(runs: int = 200) -> Iterator[str]:
    """Yield what each trigger adds to a warm request with a cached result."""
    with simulator(fleet=1, latency=0) as url:
        settings = fleet_settings(url, fleet_names(1), FDI_CACHE_SECONDS="60")
        process = Application(settings)
        wsgi, on_lambda, on_functiongraph = over_wsgi(process), make_handler(process), Handler(settings)
        events: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
            "Lambda, REST API": (on_lambda, rest_api(Question())),
            "Lambda, HTTP API": (on_lambda, http_api(Question())),
            "FunctionGraph": (on_functiongraph, functiongraph(Question())),
        }
        works: list[Callable[[], object]] = [lambda: wsgi(Question())]
        works += [functools.partial(handle, event, None) for handle, event in events.values()]
        base, *triggers = in_turn(works, runs, warm_up=20)
        for name, found in zip(events, triggers, strict=True):
            added = found - base
            verdict = "ok" if added <= ADAPTER_LIMIT_SECONDS else "TOO SLOW"
            what = f"warm request through {name} / WSGI"
            yield f"{what:<58}{found * 1000:>8.2f} ms{base * 1000:>8.2f} ms   (limit +1 ms) {verdict}"
        process.close()
        on_functiongraph.application(None).close()


def _cold(runs: int = 8) -> Row:
    """Return the row for the emulator: start, import, first verdict over one instance on loopback, token from env."""
    with simulator(fleet=1, latency=0) as url, tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        ours, bare, client, home = (place / name for name in ("ours", "bare", "client", "home"))
        for made in (ours, bare, client, home):
            made.mkdir()
        gather_runtime_client(client)
        requirements = ROOT / "deploy" / "lambda" / "requirements.txt"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run(
            [*command, "--target", str(ours), "-r", str(requirements)], check=True, stderr=subprocess.DEVNULL
        )
        for compiled in ours.rglob("*.so"):
            compiled.unlink()
        shutil.copytree(ours, bare, dirs_exist_ok=True)
        shutil.copy(ROOT / "main.py", ours)
        for name in ("handlers", "schemas", "fdi_health"):
            shutil.copytree(ROOT / name, ours / name)
        path = f"/v2/{PROJECT_ID}/fdi/instances/instance-0000/statistics/tasks"
        (bare / "bare.py").write_text(f"URL, TOKEN = {url + path!r}, {TOKEN!r}\n{BARE}")
        for code in (ours, bare):
            compileall.compile_dir(code, quiet=1)
        settings = fleet_settings(url, fleet_names(1))
        found: dict[str, list[float]] = {"main.lambda_handler": [], "bare.handler": []}
        for _ in range(runs + 1):
            for code, handler in ((ours, "main.lambda_handler"), (bare, "bare.handler")):
                began = time.perf_counter()
                with emulated(str(EMULATOR), code, client, home, settings, handler) as invoke:
                    if invoke(http_api(Question()))["statusCode"] != 200:
                        raise RuntimeError("the first verdict is not healthy")
                    found[handler].append(time.perf_counter() - began)
    medians = [statistics.median(times[1:]) for times in found.values()]
    return Row("Lambda emulator, cold to first verdict / bare requests.get", medians[0], medians[1], COLD_LIMIT)
