"""The secrets that a process has used lately, so that they can be redacted."""

from __future__ import annotations

import threading

MAX_SECRETS = 16
"""How many secrets are remembered; tokens may be 20 kB long."""


class SecretHistory:
    """The newest secrets of a process: an upstream may quote one that is no longer used. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, None] = {}

    def add(self, secret: str) -> None:
        """Remember a secret as the newest; beyond `MAX_SECRETS` the oldest is forgotten."""
        with self._lock:
            self._values.pop(secret, None)
            self._values[secret] = None
            if len(self._values) > MAX_SECRETS:
                del self._values[next(iter(self._values))]

    def values(self) -> tuple[str, ...]:
        """Return the secrets, the oldest first."""
        with self._lock:
            return tuple(self._values)
