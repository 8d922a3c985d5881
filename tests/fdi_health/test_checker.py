"""What a fleet says of instances whose time is up or whose token is no good, and that it leaves nothing going on."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from fdi_health.checker import Checker
from fdi_health.client import Client
from fdi_health.concurrency.daemon_thread_pool import DaemonThreadPool
from fdi_health.deadline import Deadline
from fdi_health.errors import CheckError
from fdi_health.model import NO_COUNTS, Instance, Statistics, Token
from fdi_health.transport.client import Transport
from tests.conftest import CREDENTIALS, PROJECT_ID, TOKEN
from tests.fdi_health.shelf import Clock, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from fdi_health.deadline import Abort
    from simulator import Simulator
    from tests.conftest import Function


@dataclass
class Stuck:
    """A token source whose renewal minds no deadline."""

    over: threading.Event = field(default_factory=threading.Event)

    def current(self, deadline: Deadline) -> Token:
        return Token("refused", 1)

    def renew(self, refused: Token, deadline: Deadline) -> Token:
        self.over.wait(5)
        return refused


def test_renewal_under_way_at_the_deadline__is_token_unavailable(upstream: Simulator) -> None:
    instance = Instance("one", "id-one")
    upstream.play("id-one", "healthy")
    transport, pool, tokens = Transport.open(upstream.url, {}, 1), DaemonThreadPool(1), Stuck()

    (finding,) = Checker(Client(transport, PROJECT_ID), pool, 0.0).check([instance], tokens, Deadline.after(0.3))

    tokens.over.set()
    pool.close()
    transport.close()
    assert finding.error is not None
    assert (finding.instance, finding.error.code) == (instance, "token_unavailable")
    assert "refused" in finding.error.message


class Endless(Client):
    """Asks and gets no answer until it is ended."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def statistics(self, instance: Instance, token: Token, deadline: Deadline, abort: Abort) -> Statistics:
        abort.arm(self.ended.set)
        self.ended.wait(5)
        raise CheckError("unreachable", "cut")


def test_probe_under_way_at_the_deadline__is_ended() -> None:
    client, pool = Endless(), DaemonThreadPool(1)
    (finding,) = Checker(client, pool, 0.0).check([Instance("one", "id-one")], Stuck(), Deadline.after(0.1))
    assert client.ended.is_set()
    pool.close()
    assert finding.error is not None
    assert (finding.error.code, finding.error.message) == ("timeout", "no answer before the deadline")


@pytest.mark.parametrize(("secret", "by_iam"), [(TOKEN, False), (CREDENTIALS, True)])
def test_next_step__names_iam_only_where_the_token_is_from_there(
    function: Callable[..., Function], secret: str, by_iam: bool
) -> None:
    error = function("refuses_token", ROMA_TOKEN=secret).instance()["error"]
    assert error["code"] == "token_rejected"
    assert error["next_step"].startswith("IAM gave this token just now") is by_iam


class Counting(Client):
    """Counts how often it is asked; answers once its gate is open."""

    def __init__(self) -> None:
        self.asked = 0
        self.gate = threading.Event()
        self.gate.set()

    def statistics(self, instance: Instance, token: Token, deadline: Deadline, abort: Abort) -> Statistics:
        self.asked += 1
        self.gate.wait(5)
        return Statistics(NO_COUNTS, NO_COUNTS)


@pytest.mark.parametrize(("cache", "age", "asked"), [(5.0, 4.9, 1), (5.0, 5.0, 2), (0.0, 0.0, 2)])
def test_answer__is_reused_until_it_is_as_old_as_it_may_get(cache: float, age: float, asked: int) -> None:
    client, pool, clock = Counting(), DaemonThreadPool(1), Clock()
    fleet = Checker(client, pool, cache, clock)
    for _ in range(2):
        fleet.check([Instance("one", "id-one")], Stuck(), Deadline.after(2))
        clock.monotonic += age
    pool.close()
    assert client.asked == asked


def test_answer__to_a_caller_with_less_time_is_good_for_whoever_joined() -> None:
    client, pool = Counting(), DaemonThreadPool(1)
    fleet = Checker(client, pool, 0.0)
    client.gate.clear()
    hurried = threading.Thread(target=fleet.check, args=([Instance("one", "id-one")], Stuck(), Deadline.after(2)))
    hurried.start()
    until(lambda: client.asked == 1)

    def clock() -> float:
        # It is first looked at when the joiner begins to wait.
        if joined:
            client.gate.set()
        return time.monotonic()

    joined = False
    deadline = Deadline.after(5, clock)
    joined = True
    (finding,) = fleet.check([Instance("one", "id-one")], Stuck(), deadline)
    hurried.join()
    pool.close()
    assert (finding.error, client.asked) == (None, 1)
