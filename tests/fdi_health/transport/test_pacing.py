"""The pace: never more requests in a second than documented, in order, and never past the deadline."""

from __future__ import annotations

import math
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdi_health.clock import Deadline
from fdi_health.errors import CheckError
from fdi_health.transport.pacing import MAX_AHEAD_SECONDS, SHARE_OF_LIMIT, STATED_SECONDS, Pace
from fdi_health.transport.retry import NotSentError, Retries

if TYPE_CHECKING:
    from collections.abc import Callable

RATES = st.floats(0.1, 1000)
GAPS = st.sampled_from([0.0, 0.001, 0.02, 0.3, 1.0, 5.0])


class Clock:
    """A clock that sleeping moves, unless the sleepers are many; keeps how long each slept."""

    def __init__(self, *, sleep_moves: bool = True) -> None:
        self.now = 100.0
        self.sleeps: list[float] = []
        self.sleep_moves = sleep_moves
        self.during_sleep: Callable[[], object] | None = None

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        if self.sleep_moves:
            self.now += seconds
        if self.during_sleep is not None:
            happens, self.during_sleep = self.during_sleep, None
            happens()

    def deadline(self, seconds: float = 60.0) -> Deadline:
        return Deadline.after(seconds, lambda: self.now)


def make(rate: float | None, clock: Clock) -> Pace:
    return Pace(rate, lambda: clock.now, clock.sleep)


def send_at(pace: Pace, clock: Clock, seconds: float = math.inf) -> float:
    """Return when a request that comes now is sent, without waiting for it: many can wait at the same time."""
    clock.sleeps.clear()
    pace.wait(Deadline(clock.now + seconds, lambda: clock.now))
    return clock.now + sum(clock.sleeps)


def most_in_a_second(times: list[float]) -> int:
    # The tolerance is for sums of floats: a request at 1.0 s is not in the second that begins at 0.
    return max((sum(begin <= other < begin + 1 - 1e-6 for other in times) for begin in times), default=0)


def test_no_rate__never_waits() -> None:
    clock = Clock()
    pace = make(None, clock)
    for _ in range(1000):
        pace.wait(clock.deadline(0))
        assert pace.take_if_free()
    assert clock.sleeps == []


def test_no_rate__takes_no_lock() -> None:
    pace = Pace()
    pace._lock = None  # type: ignore[assignment] # it would fail if it were used
    pace.wait(Deadline.after(1))
    assert pace.take_if_free()


def test_first_request_and_one_after_a_break__are_sent_at_once() -> None:
    clock = Clock()
    pace = make(10, clock)
    assert send_at(pace, clock) == clock.now
    clock.now += 5
    assert send_at(pace, clock) == clock.now


def test_requests_at_once__are_spaced_evenly() -> None:
    clock = Clock(sleep_moves=False)
    pace = make(10, clock)
    assert [send_at(pace, clock) - clock.now for _ in range(4)] == pytest.approx([0, 0.1, 0.2, 0.3])


@given(RATES, st.lists(st.tuples(GAPS, st.booleans()), max_size=60))
def test_any_requests__at_most_the_rate_in_any_second__in_order(rate: float, coming: list[tuple[float, bool]]) -> None:
    clock = Clock(sleep_moves=False)
    pace = make(rate, clock)
    waiting: list[float] = []
    explaining: list[float] = []
    for gap, is_verdict in coming:
        clock.now += gap
        if is_verdict:
            waiting.append(send_at(pace, clock))
        elif pace.take_if_free():
            explaining.append(clock.now)
    assert waiting == sorted(waiting)
    assert most_in_a_second(waiting) <= math.ceil(rate)
    assert most_in_a_second(waiting + explaining) <= math.ceil(rate * (1 + MAX_AHEAD_SECONDS))


@given(st.integers(1, 1000), st.lists(st.tuples(GAPS, st.booleans()), max_size=60))
def test_stated_limit__is_not_reached_in_any_second(limit: int, coming: list[tuple[float, bool]]) -> None:
    clock = Clock(sleep_moves=False)
    pace = make(None, clock)
    pace.slow_down(limit)
    times: list[float] = []
    for gap, is_verdict in coming:
        clock.now += gap
        if is_verdict:
            times.append(send_at(pace, clock))
        elif pace.take_if_free():
            times.append(clock.now)
    assert most_in_a_second(times) <= limit


