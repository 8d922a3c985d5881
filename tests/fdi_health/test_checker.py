"""All instances within one deadline: who is asked, who joins, what is kept, and what is said of late ones."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from fdi_health.checker import Checker
from fdi_health.clock import Deadline, now
from fdi_health.concurrency.daemon_thread_pool import DaemonThreadPool
from fdi_health.credentials.authenticators import Signature, Token
from fdi_health.errors import CheckError
from fdi_health.models import NO_COUNTS, Instance, Statistics
from fdi_health.roma.api import Api, Authenticator
from fdi_health.roma.client import Client
from fdi_health.transport.client import Transport
from tests.conftest import CREDENTIALS, PROJECT_ID, TOKEN
from tests.fdi_health.fake_secret_store import Clock, until
from tests.machine import assert_within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fdi_health.clock import Instant
    from fdi_health.models import ProbeResult
    from simulator import Simulator
    from tests.conftest import Function

ONE = Instance("one", "id-one")


@dataclass
class StuckTokens:
    """A token source with a renewal that never ends by itself."""

    over: threading.Event = field(default_factory=threading.Event)

    def current(self, deadline: Deadline) -> Token:
        return Token("refused", 1)

    def renew(self, refused: Token | Signature, deadline: Deadline) -> Token | Signature:
        self.over.wait(5)
        return refused


class ScriptedClient(Client):
    """Counts its requests; each waits for the gate, then fails if the script says so."""

    def __init__(self, *failures: str | None) -> None:
        self.failures = list(failures)
        self.asked = 0
        self.gate = threading.Event()
        self.gate.set()

    def statistics(self, instance: Instance, authenticator: Authenticator, deadline: Deadline) -> Statistics:
        self.asked += 1
        failure = self.failures.pop(0) if self.failures else None
        self.gate.wait(5)
        if failure is not None:
            raise CheckError(failure, "scripted")
        return Statistics(NO_COUNTS, NO_COUNTS)


@pytest.fixture
def pool() -> Iterator[DaemonThreadPool]:
    threads = DaemonThreadPool(4)
    yield threads
    threads.close()


def checker(
    client: Client,
    pool: DaemonThreadPool,
    cache_seconds: float = 0.0,
    limit_seconds: float = 4.0,
    clock: Callable[[], Instant] = now,
) -> Checker:
    return Checker(client, pool, cache_seconds, limit_seconds, clock)


def check(ours: Checker, seconds: float = 2.0) -> ProbeResult:
    (result,) = ours.check_all([ONE], StuckTokens(), Deadline.after(seconds))
    return result


def code(result: ProbeResult) -> str | None:
    return result.error.code if result.error else None


def test_check__renewal_in_progress_at_the_deadline__is_token_unavailable(
    upstream: Simulator, pool: DaemonThreadPool
) -> None:
    upstream.play("id-one", "healthy")
    transport, tokens = Transport.open(upstream.url, {}, 1), StuckTokens()
    ours = checker(Client(Api(transport, PROJECT_ID)), pool)
    (result,) = ours.check_all([ONE], tokens, Deadline.after(0.3))
    tokens.over.set()
    transport.close()
    assert (result.instance, code(result)) == (ONE, "token_unavailable")
    assert "refused" in str(result.error)


def test_check__no_response_at_the_deadline__is_a_timeout(pool: DaemonThreadPool) -> None:
    client = ScriptedClient()
    client.gate.clear()
    result = check(checker(client, pool), 0.1)
    client.gate.set()
    assert result.error is not None
    assert (result.error.code, result.error.message) == ("timeout", "no response before the deadline")


@pytest.mark.parametrize(("secret", "by_iam"), [(TOKEN, False), (CREDENTIALS, True)])
def test_next_step__names_iam_only_where_the_token_is_from_there(
    function: Callable[..., Function], secret: str, by_iam: bool
) -> None:
    error = function("refuses_token", ROMA_TOKEN=secret).instance()["error"]
    assert error["code"] == "token_rejected"
    assert error["next_step"].startswith("IAM gave this token just now") is by_iam


@pytest.mark.parametrize(
    ("cache", "wall", "monotonic", "asked"),
    [(5.0, 4.9, 4.9, 1), (5.0, 0.0, 5.0, 2), (5.0, 5.0, 0.0, 2), (5.0, -60.0, 4.9, 1), (0.0, 0.0, 0.0, 2)],
)
def test_cached_result__is_reused_until_either_clock_says_it_is_too_old(
    pool: DaemonThreadPool, cache: float, wall: float, monotonic: float, asked: int
) -> None:
    client, clock = ScriptedClient(), Clock()
    ours = checker(client, pool, cache, clock=clock)
    for _ in range(2):
        check(ours)
        clock.wall += wall
        clock.monotonic += monotonic
    assert client.asked == asked


def test_cached_results__one_too_old__only_that_instance_is_asked_again(pool: DaemonThreadPool) -> None:
    client, clock = ScriptedClient(), Clock()
    ours = checker(client, pool, 5.0, clock=clock)
    two = Instance("two", "id-two")
    check(ours)
    clock.monotonic += 3.0
    ours.check_all([ONE, two], StuckTokens(), Deadline.after(2))
    clock.monotonic += 3.0
    results = ours.check_all([ONE, two], StuckTokens(), Deadline.after(2))
    assert ([result.arrived.monotonic for result in results], client.asked) == ([6.0, 3.0], 3)


def test_failure__is_never_reused(pool: DaemonThreadPool) -> None:
    client = ScriptedClient("upstream_error")
    ours = checker(client, pool, 5.0)
    assert [code(check(ours)) for _ in range(2)] == ["upstream_error", None]


def test_hurried_caller__leaves_the_call_for_others(pool: DaemonThreadPool) -> None:  # H02
    client = ScriptedClient()
    ours = checker(client, pool, 5.0)
    client.gate.clear()
    assert [code(check(ours, 0.02)) for _ in range(5)] == ["timeout"] * 5
    patient: list[ProbeResult] = []
    thread = threading.Thread(target=lambda: patient.append(check(ours)))
    thread.start()
    client.gate.set()
    thread.join(5)
    assert ([code(result) for result in patient], client.asked) == ([None], 1)


def test_result_of_a_call_that_nobody_waits_for__is_reused(pool: DaemonThreadPool) -> None:  # H02
    client = ScriptedClient()
    ours = checker(client, pool, 5.0)
    client.gate.clear()
    check(ours, 0.05)
    client.gate.set()
    until(lambda: code(check(ours, 0.05)) is None)
    assert client.asked == 1


def joined(ours: Checker, client: ScriptedClient, seconds: float) -> list[ProbeResult]:
    """Return what a caller gets that joins a call which another one started."""
    client.gate.clear()
    first = threading.Thread(target=check, args=(ours,))
    first.start()
    until(lambda: client.asked == 1)
    found: list[ProbeResult] = []
    second = threading.Thread(target=lambda: found.append(check(ours, seconds)))
    second.start()
    time.sleep(0.1)
    client.gate.set()
    first.join(5)
    second.join(5)
    return found


@pytest.mark.parametrize(
    ("failures", "seconds", "expected", "asked"),
    [
        ((None,), 2.0, None, 1),
        (("timeout", None), 2.0, None, 2),
        (("timeout", "upstream_error", None), 2.0, "upstream_error", 2),
        (("timeout", None), 0.35, "timeout", 1),
    ],
    ids=["result", "failure", "two failures", "failure and no time left"],
)
def test_caller_that_joined__gets_the_result_or_tries_once_more_if_there_is_time(
    pool: DaemonThreadPool, failures: tuple[str | None, ...], seconds: float, expected: str | None, asked: int
) -> None:
    client = ScriptedClient(*failures)
    (result,) = joined(checker(client, pool), client, seconds)
    assert (code(result), client.asked) == (expected, asked)


def test_caller_that_started_the_call__does_not_try_again(pool: DaemonThreadPool) -> None:
    client = ScriptedClient("timeout")
    assert (code(check(checker(client, pool))), client.asked) == ("timeout", 1)


def test_call_past_its_limit__is_replaced_for_a_caller_with_time_left(pool: DaemonThreadPool) -> None:
    client = ScriptedClient()
    ours = checker(client, pool, limit_seconds=0.4)
    client.gate.clear()
    threading.Timer(0.7, client.gate.set).start()
    result = check(ours, 2.0)
    assert (code(result), client.asked) == (None, 2)


def test_call_past_its_limit__with_no_time_for_another__is_a_timeout(pool: DaemonThreadPool) -> None:
    client = ScriptedClient()
    ours = checker(client, pool, limit_seconds=0.3)
    client.gate.clear()
    began = time.monotonic()
    assert code(check(ours, 0.5)) == "timeout"
    client.gate.set()
    assert_within(began, 0.5 + 0.3)
    assert client.asked == 1


def test_stuck_calls__are_a_timeout_at_once(pool: DaemonThreadPool) -> None:
    client = ScriptedClient()
    ours = checker(client, pool, limit_seconds=0.05)
    client.gate.clear()
    for _ in range(2):
        check(ours, 0.1)
    result = check(ours, 5.0)
    client.gate.set()
    assert (code(result), "stuck" in str(result.error), client.asked) == ("timeout", True, 2)


def test_call_that_waits_for_a_thread_past_its_limit__asks_nobody() -> None:
    client, small = ScriptedClient(), DaemonThreadPool(1)
    ours = checker(client, small, limit_seconds=0.2)
    client.gate.clear()
    two = Instance("two", "id-two")
    results = ours.check_all([ONE, two], StuckTokens(), Deadline.after(0.3))
    client.gate.set()
    until(lambda: code(check(ours)) is None)
    small.close()
    assert ([code(result) for result in results], client.asked) == (["timeout", "timeout"], 2)


def test_result_from_before_a_freeze__is_not_used(pool: DaemonThreadPool) -> None:
    client, clock = ScriptedClient(), Clock()
    ours = checker(client, pool, clock=clock)
    slow = ScriptedClient()
    two = Instance("two", "id-two")

    def statistics(instance: Instance, authenticator: Authenticator, deadline: Deadline) -> Statistics:
        return (slow if instance == two else client).statistics(instance, authenticator, deadline)

    both = ScriptedClient()
    both.statistics = statistics  # type: ignore[method-assign] # one instance responds, the other one waits
    ours = checker(both, pool, clock=clock)
    slow.gate.clear()

    def freeze_and_thaw() -> None:
        until(lambda: (client.asked, slow.asked) == (1, 1))
        time.sleep(0.1)
        clock.wall += 3600.0  # the monotonic clock stood still
        slow.gate.set()

    thread = threading.Thread(target=freeze_and_thaw)
    thread.start()
    results = ours.check_all([ONE, two], StuckTokens(), Deadline.after(2))
    thread.join(5)
    assert [code(result) for result in results] == ["timeout", None]


def test_late_result__by_the_wall_clock__is_not_used(pool: DaemonThreadPool) -> None:
    client, clock = ScriptedClient(), Clock()
    ours = checker(client, pool, 5.0, clock=clock)
    client.gate.clear()

    def freeze_and_thaw() -> None:
        until(lambda: client.asked == 1)
        clock.wall += 3600.0  # the monotonic clock stood still
        client.gate.set()

    thread = threading.Thread(target=freeze_and_thaw)
    thread.start()
    result = check(ours)
    thread.join(5)
    assert (code(result), client.asked) == (None, 2)
