"""A value that is read when it is needed, read once for everybody who waits for it, and kept until it is too old."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from fdi_health.deadline import now
from fdi_health.errors import CheckError
from fdi_health.flights import Flight, Flights, had_less_time
from fdi_health.log import log_fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from fdi_health.deadline import Deadline, Instant

Value = TypeVar("Value")

_KEY = "value"


class Copy(NamedTuple, Generic[Value]):
    """What one read brought.

    Attributes:
        value: it.
        serial: the how-manieth read of this process it came from: two reads that brought the same differ in it.
        began: when that read began.
        beside: whether it was begun on the side, when nothing was wrong yet, and may have brought what is now outdated.

    """

    value: Value
    serial: int
    began: Instant
    beside: bool


class Held(Generic[Value]):
    """Reads a value; one read at a time, on a thread of its own, shared by everybody who waits for it.

    Args:
        read: returns the value, minding the deadline and the abort of its flight, and may say in the flight's `stage`
            what it waits for; may raise CheckError, or anything else that a vendor's library lets through.
        clock: reads both clocks.

    Attributes:
        failing: whether the newest read that is over failed.

    """

    def __init__(self, read: Callable[[Flight[Any, Any]], Value], clock: Callable[[], Instant] = now) -> None:
        self._read = read
        self._clock = clock
        self._serials = itertools.count(1)
        self._copy: Copy[Value] | None = None
        self.failing = False
        self._begun_at: Instant | None = None
        self._is_beside = False
        self._reads: Flights[str, Copy[Value] | CheckError] = Flights(_on_a_thread_of_its_own, self._keep)

    @property
    def copy(self) -> Copy[Value] | None:
        """The newest copy, or None."""
        with self._reads.lock:
            return self._copy

    def seconds_since_read(self) -> float:
        """Return the seconds since the newest read began, whatever came of it; infinity where none did."""
        with self._reads.lock:
            return self._begun_at.seconds_until(self._clock()) if self._begun_at else float("inf")

    def read_beside(self, deadline: Deadline) -> None:
        """Begin a read that nobody waits for, unless one is under way."""
        with self._reads.lock:
            if self._reads.under_way(_KEY) is None:
                self._begin(deadline, beside=True)

    def is_being_read(self) -> bool:
        """Whether a read is under way that may still be in time."""
        return self._reads.under_way(_KEY) is not None

    def newer_than(
        self, serial: int, deadline: Deadline, is_outdated: Callable[[Value], bool] = lambda _: False
    ) -> Copy[Value]:
        """Return a copy read later than `serial`; the first caller reads it, the others get the same.

        Args:
            serial: of the copy that is no good any more; 0 for any copy.
            deadline: when it must be here.
            is_outdated: whether a value is known to be no good; a read on the side that brings such a one, or fails,
                does not count, since it may have begun before what was wrong with it was mended.

        Raises:
            CheckError: `token_unavailable`.

        """
        while True:
            with self._reads.lock:
                copy = self._copy
                if copy is not None and copy.serial > serial and not (copy.beside and is_outdated(copy.value)):
                    return copy
                joined = self._reads.under_way(_KEY)
                beside = joined is not None and self._is_beside
                flight = joined or self._begin(deadline, beside=False)
            if flight is None:
                raise _unavailable("earlier reads of the secret are still stuck, or no thread was free")
            wait([flight.result], timeout=deadline.remaining())
            if not joined and not flight.result.done():
                self._give_up(flight)
            result = flight.result.result() if flight.result.done() else _late(flight)
            if not isinstance(result, CheckError):
                if not (beside and is_outdated(result.value)) or deadline.expired:
                    return result
            elif not joined or not (had_less_time(joined, deadline) or (beside and not deadline.expired)):
                raise CheckError(result.code, result.message, next_step=result.next_step)

    def _begin(self, deadline: Deadline, *, beside: bool) -> Flight[str, Copy[Value] | CheckError] | None:
        self._begun_at, self._is_beside = self._clock(), beside
        return self._reads.begin(_KEY, lambda flight: self._fly(flight, beside=beside), deadline)

    def _give_up(self, flight: Flight[str, Copy[Value] | CheckError]) -> None:
        self._reads.give_up(flight, lambda: _late(flight))

    def _fly(self, flight: Flight[str, Copy[Value] | CheckError], *, beside: bool) -> Copy[Value] | CheckError:
        serial, began = next(self._serials), self._clock()
        try:
            return Copy(self._read(flight), serial, began, beside)
        except CheckError as error:
            return error
        except Exception as error:  # noqa: BLE001 -- what a vendor's library lets through, of whatever class
            log_fault(error)
            return CheckError(
                "token_unavailable",
                "the secret could not be read: its secrets manager's answer or our credentials for it are malformed",
                next_step="Check the secrets manager's credentials and endpoint; the log says where it broke.",
            )

    def _keep(self, _key: str, result: Copy[Value] | CheckError) -> None:
        self.failing = isinstance(result, CheckError)
        if not isinstance(result, CheckError):
            self._copy = result


def _late(flight: Flight[Any, Any]) -> CheckError:
    return _unavailable(f"{flight.stage or 'the secret could not be read'} before the deadline")


def _unavailable(message: str) -> CheckError:
    return CheckError("token_unavailable", message)


def _on_a_thread_of_its_own(work: Callable[[], None]) -> None:
    # Not on the pool: probes that hang must not keep the secret from being read.
    threading.Thread(target=work, name="fdi-health-secret", daemon=True).start()
