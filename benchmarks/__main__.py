"""`make bench`: run every benchmark, print its figures, and put them into `benchmarks/results/` and the README."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from benchmarks import (
    cached,
    calls,
    capacity,
    cold_start,
    cold_tls,
    load,
    platforms,
    rendering,
    secret_stores,
    signing,
    warm,
)
from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

_TABLE = re.compile("(?<=<!-- bench -->\n).*(?=<!-- /bench -->)", re.DOTALL)


def lines() -> Iterator[str]:
    """Yield every line as it is measured; ratios are of one run, side by side."""
    yield (
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {platform.machine()}, "
        f"{os.cpu_count()} shared cores, everything on loopback; medians"
    )
    yield ""
    yield f"{'what / compared with':<58}{'ours':>11}{'base':>11}{'ratio':>8}"
    for row in warm.rows():
        yield str(row)
    for row in cold_start.rows():
        yield str(row)
    yield from secret_stores.lines()
    yield from cached.lines()
    yield from signing.lines()
    yield from platforms.lines()
    yield from rendering.lines()
    yield ""
    yield from cold_tls.lines()
    yield ""
    yield from calls.lines()
    yield from load.lines()
    yield ""
    yield from capacity.lines()


def main() -> None:
    """Print the table, line by line, and keep it."""
    shown = []
    for line in lines():
        print(line, flush=True)
        shown.append(f"{line}\n")
    text = "".join(shown)
    (ROOT / "benchmarks" / "results" / "latest.txt").write_text(text)
    readme = ROOT / "README.md"
    readme.write_text(_TABLE.sub(lambda _: f"```\n{text}```\n", readme.read_text()))


if __name__ == "__main__":
    main()
