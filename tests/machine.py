"""How long this process had to wait for the machine: what a hang's bound must not count on a busy one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_TICKS_PER_SECOND = 100
_STEAL = 8
"""The column of /proc/stat with the time that the host gave to other machines."""


def waited_seconds() -> float:
    """Return for how long this process's threads could have run and got no core, since some moment; 0.0 if not known.

    A thread that waits for a response, a lock or the interpreter does not count, so a hang cannot hide in it. Sources:
    Documentation/scheduler/sched-stats.rst and proc_stat(5) of Linux.
    """
    nanoseconds = 0
    for path in Path("/proc/self/task").glob("*/schedstat"):
        with suppress(OSError, IndexError):  # a thread may end here
            nanoseconds += int(path.read_text().split()[1])
    stolen = 0
    with suppress(OSError, IndexError):
        stolen = int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[_STEAL])
    return nanoseconds / 1e9 + stolen / _TICKS_PER_SECOND
