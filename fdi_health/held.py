"""A value that is read when it is needed, read once for everybody who waits for it, and kept until it is too old.

A read goes by a deadline of its own. Callers wait for it until theirs, and leave it going: if the
caller with the least time ended it, hasty callers could keep a slow secrets manager, or a login, from ever responding.
"""

from __future__ import annotations

import contextvars
import itertools
import math
import threading
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from fdi_health.cooldown import back_off_seconds
from fdi_health.deadline import Deadline, now
from fdi_health.errors import CheckError
from fdi_health.log import log_fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from fdi_health.deadline import Instant

Value = TypeVar("Value")

READ_SECONDS = 5.0
"""How long a read may take, at least; callers with less time find its result the next time they come."""

_STUCK = 2
"""How many overdue reads may be stuck in what can't be ended; a third is not begun."""

_LATE_IN_A_ROW = 3
"""How many reads in a row must be late to count as a failure: a platform that freezes the process makes one late."""


FREE_FAILURES = 3
"""How many reads of an unreadable secret may follow one another at once. Then 1, 2, 4, … 30 seconds must pass."""

_WORTH_ANOTHER_SECONDS = 0.3
"""Who finds that a read was overdue waits for another one if this much is left."""


class Copy(NamedTuple, Generic[Value]):
    """What one read brought; its repr hides the value.

    Attributes:
        value: it.
        serial: the how-manieth read of this process it came from: two reads that brought the same differ in it.
        began: when that read began.
        outdated_perhaps: whether it was begun when nothing was wrong yet, or came late, and so may have brought what
            is no good any more.

    """

    value: Value
    serial: int
    began: Instant
    outdated_perhaps: bool

    def __repr__(self) -> str:
        return f"Copy(serial={self.serial})"


class Reading(Generic[Value]):
    """One read under way.

    Attributes:
        deadline: its own.
        stage, next_step: what it waits for, in its own words, and what to do if that is in vain; the reader sets them.
        secret_is_valid: whether the secret was read and is well-formed; the reader sets it. A failure after that does
            not delay the next read, which may find another secret.
        result: what it brought, or why it brought nothing.

    """

    def __init__(self, serial: int, began: Instant, deadline: Deadline, *, beside: bool) -> None:
        self.serial, self.began, self.deadline, self.beside = serial, began, deadline, beside
        self.secret_is_valid = False
        self.stage = "the secret could not be read"
        self.next_step = "Check the way to the secrets manager, or ask again."
        self.result: Future[Copy[Value] | CheckError] = Future()

    def late(self) -> CheckError:
        """Return the error for a caller that cannot wait any longer."""
        return CheckError("token_unavailable", f"{self.stage} before the deadline", next_step=self.next_step)


