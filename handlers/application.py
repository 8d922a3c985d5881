"""What one process keeps for its handlers: the service, opened at first use, and admission control."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING

from fdi_health.clock import now
from fdi_health.service import Service
from handlers.admission_control import AdmissionControl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fdi_health.clock import Instant


class Application:
    """The process's state; opening it never fails, so that /live and /ready respond with any settings.

    Args:
        environ: the process's environment.
        clock: reads both clocks.

    Attributes:
        admission: limits how many checks run at once.
        rendering: held while a verdict is rendered. Only one thread at a time runs Python code, so dozens that render
            at the same time are no faster, and they delay /live: 50 verdicts of 300 instances by several seconds.
        google_project: the Google Cloud project it runs in, or None.
        is_frozen_between_requests: whether the platform may take the CPU away once a response is out. Cloud Run and
            Knative, which set K_SERVICE, do so by default.

    """

    def __init__(self, environ: Mapping[str, str], clock: Callable[[], Instant] = now) -> None:
        self._environ = environ
        self._clock = clock
        self.start_anew()
        _applications.add(self)
        self.google_project = environ.get("GOOGLE_CLOUD_PROJECT") or None
        self.is_frozen_between_requests = bool(environ.get("K_SERVICE"))

    def start_anew(self) -> None:
        """Forget everything but the settings, as in a new process.

        For a process that was forked from this one: its threads are gone, its locks may be held by them, and it must
        not send on connections that the other process uses.
        """
        self.admission = AdmissionControl(self._environ)
        self.rendering = threading.Lock()
        self._lock = threading.Lock()
        self._service: Service | None = None

    def service(self) -> Service:
        """Return the service, opened by the first caller.

        Raises:
            CheckError: `settings_invalid`.

        """
        with self._lock:
            if self._service is None:
                self._service = Service.open(self._environ, self._clock)
            return self._service

    def close(self) -> None:
        """Close the service, if it was ever opened."""
        with self._lock:
            if self._service is not None:
                self._service.close()
                self._service = None


_applications: weakref.WeakSet[Application] = weakref.WeakSet()


def _start_anew() -> None:
    for application in list(_applications):
        application.start_anew()


os.register_at_fork(after_in_child=_start_anew)