@given(
    RATES, st.lists(st.tuples(GAPS, st.sampled_from(["wait", "free", "429", "429 with a limit", "hold"])), max_size=60)
)
def test_429s_between_requests__do_not_raise_the_rate(rate: float, coming: list[tuple[float, str]]) -> None:
    clock = Clock()  # each request is sent before the next one comes
    pace = make(rate, clock)
    times: list[float] = []
    for gap, event in coming:
        clock.now += gap
        if event == "wait":
            pace.wait(clock.deadline(math.inf))
            times.append(clock.now)
        elif event == "free" and pace.take_if_free():
            times.append(clock.now)
        elif event == "429":
            pace.pause(0.0)
        elif event == "429 with a limit":
            pace.slow_down(rate * 2)
        elif event == "hold":
            pace.pause(1.5)
    assert most_in_a_second(times) <= math.ceil(rate * (1 + MAX_AHEAD_SECONDS))


@given(RATES, st.lists(GAPS, min_size=1, max_size=40), st.floats(0.2, 10))
def test_deadline__request_is_sent_in_time_or_fails_at_once_and_takes_no_place(
    rate: float, gaps: list[float], seconds: float
) -> None:
    clock = Clock(sleep_moves=False)
    pace = make(rate, clock)
    sent: list[float] = []
    for gap in gaps:
        clock.now += gap
        turn = max(clock.now, sent[-1] + 1 / rate) if sent else clock.now
        try:
            sent.append(send_at(pace, clock, seconds))
        except NotSentError:
            assert clock.sleeps == []
            assert turn + 0.1 > clock.now + seconds - 1e-6
        else:
            assert sent[-1] == pytest.approx(turn)
            assert sent[-1] < clock.now + seconds


def test_too_late_for_the_configured_rate__names_the_setting() -> None:
    clock = Clock()
    pace = make(0.5, clock)
    pace.wait(clock.deadline())
    with pytest.raises(NotSentError) as caught:
        pace.wait(clock.deadline(2.05))  # 0.05 s would be left for the response
    error = caught.value
    assert (error.code, error.upstream_status, error.retry_after) == ("throttled", None, None)
    assert error.message == "too many requests for FDI_MAX_CALLS_PER_SECOND before the deadline"
    assert error.next_step == "Raise FDI_MAX_CALLS_PER_SECOND, FDI_DEADLINE_SECONDS or FDI_CACHE_SECONDS."
    pace.wait(clock.deadline(2.15))


@pytest.mark.parametrize(("configured", "names_setting"), [(None, False), (20.0, False), (0.8, True), (0.5, True)])
def test_too_late__names_the_lower_rate(configured: float | None, names_setting: bool) -> None:
    clock = Clock()
    pace = make(configured, clock)
    pace.slow_down(1)
    pace.wait(clock.deadline())
    with pytest.raises(NotSentError) as caught:
        pace.wait(clock.deadline(1))
    assert ("FDI_MAX_CALLS_PER_SECOND" in caught.value.message) is names_setting
    if not names_setting:
        assert caught.value.message == "too many requests before the deadline for the limit that ROMA Connect stated"
        assert caught.value.next_step is not None
        assert caught.value.next_step.startswith("Use a separate IAM user for this function, or raise FDI_DEADLINE")


def interval(pace: Pace, clock: Clock) -> float:
    """Return the seconds between two requests."""
    pace.wait(clock.deadline(math.inf))
    first = clock.now
    pace.wait(clock.deadline(math.inf))
    return clock.now - first


def test_stated_limit__is_obeyed_for_ten_minutes_with_a_margin() -> None:
    clock = Clock()
    pace = make(None, clock)
    pace.slow_down(15)
    assert SHARE_OF_LIMIT == 0.8
    assert interval(pace, clock) == pytest.approx(1 / 12)
    clock.now = 100.0 + 599
    assert interval(pace, clock) == pytest.approx(1 / 12)
    clock.now = 100.0 + STATED_SECONDS
    assert interval(pace, clock) == 0.0


