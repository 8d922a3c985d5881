"""One call at a time for each key. Callers that ask while it is in progress share its result.

A call has a time limit of its own. Callers wait for it until their own deadlines; none of them can end it.
"""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeVar

from fdi_health.clock import Deadline, now

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from fdi_health.clock import Instant

Key = TypeVar("Key", bound="Hashable")
Result = TypeVar("Result")

MAX_STUCK_CALLS = 2
"""How many calls of one key may be past their limit and still running; until one ends, no other is started."""


class Call(Generic[Result]):
    """One call in progress.

    Attributes:
        began: when it was submitted.
        deadline: when its time limit ends.
        result: set when the call has ended within its limit. If it ends later, this is cancelled.
        stage: what the call is waiting for, in words for people; written by the work.
        wanted_until: when the last caller gives up, or None if that is not known; see `want`.

    """

    def __init__(self, began: Instant, limit_seconds: float) -> None:
        self.began = began
        self.limit_seconds = limit_seconds
        self.deadline = Deadline.after(limit_seconds)
        self.result: Future[Result] = Future()
        self.stage = ""
        self.wanted_until: Deadline | None = None

    def want(self, deadline: Deadline) -> None:
        """Note that a caller waits for it until a deadline; called with the lock of its `SingleFlight`."""
        if self.wanted_until is None or self.wanted_until.at < deadline.at:
            self.wanted_until = deadline

    @property
    def is_wanted(self) -> bool:
        """Whether a caller still waits for it. A call that has not begun need not begin if none does."""
        return not self.deadline.expired and (self.wanted_until is None or not self.wanted_until.expired)

    def is_overdue(self, present: Instant) -> bool:
        """Whether the limit has passed, by the clock that saw more time pass.

        A platform may freeze the process in the middle of a call. One clock may stop then, and the result is old.
        """
        return self.deadline.expired or self.began.seconds_until(present) > self.limit_seconds


class SingleFlight(Generic[Key, Result]):
    """The calls in progress, at most one for each key.

    Args:
        submit: runs a function on another thread; raises RuntimeError if there is no thread.
        limit_seconds: the time limit of a call, counted from its submission.
        keep: called under `lock` with each result that came in time, before callers see it.
        clock: reads both clocks.
        keep_late: called under `lock` with each result that came too late. Callers never see it. None discards it.

    Attributes:
        lock: reentrant. A thread that holds it sees a call in progress or its kept result, never neither.

    """

    def __init__(
        self,
        submit: Callable[[Callable[[], None]], None],
        limit_seconds: float,
        keep: Callable[[Key, Result], None],
        clock: Callable[[], Instant] = now,
        keep_late: Callable[[Key, Result], None] | None = None,
    ) -> None:
        self.lock = threading.RLock()
        self._keep_late = keep_late
        self._submit, self._limit_seconds, self._keep, self._clock = submit, limit_seconds, keep, clock
        self._calls: dict[Key, Call[Result]] = {}
        self._stuck: Counter[Key] = Counter()

    def in_progress(self, key: Key) -> Call[Result] | None:
        """Return the call to join, or None. A call past its limit is not joined."""
        with self.lock:
            call = self._calls.get(key)
            if call is not None and call.is_overdue(self._clock()):
                del self._calls[key]
                self._stuck[key] += 1
                return None
            return call

    def start(self, key: Key, work: Callable[[Call[Result]], Result]) -> Call[Result] | None:
        """Start a call for a key that has none in progress.

        Args:
            key: what the call is about.
            work: makes the result on another thread, within the call's deadline.

        Returns:
            The call, or None if too many calls of this key are stuck or there is no thread.

        """
        with self.lock:
            if self._stuck[key] >= MAX_STUCK_CALLS:
                return None
            call: Call[Result] = Call(self._clock(), self._limit_seconds)
            self._calls[key] = call
            try:
                self._submit(lambda: self._run(key, call, work))
            except RuntimeError:
                del self._calls[key]
                return None
        return call

    def _run(self, key: Key, call: Call[Result], work: Callable[[Call[Result]], Result]) -> None:
        try:
            result = work(call)
        except BaseException as error:  # noqa: BLE001 -- raised again by every caller that waits
            with self.lock:
                if self._finish(key, call):
                    call.result.set_exception(error)
            return
        with self.lock:
            if self._finish(key, call):
                self._keep(key, result)
                call.result.set_result(result)
            elif self._keep_late is not None:
                self._keep_late(key, result)

    def _finish(self, key: Key, call: Call[Result]) -> bool:
        """Remove a call that has ended; return whether it ended in time, so that its result counts."""
        if self._calls.get(key) is call:
            del self._calls[key]
            if not call.is_overdue(self._clock()):
                return True
        else:
            self._stuck[key] -= 1
            if not self._stuck[key]:
                del self._stuck[key]
        call.result.cancel()
        call.result.set_running_or_notify_cancel()  # wakes the callers that wait
        return False
