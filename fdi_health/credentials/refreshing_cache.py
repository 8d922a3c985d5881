"""A value that is read from a secret store when it is needed, shared by all callers, and kept until it is replaced.

A read has a time limit of its own, and callers wait for it until their own deadlines. If the caller with the least time
ended the read, impatient callers could keep a slow secret store or login from ever succeeding.
"""

from __future__ import annotations

import contextvars
import math
import threading
from concurrent.futures import wait
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from fdi_health.clock import Instant, now
from fdi_health.concurrency.single_flight import Call, SingleFlight
from fdi_health.credentials.cooldown import back_off_seconds
from fdi_health.credentials.iam_error_codes import LOGIN_ERRORS
from fdi_health.errors import CheckError
from fdi_health.log import log_fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from fdi_health.clock import Deadline

Value = TypeVar("Value")

MAX_READ_SECONDS = 5.0
"""The time limit of a read, unless FDI_DEADLINE_SECONDS is longer."""

MAX_IMMEDIATE_READS = 3
"""How many reads of an unreadable secret may follow one another at once. Then 1, 2, 4, … 30 seconds must pass."""

LOGIN = "login"
"""The stage of a read that has read a valid secret and now waits for IAM. A failure in this stage does not delay the
next read, which may find another secret."""

_MAX_UNREPORTED_TIMEOUTS = 2
"""How many reads in a row may be late before that is reported: a platform that freezes the process makes one late."""

_MIN_RETRY_SECONDS = 0.3
"""If a joined read is late or fails, its caller starts or joins one more if it has this much time left."""

_NEVER = Instant(-math.inf, -math.inf)
_READ_TIMED_OUT = (
    "the secret could not be read before the deadline",
    "Check the network path to the secrets manager, then try again.",
)


class Snapshot(NamedTuple, Generic[Value]):
    """What one read returned; its repr hides the value.

    Attributes:
        value: the value.
        generation: the number of the read in this process. Two reads that return the same value differ in it.
        began: when that read began.
        maybe_stale: whether the read may have begun before the previous value was refused: it was in the background,
            or late.

    """

    value: Value
    generation: int
    began: Instant
    maybe_stale: bool

    def __repr__(self) -> str:
        return f"Snapshot(generation={self.generation})"


