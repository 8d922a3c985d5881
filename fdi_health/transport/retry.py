"""When a request is sent again, how long the wait before is, and how long nothing is sent after a 429 (the hold)."""

from __future__ import annotations

import math
import random
import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

from fdi_health.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fdi_health.clock import Deadline

Result = TypeVar("Result")

# The system's source has no state, so forked workers and restored snapshots never share numbers.
_random = random.SystemRandom()

ATTEMPTS = 3
"""The most requests for one response."""

MAX_HOLD_SECONDS = 5.0
"""The longest hold; a Retry-After may ask for hours."""

_FIRST_WAIT_SECONDS = 0.1
_THROTTLED_SECONDS = 1.0
"""The vendor counts requests per user and second."""

_RETRIED_STATUSES = frozenset({408, 502, 503, 504})
_RETRIED_CODES = frozenset({"unreachable", "invalid_response"})
"""What the transport raises when a connection failed or broke; a new one may work."""


class NotSentError(CheckError):
    """A request was not sent, because of an earlier 429 or because of the pace; it says nothing about its instance.

    `retry_after` is when it may be sent, None if that is not before the deadline.
    """


class Wait(Protocol):
    """Waits some seconds."""

    def __call__(self, seconds: float, /) -> object:
        """Wait `seconds`."""
        ...


class Retries:
    """Sends a request again when that may help, and holds requests back after a rate limit.

    Args:
        whom: the server, for people, e.g. "ROMA Connect".
        wait: waits between two attempts.
        jitter: returns a random number from 0 to its argument.
        on_hold: is called with the seconds for which nothing is sent, after each 429.

    """

    def __init__(
        self,
        whom: str,
        wait: Wait = time.sleep,
        jitter: Callable[[float], float] = lambda most: _random.uniform(0, most),
        on_hold: Callable[[float], object] = lambda seconds: None,  # noqa: ARG005 -- the signature
    ) -> None:
        self._whom = whom
        self._on_hold = on_hold
        self._wait, self._jitter = wait, jitter
        self._held_until = -math.inf

    def run(self, attempt: Callable[[], Result], deadline: Deadline, attempts: int = ATTEMPTS) -> Result:
        """Call `attempt` until it succeeds or must not be repeated; return its result or raise its last error.

        Connection errors, 408, 429, 502, 503 and 504 are retried with full jitter or after the server's `Retry-After`,
        never past the deadline. After a 429 nobody sends anything to this server for as long as it asked, at most
        `MAX_HOLD_SECONDS`.

        Args:
            attempt: sends one request; raises CheckError when it fails, NotSentError if it did not send one.
            deadline: when there must be a result.
            attempts: the most requests.

        Raises:
            CheckError: what the last request raised; `throttled` if none was sent, because of an earlier 429 or of the
                pace.

        """
        failure: CheckError | None = None
        sent = 0
        while True:
            hold = self._wait_for_hold(deadline)
            if hold is not None:
                # Another request's 429 says nothing about why this one failed.
                raise failure or hold
            try:
                return attempt()
            except NotSentError as error:
                if error.retry_after is None:
                    raise failure or error from None
                # The hold began while the attempt waited for its turn.
                continue
            except CheckError as error:
                failure = error
            sent += 1
            if not _is_temporary(failure):
                raise failure
            seconds = self._seconds_to_wait(failure, sent, deadline)
            if sent == attempts or seconds >= deadline.remaining():
                raise failure
            self._wait(seconds)

    def try_once(self, attempt: Callable[[], Result], deadline: Deadline) -> Result:
        """Call `attempt` once, and remember a 429; see `run`."""
        try:
            return attempt()
        except CheckError as error:
            if error.code == "throttled" and not isinstance(error, NotSentError):
                self._seconds_to_wait(error, 1, deadline)
            raise

    def hold(self, deadline: Deadline) -> NotSentError | None:
        """Return the error of a request that is not sent now because of an earlier 429, or None.

        For an attempt that waited before it could send: the 429 may have come in that time.
        """
        left = self._held_until - deadline.clock()
        if left <= 0:
            return None
        message = f"{self._whom} asked for fewer requests a moment ago, so this one was not sent"
        return NotSentError("throttled", message, retry_after=left)

    def _wait_for_hold(self, deadline: Deadline) -> NotSentError | None:
        """Wait until the server may be asked again; return the error if that is too late."""
        while (hold := self.hold(deadline)) is not None:
            left = hold.retry_after or 0.0
            spare = deadline.remaining() - left
            if spare <= _FIRST_WAIT_SECONDS:
                return hold
            # With jitter, since too many requests at once brought the limit about.
            self._wait(left + self._jitter(min(_THROTTLED_SECONDS, spare / 2)))
        return None

    def _seconds_to_wait(self, failure: CheckError, tried: int, deadline: Deadline) -> float:
        seconds = failure.retry_after
        if failure.code == "throttled":
            if seconds is None:
                seconds = _THROTTLED_SECONDS + self._jitter(_THROTTLED_SECONDS)
            present = deadline.clock()
            self._held_until = max(self._held_until, present + min(seconds, MAX_HOLD_SECONDS))
            self._on_hold(self._held_until - present)
            # A little later than the hold ends, and with jitter.
            return seconds + self._jitter(_FIRST_WAIT_SECONDS)
        if seconds is None:
            seconds = self._jitter(_FIRST_WAIT_SECONDS * 2 ** (tried - 1))
        return seconds


def retry_after(headers: Mapping[str, str], wall_seconds: float) -> float | None:
    """Return the seconds that Retry-After asks for (RFC 9110, 10.2.3), None if it is absent or malformed."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch("[0-9]+", text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - wall_seconds)
    except (ValueError, OverflowError):
        return None


def _is_temporary(failure: CheckError) -> bool:
    """Whether another attempt may succeed."""
    if failure.code == "throttled":
        return True
    if failure.code in ("upstream_error", "bad_request"):
        return failure.upstream_status in _RETRIED_STATUSES
    return failure.code in _RETRIED_CODES and failure.upstream_status is None
