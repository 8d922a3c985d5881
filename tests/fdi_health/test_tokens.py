"""One read for everybody, one renewal for the whole fleet, and no dead token held."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from fdi_health.deadline import Deadline, Instant
from fdi_health.errors import CheckError
from fdi_health.tokens import Tokens
from tests.conftest import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from simulator import Simulator
    from tests.conftest import Function


@dataclass
class Shelf:
    """A vault in memory whose reads are counted, can fail, and can be made to wait."""

    secrets: list[bytes]
    wait_seconds: float = 0.0
    hang: threading.Event | None = None
    reads: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, deadline: Deadline) -> bytes:
        with self.lock:
            self.reads += 1
            secret = self.secrets.pop(0) if len(self.secrets) > 1 else self.secrets[0]
        if self.hang is not None:
            self.hang.wait(30)
        time.sleep(self.wait_seconds)
        if secret == b"missing":
            raise CheckError("token_unavailable", "the secret does not exist")
        return secret


@dataclass
class Clock:
    """Both clocks, set by hand."""

    wall: float = 1_000_000.0
    monotonic: float = 0.0

    def __call__(self) -> Instant:
        return Instant(self.wall, self.monotonic)


def soon(seconds: float = 2.0) -> Deadline:
    return Deadline.after(seconds)


def test_token__is_read_once_for_everybody() -> None:
    shelf = Shelf([b"one"], wait_seconds=0.1)
    tokens = Tokens(shelf)
    with ThreadPoolExecutor(24) as callers:
        values = list(callers.map(lambda _: tokens.current(soon()).value, range(24)))
    assert values == ["one"] * 24
    assert shelf.reads == 1


def test_missing_secret__is_asked_for_once_by_those_who_ask_at_once() -> None:
    shelf = Shelf([b"missing"], wait_seconds=0.1)
    tokens = Tokens(shelf)

    def message(_: int) -> str:
        with pytest.raises(CheckError) as caught:
            tokens.current(soon())
        return caught.value.message

    with ThreadPoolExecutor(8) as callers:
        assert set(callers.map(message, range(8))) == {"the secret does not exist"}
    assert shelf.reads == 1


def test_renewal__is_one_read_for_all_who_were_refused() -> None:
    shelf = Shelf([b"one", b"two"])
    tokens = Tokens(shelf)
    refused = tokens.current(soon())

    with ThreadPoolExecutor(10) as callers:
        renewed = {token.value for token in callers.map(lambda _: tokens.renew(refused, soon()), range(10))}

    assert renewed == {"two"}
    assert shelf.reads == 2
    assert tokens.current(soon()).value == "two"


def test_renewal__with_the_same_secret_is_one_read_too() -> None:
    shelf = Shelf([b"one"])
    tokens = Tokens(shelf)
    refused = tokens.current(soon())

    assert tokens.renew(refused, soon()).value == tokens.renew(refused, soon()).value == "one"
    assert shelf.reads == 2


@pytest.mark.parametrize("fault", ["APIGW.0301", "ROMA.1002", "ROMA.1000", "APIG.1002"])
def test_rotation__is_seen_within_the_request_by_one_read(
    function: Callable[..., Function], upstream: Simulator, tmp_path: Path, fault: str
) -> None:  # C90, whatever the status that the token fault comes with
    names = [f"i{number}" for number in range(10)]
    for name in names:
        upstream.play(name, "healthy")
    (tmp_path / "token").write_text(TOKEN)
    checked = function(FDI_INSTANCES=",".join(names), FDI_TOKEN=f"file://{tmp_path}/token")
    assert checked.verdict()["healthy"] is True
    upstream.forget()

    upstream.token_fault = fault
    upstream.tokens.clear()
    upstream.tokens.add("rotated-token")
    (tmp_path / "token").write_text("rotated-token\n")

    assert checked.verdict()["healthy"] is True
    assert sorted(request.token or "" for request in upstream.requests) == sorted([TOKEN, "rotated-token"] * 10)


def test_token_refused_for_good__is_not_retried_without_end(
    function: Callable[..., Function], upstream: Simulator
) -> None:
    upstream.tokens.clear()
    checked = function("healthy", "healthy")

    codes = [instance["error"]["code"] for instance in checked.verdict()["instances"]]

    assert codes == ["token_rejected"] * 2
    assert len(upstream.requests) == 2


def test_renewal_that_hangs__is_token_unavailable_at_the_deadline(
    function: Callable[..., Function], upstream: Simulator
) -> None:
    over = threading.Event()
    checked = function("healthy", FDI_DEADLINE_SECONDS="0.4")
    assert checked.verdict()["healthy"] is True
    (target,) = checked.process.service().targets
    target.tokens._vault = Shelf([b"never"], hang=over)
    upstream.tokens.clear()

    for _ in range(4):
        began = time.monotonic()
        error = checked.instance()["error"]
        assert time.monotonic() - began < 0.4 + 0.3
        assert error["code"] == "token_unavailable"
    over.set()


def test_hanging_reads__are_not_piled_up() -> None:
    over = threading.Event()
    shelf = Shelf([b"one"], hang=over)
    tokens = Tokens(shelf)

    messages = []
    for _ in range(4):
        with pytest.raises(CheckError) as caught:
            tokens.current(soon(0.05))
        messages.append(caught.value.message)

    assert shelf.reads == 2
    assert messages[:2] == ["the secret could not be read before the deadline"] * 2
    assert messages[2:] == ["earlier reads of the secret are still stuck, or no thread was free"] * 2
    over.set()
    for _ in range(50):
        time.sleep(0.02)
        try:
            assert tokens.current(soon()).value == "one"
            break
        except CheckError:
            continue
    else:
        pytest.fail("the token was never read again")


@pytest.mark.parametrize("kind", [IsADirectoryError, AttributeError, TypeError, RuntimeError])
def test_fault_of_a_vendors_library__is_token_unavailable_and_logged(
    caplog: pytest.LogCaptureFixture, kind: type[Exception]
) -> None:
    class Odd:
        def read(self, deadline: Deadline) -> bytes:
            raise kind("s3cr3t")

    with pytest.raises(CheckError) as caught:
        Tokens(Odd()).current(soon())
    assert caught.value.code == "token_unavailable"
    assert caught.value.message.startswith("the secret could not be read: ")
    assert "s3cr3t" not in caplog.text
    assert len(caplog.records) == 1


def test_joiner_with_more_time__reads_for_itself() -> None:
    over = threading.Event()
    shelf = Shelf([b"one"], hang=over)
    tokens = Tokens(shelf)
    with ThreadPoolExecutor(2) as callers:
        hasty = callers.submit(tokens.current, soon(0.2))
        time.sleep(0.05)
        patient = callers.submit(tokens.current, soon(2))
        time.sleep(0.05)
        shelf.hang = None
        assert patient.result().value == "one"
        assert isinstance(hasty.exception(), CheckError)
    over.set()


def test_hasty_joiner__does_not_end_the_read() -> None:
    shelf = Shelf([b"one"], wait_seconds=0.3)
    tokens = Tokens(shelf)
    with ThreadPoolExecutor(2) as callers:
        patient = callers.submit(tokens.current, soon(2))
        time.sleep(0.05)
        hasty = callers.submit(tokens.current, soon(0.1))
        assert isinstance(hasty.exception(), CheckError)
        assert patient.result().value == "one"


@pytest.mark.parametrize("stopped", ["wall", "monotonic"])
def test_token_near_its_end__is_read_ahead_on_the_side(stopped: str) -> None:  # C90
    clock = Clock()
    shelf = Shelf([b'{"token":"one","expires_at":"1970-01-12T13:48:20Z"}', b"two"])  # 1,000,100: in 100 s
    tokens = Tokens(shelf, clock=clock)
    assert tokens.current(soon()).value == "one"

    clock.wall += 89 * (stopped != "wall")
    clock.monotonic += 89 * (stopped != "monotonic")
    assert tokens.current(soon()).value == "one"
    assert shelf.reads == 1

    clock.wall += 2 * (stopped != "wall")
    clock.monotonic += 2 * (stopped != "monotonic")
    assert tokens.current(soon()).value == "one"  # at once; the read goes on beside it
    for _ in range(50):
        if tokens.current(soon()).value == "two":
            break
        time.sleep(0.01)
    else:
        pytest.fail("the token was not read ahead of its end")
    assert shelf.reads == 2


def test_reading_ahead__that_fails_keeps_the_token_and_rests() -> None:
    clock = Clock()
    shelf = Shelf([b'{"token":"one","expires_at":"1970-01-12T13:48:20Z"}', b"missing"])
    tokens = Tokens(shelf, clock=clock)
    tokens.current(soon())
    clock.wall += 95
    for _ in range(5):
        assert tokens.current(soon()).value == "one"
        time.sleep(0.02)
    assert shelf.reads == 2
    clock.wall += 5
    tokens.current(soon())
    time.sleep(0.05)
    assert shelf.reads == 3


def test_token_past_its_end_when_read__is_tried_all_the_same() -> None:  # C89
    clock = Clock()
    shelf = Shelf([b'{"token":"one","expires_at":"1970-01-01T00:00:00Z"}'])
    tokens = Tokens(shelf, clock=clock)
    assert [tokens.current(soon()).value for _ in range(3)] == ["one"] * 3
    assert shelf.reads == 1
