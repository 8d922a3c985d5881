"""A few threads that never keep the process alive."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Pool:
    """At most `size` daemon threads, started when there is work for them and kept.

    The standard library's executor joins its threads when the interpreter exits, so one that is stuck in a DNS lookup
    would keep a process that was told to stop.

    Args:
        size: the most threads.

    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._free = 0

    def submit(self, work: Callable[[], None]) -> None:
        """Run `work` on one of the threads as soon as one is free; it must not raise."""
        with self._lock:
            if self._free > 0:
                self._free -= 1
            elif self._threads < self._size:
                self._threads += 1
                threading.Thread(target=self._serve, name=f"fdi-health-{self._threads}", daemon=True).start()
        self._work.put(work)

    def close(self) -> None:
        """Let every thread end once it is free."""
        with self._lock:
            for _ in range(self._threads):
                self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            with self._lock:
                # Work that no thread was reserved for is taken by whoever comes back first.
                if self._work.empty():
                    self._free += 1