class RefreshingCache(Generic[Value]):
    """Reads a value, one read at a time, each on a thread of its own, and keeps the newest. Thread-safe.

    Callers do not wait for a late read, but its value is kept: a platform that freezes the process after each response
    makes every background read late. The age of a value counts from the beginning of its read.

    Args:
        read: returns the value, within the deadline of its call if it can. It may set `stage` of the call to `LOGIN`.
            It may raise CheckError, or anything else that a vendor's library raises.
        clock: reads both clocks.
        max_read_seconds: the time limit of a read.

    """

    def __init__(
        self,
        read: Callable[[Call[Any]], Value],
        clock: Callable[[], Instant] = now,
        max_read_seconds: float = MAX_READ_SECONDS,
    ) -> None:
        self._read, self._clock = read, clock
        self._reads: SingleFlight[None, Snapshot[Value] | CheckError] = SingleFlight(
            _start_thread, max_read_seconds, self._keep, clock, self._keep_late
        )
        self._snapshot: Snapshot[Value] | None = None
        self._newest: Call[Snapshot[Value] | CheckError] = Call(_NEVER, 0.0)
        self._newest_is_counted = True
        self._generation = 0
        self._in_background = False
        self._failures = self._unreadable = 0
        self._failure: CheckError | None = None

    @property
    def snapshot(self) -> Snapshot[Value] | None:
        """The newest snapshot, or None."""
        return self._snapshot

    @property
    def failure(self) -> CheckError | None:
        """Why the newest finished read failed, or None. A late read is reported from the third failure in a row on."""
        with self._reads.lock:
            self._in_progress()
            return self._failure

    @property
    def has_failed(self) -> bool:
        """Whether the newest finished read failed or was late."""
        with self._reads.lock:
            self._in_progress()
            return self._failures > 0

    def seconds_since_read(self) -> float:
        """Return the seconds since the newest read began, failed or not; infinity if there was none."""
        return self._newest.began.seconds_until(self._clock())

    def is_being_read(self) -> bool:
        """Whether a read is in progress."""
        with self._reads.lock:
            return self._in_progress() is not None

    def refresh_in_background(self) -> None:
        """Start a read that nobody waits for, unless one is in progress."""
        with self._reads.lock:
            if self._in_progress() is None:
                self._start(in_background=True)

    def get(self, deadline: Deadline, *, after_generation: int = 0) -> Snapshot[Value]:
        """Return a snapshot newer than `after_generation`. The first caller starts the read, the others join it.

        A background read may have begun before the cause of its failure was corrected. If one that was joined fails,
        one more read is started.

        Args:
            deadline: how long to wait.
            after_generation: the generation of the snapshot that is not usable any more; 0 accepts any snapshot.

        Raises:
            CheckError: `token_unavailable`, or the failure of the newest read while its back-off lasts.

        """
        error: CheckError | None = None
        while True:
            with self._reads.lock:
                snapshot = self._snapshot
                if snapshot is not None and snapshot.generation > after_generation:
                    return snapshot
                if error is not None and deadline.remaining() < _MIN_RETRY_SECONDS:
                    raise error.copy()
                call = self._in_progress()
                joined_background = call is not None and self._in_background
                if call is None:
                    self._raise_if_backing_off()
                    call = self._start(in_background=False)
            if call is None:
                raise CheckError("token_unavailable", "earlier reads of the secret are stuck, or no thread was free")
            wait([call.result], timeout=min(deadline.remaining(), call.deadline.remaining()))
            is_late = not call.result.done() or call.result.cancelled()
            result = _timeout_error(call) if is_late else call.result.result()
            if isinstance(result, CheckError):
                if not (is_late or joined_background):
                    raise result.copy()
                error = result

    def _raise_if_backing_off(self) -> None:
        retries = self._unreadable - MAX_IMMEDIATE_READS
        if self._failure is not None and retries >= 0 and self.seconds_since_read() < back_off_seconds(retries):
            raise self._failure.copy()

    def _in_progress(self) -> Call[Snapshot[Value] | CheckError] | None:
        """Return the read to join, or None. The newest read counts as failed here if it is late."""
        call = self._reads.in_progress(None)
        if call is None and not self._newest_is_counted:
            self._count_failure(_timeout_error(self._newest), is_late=True)
        return call

    def _start(self, *, in_background: bool) -> Call[Snapshot[Value] | CheckError] | None:
        generation = self._generation + 1
        call = self._reads.start(None, partial(self._work, generation, in_background))
        if call is not None:
            self._newest, self._newest_is_counted, self._in_background = call, False, in_background
            self._generation = generation
        return call

    def _work(self, generation: int, in_background: bool, call: Call[Any]) -> Snapshot[Value] | CheckError:
        try:
            return Snapshot(self._read(call), generation, call.began, in_background)
        except CheckError as error:
            return error.copy()
        except BaseException as error:  # noqa: BLE001 -- a vendor's library may raise any class
            log_fault(error)
            return CheckError(
                "token_unavailable",
                "the secret could not be read: the secrets manager's response or our credentials for it are malformed",
                next_step="Check the secrets manager's credentials and endpoint. The log names the line that failed.",
            )

    def _keep(self, _: None, result: Snapshot[Value] | CheckError) -> None:
        """Take the result of the newest read, which came in time."""
        if isinstance(result, CheckError):
            self._count_failure(result, is_late=False)
        else:
            self._accept(result)

    def _keep_late(self, _: None, result: Snapshot[Value] | CheckError) -> None:
        """Take the value of a late read, unless there is a newer one."""
        if isinstance(result, Snapshot) and (self._snapshot is None or result.generation > self._snapshot.generation):
            self._accept(result._replace(maybe_stale=True))

    def _accept(self, snapshot: Snapshot[Value]) -> None:
        self._newest_is_counted |= snapshot.generation == self._generation
        self._failures = self._unreadable = 0
        self._failure = None
        self._snapshot = snapshot

    def _count_failure(self, error: CheckError, *, is_late: bool) -> None:
        self._newest_is_counted = True
        self._failures += 1
        self._unreadable = 0 if self._newest.stage == LOGIN else self._unreadable + 1
        if not is_late or self._failures > _MAX_UNREPORTED_TIMEOUTS:
            self._failure = error


def _timeout_error(call: Call[Any]) -> CheckError:
    message, next_step = LOGIN_ERRORS["timeout"] if call.stage == LOGIN else _READ_TIMED_OUT
    return CheckError("token_unavailable", message, next_step=next_step)


def _start_thread(work: Callable[[], None]) -> None:
    # In the caller's context: the agency's token comes from the current invocation.
    run = contextvars.copy_context().run
    # Not on the pool: probes that hang must not keep the secret from being read.
    threading.Thread(target=run, args=(work,), name="fdi-health-secret", daemon=True).start()
