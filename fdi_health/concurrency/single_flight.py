"""Work under way that several callers wait for: one flight per key, whoever asks for it meanwhile joins."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from fdi_health.deadline import Abort, Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

Key = TypeVar("Key", bound="Hashable")
Result = TypeVar("Result")

STRAGGLERS = 2
"""How many abandoned pieces of work one key may have; a third is not begun, so that it can't starve the others."""

WORTH_ANOTHER_SECONDS = 0.3
"""Who joined a flight that ended at somebody else's deadline begins one of its own if this much is left."""


class Flight(Generic[Key, Result]):
    """One piece of work and its result, which is set at most once, by the work or by whoever gives it up.

    Args:
        key: what it is about.
        deadline: its own end; that of the caller who began it.

    Attributes:
        abort: ends it early.
        result: what callers wait for.
        stage: what the work is waiting for, in its own words; read by whoever gives it up.

    """

    def __init__(self, key: Key, deadline: Deadline) -> None:
        self.key, self.deadline = key, deadline
        self.abort = Abort()
        self.result: Future[Result] = Future()
        self.stage = ""


def had_less_time(flight: Flight[Any, Any], deadline: Deadline) -> bool:
    """Whether a flight we joined may have failed only because its beginner had clearly less time than we have left."""
    return flight.deadline.at + WORTH_ANOTHER_SECONDS <= deadline.at and deadline.remaining() >= WORTH_ANOTHER_SECONDS


class Flights(Generic[Key, Result]):
    """The flights under way, one per key.

    Args:
        run: runs a function on another thread.
        keep: told of every result that came in time, under `lock`, before anybody else sees it.

    Attributes:
        lock: reentrant; whoever holds it sees either a flight under way or what was kept of it, never neither.

    """

    def __init__(self, run: Callable[[Callable[[], None]], None], keep: Callable[[Key, Result], None]) -> None:
        self.lock = threading.RLock()
        self._run = run
        self._keep = keep
        self._under_way: dict[Key, Flight[Key, Result]] = {}
        self._stragglers: Counter[Key] = Counter()

    def under_way(self, key: Key) -> Flight[Key, Result] | None:
        """Return the flight to join, or None; one that is past its deadline counts as none."""
        with self.lock:
            flight = self._under_way.get(key)
            if flight is not None and flight.deadline.expired:
                return None
            return flight

    def begin(
        self, key: Key, work: Callable[[Flight[Key, Result]], Result], deadline: Deadline
    ) -> Flight[Key, Result] | None:
        """Begin a flight where none is under way; None where too many of this key's are stuck or no thread is free.

        Args:
            key: what it is about.
            work: makes the result on another thread, minding the flight's deadline and abort.
            deadline: the flight's end; the caller waits until then and gives the flight up if it is not done.

        """
        with self.lock:
            overdue = self._under_way.pop(key, None)
            if overdue is not None:
                # Nobody gave it up at its deadline: what was begun on the side has nobody who waits for it.
                self._stragglers[key] += 1
                overdue.abort.fire()
            if self._stragglers[key] >= STRAGGLERS:
                return None
            flight: Flight[Key, Result] = Flight(key, deadline)
            self._under_way[key] = flight
            try:
                self._run(lambda: self._fly(flight, work))
            except RuntimeError:
                # No thread could be started: there is no work that would ever take the flight off the books.
                del self._under_way[key]
                return None
        return flight

    def give_up(self, flight: Flight[Key, Result], late: Callable[[], Result]) -> None:
        """End a flight that is not done at its deadline; its result is the late one, if it still has none."""
        with self.lock:
            if not flight.result.done():
                if self._under_way.get(flight.key) is flight:
                    del self._under_way[flight.key]
                    self._stragglers[flight.key] += 1
                flight.result.set_result(late())
        flight.abort.fire()

    def _fly(self, flight: Flight[Key, Result], work: Callable[[Flight[Key, Result]], Result]) -> None:
        try:
            result = work(flight)
        except BaseException as fault:  # noqa: BLE001 -- carried to whoever waits, who raises it
            with self.lock:
                if self._land(flight):
                    flight.result.set_exception(fault)
            return
        with self.lock:
            if self._land(flight):
                self._keep(flight.key, result)
                flight.result.set_result(result)

    def _land(self, flight: Flight[Key, Result]) -> bool:
        """Take a flight whose work is over out of the books; whether it came in time."""
        if self._under_way.get(flight.key) is flight:
            del self._under_way[flight.key]
            return True
        # Given up meanwhile: what comes this late is not used, but its thread is free again.
        self._stragglers[flight.key] -= 1
        return False
