"""One call per key at a time: which callers join it, which limit ends it, and how many calls may be stuck."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from fdi_health.concurrency.single_flight import MAX_STUCK_CALLS, Call, SingleFlight
from tests.fdi_health.fake_secret_store import Clock, until

if TYPE_CHECKING:
    from collections.abc import Callable


class Queue:
    """Runs nothing until it is told to."""

    def __init__(self) -> None:
        self.works: list[Callable[[], None]] = []

    def submit(self, work: Callable[[], None]) -> None:
        self.works.append(work)

    def run_next(self) -> None:
        self.works.pop(0)()


class Flight:
    """A single flight with threads and a clock that a test moves by hand."""

    def __init__(self, limit_seconds: float = 4.0) -> None:
        self.queue, self.clock = Queue(), Clock()
        self.kept: list[tuple[str, int]] = []
        self.calls: SingleFlight[str, int] = SingleFlight(
            self.queue.submit, limit_seconds, lambda key, result: self.kept.append((key, result)), self.clock
        )

    def start(self, result: int = 1) -> Call[int] | None:
        """Start a call as callers do: only when none can be joined."""
        assert self.calls.in_progress("key") is None
        return self.calls.start("key", lambda _: result)


def test_start__result_comes_in_time__is_kept_and_shared() -> None:
    flight = Flight()
    call = flight.start()
    assert call is not None
    assert flight.calls.in_progress("key") is call
    flight.queue.run_next()
    assert (call.result.result(0), flight.kept, flight.calls.in_progress("key")) == (1, [("key", 1)], None)


def test_start__nobody_waits_any_more__result_is_kept_all_the_same() -> None:  # H02
    flight = Flight()
    flight.start()
    flight.clock.monotonic += 3.9
    flight.queue.run_next()
    assert flight.kept == [("key", 1)]


@pytest.mark.parametrize(("wall", "monotonic"), [(4.1, 0.0), (0.0, 4.1), (3600.0, 1.0)])
def test_result__later_than_the_limit_by_either_clock__is_discarded(wall: float, monotonic: float) -> None:
    flight = Flight()
    call = flight.start()
    assert call is not None
    flight.clock.wall += wall
    flight.clock.monotonic += monotonic
    flight.queue.run_next()
    assert (call.result.cancelled(), flight.kept, flight.calls.in_progress("key")) == (True, [], None)


def test_fault_of_the_work__reaches_every_caller() -> None:
    flight = Flight()

    def broken(_: Call[int]) -> int:
        raise RuntimeError("ours")

    call = flight.calls.start("key", broken)
    assert call is not None
    flight.queue.run_next()
    with pytest.raises(RuntimeError, match="ours"):
        call.result.result(0)
    assert flight.calls.in_progress("key") is None


def test_fault_of_the_work__later_than_the_limit__is_discarded() -> None:
    flight = Flight()

    def broken(_: Call[int]) -> int:
        flight.clock.monotonic += 5
        raise RuntimeError("too late to matter")

    call = flight.calls.start("key", broken)
    flight.queue.run_next()
    assert call is not None
    assert call.result.cancelled()


def test_start__no_thread__leaves_no_trace() -> None:  # H10
    def no_thread(_: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    calls: SingleFlight[str, int] = SingleFlight(no_thread, 1.0, lambda *_: None)
    for _ in range(5):
        assert calls.start("key", lambda _: 1) is None
        assert calls.in_progress("key") is None


def test_overdue_call__is_not_joined_and_another_one_starts() -> None:
    flight = Flight()
    first = flight.start()
    flight.clock.monotonic += 4.1
    second = flight.start(2)
    assert second is not None
    assert second is not first
    flight.queue.run_next()
    flight.queue.run_next()
    assert flight.kept == [("key", 2)]


def test_stuck_calls__at_most_two__and_each_that_ends_makes_room_for_one() -> None:
    flight = Flight()

    def start_and_wait() -> bool:
        started = flight.start() is not None
        flight.clock.monotonic += 4.1
        return started

    assert [start_and_wait() for _ in range(MAX_STUCK_CALLS + 3)] == [True, True, False, False, False]
    flight.queue.run_next()
    assert [start_and_wait() for _ in range(2)] == [True, False]
    while flight.queue.works:
        flight.queue.run_next()
    assert [start_and_wait() for _ in range(MAX_STUCK_CALLS + 1)] == [True, True, False]


def test_stuck_calls_of_one_key__do_not_hold_up_another() -> None:
    flight = Flight()
    for _ in range(MAX_STUCK_CALLS):
        flight.start()
        flight.clock.monotonic += 4.1
    assert flight.start() is None
    assert flight.calls.start("other", lambda _: 1) is not None


def test_stuck_calls__all_ended__nothing_is_kept_of_their_keys() -> None:
    flight = Flight()
    for number in range(50):
        key = f"key-{number}"
        flight.calls.start(key, lambda _: 1)
        flight.clock.monotonic += 4.1
        assert flight.calls.in_progress(key) is None
        flight.queue.run_next()
    assert (len(flight.calls._stuck), len(flight.calls._calls)) == (0, 0)


def test_many_callers_at_once__start_one_call() -> None:
    gate, started, waiting, results = threading.Event(), [], [], []
    calls: SingleFlight[str, int] = SingleFlight(
        lambda work: threading.Thread(target=work, daemon=True).start(), 4.0, lambda *_: None
    )

    def work(_: Call[int]) -> int:
        started.append(1)
        gate.wait(5)
        return 1

    def ask() -> None:
        with calls.lock:
            call = calls.in_progress("key") or calls.start("key", work)
        assert call is not None
        waiting.append(call)
        results.append(call.result.result(5))

    callers = [threading.Thread(target=ask) for _ in range(20)]
    for caller in callers:
        caller.start()
    until(lambda: len(waiting) == 20)
    gate.set()
    for caller in callers:
        caller.join(5)
    assert (results, started) == ([1] * 20, [1])
