"""Limits the requests that are signed with an access key until ROMA Connect has accepted the key.

More than five refused requests in a row lock a key for five minutes, for every program that uses it (the vendor's API
Request Signing Guide). Twenty instances that are asked at once with a wrong secret key would lock it.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING

from fdi_health.clock import format_timestamp
from fdi_health.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fdi_health.clock import Deadline, Instant

MAX_UNPROVEN_REQUESTS = 2
"""How many requests may be in progress with a key that has never been accepted. One would let an instance that does not
respond block all others."""

MAX_REFUSALS_OF_ID = 4
"""How many refusals in 5 minutes an access key's ID may have with several secret keys, one after the other. Somebody
who tries one secret key after the other would lock it otherwise."""

HOLD_SECONDS = (300.0, 900.0)
"""How long a refused key is not used: the first time, and each time after that."""

ACCEPTED_HOLD_SECONDS = 30.0
"""The same for the first refusal of a key that was accepted before: the cause may pass soon, such as a wrong clock."""

_STEP_ASIDE_SECONDS = 0.25
_STEP_ASIDE_SHARE = 0.25
"""How long the others go first: some seconds, or a share of the time left if that is less."""


class AccessKeyLimit:
    """The use of one access key in this process. Thread-safe.

    - A key that was never accepted is used by at most `MAX_UNPROVEN_REQUESTS` requests at once; the others wait.
    - A response of ROMA Connect other than a refusal proves the key. No response, or one of another server, does not;
      neither does a rate limit or a fault of the gateway, which may come before the key is verified.
    - After a refusal nothing is sent for `HOLD_SECONDS`, then one request at a time until the key is accepted.

    Args:
        clock: reads both clocks.
        refusals: that of another limit, for a key with the same ID; None for a new one.

    Attributes:
        refusals: when the newest refusals of the key's ID came, with any secret key.

    """

    def __init__(self, clock: Callable[[], Instant], refusals: deque[Instant] | None = None) -> None:
        self._clock = clock
        self.refusals: deque[Instant] = deque(maxlen=MAX_REFUSALS_OF_ID) if refusals is None else refusals
        self._changed = threading.Condition()
        self._is_accepted = False
        self._in_progress = self._holds = self._refused_rounds = 0
        self._hold_seconds = 0.0
        self._refused_at: Instant | None = None
        self._error: CheckError | None = None
        self._unresponsive: set[str] = set()
        self._others: dict[str, AccessKeyLimit] = {}

    def of(self, purpose: str) -> AccessKeyLimit:
        """Return the limit of the requests for a purpose; this one is for `verdict`.

        Requests that only explain a verdict have limits of their own: a refusal of them must not stop the others, and
        only a response of the same kind proves that more of them may be sent at once.
        """
        if purpose == "verdict":
            return self
        with self._changed:
            return self._others.setdefault(purpose, AccessKeyLimit(self._clock))

    @property
    def refused_at(self) -> Instant | None:
        """When the newest refusal came; None if the key was accepted since or was never refused."""
        return self._refused_at

    @contextlib.contextmanager
    def permit(self, instance_id: str, deadline: Deadline) -> Iterator[bool]:
        """Wait until a request may be sent. The block sends it, and raises CheckError if it fails.

        The context's value is whether the key is accepted. If not, the request must not be sent twice.

        Raises:
            CheckError: `token_rejected` if the key was refused and is not used now; `timeout` if no other request
                proved the key before the deadline.

        """
        holds = self._begin(instance_id, deadline)
        try:
            yield self._is_accepted
        except CheckError as error:
            if error.code == "token_rejected":
                self._refused(error, holds)
            elif _proves_key(error):
                self._accepted()
            elif error.code == "timeout":
                with self._changed:
                    self._unresponsive.add(instance_id)
            raise
        else:
            self._accepted()
        finally:
            with self._changed:
                self._in_progress -= 1
                self._changed.notify_all()

    def _begin(self, instance_id: str, deadline: Deadline) -> int:
        """Wait for a place; return the number of holds so far."""
        with self._changed:
            if instance_id in self._unresponsive:
                # Others first: an instance that does not respond would prove nothing again.
                seconds = min(_STEP_ASIDE_SECONDS, deadline.remaining() * _STEP_ASIDE_SHARE)
                self._changed.wait_for(self._is_decided, seconds)
            while not self._is_accepted:
                self._raise_if_held()
                if self._in_progress < (1 if self._error or self._recent_refusals() else MAX_UNPROVEN_REQUESTS):
                    break
                if not self._changed.wait(deadline.remaining()) and deadline.expired:
                    raise CheckError(
                        "timeout",
                        "the access key is new, and no response to the first requests with it came before the deadline",
                    )
            self._in_progress += 1
            return self._holds

    def _is_decided(self) -> bool:
        return self._is_accepted or self._error is not None

    def _recent_refusals(self) -> int:
        present = self._clock()
        return sum(at.seconds_until(present) < HOLD_SECONDS[0] for at in tuple(self.refusals))

    def _raise_if_held(self) -> None:
        if self._error is None and self._recent_refusals() >= MAX_REFUSALS_OF_ID:
            raise CheckError(
                "token_rejected",
                "several secret keys were refused for this access key within 5 minutes, so this one was not sent",
                next_step="Wait for 5 minutes: more refused requests would lock the access key.",
            )
        if self._error is None or self._refused_at is None:
            return
        if self._refused_at.seconds_until(self._clock()) >= self._hold_seconds:
            return
        next_at = format_timestamp(self._refused_at.wall + self._hold_seconds)
        raise self._error.copy(
            message=f"the access key was refused at {format_timestamp(self._refused_at.wall)}: {self._error.message}",
            next_step=f"{self._error.next_step} This process does not use the key again before {next_at}. "
            "It finds a changed secret within 30 seconds.",
        )

    def _accepted(self) -> None:
        with self._changed:
            self._is_accepted = True
            self.refusals.clear()
            self._refused_rounds = 0
            self._error = self._refused_at = None
            self._unresponsive.clear()

    def _refused(self, error: CheckError, holds: int) -> None:
        with self._changed:
            self.refusals.append(self._clock())
            if self._is_accepted:
                self._is_accepted = False
                self._hold_seconds = ACCEPTED_HOLD_SECONDS
            elif holds == self._holds:
                self._hold_seconds = HOLD_SECONDS[min(self._refused_rounds, len(HOLD_SECONDS) - 1)]
                self._refused_rounds += 1
            else:
                # It was in progress together with the request that began this hold.
                self._hold_seconds = max(self._hold_seconds, HOLD_SECONDS[0])
                return
            self._holds += 1
            self._error, self._refused_at = error.copy(), self._clock()


def _proves_key(error: CheckError) -> bool:
    """Whether the server verified the key before it failed."""
    code = error.upstream_code
    is_of_gateway = code is not None and code.startswith("API")
    return code is not None and error.code != "throttled" and not (error.code == "upstream_error" and is_of_gateway)
