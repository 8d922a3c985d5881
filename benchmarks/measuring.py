"""How a benchmark times things: side by side, in turn, and by the median."""

from __future__ import annotations

import http.client
import json
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: what was measured.
        ours: our median, in seconds.
        base: the median of what it is held against, in seconds.
        limit: the largest ratio that is good enough, or None.

    """

    what: str
    ours: float
    base: float
    limit: float | None

    @property
    def ratio(self) -> float:
        """Ours over base."""
        return self.ours / self.base

    def __str__(self) -> str:
        row = f"{self.what:<58}{self.ours * 1000:>8.1f} ms{self.base * 1000:>8.1f} ms{self.ratio:>7.2f} x"
        if self.limit is None:
            return row
        return f"{row}  (limit {self.limit:.2f} x) {'ok' if self.ratio <= self.limit else 'TOO SLOW'}"


class Caller:
    """One kept connection to a server, as a checker would hold it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)

    def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Return status and JSON document."""
        self._connection.request("GET", path, headers=headers or {})
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def seconds(work: Callable[[], object]) -> float:
    """Return how long one run of `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turn(works: Sequence[Callable[[], object]], runs: int, warm_up: int = 3) -> list[float]:
    """Return each work's median over `runs`, run in turn (A B A B …), so that a drifting machine strikes all alike."""
    for _ in range(warm_up):
        for work in works:
            work()
    times: list[list[float]] = [[] for _ in works]
    for _ in range(runs):
        for work, its_times in zip(works, times, strict=True):
            its_times.append(seconds(work))
    return [statistics.median(its_times) for its_times in times]
