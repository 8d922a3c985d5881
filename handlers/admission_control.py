"""Limits how many checks run, and how many bodies are waited for, at the same time.

The server's own queue ignores our deadline, so a request beyond a limit is rejected at once.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from typing import TYPE_CHECKING

from fdi_health.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEFAULT_THREADS = 64
_SPARE_THREADS = 8

MAX_BODIES = 16
"""How many bodies are waited for at once; half of the checks, where there are fewer than 32."""


def threads(environ: Mapping[str, str]) -> int:
    """Return how many requests a server handles at once: THREADS, or 64 where that is empty or not a number."""
    text = environ.get("THREADS", "").strip()
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 5 else DEFAULT_THREADS


class AdmissionControl:
    """Counts checks and bodies; all but 8 of the server's threads (half, where there are fewer than 16) may be checks.

    Args:
        environ: the process's environment, for THREADS.

    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._lock = threading.Lock()
        self._checks = self._bodies = 0

    @functools.cached_property
    def max_checks(self) -> int:
        """How many checks may run at once. Read at the first check: a server may load us before it sets THREADS."""
        total = threads(self._environ)
        return max(1, total - min(_SPARE_THREADS, total // 2))

    @contextlib.contextmanager
    def check(self) -> Iterator[None]:
        """Count a check.

        Raises:
            CheckError: `overloaded`, at once, if there are too many.

        """
        with self._lock:
            if self._checks >= self.max_checks:
                raise CheckError("overloaded", f"{self._checks} checks are under way already; ask again in a moment")
            self._checks += 1
        try:
            yield
        finally:
            with self._lock:
                self._checks -= 1

    @contextlib.contextmanager
    def body(self) -> Iterator[None]:
        """Count a body that is waited for, as a check too.

        The container's server has no time limit for bodies, so they never take all places, however long they last.

        Raises:
            CheckError: `overloaded`, at once, if there are too many.

        """
        limit = min(MAX_BODIES, max(1, self.max_checks // 2))
        with self.check():
            with self._lock:
                if self._bodies >= limit:
                    raise CheckError("overloaded", f"{limit} requests' bodies are waited for; ask again in a moment")
                self._bodies += 1
            try:
                yield
            finally:
                with self._lock:
                    self._bodies -= 1