def test_stated_limit__ends__the_configured_rate_stays() -> None:
    clock = Clock()
    pace = make(20, clock)
    pace.slow_down(5)
    assert interval(pace, clock) == pytest.approx(1 / 4)
    clock.now += STATED_SECONDS
    assert interval(pace, clock) == pytest.approx(1 / 20)


def test_stated_limit__never_raises_the_configured_rate() -> None:
    clock = Clock()
    pace = make(2, clock)
    pace.slow_down(1000)
    assert interval(pace, clock) == pytest.approx(1 / 2)


def test_new_stated_limit__replaces_the_old_one_and_begins_its_time_again() -> None:
    clock = Clock()
    pace = make(None, clock)
    pace.slow_down(5)
    clock.now += 500
    pace.slow_down(50)
    clock.now += 500
    assert interval(pace, clock) == pytest.approx(1 / 40)


def state_limit(pace: Pace) -> None:
    pace.slow_down(1)
    pace.pause(2.0)


def test_limit_stated_during_a_wait__makes_the_request_wait_for_the_new_rate() -> None:
    clock = Clock()
    pace = make(10, clock)
    pace.wait(clock.deadline())
    clock.during_sleep = partial(state_limit, pace)
    began = clock.now
    pace.wait(clock.deadline())
    assert clock.now - began == pytest.approx(2.1)  # the 429 came after 0.1 s


def test_limit_stated_during_a_wait__that_leaves_no_time__fails() -> None:
    clock = Clock()
    pace = make(10, clock)
    pace.wait(clock.deadline())
    clock.during_sleep = partial(state_limit, pace)
    with pytest.raises(NotSentError):
        pace.wait(clock.deadline(1))


def test_pause__places_that_were_booked_are_given_to_the_next() -> None:
    clock = Clock(sleep_moves=False)
    pace = make(10, clock)
    for _ in range(30):
        send_at(pace, clock)
    pace.pause(1.0)
    assert send_at(pace, clock) - clock.now == pytest.approx(1.0)  # not after 3 s


def test_take_if_free__others_wait__is_refused() -> None:
    clock = Clock(sleep_moves=False)
    pace = make(4, clock)
    send_at(pace, clock)
    assert not pace.take_if_free()
    clock.now += 0.125
    assert pace.take_if_free()  # an eighth of a second ahead
    assert send_at(pace, clock) - clock.now == pytest.approx(0.375)  # it was counted
    assert not pace.take_if_free()


def test_threads__wait_in_their_order_at_the_rate() -> None:
    pace = Pace(100)
    sent: list[int] = []

    def send(number: int) -> None:
        pace.wait(Deadline.after(10))
        sent.append(number)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(30)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
        time.sleep(0.001)  # so that the order of their calls is known
    for thread in threads:
        thread.join()
    assert time.monotonic() - began >= 0.29
    # A thread that wakes late on a busy machine may be overtaken by a few.
    assert all(abs(place - number) <= 5 for place, number in enumerate(sent))


