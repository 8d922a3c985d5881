"""Writes log lines on a thread of its own, so that a reader who stops reading never stops the process.

A pipe that nobody drains blocks its writer for ever. Lines that do not fit into the queue are dropped and counted.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_LINES = 1000
"""How many lines may wait to be written."""

MAX_FLUSH_SECONDS = 0.2


class LogWriter:
    """A queue of lines and the daemon thread that writes them, started at the first line.

    Args:
        report: returns the line that says how many lines were dropped.
        descriptor: the file descriptor to write to. Not sys.stderr: its lock would be held by the blocked write when
            the interpreter exits, which then waits for ever.
        max_lines: how many lines may wait.

    """

    def __init__(self, report: Callable[[int], bytes], descriptor: int = 2, max_lines: int = MAX_LINES) -> None:
        self._report, self._descriptor, self._max_lines = report, descriptor, max_lines
        self._reset()
        # Threads do not survive a fork, and the lock may be held by one of them.
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._lines: deque[bytes] = deque()
        self._dropped = 0
        self._thread: threading.Thread | None = None
        self._writing = False
        self._is_stalled = False

    def write(self, line: bytes) -> None:
        """Queue a line, or drop and count it if too many wait. Never blocks."""
        with self._changed:
            if len(self._lines) >= self._max_lines:
                self._dropped += 1
                return
            self._lines.append(line)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="fdi-health-log", daemon=True)
                with contextlib.suppress(RuntimeError):  # no thread can be started now; the next line tries again
                    thread.start()
                    self._thread = thread
            self._changed.notify_all()

    def flush(self, seconds: float = MAX_FLUSH_SECONDS) -> bool:
        """Wait until all lines are written; return whether they are.

        A writer that did not make it in time is not waited for again before it has written something.
        """
        with self._changed:
            if self._is_stalled:
                return False
            self._is_stalled = not self._changed.wait_for(lambda: not self._lines and not self._writing, seconds)
            return not self._is_stalled

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines)
                line = self._lines.popleft()
                if self._dropped and not self._lines:
                    line += self._report(self._dropped)
                    self._dropped = 0
                self._writing = True
            self._write_all(line)
            with self._changed:
                self._writing = self._is_stalled = False
                self._changed.notify_all()

    def _write_all(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                # Somebody made the descriptor non-blocking; it is shared with other processes.
                select.select([], [self._descriptor], [], 1.0)
            except OSError:
                return  # closed, or its reader is gone
