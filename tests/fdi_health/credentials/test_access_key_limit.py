"""How an access key is used until ROMA Connect has accepted it, and after it was refused."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdi_health.clock import Deadline
from fdi_health.credentials.access_key_limit import (
    ACCEPTED_HOLD_SECONDS,
    HOLD_SECONDS,
    MAX_UNPROVEN_REQUESTS,
    AccessKeyLimit,
)
from fdi_health.errors import CheckError
from tests.fdi_health.fake_secret_store import Clock, until

if TYPE_CHECKING:
    from collections.abc import Callable

REFUSED = CheckError("token_rejected", "the signature is wrong", next_step="Correct it.", upstream_code="APIGW.0301")


def soon() -> Deadline:
    return Deadline.after(2.0)


def use(limit: AccessKeyLimit, error: CheckError | None = None, instance_id: str = "one") -> str:
    """Use the key for a request that fails with this error, and return the code of what came of it."""
    try:
        with limit.permit(instance_id, Deadline.after(0.05)):
            if error is not None:
                raise error
    except CheckError as raised:
        return raised.code if raised is error else f"not sent: {raised.code}"
    return "accepted"


class Requests:
    """Requests in progress on threads of their own, which end when the test says so."""

    def __init__(self, limit: AccessKeyLimit, pool: ThreadPoolExecutor, outcome: CheckError | None = None) -> None:
        self.limit, self.pool, self.outcome = limit, pool, outcome
        self.sent = 0
        self.end = threading.Event()
        self.lock = threading.Lock()

    def send(self, count: int, seconds: float = 2.0) -> list[str]:
        def one(number: int) -> str:
            try:
                with self.limit.permit(f"id-{number}", Deadline.after(seconds)):
                    with self.lock:
                        self.sent += 1
                    self.end.wait(5)
                    if self.outcome is not None:
                        raise self.outcome
            except CheckError as error:
                return error.message
            return "accepted"

        running = [self.pool.submit(one, number) for number in range(count)]
        until(lambda: self.sent >= min(count, MAX_UNPROVEN_REQUESTS))
        self.pool.submit(lambda: None)
        self.before_end = self.sent
        self.end.set()
        return [request.result() for request in running]


def test_new_key__many_requests__two_are_sent_before_the_first_response() -> None:
    with ThreadPoolExecutor(24) as pool:
        requests = Requests(AccessKeyLimit(Clock()), pool)
        assert requests.send(20) == ["accepted"] * 20
    assert requests.before_end == MAX_UNPROVEN_REQUESTS
    assert requests.sent == 20


def test_new_key__refused__nothing_more_is_sent() -> None:
    with ThreadPoolExecutor(24) as pool:
        requests = Requests(AccessKeyLimit(Clock()), pool, REFUSED)
        messages = requests.send(20)
    assert requests.sent == MAX_UNPROVEN_REQUESTS
    assert messages.count("the access key was refused at 2023-11-14T22:13:20Z: the signature is wrong") == 18


def test_new_key__first_responses_do_not_come__others_time_out() -> None:
    limit = AccessKeyLimit(Clock())
    with (
        limit.permit("one", soon()),
        limit.permit("two", soon()),
        pytest.raises(CheckError, match="is new") as caught,
        limit.permit("three", Deadline.after(0.05)),
    ):
        pass
    assert caught.value.code == "timeout"


@pytest.mark.parametrize(
    "error",
    [
        CheckError("forbidden", "-", upstream_code="APIG.1005"),
        CheckError("upstream_error", "-", upstream_code="FDI.9999"),
    ],
)
def test_new_key__any_other_response_of_roma_connect__proves_it(error: CheckError) -> None:
    limit = AccessKeyLimit(Clock())
    use(limit, error)
    with limit.permit("a", soon()), limit.permit("b", soon()), limit.permit("c", soon()):
        pass


@pytest.mark.parametrize("code", ["timeout", "unreachable", "blocked", "upstream_error", "invalid_response"])
def test_new_key__no_response_of_roma_connect__proves_nothing(code: str) -> None:
    limit = AccessKeyLimit(Clock())
    use(limit, CheckError(code, "-"))
    with limit.permit("a", soon()), limit.permit("b", soon()):
        assert use(limit) == "not sent: timeout"


@pytest.mark.parametrize(("code", "upstream_code"), [("throttled", "APIG.0308"), ("upstream_error", "APIG.0311")])
def test_new_key__response_of_the_gateway_before_it_verifies_the_key__proves_nothing(
    code: str, upstream_code: str
) -> None:
    limit = AccessKeyLimit(Clock())
    use(limit, CheckError(code, "-", upstream_code=upstream_code))
    with limit.permit("a", soon()), limit.permit("b", soon()):
        assert use(limit) == "not sent: timeout"


def test_new_key__two_instances_do_not_respond__others_go_first_the_next_time() -> None:
    limit, order = AccessKeyLimit(Clock()), []
    for instance_id in ("one", "two"):
        use(limit, CheckError("timeout", "-"), instance_id)

    def ask(instance_id: str) -> None:
        with limit.permit(instance_id, soon()):
            order.append(instance_id)

    with ThreadPoolExecutor(3) as pool:
        for instance_id in ("one", "two", "three"):
            pool.submit(ask, instance_id)
    assert order[0] == "three"


def test_refused_key__every_try_refused__is_used_again_after_5_then_15_minutes() -> None:
    clock = Clock()
    limit = AccessKeyLimit(clock)
    for seconds in (*HOLD_SECONDS, HOLD_SECONDS[-1]):
        assert use(limit, REFUSED) == "token_rejected"
        clock.wall += seconds - 1
        assert use(limit) == "not sent: token_rejected"
        clock.wall += 1
    assert use(limit) == "accepted"


def test_refused_key__after_its_hold__is_used_by_one_request_at_a_time() -> None:
    clock = Clock()
    limit = AccessKeyLimit(clock)
    use(limit, REFUSED)
    clock.wall += HOLD_SECONDS[0]
    with limit.permit("one", soon()):
        assert use(limit, instance_id="two") == "not sent: timeout"
    assert use(limit, instance_id="two") == "accepted"


def test_refused_key__says_when_and_what_to_do() -> None:
    limit = AccessKeyLimit(Clock())
    use(limit, REFUSED)
    with pytest.raises(CheckError) as caught, limit.permit("one", soon()):
        pass
    assert (caught.value.code, caught.value.upstream_code) == ("token_rejected", "APIGW.0301")
    assert caught.value.next_step == (
        "Correct it. This process does not use the key again before 2023-11-14T22:18:20Z. "
        "It finds a changed secret within 30 seconds."
    )


def test_accepted_key__refused_once__is_used_again_after_30_seconds() -> None:
    clock = Clock()
    limit = AccessKeyLimit(clock)
    use(limit)
    use(limit, REFUSED)
    clock.monotonic += ACCEPTED_HOLD_SECONDS - 1
    assert use(limit) == "not sent: token_rejected"
    clock.monotonic += 1
    assert use(limit, REFUSED) == "token_rejected"
    clock.monotonic += HOLD_SECONDS[0] - 1
    assert use(limit) == "not sent: token_rejected"
    clock.monotonic += 1
    assert use(limit) == "accepted"


def test_accepted_key__several_requests_refused_together__is_used_again_after_5_minutes() -> None:
    clock = Clock()
    limit = AccessKeyLimit(clock)
    use(limit)
    with ThreadPoolExecutor(4) as pool:
        Requests(limit, pool, REFUSED).send(2)
    clock.wall += HOLD_SECONDS[0] - 1
    assert use(limit) == "not sent: token_rejected"
    clock.wall += 1
    assert use(limit) == "accepted"


@given(st.lists(st.tuples(st.sampled_from(["refused", "timeout", "accepted"]), st.integers(0, 400)), max_size=40))
def test_any_history__five_minutes_hold_at_most_two_failures_of_an_unproven_key(history: list[tuple[str, int]]) -> None:
    clock = Clock()
    limit = AccessKeyLimit(clock)
    outcomes: dict[str, Callable[[], str]] = {
        "refused": lambda: use(limit, REFUSED),
        "timeout": lambda: use(limit, CheckError("timeout", "-"), "slow"),
        "accepted": lambda: use(limit),
    }
    failures: list[float] = []
    for outcome, seconds in history:
        clock.wall += seconds
        clock.monotonic += seconds
        came = outcomes[outcome]()
        if came == "token_rejected":
            failures.append(clock.wall)
        elif came == "accepted":
            failures.clear()
        assert sum(clock.wall - at < HOLD_SECONDS[0] for at in failures) <= 2