def test_threads__all_pass_after_a_429_in_between() -> None:
    pace = Pace(200)
    times: list[float] = []

    def send() -> None:
        pace.wait(Deadline.after(10))
        times.append(time.monotonic())

    threads = [threading.Thread(target=send) for _ in range(40)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    pace.slow_down(125)
    stated = time.monotonic()
    pace.pause(0.2)
    for thread in threads:
        thread.join()
    assert len(times) == 40
    later = sorted(seconds for seconds in times if seconds > stated + 0.02)  # one may have been about to be sent
    assert later[0] >= stated + 0.19
    assert later[-1] - later[0] >= (len(later) - 1) / 100 - 0.05


def test_set_rate__raised__is_used_at_once_and_what_was_booked_is_free_again() -> None:
    clock = Clock(sleep_moves=False)
    pace = make(0.5, clock)
    for _ in range(5):
        send_at(pace, clock)
    pace.set_rate(4)
    first, second = send_at(pace, clock), send_at(pace, clock)
    assert first - clock.now <= MAX_AHEAD_SECONDS + 1 / 4
    assert second - first == pytest.approx(1 / 4)


def test_set_rate__none__ends_the_limit() -> None:
    clock = Clock(sleep_moves=False)
    pace = make(0.5, clock)
    pace.set_rate(None)
    assert [send_at(pace, clock) - clock.now for _ in range(3)] == [0, 0, 0]


def test_set_rate__none__leaves_a_stated_limit() -> None:
    clock = Clock()
    pace = make(100, clock)
    pace.slow_down(10)
    pace.set_rate(None)
    assert interval(pace, clock) == pytest.approx(1 / (10 * SHARE_OF_LIMIT))


def test_set_rate__the_same__leaves_the_bookings() -> None:
    clock = Clock(sleep_moves=False)
    pace = make(0.5, clock)
    sent = [send_at(pace, clock) - clock.now for _ in range(3)]
    pace.set_rate(0.5)
    assert [*sent, send_at(pace, clock) - clock.now] == pytest.approx([0, 2, 4, 6])


# Together with retries.


def fault(code: str, upstream_status: int, retry_after: float | None = None) -> CheckError:
    return CheckError(code, "what is wrong", upstream_status=upstream_status, retry_after=retry_after)


def failing(error: CheckError) -> NoReturn:
    raise error


def test_retry__waits_for_the_pace_too() -> None:
    clock = Clock()
    pace = make(0.5, clock)
    sent: list[float] = []

    def attempt() -> int:
        pace.wait(clock.deadline())
        sent.append(clock.now)
        if len(sent) < 3:
            raise fault("upstream_error", upstream_status=503)
        return 1

    assert Retries("them", clock.sleep, lambda most: most).run(attempt, clock.deadline()) == 1
    assert sent == pytest.approx([100, 102, 104])


def test_no_place_before_the_deadline__holds_nobody_and_keeps_the_earlier_failure() -> None:
    clock = Clock()
    pace = make(0.5, clock)
    retries = Retries("them", clock.sleep, lambda most: most)

    def run(seconds: float, error: CheckError | None = None) -> int:
        deadline = clock.deadline(seconds)

        def attempt() -> int:
            pace.wait(deadline)
            return 1 if error is None else failing(error)

        return retries.run(attempt, deadline)

    assert run(1) == 1
    with pytest.raises(NotSentError):
        run(1)
    assert retries.hold(clock.deadline()) is None
    with pytest.raises(CheckError) as caught:
        run(3, fault("upstream_error", upstream_status=503))
    assert (caught.value.code, caught.value.upstream_status) == ("upstream_error", 503)


def test_429__pauses_the_pace_for_as_long_as_the_hold() -> None:
    clock = Clock()
    pauses: list[float] = []
    retries = Retries("them", clock.sleep, lambda most: most, on_hold=pauses.append)
    with pytest.raises(CheckError):
        retries.run(lambda: failing(fault("throttled", upstream_status=429, retry_after=7.0)), clock.deadline(1))
    with pytest.raises(CheckError):
        retries.try_once(lambda: failing(fault("throttled", upstream_status=429, retry_after=2.0)), clock.deadline(1))
    assert pauses == [5.0, 5.0]  # a later and shorter one does not end it


def test_hold_that_began_during_the_wait__is_waited_for_and_is_not_an_attempt() -> None:
    clock = Clock()
    retries = Retries("them", clock.sleep, lambda most: most)
    holds = [fault("throttled", upstream_status=429, retry_after=1.0) for _ in range(5)]

    def attempt() -> int:
        if holds:
            # Another instance's request is rate limited while this one waits for its turn.
            with pytest.raises(CheckError):
                retries.try_once(lambda: failing(holds.pop()), clock.deadline())
        hold = retries.hold(clock.deadline())
        if hold is not None:
            raise hold
        return 1

    assert retries.run(attempt, clock.deadline()) == 1


def test_take_if_free__stated_limit_has_ended__is_free() -> None:
    clock = Clock()
    pace = make(None, clock)
    pace.slow_down(1)
    clock.now += STATED_SECONDS
    assert [pace.take_if_free() for _ in range(9)] == [True] * 9


def test_pause__stated_limit_has_ended__holds_nothing() -> None:
    clock = Clock()
    pace = make(None, clock)
    pace.slow_down(1)
    clock.now += STATED_SECONDS
    pace.pause(5)
    assert send_at(pace, clock) == clock.now
