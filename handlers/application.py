"""What one process keeps for its handlers: the service, opened at first use, and how many checks are under way."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from fdi_health.clock import now
from fdi_health.errors import CheckError
from fdi_health.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fdi_health.clock import Instant

DEFAULT_THREADS = 64
_SPARE_THREADS = 8

MAX_BODIES = 16
"""How many bodies are waited for at once; half of the checks, where there are fewer than 32."""


def threads(environ: Mapping[str, str]) -> int:
    """Return how many requests a server handles at once: THREADS, or 64 where that is empty or not a number."""
    text = environ.get("THREADS", "").strip()
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 5 else DEFAULT_THREADS


class Application:
    """The process's state; opening it never fails, so that /live and /ready respond with any settings.

    Args:
        environ: the process's environment. THREADS, which functions-framework reads too, is the number of requests
            that the server lets in at once; all but 8 of them (half, where there are fewer than 16) may be checks.
        clock: reads both clocks.

    Attributes:
        google_project: the Google Cloud project it runs in, or None.
        is_frozen_between_requests: whether the platform may take the CPU away once a response is out. Cloud Run and
            Knative, which set K_SERVICE, do so by default.

    """

    def __init__(self, environ: Mapping[str, str], clock: Callable[[], Instant] = now) -> None:
        self._environ = environ
        self.google_project = environ.get("GOOGLE_CLOUD_PROJECT") or None
        self.is_frozen_between_requests = bool(environ.get("K_SERVICE"))
        self._clock = clock
        self._lock = threading.Lock()
        self._service: Service | None = None
        self._checks = self._bodies = 0

    def service(self) -> Service:
        """Return the service, opened by the first caller.

        Raises:
            CheckError: `settings_invalid`.

        """
        with self._lock:
            if self._service is None:
                self._service = Service.open(self._environ, self._clock)
            return self._service

    @contextlib.contextmanager
    def admitted(self) -> Iterator[None]:
        """Count a check; the server queues in front of us where no deadline sees it.

        Raises:
            CheckError: `overloaded`, at once, if too many are.

        """
        most = self._most_checks()
        with self._lock:
            if self._checks >= most:
                raise CheckError("overloaded", f"{self._checks} checks are under way already; ask again in a moment")
            self._checks += 1
        try:
            yield
        finally:
            with self._lock:
                self._checks -= 1

    @contextlib.contextmanager
    def reading_body(self) -> Iterator[None]:
        """Count a body that is waited for, as a check too.

        The container's server has no time limit for bodies, so they never take all places, however long they last.

        Raises:
            CheckError: `overloaded`, at once, if too many are.

        """
        most = min(MAX_BODIES, max(1, self._most_checks() // 2))
        with self.admitted():
            with self._lock:
                if self._bodies >= most:
                    raise CheckError("overloaded", f"{most} requests' bodies are waited for; ask again in a moment")
                self._bodies += 1
            try:
                yield
            finally:
                with self._lock:
                    self._bodies -= 1

    def _most_checks(self) -> int:
        # Read anew each time: a server may load us before it knows how many threads it has.
        total = threads(self._environ)
        return max(1, total - min(_SPARE_THREADS, total // 2))

    def close(self) -> None:
        """Close the service, if it was ever opened."""
        with self._lock:
            if self._service is not None:
                self._service.close()
                self._service = None
