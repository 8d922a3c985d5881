"""Discovery: when the list is read, how long it is used, and that no failure leads to fewer instances."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from fdi_health.clock import Deadline
from fdi_health.credentials.authenticators import Token
from fdi_health.errors import CheckError
from fdi_health.roma import discovery as module
from fdi_health.roma.api import Api
from fdi_health.roma.discovery import MAX_AGE_SECONDS, Discovery
from fdi_health.transport.client import Transport
from schemas.targets import TargetSettings
from tests.conftest import PROJECT_ID, TOKEN
from tests.fdi_health.fake_secret_store import HOUR, MINUTE, Clock, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fdi_health.roma.instance_selection import DiscoveredInstances
    from simulator import Simulator


class Tokens:
    """Provides one token; waits for `held` first, or raises `error`, if that is set.

    `reads` is how often the list was read: the transport asks again on a new connection for a body that has changed.
    """

    def __init__(self) -> None:
        self.reads = 0
        self.error: Exception | None = None
        self.held: threading.Event | None = None

    def current(self, deadline: Deadline) -> Token:
        self.reads += 1
        if self.held is not None:
            self.held.wait(5)
        if self.error is not None:
            raise self.error
        return Token(TOKEN, 1)

    def renew(self, refused: Token, deadline: Deadline) -> Token:
        return refused


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture
def make(upstream: Simulator, clock: Clock, tokens: Tokens) -> Iterator[Callable[..., Discovery]]:
    """Return a factory of discoveries of the instances `one` and `two`; keywords are settings of the target."""
    for name in ("one", "two"):
        upstream.play(f"id-{name}", "healthy")
        upstream.instances.names[f"id-{name}"] = name
    transport = Transport(upstream.url)

    def make(limit_seconds: float = 2.0, **settings: Any) -> Discovery:
        target = TargetSettings(None, upstream.url, PROJECT_ID, "env://T", discovers=True, **settings)
        return Discovery(target, Api(transport, PROJECT_ID), tokens, 5 * MINUTE, clock, limit_seconds)

    yield make
    if tokens.held is not None:
        tokens.held.set()
    until(lambda: not reading())
    transport.close()


@pytest.fixture
def discovery(make: Callable[..., Discovery]) -> Discovery:
    """Return a discovery that has read the list once."""
    made = make()
    assert names(ask(made)) == ["one", "two"]
    return made


def reading() -> int:
    """Return how many reads of a list are running."""
    return sum(thread.name == "fdi-health-instances" for thread in threading.enumerate())


def ask(discovery: Discovery, seconds: float = 2.0) -> DiscoveredInstances:
    """Return the instances now, after a refresh that this may start has ended."""
    found = discovery.current(Deadline.after(seconds))
    until(lambda: not reading())
    return found


def pass_time(clock: Clock, seconds: float) -> None:
    clock.wall += seconds
    clock.monotonic += seconds


def names(found: DiscoveredInstances) -> list[str]:
    return [instance.name for instance in found.instances]


def codes(found: DiscoveredInstances) -> list[str]:
    return [warning.code for warning in found.warnings]


def failure(found: DiscoveredInstances) -> CheckError:
    assert found.instances == ()
    assert found.error is not None
    return found.error


# When the list is read.


def test_current__list_is_fresh__reads_nothing(
    discovery: Discovery, clock: Clock, upstream: Simulator, tokens: Tokens
) -> None:
    pass_time(clock, 5 * MINUTE - 1)
    ask(discovery)
    assert tokens.reads == 1


@pytest.mark.parametrize("which", ["wall", "monotonic"])
def test_current__list_is_old_by_one_clock__uses_it_and_reads_another_in_background(
    discovery: Discovery, clock: Clock, upstream: Simulator, which: str
) -> None:
    upstream.play("id-new", "healthy")
    setattr(clock, which, getattr(clock, which) + 5 * MINUTE)
    assert names(ask(discovery)) == ["one", "two"]
    found = ask(discovery)
    assert (names(found), found.warnings) == (["id-new", "one", "two"], ())


def test_current__asked_by_many_at_once__reads_once(
    make: Callable[..., Discovery], upstream: Simulator, tokens: Tokens
) -> None:
    made = make()
    upstream.latency_seconds = 0.1
    found: list[DiscoveredInstances] = []
    threads = [threading.Thread(target=lambda: found.append(made.current(Deadline.after(2)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [names(one) for one in found] == [["one", "two"]] * 8
    assert tokens.reads == 1


def test_first_read__longer_than_the_callers_deadline__is_a_timeout_and_goes_on(
    make: Callable[..., Discovery], upstream: Simulator, tokens: Tokens
) -> None:
    made = make()
    upstream.latency_seconds = 0.2
    error = failure(made.current(Deadline.after(0.05)))
    assert (error.code, error.message) == (
        "timeout",
        "the list of instances could not be read: no response before the deadline",
    )
    assert names(ask(made)) == ["one", "two"]
    assert tokens.reads == 1


def test_joined_read__fails__is_followed_by_one_more(
    make: Callable[..., Discovery], tokens: Tokens, upstream: Simulator
) -> None:
    made = make()
    tokens.held, tokens.error = threading.Event(), CheckError("token_unavailable", "gone")
    assert failure(made.current(Deadline.after(0.01))).code == "timeout"
    found: list[DiscoveredInstances] = []
    joining = threading.Thread(target=lambda: found.append(made.current(Deadline.after(2))))
    joining.start()
    time.sleep(0.05)
    tokens.held.set()
    joining.join()
    assert failure(found[0]).code == "token_unavailable"
    assert tokens.reads == 2


# When a read fails.


def test_refresh__fails__uses_the_last_list_with_a_warning(
    discovery: Discovery, clock: Clock, upstream: Simulator
) -> None:
    upstream.instances.fail("error_APIG_1005")
    pass_time(clock, 5 * MINUTE)
    ask(discovery)
    found = ask(discovery)
    (warning,) = found.warnings
    assert (names(found), warning.code, warning.instance) == (["one", "two"], "discovery_stale", None)
    assert warning.message == (
        "The list of instances is from 2023-11-14T22:13:20Z and could not be read again (forbidden): the user may not "
        "list the instances of the project. It is used until 2023-11-14T23:13:20Z."
    )
    assert "roma:instances:list" in warning.next_step


def test_refresh__incomplete__is_a_failure(discovery: Discovery, clock: Clock, upstream: Simulator) -> None:
    upstream.remove("id-one")
    upstream.instances.claim_total(2)
    pass_time(clock, 5 * MINUTE)
    ask(discovery)
    found = ask(discovery)
    assert (names(found), codes(found)) == (["one", "two"], ["discovery_stale"])
    assert "is incomplete: 1 of 2" in found.warnings[0].message


def test_refresh__failed__is_repeated_after_30_seconds(
    discovery: Discovery, clock: Clock, upstream: Simulator, tokens: Tokens
) -> None:
    upstream.instances.fail("error_APIG_1005")
    pass_time(clock, 5 * MINUTE)
    ask(discovery)
    pass_time(clock, 29)
    ask(discovery)
    assert tokens.reads == 2
    upstream.instances.fail(None)
    pass_time(clock, 1)
    ask(discovery)
    found = ask(discovery)
    assert (tokens.reads, found.warnings) == (3, ())


def test_list__an_hour_old__is_not_used_any_more(discovery: Discovery, clock: Clock, upstream: Simulator) -> None:
    upstream.instances.fail("error_APIG_1005")
    pass_time(clock, MAX_AGE_SECONDS - 1)
    assert names(ask(discovery)) == ["one", "two"]
    pass_time(clock, 1)
    error = failure(ask(discovery))
    assert error.code == "forbidden"
    assert error.message.startswith("the list of instances could not be read since 2023-11-14T22:13:20Z: the user may")
    upstream.instances.fail(None)
    assert names(ask(discovery)) == ["one", "two"]


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [("status_500", "upstream_error"), ("error_APIG_0301", "token_rejected"), ("html_200", "blocked")],
)
def test_first_read__fails__is_that_error(
    make: Callable[..., Discovery], upstream: Simulator, behaviour: str, code: str
) -> None:
    upstream.instances.fail(behaviour)
    error = failure(ask(make()))
    assert error.code == code
    assert error.message.startswith("the list of instances could not be read: ")
    assert error.next_step


def test_first_read__without_a_token__is_that_error(make: Callable[..., Discovery], tokens: Tokens) -> None:
    tokens.error = CheckError("token_unavailable", "the secret does not exist")
    error = failure(ask(make()))
    assert (error.code, error.message) == (
        "token_unavailable",
        "the list of instances could not be read: the secret does not exist",
    )


def test_first_read__fails_by_a_fault_of_ours__is_an_error_and_logged(
    make: Callable[..., Discovery], tokens: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    tokens.error = ZeroDivisionError()
    assert failure(ask(make())).code == "invalid_response"
    assert "fdi-health itself failed" in caplog.text


def test_read__no_thread__is_a_timeout(make: Callable[..., Discovery], monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(work: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(module, "_start_thread", no_thread)
    error = failure(ask(make()))
    assert error.code == "timeout"
    assert "no thread was free" in error.message


def test_late_refreshes__three_in_a_row__are_reported(discovery: Discovery, clock: Clock, tokens: Tokens) -> None:
    seen = []
    tokens.error = CheckError("timeout", "late")
    for _ in range(4):
        tokens.held = threading.Event()
        pass_time(clock, 5 * MINUTE)
        seen.append(codes(discovery.current(Deadline.after(1))))
        pass_time(clock, 10)
        tokens.held.set()
        until(lambda: not reading())
    assert seen == [[], [], [], ["discovery_stale"]]


def test_refresh__while_two_are_stuck__is_a_failure(discovery: Discovery, clock: Clock, tokens: Tokens) -> None:
    tokens.held = threading.Event()
    seen = []
    for _ in range(3):
        pass_time(clock, 5 * MINUTE)
        seen.append(discovery.current(Deadline.after(1)))
    assert [codes(found) for found in seen] == [[], [], ["discovery_stale"]]
    assert "are stuck" in seen[2].warnings[0].message


def test_late_refresh__ends_after_all__is_taken_with_the_age_of_its_beginning(
    discovery: Discovery, clock: Clock, tokens: Tokens, upstream: Simulator
) -> None:
    upstream.play("id-new", "healthy")
    tokens.held = threading.Event()
    pass_time(clock, 5 * MINUTE)
    discovery.current(Deadline.after(1))
    pass_time(clock, 4 * MINUTE)
    tokens.held.set()
    until(lambda: not reading())
    assert names(ask(discovery)) == ["id-new", "one", "two"]
    pass_time(clock, MINUTE)
    ask(discovery)
    assert tokens.reads == 3


def test_late_refresh__after_a_newer_one__is_discarded(
    discovery: Discovery, clock: Clock, tokens: Tokens, upstream: Simulator
) -> None:
    held = tokens.held = threading.Event()
    pass_time(clock, 5 * MINUTE)
    discovery.current(Deadline.after(1))
    pass_time(clock, MINUTE)
    tokens.held = None
    discovery.current(Deadline.after(1))
    until(lambda: reading() == 1)
    upstream.play("id-new", "healthy")
    held.set()
    until(lambda: not reading())
    assert names(ask(discovery)) == ["one", "two"]


# What the list lacks.


def test_list__without_a_required_instance__is_an_error_until_it_is_there(
    make: Callable[..., Discovery], upstream: Simulator
) -> None:
    made = make(instances=(("payments", "id-payments"),))
    error = failure(ask(made))
    assert (error.code, error.message) == (
        "instance_not_found",
        "not in the project's list of instances: payments",
    )
    upstream.play("id-payments", "healthy")
    assert names(ask(made)) == ["one", "payments", "two"]


def test_list__too_short_after_a_refresh__is_an_error_at_once(
    make: Callable[..., Discovery], clock: Clock, upstream: Simulator
) -> None:
    made = make(min_instances=2)
    ask(made)
    upstream.remove("id-two")
    pass_time(clock, 5 * MINUTE)
    ask(made)
    assert failure(ask(made)).message == "1 of at least 2 instances found"


def test_instance__gone_from_the_list__is_a_warning_for_an_hour(
    discovery: Discovery, clock: Clock, upstream: Simulator
) -> None:
    upstream.remove("id-two")
    pass_time(clock, 5 * MINUTE)
    ask(discovery)
    found = ask(discovery)
    (warning,) = found.warnings
    assert (names(found), warning.code, warning.instance) == (["one"], "instance_gone", "two")
    assert warning.message == (
        "two (id-two) is not in the project's list of instances any more, since 2023-11-14T22:18:20Z."
    )
    assert "two=id-two" in warning.next_step
    pass_time(clock, HOUR - 1)
    assert "instance_gone" in codes(ask(discovery))
    pass_time(clock, 1)
    assert codes(ask(discovery)) == []


def test_instance__gone_after_it_was_skipped__is_a_warning(
    discovery: Discovery, clock: Clock, upstream: Simulator
) -> None:
    upstream.instances.states["id-two"] = "DELETING"
    pass_time(clock, 5 * MINUTE)
    ask(discovery)
    assert codes(ask(discovery)) == ["instance_skipped"]
    upstream.remove("id-two")
    pass_time(clock, 5 * MINUTE)
    ask(discovery)
    assert codes(ask(discovery)) == ["instance_gone"]


def test_instance__back_in_the_list__is_asked_without_a_warning(
    discovery: Discovery, clock: Clock, upstream: Simulator
) -> None:
    for change in (upstream.remove, lambda instance_id: upstream.play(instance_id, "healthy")):
        change("id-two")
        pass_time(clock, 5 * MINUTE)
        ask(discovery)
    found = ask(discovery)
    assert (names(found), found.warnings) == (["one", "two"], ())


def test_history__of_an_instance_gone_for_an_hour__is_forgotten(
    discovery: Discovery, clock: Clock, upstream: Simulator
) -> None:
    upstream.remove("id-two")
    for _ in range(14):
        pass_time(clock, 5 * MINUTE)
        ask(discovery)
    assert discovery._history.keys() == {"id-one"}


# After a 404.


def test_not_found__30_seconds_after_the_last_read__reads_the_list_in_background(
    discovery: Discovery, clock: Clock, upstream: Simulator, tokens: Tokens
) -> None:
    upstream.remove("id-two")
    pass_time(clock, 29)
    discovery.not_found("id-two")
    assert not reading()
    pass_time(clock, 1)
    discovery.not_found("id-two")
    discovery.not_found("id-two")
    until(lambda: not reading())
    assert tokens.reads == 2
    assert names(ask(discovery)) == ["one"]


def test_not_found__of_an_instance_that_is_not_in_the_list__reads_nothing(
    discovery: Discovery, clock: Clock, upstream: Simulator, tokens: Tokens
) -> None:
    pass_time(clock, MINUTE)
    discovery.not_found("id-other")
    until(lambda: not reading())
    assert tokens.reads == 1


def test_not_found__before_any_list__reads_nothing(
    make: Callable[..., Discovery], upstream: Simulator, tokens: Tokens
) -> None:
    make().not_found("id-one")
    until(lambda: not reading())
    assert tokens.reads == 0
