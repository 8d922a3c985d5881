"""A few threads that never keep the process alive."""

from __future__ import annotations

import contextvars
import functools
import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class DaemonThreadPool:
    """At most `size` daemon threads, started when there is work for them and kept.

    The standard library's executor joins its threads when the interpreter exits, so one that is stuck in a DNS lookup
    would keep a process that was told to stop.

    Args:
        size: the most threads.

    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._changed = threading.Condition()
        self._waiting: deque[Callable[[], None] | None] = deque()
        self._threads = 0
        self._idle = 0

    def submit(self, work: Callable[[], None]) -> None:
        """Run `work` on one of the threads as soon as one is free, in the caller's context; it must not raise.

        Raises:
            RuntimeError: there is no thread yet and the system gives us none.

        """
        work = functools.partial(contextvars.copy_context().run, work)
        with self._changed:
            self._waiting.append(work)
            if self._idle >= len(self._waiting):
                self._changed.notify()
            elif self._threads < self._size:
                try:
                    threading.Thread(target=self._serve, name=f"fdi-health-{self._threads}", daemon=True).start()
                except RuntimeError:
                    if self._threads == 0:
                        self._waiting.pop()
                        raise
                else:
                    self._threads += 1

    def close(self) -> None:
        """Let every thread end once it is free."""
        with self._changed:
            self._waiting.extend([None] * self._threads)
            self._changed.notify_all()

    def _serve(self) -> None:
        while (work := self._next()) is not None:
            work()

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            while not self._waiting:
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            return self._waiting.popleft()
