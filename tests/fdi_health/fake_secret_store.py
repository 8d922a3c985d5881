"""A secret store in memory, a clock that is set by hand, and functions that wait for background work."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from fdi_health.clock import Deadline, Instant
from fdi_health.credentials.authenticators import Token
from fdi_health.credentials.iam_client import IamClient
from fdi_health.errors import CheckError
from fdi_health.secret_stores import Secret
from tests.conftest import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from fdi_health.credentials.authenticators import Signature

MINUTE = 60.0
HOUR = 60 * MINUTE

NO_IAM = IamClient(None, "project")


@dataclass
class FakeSecretStore:
    """A store in memory. Its reads are counted, and can fail, wait or hang."""

    secrets: list[bytes]
    wait_seconds: float = 0.0
    hang: threading.Event | None = None
    reads: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, deadline: Deadline) -> Secret:
        with self.lock:
            self.reads += 1
            secret = self.secrets.pop(0) if len(self.secrets) > 1 else self.secrets[0]
        if self.hang is not None:
            self.hang.wait(30)
        time.sleep(self.wait_seconds)
        if secret == b"missing":
            raise CheckError("token_unavailable", "the secret does not exist")
        return Secret(secret)


@dataclass
class Clock:
    """Both clocks, set by hand."""

    wall: float = 1_700_000_000.0
    monotonic: float = 0.0

    def __call__(self) -> Instant:
        return Instant(self.wall, self.monotonic)


def soon(seconds: float = 2.0) -> Deadline:
    return Deadline.after(seconds)


def static(end: str) -> bytes:
    return f'{{"token":"{TOKEN}","expires_at":"{end}"}}'.encode()


def no_read_in_progress() -> bool:
    """Whether no thread reads a secret or logs in."""
    return not any(thread.name == "fdi-health-secret" for thread in threading.enumerate())


def until(true: Callable[[], bool]) -> None:
    for _ in range(100):
        if true():
            return
        time.sleep(0.02)
    pytest.fail("it never became true")


def token_value(authenticator: Token | Signature) -> str:
    """Return the token, where a test knows that the secret leads to one."""
    assert isinstance(authenticator, Token)
    return authenticator.value
