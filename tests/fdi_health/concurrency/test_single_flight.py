"""Work that several callers wait for: who begins it, who ends it, and how much of it may be stuck."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from fdi_health.concurrency.single_flight import Flight, Flights, had_less_time
from fdi_health.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable


def test_flight__without_a_thread_leaves_no_trace() -> None:
    def no_thread(_: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    flights: Flights[str, int] = Flights(no_thread, lambda *_: None)
    for _ in range(5):
        assert flights.begin("key", lambda _: 1, Deadline.after(1)) is None
        assert flights.under_way("key") is None


def later(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True).start()


def stuck(over: threading.Event) -> Callable[[Flight[str, int]], int]:
    """Return work that ends only when something is over, and makes 1."""

    def work(_: Flight[str, int]) -> int:
        over.wait(5)
        return 1

    return work


def test_flight__that_nobody_gave_up_holds_up_nobody() -> None:
    flights: Flights[str, int] = Flights(later, lambda *_: None)
    over = threading.Event()
    first = flights.begin("key", stuck(over), Deadline.after(0.05))
    time.sleep(0.1)
    assert flights.under_way("key") is None
    second = flights.begin("key", lambda _: 2, Deadline.after(1))
    assert first is not None
    assert second is not None
    assert second.result.result(1) == 2
    over.set()


def test_flight__that_fails_carries_the_fault_to_all() -> None:
    flights: Flights[str, int] = Flights(later, lambda *_: None)

    def broken(_: Flight[str, int]) -> int:
        raise RuntimeError("ours")

    flight = flights.begin("key", broken, Deadline.after(1))
    assert flight is not None
    with pytest.raises(RuntimeError, match="ours"):
        flight.result.result(1)
    assert flights.under_way("key") is None


def test_flight__given_up_late_keeps_its_result() -> None:
    kept: list[int] = []
    flights: Flights[str, int] = Flights(lambda work: work(), lambda _, result: kept.append(result))
    flight = flights.begin("key", lambda _: 1, Deadline.after(1))
    assert flight is not None
    flights.give_up(flight, lambda: 2)
    assert flight.result.result() == 1
    assert kept == [1]


def test_flight__that_fails_after_it_was_given_up_is_forgotten() -> None:
    flights: Flights[str, int] = Flights(later, lambda *_: None)
    over, ended = threading.Event(), threading.Event()

    def broken(_: Flight[str, int]) -> int:
        over.wait(5)
        ended.set()
        raise RuntimeError("too late to matter")

    flight = flights.begin("key", broken, Deadline.after(0.05))
    assert flight is not None
    flights.give_up(flight, lambda: 2)
    assert flight.result.result() == 2
    over.set()
    assert ended.wait(2)
    assert flight.result.result() == 2


def test_flight__given_up_after_it_was_replaced_is_late_all_the_same() -> None:
    flights: Flights[str, int] = Flights(later, lambda *_: None)
    over = threading.Event()
    first = flights.begin("key", stuck(over), Deadline.after(0))
    second = flights.begin("key", stuck(over), Deadline.after(5))
    assert first is not None
    assert second is not None
    flights.give_up(first, lambda: 2)
    assert first.result.result() == 2
    over.set()
    assert second.result.result(1) == 1


class Queue:
    """Runs nothing until it is told to."""

    def __init__(self) -> None:
        self.works: list[Callable[[], None]] = []

    def run_next(self) -> None:
        self.works.pop(0)()


def test_overdue_flights__are_ended_and_two_at_most_are_stuck() -> None:
    now, queue = 0.0, Queue()
    flights: Flights[str, int] = Flights(queue.works.append, lambda *_: None)

    def begin() -> Flight[str, int] | None:
        nonlocal now
        now += 2.0
        return flights.begin("key", lambda _: 1, Deadline.after(1.0, lambda: now))

    first, second = begin(), begin()
    assert first is not None
    assert second is not None
    assert (first.abort.fired, second.abort.fired) == (True, False)
    assert begin() is None
    assert second.abort.fired
    for _ in range(2):  # each that comes back makes room for one
        queue.run_next()
        assert begin() is not None
        assert begin() is None
    while queue.works:
        queue.run_next()
    assert [begin() is not None for _ in range(4)] == [True, True, False, False]


def test_flights__of_other_keys_are_not_held_up() -> None:
    queue = Queue()
    flights: Flights[str, int] = Flights(queue.works.append, lambda *_: None)
    for _ in range(3):
        flights.begin("stuck", lambda _: 1, Deadline.after(0))
    assert flights.begin("stuck", lambda _: 1, Deadline.after(1)) is None
    assert flights.begin("other", lambda _: 1, Deadline.after(1)) is not None


def test_flight__that_is_given_up_is_ended() -> None:
    queue = Queue()
    flights: Flights[str, int] = Flights(queue.works.append, lambda *_: None)
    flight = flights.begin("key", lambda _: 1, Deadline.after(1))
    assert flight is not None
    flights.give_up(flight, lambda: 2)
    assert flight.abort.fired
    assert flight.result.result(0) == 2
    assert flights.under_way("key") is None


@pytest.mark.parametrize(
    ("its", "ours", "now", "had_less"),
    [
        (0.0, 0.3, 0.0, True),
        (1.0, 5.0, 2.0, True),
        (0.0, 0.29, 0.0, False),  # hardly less
        (1.0, 1.0, 0.0, False),
        (2.0, 1.0, 0.0, False),
        (0.0, 5.0, 4.8, False),  # less, and nothing is left to try another one in
        (4.0, 4.2, 0.0, False),
    ],
)
def test_flight__had_less_time_if_its_beginner_had(its: float, ours: float, now: float, had_less: bool) -> None:
    flight: Flight[str, int] = Flight("key", Deadline.after(its, lambda: 0.0))
    moments = iter([0.0, now])
    assert had_less_time(flight, Deadline.after(ours, lambda: next(moments))) is had_less
