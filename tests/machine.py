"""The machine that the tests share: a core for each test that computes, and how long this process waited for one."""

from __future__ import annotations

import fcntl
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

_CORES = (Path(__file__), Path(__file__).with_name("conftest.py"))
"""One file for each test that may compute at once, to be locked. They are always there: none is made or left behind."""

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


@contextmanager
def core(*, alone: bool = False) -> Iterator[None]:
    """Wait until fewer than two tests of this clone compute, and count as one of them.

    Args:
        alone: wait until no other test computes, and let none start.

    """
    with ExitStack() as stack:
        files = [stack.enter_context(path.open()) for path in _CORES]
        if alone:
            for file in files:
                fcntl.flock(file, fcntl.LOCK_EX)
        else:
            while not any(map(_lock, files)):
                time.sleep(0.01)
        try:
            yield
        finally:
            for file in files:
                fcntl.flock(file, fcntl.LOCK_UN)  # a forked process may have the file open still


def _lock(file: TextIO) -> bool:
    """Lock a file, or return False if another process holds its lock."""
    with suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
