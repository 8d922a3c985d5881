"""When a request is tried again and how long is waited before: pure, so by hand-made clocks and dice."""

from __future__ import annotations

import subprocess
import sys
from typing import NoReturn

import pytest

from fdi_health.clock import Deadline
from fdi_health.errors import CheckError
from fdi_health.transport.retry import Retries, retry_after
from tests.servers import ROOT

SUNDAY = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110, 5.6.7


class Clock:
    """A clock that only waiting moves; keeps what was waited, and the most that each throw of the dice could give."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []
        self.throws: list[float] = []

    def wait(self, seconds: float) -> None:
        self.waits.append(round(seconds, 6))
        self.now += seconds

    def throw(self, most: float) -> float:
        self.throws.append(round(most, 6))
        return most


def fault(code: str, upstream_status: int | None = None, retry_after: float | None = None) -> CheckError:
    return CheckError(code, "what is wrong", upstream_status=upstream_status, retry_after=retry_after)


def failing(error: CheckError, tries: list[int]) -> NoReturn:
    tries.append(1)
    raise error


def run(clock: Clock, error: CheckError, seconds: float = 60.0, retries: Retries | None = None) -> int:
    """Return how many attempts were made; each fails alike."""
    tries: list[int] = []
    retries = retries or Retries("them", clock.wait, clock.throw)
    with pytest.raises(CheckError) as caught:
        retries.run(lambda: failing(error, tries), Deadline.after(seconds, lambda: clock.now))
    assert caught.value.code == error.code
    return len(tries)


def test_connection_that_fails__is_tried_three_times_with_growing_waits() -> None:
    clock = Clock()
    assert run(clock, fault("unreachable")) == 3
    assert clock.waits == [0.1, 0.2]


@pytest.mark.parametrize("status", [408, 502, 503, 504])
def test_gateway_that_fails__is_tried_again(status: int) -> None:
    assert run(Clock(), fault("upstream_error", upstream_status=status)) == 3


@pytest.mark.parametrize(
    "error",
    [
        fault("upstream_error", upstream_status=500),
        fault("token_rejected", upstream_status=401),
        fault("invalid_response", upstream_status=200),
        fault("timeout"),
        fault("tls_error"),
    ],
)
def test_what_another_try_would_not_mend__is_not_tried_again(error: CheckError) -> None:
    clock = Clock()
    assert run(clock, error) == 1
    assert clock.waits == []


def test_retry_after__is_waited_for_instead() -> None:
    clock = Clock()
    run(clock, fault("upstream_error", upstream_status=503, retry_after=2.0))
    assert clock.waits == [2.0, 2.0]


def test_wait_that_would_pass_the_deadline__is_none() -> None:
    clock = Clock()
    assert run(clock, fault("upstream_error", upstream_status=503, retry_after=2.0), seconds=2.0) == 1
    assert clock.waits == []


def test_throttling_without_retry_after__is_waited_for_a_second_or_two() -> None:
    clock = Clock()
    run(clock, fault("throttled"), seconds=2.05)
    assert clock.throws == [1.0, 0.1]  # a second more perhaps, and a little later than the hold ends
    clock = Clock()
    run(clock, fault("throttled"), seconds=2.15)
    assert clock.waits[0] == 2.1


def test_hold__is_for_everybody() -> None:
    clock = Clock()
    retries = Retries("them", clock.wait, clock.throw)
    run(clock, fault("throttled", retry_after=4.0), seconds=1.0, retries=retries)
    assert run(clock, fault("throttled"), seconds=4.1, retries=retries) == 0
    with pytest.raises(CheckError) as caught:
        retries.run(lambda: 1, Deadline.after(4.1, lambda: clock.now))
    assert caught.value.retry_after == 4.0
    assert caught.value.message == "them asked for fewer requests a moment ago, so this one was not sent"


def test_hold__is_waited_for_where_there_is_time_and_not_by_all_at_once() -> None:
    clock = Clock()
    retries = Retries("them", clock.wait, clock.throw)
    run(clock, fault("throttled", retry_after=4.0), seconds=1.0, retries=retries)
    clock.throws.clear()
    assert retries.run(lambda: 1, Deadline.after(5.0, lambda: clock.now)) == 1
    assert (clock.waits, clock.throws) == ([4.5], [0.5])  # half of what is left behind the hold
    clock.now = 200.0
    run(clock, fault("throttled", retry_after=4.0), seconds=1.0, retries=retries)
    clock.throws.clear()
    assert retries.run(lambda: 1, Deadline.after(60.0, lambda: clock.now)) == 1
    assert clock.throws == [1.0]  # a second at most


def test_hold__that_would_leave_no_time_for_an_answer_is_not_waited_for() -> None:
    clock = Clock()
    clock.now = 0.0
    retries = Retries("them", clock.wait, clock.throw)
    run(clock, fault("throttled", retry_after=0.1), seconds=0.05, retries=retries)
    assert run(clock, fault("throttled"), seconds=0.2, retries=retries) == 0


def test_hold__lasts_five_seconds_at_most_and_none_shortens_it() -> None:
    clock = Clock()
    retries = Retries("them", clock.wait, clock.throw)

    def overtaken() -> NoReturn:
        # While this attempt is under way, another one is told to wait for an hour.
        run(clock, fault("throttled", retry_after=3600.0), seconds=0.5, retries=retries)
        raise fault("throttled", retry_after=1.0)

    with pytest.raises(CheckError):
        retries.run(overtaken, Deadline.after(0.5, lambda: clock.now))
    clock.now = 104.9
    assert run(clock, fault("throttled"), seconds=0.1, retries=retries) == 0
    clock.now = 105.0
    assert run(clock, fault("throttled"), seconds=0.1, retries=retries) == 1


def test_hold_after_an_own_failure__keeps_the_own_failure() -> None:  # D41
    clock = Clock()
    retries = Retries("them", clock.wait, clock.throw)

    def attempt() -> NoReturn:
        # While this request is under way, another instance's is rate limited.
        run(clock, fault("throttled", retry_after=4.0), seconds=0.5, retries=retries)
        raise fault("upstream_error", upstream_status=504)

    with pytest.raises(CheckError) as caught:
        retries.run(attempt, Deadline.after(2.0, lambda: clock.now))
    assert (caught.value.code, caught.value.upstream_status) == ("upstream_error", 504)


def test_jitter__of_forked_workers__differs() -> None:  # E31
    program = (
        "import os\n"
        "from fdi_health.transport.retry import Retries\n"
        "for _ in range(3):\n"
        "    if os.fork() == 0:\n"
        "        print(Retries('them')._jitter(1.0), flush=True)\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=ROOT, timeout=20, check=True)  # noqa: S603 -- a program of ours
    assert len(set(done.stdout.split())) == 3


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Sun, 06 Nov 1994 08:49:47 GMT", 10.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        ("Sun, 06 Nov 1994 08:49:27 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("\u0661", None),
        ("Sun, 06 Nov 99999 08:49:37 GMT", None),
    ],
)
def test_retry_after__is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": text}, SUNDAY) == seconds


def test_retry_after__that_is_absent_is_none() -> None:
    assert retry_after({}, SUNDAY) is None
