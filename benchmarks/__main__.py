"""`make bench`: run every benchmark and print its figures; ratios are of one run, side by side."""

from __future__ import annotations

import platform

from benchmarks import cold, crowds, warm


def main() -> None:
    """Print the table."""
    print(f"Python {platform.python_version()}, {platform.machine()}; medians\n")
    print(f"{'what / held against':<58}{'ours':>11}{'base':>11}{'ratio':>8}")
    for row in warm.rows():
        print(row, flush=True)
    print(cold.row(), flush=True)
    print()
    for line in crowds.lines():
        print(line, flush=True)


if __name__ == "__main__":
    main()
