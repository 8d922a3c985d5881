"""A value that is read for everybody: what each read counts for, and what is left of one that was late."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING

import pytest

from fdi_health.credentials.refreshing_cache import Refresh, RefreshingCache
from fdi_health.errors import CheckError
from tests.fdi_health.fake_secret_store import Clock, soon, until

if TYPE_CHECKING:
    from collections.abc import Iterator


class Source:
    """Brings 1, 2, 3, …, each when its gate is open; keeps which threads read."""

    def __init__(self) -> None:
        self.gates: list[threading.Event] = []
        self.threads: list[threading.Thread] = []
        self.closed = False
        self.value: int | None = None

    def read(self, refresh: Refresh[int]) -> int:
        gate = threading.Event()
        self.gates.append(gate)
        self.threads.append(threading.current_thread())
        if self.closed:
            gate.wait(10)
        return self.value or refresh.generation

    def open(self) -> None:
        self.closed = False
        for gate in self.gates:
            gate.set()


@pytest.fixture
def source() -> Iterator[Source]:
    source = Source()
    yield source
    source.open()


def late(held: RefreshingCache[int], seconds: float = 0.02) -> CheckError:
    with pytest.raises(CheckError) as caught:
        held.newer_than(0, soon(seconds))
    return caught.value


def test_nothing_read__is_no_failure_and_endless_ago(source: Source) -> None:
    held = RefreshingCache(source.read)
    assert (held.snapshot, held.failure, held.failures) == (None, None, 0)
    assert held.seconds_since_read() == math.inf


def test_seconds_since_read__count_from_its_beginning(source: Source) -> None:
    clock = Clock()
    held = RefreshingCache(source.read, clock)
    held.newer_than(0, soon())
    clock.monotonic += 3
    assert held.seconds_since_read() == 3


def test_read__is_on_a_thread_that_keeps_no_process_from_ending(source: Source) -> None:
    RefreshingCache(source.read).newer_than(0, soon())
    (thread,) = source.threads
    assert (thread.daemon, thread.name) == (True, "fdi-health-secret")


def test_late_read__says_what_to_do(source: Source) -> None:
    source.closed = True
    error = late(RefreshingCache(source.read))
    assert (error.code, error.message) == ("token_unavailable", "the secret could not be read before the deadline")
    assert error.next_step == "Check the way to the secrets manager, or ask again."


def test_late_read__says_what_it_waited_for(source: Source) -> None:
    def read(refresh: Refresh[int]) -> int:
        refresh.stage, refresh.next_step = "IAM did not answer", "Look at IAM."
        source.closed = True
        return source.read(refresh)

    error = late(RefreshingCache(read))
    assert (error.message, error.next_step) == ("IAM did not answer before the deadline", "Look at IAM.")


def test_stuck_reads__are_two_at_most_and_come_back_one_by_one(source: Source) -> None:
    source.closed = True
    held = RefreshingCache(source.read, seconds=0.03)
    for _ in range(3):
        late(held, 0.1)
    assert len(source.gates) == 2
    assert late(held).message == "earlier reads of the secret are stuck, or no thread was free"
    assert late(held).code == "token_unavailable"

    for number, gate in enumerate(list(source.gates), 3):
        gate.set()
        until(lambda gate=gate: not source.threads[source.gates.index(gate)].is_alive())  # type: ignore[misc] # a default binds the variable
        with pytest.raises(CheckError):
            held.newer_than(99, soon(0.1))
        assert len(source.gates) == number


def test_stuck_read__that_came_to_an_end_takes_no_room(source: Source) -> None:
    source.closed = True
    held = RefreshingCache(source.read, seconds=0.03)
    late(held)
    until(lambda: not held.is_being_read())
    source.open()
    until(lambda: not source.threads[0].is_alive())

    source.closed = True
    with pytest.raises(CheckError):
        held.newer_than(99, soon(0.2))
    assert len(source.gates) == 3


def test_late_copy__is_news_and_perhaps_outdated(source: Source) -> None:
    source.closed, source.value = True, 7
    held = RefreshingCache(source.read, seconds=0.03)
    late(held, 0.05)
    late(held, 0.05)
    source.open()
    until(lambda: held.snapshot is not None)
    assert held.newer_than(0, soon()).value == 7
    reads = len(source.gates)
    source.value = 8
    assert held.newer_than(0, soon(), lambda value: value == 7).value == 8
    assert len(source.gates) == reads + 1


class Failing:
    """Fails to read; counts the reads."""

    def __init__(self, *, secret_is_valid: bool = False) -> None:
        self.secret_is_valid = secret_is_valid
        self.reads = 0

    def read(self, refresh: Refresh[int]) -> int:
        self.reads += 1
        refresh.secret_is_valid = self.secret_is_valid
        raise CheckError("token_unavailable", "gone", next_step="Put it back.")


def test_failure_of_a_valid_secret__does_not_delay_the_next_read() -> None:
    failing = Failing(secret_is_valid=True)
    held = RefreshingCache(failing.read, Clock())
    for _ in range(10):
        assert late(held, 2).message == "gone"
    assert failing.reads == 10


def test_back_off__ends_with_a_failure_of_a_valid_secret() -> None:
    failing, clock = Failing(), Clock()
    held = RefreshingCache(failing.read, clock)
    for _ in range(5):
        late(held, 2)
    clock.wall += 1
    failing.secret_is_valid = True
    for _ in range(5):
        late(held, 2)
    assert failing.reads == 8


def test_back_off__after_days_of_failures__is_30_seconds() -> None:
    failing, clock = Failing(), Clock()
    held = RefreshingCache(failing.read, clock)
    for _ in range(1100):  # two to this power is no float any more
        error = late(held, 2)
        clock.wall += 30
    assert failing.reads == 1100
    clock.wall -= 1
    assert (late(held, 2).message, error.next_step) == ("gone", "Put it back.")
    assert failing.reads == 1100


def test_read_beside__while_one_is_going_on__begins_no_other(source: Source) -> None:
    source.closed = True
    held = RefreshingCache(source.read)
    held.refresh_in_background()
    held.refresh_in_background()
    until(lambda: bool(source.threads))
    assert len(source.threads) == 1
