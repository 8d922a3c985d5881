"""The tasks behind the counts when something of our own fails: the verdict stands, and a few words say why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fdi_health.clock import Deadline, now
from fdi_health.concurrency.daemon_thread_pool import DaemonThreadPool
from fdi_health.credentials.authenticators import Token
from fdi_health.errors import CheckError
from fdi_health.models import Instance
from fdi_health.roma.api import Api
from fdi_health.roma.task_names import name_stopped
from fdi_health.roma.task_reader import MAX_INSTANCES, TaskReader
from fdi_health.tasks import AbnormalTask, FailedRun, MonitoredTask, StoppedTask, TaskList
from fdi_health.transport.client import Transport
from tests.conftest import PROJECT_ID, TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulator import Simulator

ONE = Instance("one", "id-one")


class Tokens:
    """Provides one token, or raises."""

    def __init__(self, error: Exception | None = None, token: Any = None) -> None:
        self.error, self.token = error, token or Token(TOKEN, 1)

    def current(self, deadline: Deadline) -> Any:
        if self.error is not None:
            raise self.error
        return self.token


@pytest.fixture
def reader(upstream: Simulator) -> Iterator[Callable[..., TaskReader]]:
    """Return a factory of readers that ask the simulated ROMA Connect."""
    upstream.play("id-one", "doc_example")
    opened: list[Any] = []

    def make(pool: Any = None, limit_seconds: float = 2.0) -> TaskReader:
        transport = Transport(upstream.url)
        pool = pool or DaemonThreadPool(2)
        opened.extend((transport, pool))
        return TaskReader(Api(transport, PROJECT_ID), pool, 5.0, limit_seconds, now)

    yield make
    for one in opened:
        one.close()


def words(reader: TaskReader, tokens: Tokens) -> str | TaskList:
    return reader.all_tasks([(ONE, 0)], tokens, Deadline.after(1))["id-one"]


def test_all_tasks__asked_again__are_read_once(reader: Callable[..., TaskReader], upstream: Simulator) -> None:
    one = reader()
    assert words(one, Tokens()) == words(one, Tokens())
    assert len(upstream.monitor_requests_for("id-one")) == 1


def test_all_tasks__list_came_while_the_token_was_awaited__is_not_read_again(
    reader: Callable[..., TaskReader], upstream: Simulator
) -> None:
    one = reader()

    class Slow(Tokens):
        def current(self, deadline: Deadline) -> Any:
            words(one, Tokens())
            return super().current(deadline)

    assert isinstance(words(one, Slow()), TaskList)
    assert len(upstream.monitor_requests_for("id-one")) == 1


def test_all_tasks__no_token__say_so(reader: Callable[..., TaskReader]) -> None:
    found = words(reader(), Tokens(CheckError("token_unavailable", "it is gone")))
    assert found == "not readable (token_unavailable)"


def test_all_tasks__fault_of_our_own__is_logged_and_said(
    reader: Callable[..., TaskReader], caplog: pytest.LogCaptureFixture
) -> None:
    found = words(reader(), Tokens(token=object()))
    assert found == "fdi-health itself failed; its log says where"
    assert "fdi-health itself failed" in caplog.text


def test_all_tasks__no_thread__say_so(reader: Callable[..., TaskReader]) -> None:
    class Full:
        def submit(self, work: Callable[[], None]) -> None:
            raise RuntimeError("can't start new thread")

        def close(self) -> None: ...

    assert words(reader(Full()), Tokens()) == "no thread was free"


def test_all_tasks__thread_comes_too_late__say_so(reader: Callable[..., TaskReader], upstream: Simulator) -> None:
    assert words(reader(limit_seconds=0.0), Tokens()) == "no time left"
    assert upstream.monitor_requests_for("id-one") == []


def test_all_tasks__more_instances_than_may_be_asked__say_so(
    reader: Callable[..., TaskReader], upstream: Simulator
) -> None:
    instances = [Instance(f"i{number}", f"id-{number}") for number in range(MAX_INSTANCES + 1)]
    found = reader().all_tasks([(instance, 0) for instance in instances], Tokens(), Deadline.after(2))
    assert found[f"id-{MAX_INSTANCES}"] == "only 20 instances are asked at once"
    assert sum(words != "only 20 instances are asked at once" for words in found.values()) == MAX_INSTANCES


def test_stopped_tasks__incomplete_list__is_said() -> None:
    names = name_stopped(TaskList((MonitoredTask("t1", "a", is_stopped=True), MonitoredTask("t2")), 9), 5)
    assert names.stopped_note == "the monitor list is incomplete"
    assert [task.task_name for task in names.stopped or ()] == ["a"]
    many = TaskList(tuple(MonitoredTask(f"t{number}", is_stopped=True) for number in range(3)), 3)
    assert name_stopped(many, 1).stopped_note == "2 more"


def test_all_tasks__of_many_kinds__are_kept_up_to_a_limit(
    reader: Callable[..., TaskReader], upstream: Simulator
) -> None:
    one = reader()
    for number in range(42):
        one.all_tasks([(ONE, number)], Tokens(), Deadline.after(2))
    upstream.forget()
    one.all_tasks([(ONE, 41)], Tokens(), Deadline.after(2))
    assert upstream.monitor_requests_for("id-one") == []
    one.all_tasks([(ONE, 0)], Tokens(), Deadline.after(2))
    assert len(upstream.monitor_requests_for("id-one")) == 1


def test_tasks__repr__hides_their_texts() -> None:
    task = MonitoredTask("t1", "secret-name", execute_status="ERROR")
    shown = AbnormalTask("t1", "secret", None, None, None, None, None, None, "secret", None)
    stopped = StoppedTask("t1", "secret", None, None)
    for value in (task, TaskList((task,), 1, 0, (TOKEN,)), FailedRun(0.0, "secret remarks", 0), shown, stopped):
        assert "secret" not in repr(value)
        assert TOKEN not in repr(value)
