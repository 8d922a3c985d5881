"""RefreshingCache: one read for all callers, its time limit by both clocks, and the back-off after failures."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from fdi_health.credentials.refreshing_cache import LOGIN, RefreshingCache
from fdi_health.errors import CheckError
from tests.fdi_health.fake_secret_store import Clock, soon, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fdi_health.concurrency.single_flight import Call


class Source:
    """Returns 1, 2, 3, …, or fails; while it is closed, each read waits until its gate is opened."""

    def __init__(self) -> None:
        self.gates: list[threading.Event] = []
        self.threads: list[threading.Thread] = []
        self.closed = self.fails = False

    def read(self, _: Call[Any]) -> int:
        gate = threading.Event()
        self.threads.append(threading.current_thread())
        self.gates.append(gate)
        number = len(self.gates)
        if self.closed:
            gate.wait(10)
        if self.fails:
            raise CheckError("token_unavailable", "gone")
        return number

    def open(self) -> None:
        self.closed = False
        for gate in self.gates:
            gate.set()

    def end_reads(self, number: int = 1) -> None:
        """Wait until so many reads have started, open their gates, and wait for their ends."""
        until(lambda: len(self.gates) >= number)
        self.open()
        until(lambda: not any(thread.is_alive() for thread in self.threads))


@pytest.fixture
def source() -> Iterator[Source]:
    source = Source()
    yield source
    source.open()


def get_error(cache: RefreshingCache[int], seconds: float = 0.02, after_generation: int = 0) -> CheckError:
    with pytest.raises(CheckError) as caught:
        cache.get(soon(seconds), after_generation=after_generation)
    return caught.value


def test_cache__before_the_first_read__has_no_snapshot_and_no_failure(source: Source) -> None:
    cache = RefreshingCache(source.read)
    assert (cache.snapshot, cache.failure, cache.has_failed) == (None, None, False)
    assert cache.seconds_since_read() == math.inf


def test_snapshot__repr__hides_the_value() -> None:
    cache = RefreshingCache(lambda _: "s3cr3t")
    assert repr(cache.get(soon())) == "Snapshot(generation=1)"


def test_seconds_since_read__clock_advances__count_from_its_start(source: Source) -> None:
    clock = Clock()
    cache = RefreshingCache(source.read, clock)
    cache.get(soon())
    clock.monotonic += 3
    assert cache.seconds_since_read() == 3


def test_read__any__runs_on_a_daemon_thread(source: Source) -> None:
    RefreshingCache(source.read).get(soon())
    (thread,) = source.threads
    assert (thread.daemon, thread.name) == (True, "fdi-health-secret")


def test_get__after_a_generation__returns_a_newer_snapshot(source: Source) -> None:
    cache = RefreshingCache(source.read)
    first = cache.get(soon())
    assert cache.get(soon()) is first
    assert cache.get(soon(), after_generation=first.generation).value == 2
    assert cache.get(soon(), after_generation=first.generation).value == 2


def test_get__read_is_late__says_what_to_do(source: Source) -> None:
    source.closed = True
    error = get_error(RefreshingCache(source.read))
    assert (error.code, error.message) == ("token_unavailable", "the secret could not be read before the deadline")
    assert error.next_step == "Check the network path to the secrets manager, then try again."


def test_get__login_is_late__says_so(source: Source) -> None:
    source.closed = True

    def read(call: Call[Any]) -> int:
        call.stage = LOGIN
        return source.read(call)

    error = get_error(RefreshingCache(read), 0.1)
    assert error.message == "IAM did not answer before the deadline"
    assert error.next_step == "Try again. If it fails again, check the network path to IAM."


def test_late_read__of_an_impatient_caller__goes_on_for_others(source: Source) -> None:
    source.closed = True
    cache = RefreshingCache(source.read)
    get_error(cache)
    source.open()
    assert cache.get(soon()).value == 1


@pytest.mark.parametrize("stopped", ["wall", "monotonic"])
def test_late_result__by_either_clock__is_kept_as_maybe_stale(source: Source, stopped: str) -> None:
    # A platform may freeze the process in the middle of a read, and one of the clocks with it.
    source.closed = True
    clock = Clock()
    cache = RefreshingCache(source.read, clock)
    get_error(cache)
    setattr(clock, stopped, getattr(clock, stopped) + 6)
    source.end_reads()
    snapshot = cache.get(soon())
    assert (snapshot.value, snapshot.maybe_stale, cache.has_failed) == (1, True, False)


def test_late_result__of_an_older_read__does_not_replace_a_newer_value(source: Source) -> None:
    source.closed = True
    clock = Clock()
    cache = RefreshingCache(source.read, clock)
    get_error(cache)
    until(lambda: bool(source.gates))
    clock.wall += 6
    source.closed = False
    assert cache.get(soon()).value == 2
    source.end_reads()
    assert cache.get(soon()).value == 2


def test_late_result__of_an_older_read__leaves_the_newest_read_to_fail(source: Source) -> None:
    source.closed = True
    clock = Clock()
    cache = RefreshingCache(source.read, clock)
    for number in (1, 2):
        get_error(cache)
        until(lambda number=number: len(source.gates) == number)  # type: ignore[misc] # a default binds the variable
        clock.wall += 6
    source.gates[0].set()
    until(lambda: cache.snapshot is not None)
    assert (cache.get(soon()).value, cache.has_failed) == (1, True)


def test_late_result__of_a_read_that_callers_wait_for__is_returned(source: Source) -> None:
    source.closed = True
    clock = Clock()
    cache = RefreshingCache(source.read, clock)
    cache.refresh_in_background()
    until(lambda: bool(source.gates))
    source.closed = False

    def freeze() -> None:
        time.sleep(0.05)
        clock.wall += 6
        source.open()

    thread = threading.Thread(target=freeze)
    thread.start()
    assert cache.get(soon()).value == 1
    thread.join()


def test_late_failure__counts__from_the_third_in_a_row(source: Source) -> None:
    clock = Clock()
    source.fails = True
    cache = RefreshingCache(source.read, clock)
    failures = []
    for number in (1, 2, 3):
        source.closed = True
        get_error(cache)
        clock.wall += 6
        source.end_reads(number)
        failures.append((cache.has_failed, cache.failure is not None))
    assert failures == [(True, False), (True, False), (True, True)]


def test_overdue_read__that_callers_wait_for__is_replaced_by_another_read(source: Source) -> None:
    source.closed = True
    cache = RefreshingCache(source.read, max_read_seconds=0.5)
    cache.refresh_in_background()
    until(lambda: bool(source.gates))
    source.closed = False
    assert cache.get(soon(5)).value == 2


def test_overdue_read__with_little_time_left__is_not_replaced(source: Source) -> None:
    source.closed = True
    cache = RefreshingCache(source.read, max_read_seconds=0.1)
    assert get_error(cache, 0.2).message == "the secret could not be read before the deadline"
    assert len(source.gates) == 1


def test_stuck_reads__are_two_at_most__until_one_ends(source: Source) -> None:
    source.closed = True
    clock = Clock()
    cache = RefreshingCache(source.read, clock)
    for number in (1, 2):
        get_error(cache)
        until(lambda number=number: len(source.gates) == number)  # type: ignore[misc] # a default binds the variable
        clock.wall += 6
    error = get_error(cache)
    assert error.code == "token_unavailable"
    assert error.message == "earlier reads of the secret are stuck, or no thread was free"
    for number in (3, 4):
        source.gates[number - 3].set()
        until(lambda thread=source.threads[number - 3]: not thread.is_alive())  # type: ignore[misc] # a default binds the variable
        get_error(cache, after_generation=99)
        until(lambda number=number: len(source.gates) == number)  # type: ignore[misc] # a default binds the variable
        clock.wall += 6


class Failing:
    """Fails to read; counts the reads."""

    def __init__(self, stage: str = "") -> None:
        self.stage = stage
        self.reads = 0

    def read(self, call: Call[Any]) -> int:
        self.reads += 1
        call.stage = self.stage
        raise CheckError("token_unavailable", "gone", next_step="Put it back.")


def test_failure__of_a_login__does_not_delay_the_next_read() -> None:
    failing = Failing(LOGIN)
    cache = RefreshingCache(failing.read, Clock())
    for _ in range(10):
        assert get_error(cache, 2).message == "gone"
    assert failing.reads == 10


def test_back_off__after_a_failure_of_a_login__ends() -> None:
    failing, clock = Failing(), Clock()
    cache = RefreshingCache(failing.read, clock)
    for _ in range(5):
        get_error(cache, 2)
    clock.wall += 1
    failing.stage = LOGIN
    for _ in range(5):
        get_error(cache, 2)
    assert failing.reads == 8


def test_back_off__after_days_of_failures__is_30_seconds() -> None:
    failing, clock = Failing(), Clock()
    cache = RefreshingCache(failing.read, clock)
    for _ in range(1100):  # two to this power is too large for a float
        error = get_error(cache, 2)
        clock.wall += 30
    assert failing.reads == 1100
    clock.wall -= 1
    assert (get_error(cache, 2).message, error.next_step) == ("gone", "Put it back.")
    assert failing.reads == 1100


def test_background_refresh__while_a_read_is_in_progress__starts_no_other(source: Source) -> None:
    source.closed = True
    cache = RefreshingCache(source.read)
    cache.refresh_in_background()
    cache.refresh_in_background()
    until(lambda: bool(source.threads))
    assert len(source.threads) == 1
    assert cache.is_being_read()


def test_background_refresh__result__may_be_stale(source: Source) -> None:
    cache = RefreshingCache(source.read)
    cache.refresh_in_background()
    until(lambda: cache.snapshot is not None)
    assert cache.get(soon()).maybe_stale
    assert not cache.get(soon(), after_generation=1).maybe_stale
