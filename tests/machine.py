"""The machine that the tests share: a core for each test that computes, and bounds on time."""

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


class LateError(AssertionError):
    """Something ended too late. `make test` runs such a test again: a hang is late each time, a busy machine is not."""


def assert_within(began: float, seconds: float) -> None:
    """Raise LateError if more than some seconds have passed since `began`, a time of `time.monotonic()`."""
    __tracebackhide__ = True
    took = time.monotonic() - began
    if took >= seconds:
        message = f"took {took:.3f} s, and {seconds:.3f} s is the limit"
        raise LateError(message)


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
