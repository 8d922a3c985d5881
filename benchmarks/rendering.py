"""How long each format takes for 500 instances; metrics also as prometheus-client writes them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prometheus_client.exposition import generate_latest

from benchmarks.measuring import in_turn
from fdi_health.clock import now
from fdi_health.evaluation import evaluate
from fdi_health.formats import FORMATS
from fdi_health.models import Instance, ProbeResult, Statistics, TaskCounts
from fdi_health.policy import Policy
from handlers import status_page
from tests.fdi_health.test_formats import AsTheLibraryDoes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fdi_health.models import Verdict

LIMITS_SECONDS = {"json": 0.065, "prometheus": 0.040, "openmetrics": 0.040}
PAGE_LIMIT_SECONDS, PAGE_LIMIT_BYTES = 0.060, 120_000


def lines() -> Iterator[str]:
    """Yield one line per format."""
    verdict = _verdict(500)
    works: list[Callable[[], object]] = [lambda form=form: form.render(verdict) for form in FORMATS.values()]  # type: ignore[misc] # a default binds it
    works.append(lambda: generate_latest(AsTheLibraryDoes(verdict)))
    *found, library = in_turn(works, runs=9)
    for name, seconds in zip(FORMATS, found, strict=True):
        limit = LIMITS_SECONDS.get(name)
        verdict_on_it = (
            "" if limit is None else f"(limit {limit * 1000:.0f} ms) {'ok' if seconds <= limit else 'TOO SLOW'}"
        )
        yield f"{f'{name} of 500 instances':<58}{seconds * 1000:>8.1f} ms   {verdict_on_it}".rstrip()
    yield f"{'  the same metrics by prometheus-client':<58}{library * 1000:>8.1f} ms"
    yield _page()


def _page() -> str:
    """Return the line of the status page, of which a tenth of the instances is unhealthy."""
    verdict, place = _verdict(200, every=10), status_page.Place()
    size = len(status_page.render(verdict, place))
    (seconds,) = in_turn([lambda: status_page.render(verdict, place)], runs=9)
    judged = "ok" if seconds <= PAGE_LIMIT_SECONDS and size <= PAGE_LIMIT_BYTES else "TOO SLOW"
    limits = f"(limit {PAGE_LIMIT_SECONDS * 1000:.0f} ms and {PAGE_LIMIT_BYTES // 1000} kB)"
    return f"{f'/status of 200 instances, {size / 1000:.0f} kB':<58}{seconds * 1000:>8.1f} ms   {limits} {judged}"


def _verdict(size: int, every: int | None = None) -> Verdict:
    """Return a verdict over some instances; if `every` is given, each of that number has two abnormal tasks."""
    results = []
    for n in range(size):
        abnormal = 2 if every and n % every == 0 else 0
        statistics = Statistics(TaskCounts(2, abnormal, 6, 8), TaskCounts(1, 0, 6, 0))
        results.append(ProbeResult(Instance(f"instance-{n}", f"id-{n}"), statistics, None, now(), 0.05))
    return evaluate(results, Policy(), datetime.now(UTC))
