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

from fdi_health.clock import Deadline, now
from fdi_health.credentials.cooldown import back_off_seconds
from fdi_health.errors import CheckError
from fdi_health.log import log_fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from fdi_health.clock import Instant

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


class Snapshot(NamedTuple, Generic[Value]):
    """What one read brought; its repr hides the value.

    Attributes:
        value: it.
        generation: the how-manieth read of this process it came from: two reads that brought the same differ in it.
        began: when that read began.
        outdated_perhaps: whether it was begun when nothing was wrong yet, or came late, and so may have brought what
            is no good any more.

    """

    value: Value
    generation: int
    began: Instant
    outdated_perhaps: bool

    def __repr__(self) -> str:
        return f"Snapshot(generation={self.generation})"


class Refresh(Generic[Value]):
    """One read under way.

    Attributes:
        deadline: its own.
        stage, next_step: what it waits for, in its own words, and what to do if that is in vain; the reader sets them.
        secret_is_valid: whether the secret was read and is well-formed; the reader sets it. A failure after that does
            not delay the next read, which may find another secret.
        result: what it brought, or why it brought nothing.

    """

    def __init__(self, generation: int, began: Instant, deadline: Deadline, *, in_background: bool) -> None:
        self.generation, self.began, self.deadline, self.in_background = generation, began, deadline, in_background
        self.secret_is_valid = False
        self.stage = "the secret could not be read"
        self.next_step = "Check the way to the secrets manager, or ask again."
        self.result: Future[Snapshot[Value] | CheckError] = Future()

    def late(self) -> CheckError:
        """Return the error for a caller that cannot wait any longer."""
        return CheckError("token_unavailable", f"{self.stage} before the deadline", next_step=self.next_step)


class RefreshingCache(Generic[Value]):
    """Reads a value; one read at a time, on a thread of its own, shared by everybody who waits for it.

    Args:
        read: returns the value, within the deadline of its refresh; may raise CheckError, or anything
            else that a vendor's library lets through.
        clock: reads both clocks.
        seconds: how long a read may take.

    """

    def __init__(
        self,
        read: Callable[[Refresh[Value]], Value],
        clock: Callable[[], Instant] = now,
        seconds: float = READ_SECONDS,
    ) -> None:
        self._read, self._clock, self._seconds = read, clock, seconds
        self._lock = threading.Lock()
        self._generations = itertools.count(1)
        self._snapshot: Snapshot[Value] | None = None
        self._reading: Refresh[Value] | None = None
        self._stuck = 0
        self._begun_at: Instant | None = None
        self._failures = self._unreadable = 0
        self._failure: CheckError | None = None

    @property
    def snapshot(self) -> Snapshot[Value] | None:
        """The newest snapshot, or None."""
        return self._snapshot

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
            return self._in_progress() is not None

    def refresh_in_background(self) -> None:
        """Begin a read that nobody waits for, unless one is under way."""
        with self._lock:
            if self._in_progress() is None:
                self._begin(in_background=True)

    def newer_than(
        self, generation: int, deadline: Deadline, is_outdated: Callable[[Value], bool] = lambda _: False
    ) -> Snapshot[Value]:
        """Return a snapshot read later than `generation`; the first caller begins the read, the others get the same.

        Args:
            generation: of the snapshot that is no good any more; 0 for any snapshot.
            deadline: how long to wait.
            is_outdated: whether a value is known to be no good. A read that was begun on the side, before what is wrong
                was mended perhaps, does not count if it brings such a one or fails.

        Raises:
            CheckError: `token_unavailable`; what the newest read raised, if several in a row found the secret
                unreadable and the next one is not due yet.

        """
        while True:
            with self._lock:
                snapshot = self._snapshot
                if (
                    snapshot is not None
                    and snapshot.generation > generation
                    and not (snapshot.outdated_perhaps and is_outdated(snapshot.value))
                ):
                    return snapshot
                refresh = self._in_progress()
                joined = refresh is not None
                if refresh is None:
                    self._raise_if_backing_off()
                    refresh = self._begin(in_background=False)
            if refresh is None:
                raise CheckError("token_unavailable", "earlier reads of the secret are stuck, or no thread was free")
            wait([refresh.result], timeout=min(deadline.remaining(), refresh.deadline.remaining()))
            if not refresh.result.done():
                if deadline.expired:
                    raise refresh.late()
                continue
            result = refresh.result.result()
            patient = deadline.remaining() >= _WORTH_ANOTHER_SECONDS
            may_be_old = joined and refresh.in_background and not deadline.expired
            if not isinstance(result, CheckError):
                if not (may_be_old and is_outdated(result.value)):
                    return result
            elif not may_be_old and not (patient and refresh.deadline.expired):
                raise CheckError(result.code, result.message, next_step=result.next_step)

    def _raise_if_backing_off(self) -> None:
        failure, further = self._failure, self._unreadable - FREE_FAILURES
        if failure is not None and further >= 0 and self.seconds_since_read() < back_off_seconds(further):
            raise CheckError(failure.code, failure.message, next_step=failure.next_step)

    def _in_progress(self) -> Refresh[Value] | None:
        """Return the read to join, or None; one that is overdue is ended, and counts as stuck until it is."""
        refresh = self._reading
        if refresh is not None and refresh.deadline.expired:
            self._finish(refresh, refresh.late())
            self._stuck += 1
            return None
        return refresh

    def _begin(self, *, in_background: bool) -> Refresh[Value] | None:
        if self._stuck >= _STUCK:
            return None
        began = self._clock()
        refresh: Refresh[Value] = Refresh(
            next(self._generations), began, Deadline.after(self._seconds), in_background=in_background
        )
        # In the caller's context: the token of an agency is had from the invocation that needs it.
        run = contextvars.copy_context().run
        try:
            # Not on the pool: probes that hang must not keep the secret from being read.
            threading.Thread(target=run, args=(self._work, refresh), name="fdi-health-secret", daemon=True).start()
        except RuntimeError:
            return None
        self._begun_at, self._reading = began, refresh
        return refresh

    def _work(self, refresh: Refresh[Value]) -> None:
        result = self._result(refresh)
        with self._lock:
            if self._reading is refresh:
                self._finish(refresh, result)
                return
            # It was ended as overdue. Its value still counts where there is not a newer one.
            self._stuck -= 1
            if not isinstance(result, CheckError):
                self._keep(result._replace(outdated_perhaps=True))

    def _result(self, refresh: Refresh[Value]) -> Snapshot[Value] | CheckError:
        try:
            return Snapshot(self._read(refresh), refresh.generation, refresh.began, refresh.in_background)
        except CheckError as error:
            return error
        except Exception as error:  # noqa: BLE001 -- a vendor's library may let through any class
            log_fault(error)
            return CheckError(
                "token_unavailable",
                "the secret could not be read: its secrets manager's answer or our credentials for it are malformed",
                next_step="Check the secrets manager's credentials and endpoint; the log says where it broke.",
            )

    def _finish(self, refresh: Refresh[Value], result: Snapshot[Value] | CheckError) -> None:
        if isinstance(result, CheckError):
            self._failures += 1
            self._unreadable = 0 if refresh.secret_is_valid else self._unreadable + 1
            if not refresh.deadline.expired or self._failures >= _LATE_IN_A_ROW:
                self._failure = result
        else:
            self._keep(result)
        self._reading = None
        refresh.result.set_result(result)

    def _keep(self, snapshot: Snapshot[Value]) -> None:
        self._failures = self._unreadable = 0
        self._failure = None
        if self._snapshot is None or snapshot.generation > self._snapshot.generation:
            self._snapshot = snapshot