class Held(Generic[Value]):
    """Reads a value; one read at a time, on a thread of its own, shared by everybody who waits for it.

    Args:
        read: returns the value, within the deadline of its reading; may raise CheckError, or anything
            else that a vendor's library lets through.
        clock: reads both clocks.
        seconds: how long a read may take.

    """

    def __init__(
        self,
        read: Callable[[Reading[Value]], Value],
        clock: Callable[[], Instant] = now,
        seconds: float = READ_SECONDS,
    ) -> None:
        self._read, self._clock, self._seconds = read, clock, seconds
        self._lock = threading.Lock()
        self._serials = itertools.count(1)
        self._copy: Copy[Value] | None = None
        self._reading: Reading[Value] | None = None
        self._stuck = 0
        self._begun_at: Instant | None = None
        self._failures = self._unreadable = 0
        self._failure: CheckError | None = None

    @property
    def copy(self) -> Copy[Value] | None:
        """The newest copy, or None."""
        return self._copy

    @property
    def failures(self) -> int:
        """How many reads in a row have failed, up to the newest that is over."""
        return self._failures

    @property
    def failure(self) -> CheckError | None:
        """Why the newest read that is over failed, or None; late ones count only if there were several in a row."""
        return self._failure

    def seconds_since_read(self) -> float:
        """Return the seconds since the newest read began, failed or not; infinity where none did."""
        begun_at = self._begun_at
        return begun_at.seconds_until(self._clock()) if begun_at else math.inf

    def is_being_read(self) -> bool:
        """Whether a read is under way."""
        with self._lock:
            return self._under_way() is not None

    def read_beside(self) -> None:
        """Begin a read that nobody waits for, unless one is under way."""
        with self._lock:
            if self._under_way() is None:
                self._begin(beside=True)

    def newer_than(
        self, serial: int, deadline: Deadline, is_outdated: Callable[[Value], bool] = lambda _: False
    ) -> Copy[Value]:
        """Return a copy read later than `serial`; the first caller begins the read, the others get the same.

        Args:
            serial: of the copy that is no good any more; 0 for any copy.
            deadline: how long to wait.
            is_outdated: whether a value is known to be no good. A read that was begun on the side, before what is wrong
                was mended perhaps, does not count if it brings such a one or fails.

        Raises:
            CheckError: `token_unavailable`; what the newest read raised, if several in a row found the secret
                unreadable and the next one is not due yet.

        """
        while True:
            with self._lock:
                copy = self._copy
                if (
                    copy is not None
                    and copy.serial > serial
                    and not (copy.outdated_perhaps and is_outdated(copy.value))
                ):
                    return copy
                reading = self._under_way()
                joined = reading is not None
                if reading is None:
                    self._raise_if_backing_off()
                    reading = self._begin(beside=False)
            if reading is None:
                raise CheckError("token_unavailable", "earlier reads of the secret are stuck, or no thread was free")
            wait([reading.result], timeout=min(deadline.remaining(), reading.deadline.remaining()))
            if not reading.result.done():
                if deadline.expired:
                    raise reading.late()
                continue
            result = reading.result.result()
            patient = deadline.remaining() >= _WORTH_ANOTHER_SECONDS
            may_be_old = joined and reading.beside and not deadline.expired
            if not isinstance(result, CheckError):
                if not (may_be_old and is_outdated(result.value)):
                    return result
            elif not may_be_old and not (patient and reading.deadline.expired):
                raise CheckError(result.code, result.message, next_step=result.next_step)

    def _raise_if_backing_off(self) -> None:
        failure, further = self._failure, self._unreadable - FREE_FAILURES
        if failure is not None and further >= 0 and self.seconds_since_read() < back_off_seconds(further):
            raise CheckError(failure.code, failure.message, next_step=failure.next_step)

    def _under_way(self) -> Reading[Value] | None:
        """Return the read to join, or None; one that is overdue is ended, and counts as stuck until it is."""
        reading = self._reading
        if reading is not None and reading.deadline.expired:
            self._finish(reading, reading.late())
            self._stuck += 1
            return None
        return reading

    def _begin(self, *, beside: bool) -> Reading[Value] | None:
        if self._stuck >= _STUCK:
            return None
        began = self._clock()
        reading: Reading[Value] = Reading(next(self._serials), began, Deadline.after(self._seconds), beside=beside)
        # In the caller's context: the token of an agency is had from the invocation that needs it.
        run = contextvars.copy_context().run
        try:
            # Not on the pool: probes that hang must not keep the secret from being read.
            threading.Thread(target=run, args=(self._work, reading), name="fdi-health-secret", daemon=True).start()
        except RuntimeError:
            return None
        self._begun_at, self._reading = began, reading
        return reading

    def _work(self, reading: Reading[Value]) -> None:
        result = self._result(reading)
        with self._lock:
            if self._reading is reading:
                self._finish(reading, result)
                return
            # It was ended as overdue. Its value still counts where there is not a newer one.
            self._stuck -= 1
            if not isinstance(result, CheckError):
                self._keep(result._replace(outdated_perhaps=True))

    def _result(self, reading: Reading[Value]) -> Copy[Value] | CheckError:
        try:
            return Copy(self._read(reading), reading.serial, reading.began, reading.beside)
        except CheckError as error:
            return error
        except Exception as error:  # noqa: BLE001 -- a vendor's library may let through any class
            log_fault(error)
            return CheckError(
                "token_unavailable",
                "the secret could not be read: its secrets manager's answer or our credentials for it are malformed",
                next_step="Check the secrets manager's credentials and endpoint; the log says where it broke.",
            )

    def _finish(self, reading: Reading[Value], result: Copy[Value] | CheckError) -> None:
        if isinstance(result, CheckError):
            self._failures += 1
            self._unreadable = 0 if reading.secret_is_valid else self._unreadable + 1
            if not reading.deadline.expired or self._failures >= _LATE_IN_A_ROW:
                self._failure = result
        else:
            self._keep(result)
        self._reading = None
        reading.result.set_result(result)

    def _keep(self, copy: Copy[Value]) -> None:
        self._failures = self._unreadable = 0
        self._failure = None
        if self._copy is None or copy.serial > self._copy.serial:
            self._copy = copy
