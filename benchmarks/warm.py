"""A warm verdict through functions-framework, beside one call to the same simulator."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measuring import Caller, Row, in_turn
from benchmarks.upstream import PROJECT_ID, TOKEN, fleet_names, fleet_settings, simulator
from tests.servers import functions_framework

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMITS = {1: 1.15, 20: 1.3, 200: 3.8}


def rows(runs: int = 30) -> Iterator[Row]:
    """Yield one row for 1, 20 and 200 instances; upstream 50 ms away, details shown, cache off."""
    for size, limit in LIMITS.items():
        with simulator(fleet=size) as url, tempfile.TemporaryDirectory() as home:
            settings = fleet_settings(url, fleet_names(size), FDI_MAX_PARALLEL="200")
            with functions_framework(settings, Path(home)) as (function_url, _):
                ours, upstream = Caller(function_url), Caller(url)
                path = f"/v2/{PROJECT_ID}/fdi/instances/instance-0000/statistics/tasks"

                def ask(ours: Caller = ours, size: int = size) -> None:
                    status, verdict = ours.get("/")
                    if status != 200 or verdict["instances_count"]["healthy"] != size:
                        raise RuntimeError(f"a wrong verdict: {verdict['reason']}")

                def ask_upstream(upstream: Caller = upstream, path: str = path) -> None:
                    upstream.get(path, {"X-Auth-Token": TOKEN})

                verdict_seconds, call_seconds = in_turn([ask, ask_upstream], runs)
                yield Row(
                    f"warm verdict over {size} instances / one upstream call", verdict_seconds, call_seconds, limit
                )
                ours.close()
                upstream.close()
