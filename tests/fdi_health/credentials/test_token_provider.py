"""TokenProvider: one read and one renewal for all callers, and its limits."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from fdi_health.credentials.iam_client import IamClient
from fdi_health.credentials.secret_reader import CachedSecret
from fdi_health.credentials.token_provider import TokenProvider
from fdi_health.errors import CheckError
from fdi_health.log import line_of
from fdi_health.secret_stores import Secret
from fdi_health.transport.client import Transport
from tests.conftest import CREDENTIALS, PROJECT_ID, TOKEN
from tests.fdi_health.fake_secret_store import (
    HOUR,
    MINUTE,
    NO_IAM,
    Clock,
    FakeSecretStore,
    no_read_in_progress,
    soon,
    static,
    token_value,
    until,
)
from tests.machine import assert_within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fdi_health.clock import Deadline
    from fdi_health.credentials.authenticators import Signature, Token
    from simulator import Iam as SimulatedIam
    from simulator import Simulator
    from tests.conftest import Function


def test_current__concurrent_callers__share_one_read() -> None:
    store = FakeSecretStore([b"MII-one-1"], wait_seconds=0.1)
    tokens = TokenProvider(store, NO_IAM)
    with ThreadPoolExecutor(24) as callers:
        values = list(callers.map(lambda _: token_value(tokens.current(soon())), range(24)))
    assert values == ["MII-one-1"] * 24
    assert store.reads == 1


def test_current__missing_secret__concurrent_callers_share_one_read() -> None:
    store = FakeSecretStore([b"missing"], wait_seconds=0.1)
    tokens = TokenProvider(store, NO_IAM)

    def message(_: int) -> str:
        with pytest.raises(CheckError) as caught:
            tokens.current(soon())
        return caught.value.message

    with ThreadPoolExecutor(8) as callers:
        assert set(callers.map(message, range(8))) == {"the secret does not exist"}
    assert store.reads == 1


def test_renew__concurrent_callers__share_one_read() -> None:
    store = FakeSecretStore([b"MII-one-1", b"MII-two-2"])
    tokens = TokenProvider(store, NO_IAM)
    refused = tokens.current(soon())

    with ThreadPoolExecutor(10) as callers:
        renewed = {token_value(token) for token in callers.map(lambda _: tokens.renew(refused, soon()), range(10))}

    assert renewed == {"MII-two-2"}
    assert store.reads == 2
    assert token_value(tokens.current(soon())) == "MII-two-2"


def test_renew__same_secret__is_read_once() -> None:
    store = FakeSecretStore([b"MII-one-1"])
    tokens = TokenProvider(store, NO_IAM)
    refused = tokens.current(soon())

    assert token_value(tokens.renew(refused, soon())) == token_value(tokens.renew(refused, soon())) == "MII-one-1"
    assert store.reads == 2


@pytest.mark.parametrize("fault", ["APIGW.0301", "ROMA.1002", "ROMA.1000", "APIG.1002"])
def test_check__secret_was_rotated__succeeds_with_one_read(
    function: Callable[..., Function], upstream: Simulator, tmp_path: Path, fault: str
) -> None:  # C90, for each status that a token fault comes with
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


def test_check__token_is_always_refused__is_not_retried(function: Callable[..., Function], upstream: Simulator) -> None:
    upstream.tokens.clear()
    checked = function("healthy", "healthy")

    codes = [instance["error"]["code"] for instance in checked.verdict()["instances"]]

    assert codes == ["token_rejected"] * 2
    assert len(upstream.requests) == 2


def test_check__renewal_hangs__is_token_unavailable_at_the_deadline(
    function: Callable[..., Function], iam: SimulatedIam
) -> None:
    checked = function("healthy", FDI_DEADLINE_SECONDS="1", ROMA_TOKEN=CREDENTIALS)
    assert checked.verdict()["healthy"] is True
    iam.revoke()
    iam.play("silent", for_ever=True)

    for _ in range(2):
        began = time.monotonic()
        error = checked.instance()["error"]
        assert_within(began, 1 + 0.3)
        assert error["code"] == "token_unavailable"


def test_current__reads_hang__at_most_two_are_stuck() -> None:
    over = threading.Event()
    store = FakeSecretStore([b"MII-one-1"], hang=over)
    tokens = TokenProvider(store, NO_IAM, max_read_seconds=0.15)

    messages = []
    for _ in range(4):
        with pytest.raises(CheckError) as caught:
            tokens.current(soon(0.2))
        messages.append(caught.value.message)

    assert store.reads == 2
    assert set(messages[:2]) <= {
        "the secret could not be read before the deadline",
        "earlier reads of the secret are stuck, or no thread was free",
    }
    assert messages[2:] == ["earlier reads of the secret are stuck, or no thread was free"] * 2
    over.set()
    until(lambda: tokens.state() is not None)
    assert token_value(tokens.current(soon())) == "MII-one-1"  # a late value is kept
    assert store.reads == 2


def test_current__impatient_callers__do_not_end_the_read() -> None:
    store = FakeSecretStore([b"MII-one-1"], wait_seconds=0.4)
    tokens = TokenProvider(store, NO_IAM)
    for _ in range(5):
        with pytest.raises(CheckError, match="before the deadline"):
            tokens.current(soon(0.02))
    assert token_value(tokens.current(soon())) == "MII-one-1"
    assert store.reads == 1


def test_renew__joined_read_is_overdue__starts_another() -> None:
    over = threading.Event()
    store = FakeSecretStore([b"MII-one-1", b"MII-two-2"])
    tokens = TokenProvider(store, NO_IAM, max_read_seconds=0.3)
    refused = tokens.current(soon())
    store.hang = over
    with ThreadPoolExecutor(3) as callers:
        waiting = [callers.submit(tokens.renew, refused, soon(3)) for _ in range(3)]
        time.sleep(0.1)
        store.hang = None
        assert {token_value(token.result(1)) for token in waiting} == {"MII-two-2"}
    over.set()


def test_expiring__renewals_are_late__is_reported_after_the_third(upstream: Simulator, iam: SimulatedIam) -> None:
    # A platform that freezes the process after each response makes a renewal late, which is not a failure of IAM.
    clock, transport = Clock(), Transport(upstream.url)
    iam.clock = lambda: clock.wall
    iam_client = IamClient(transport, PROJECT_ID, clock)
    tokens = TokenProvider(FakeSecretStore([CREDENTIALS.encode()]), iam_client, clock=clock, max_read_seconds=0.3)
    tokens.current(soon())
    iam.play("silent", for_ever=True)
    clock.wall += 24 * HOUR - 4 * MINUTE
    announced = []
    for _ in range(4):
        tokens.current(soon())
        until(no_read_in_progress)
        announced.append(tokens.expiring() is not None)
        clock.wall += 10
    assert announced == [False, False, True, True]
    transport.close()


def test_renew__every_token_is_refused__makes_ten_logins_a_minute(
    with_credentials: tuple[TokenProvider, FakeSecretStore, Clock], iam: SimulatedIam
) -> None:
    tokens, _, clock = with_credentials
    tokens.current(soon())

    def renews() -> bool:
        before = len(iam.logins)
        tokens.renew(tokens.current(soon()), soon())
        return len(iam.logins) > before

    start = clock.wall
    assert renews()
    clock.wall = start + 30
    assert [renews() for _ in range(11)] == [True] * 9 + [False] * 2
    clock.wall = start + 60
    assert [renews() for _ in range(2)] == [True, False]
    clock.wall = start + 90
    assert [renews() for _ in range(10)] == [True] * 9 + [False]


def test_renew__older_refusal_during_the_login__login_is_counted(
    with_credentials: tuple[TokenProvider, FakeSecretStore, Clock], iam: SimulatedIam
) -> None:
    tokens, store, _ = with_credentials
    older = tokens.current(soon())
    newer = tokens.renew(older, soon())
    store.hang = threading.Event()
    with ThreadPoolExecutor(1) as caller:
        renewal = caller.submit(tokens.renew, newer, soon())
        until(lambda: store.reads == 3)
        assert tokens.renew(older, soon()) == newer
        store.hang.set()
        newest = renewal.result()
    assert newest != newer
    while (renewed := tokens.renew(newest, soon())) != newest:
        newest = renewed
    assert len(iam.logins) == 11  # the first one, and ten for refusals


def test_renew__concurrent_refusals__count_as_one_login(
    with_credentials: tuple[TokenProvider, FakeSecretStore, Clock], iam: SimulatedIam
) -> None:
    tokens, store, _ = with_credentials
    store.wait_seconds = 0.02
    for _ in range(10):
        refused, gate = tokens.current(soon()), threading.Barrier(24)

        def renew(refused: Token | Signature = refused, gate: threading.Barrier = gate) -> str:
            gate.wait(5)
            return token_value(tokens.renew(refused, soon()))

        with ThreadPoolExecutor(24) as callers:
            renewed = {renewal.result() for renewal in [callers.submit(renew) for _ in range(24)]}
        assert renewed == {token_value(tokens.current(soon()))} != {token_value(refused)}
    assert len(iam.logins) == 11
    last = tokens.current(soon())
    assert tokens.renew(last, soon()) == last


def test_current__unreadable_secret__backs_off_to_30_seconds() -> None:  # H05
    clock = Clock()
    store = FakeSecretStore([b"missing"])
    tokens = TokenProvider(store, NO_IAM, clock=clock)
    start, read = clock.wall, []
    for second in range(100):
        clock.wall = start + second
        before = store.reads
        with pytest.raises(CheckError, match="the secret does not exist"):
            tokens.current(soon())
        read += [second] * (store.reads - before)
    assert read == [0, 1, 2, 3, 5, 9, 17, 33, 63, 93]
    store.secrets = [TOKEN.encode()]
    clock.wall += 30
    assert token_value(tokens.current(soon())) == TOKEN


def test_renew__unreadable_secret__backs_off() -> None:
    clock = Clock()
    store = FakeSecretStore([TOKEN.encode(), b"missing"])
    tokens = TokenProvider(store, NO_IAM, clock=clock)
    refused = tokens.current(soon())
    for _ in range(20):
        with pytest.raises(CheckError, match="the secret does not exist"):
            tokens.renew(refused, soon())
    assert store.reads == 4


def test_current__malformed_secret__backs_off_until_corrected() -> None:
    clock = Clock()
    store = FakeSecretStore([b"'quoted'"])
    tokens = TokenProvider(store, NO_IAM, clock=clock)
    for _ in range(20):
        with pytest.raises(CheckError, match="quotes around"):
            tokens.current(soon())
    assert store.reads == 3
    store.secrets = [TOKEN.encode()]
    clock.wall += 1
    assert token_value(tokens.current(soon())) == TOKEN


@pytest.mark.parametrize("kind", [IsADirectoryError, AttributeError, TypeError, RuntimeError, SystemExit])
def test_current__vendors_library_raises_anything__is_token_unavailable_and_logged(
    caplog: pytest.LogCaptureFixture, kind: type[BaseException]
) -> None:
    class Odd:
        def read(self, deadline: Deadline) -> Secret:
            raise kind("s3cr3t")

    with pytest.raises(CheckError) as caught:
        TokenProvider(Odd(), NO_IAM).current(soon())
    assert caught.value.code == "token_unavailable"
    assert caught.value.message.startswith("the secret could not be read: ")
    assert caught.value.next_step == (
        "Check the secrets manager's credentials and endpoint. The log names the line that failed."
    )
    assert "s3cr3t" not in caplog.text
    (record,) = caplog.records
    assert kind.__name__ in line_of(record)


def test_current__impatient_joiner__does_not_end_the_read() -> None:
    store = FakeSecretStore([b"MII-one-1"], wait_seconds=0.3)
    tokens = TokenProvider(store, NO_IAM)
    with ThreadPoolExecutor(2) as callers:
        patient = callers.submit(tokens.current, soon(2))
        time.sleep(0.05)
        hasty = callers.submit(tokens.current, soon(0.1))
        assert isinstance(hasty.exception(), CheckError)
        assert token_value(patient.result()) == "MII-one-1"


@pytest.mark.parametrize("stopped", ["wall", "monotonic"])
def test_current__token_expires_soon__is_renewed_in_the_background(stopped: str) -> None:  # C90
    clock = Clock()
    store = FakeSecretStore([b'{"token":"MII-one-1","expires_at":"2023-11-14T22:15:00Z"}', b"MII-two-2"])  # in 100 s
    tokens = TokenProvider(store, NO_IAM, clock=clock, warn_seconds=0)
    assert token_value(tokens.current(soon())) == "MII-one-1"

    clock.wall += 89 * (stopped != "wall")
    clock.monotonic += 89 * (stopped != "monotonic")
    assert token_value(tokens.current(soon())) == "MII-one-1"
    assert store.reads == 1

    clock.wall += 2 * (stopped != "wall")
    clock.monotonic += 2 * (stopped != "monotonic")
    assert token_value(tokens.current(soon())) == "MII-one-1"  # at once; the read goes on beside it
    for _ in range(50):
        if token_value(tokens.current(soon())) == "MII-two-2":
            break
        time.sleep(0.01)
    else:
        pytest.fail("the token was not read ahead of its end")
    assert store.reads == 2


def test_current__background_renewal_fails__keeps_the_token_and_waits() -> None:
    clock = Clock()
    store = FakeSecretStore([b'{"token":"MII-one-1","expires_at":"2023-11-14T22:15:00Z"}', b"missing"])
    tokens = TokenProvider(store, NO_IAM, clock=clock)
    tokens.current(soon())
    clock.wall += 95
    for _ in range(5):
        assert token_value(tokens.current(soon())) == "MII-one-1"
        time.sleep(0.02)
    assert store.reads == 2
    clock.wall += 5
    tokens.current(soon())
    time.sleep(0.05)
    assert store.reads == 3


def test_expired_token__still_sent__until_refused() -> None:  # C89
    clock = Clock()
    store = FakeSecretStore([b'{"token":"MII-one-1","expires_at":"2020-01-01T00:00:00Z"}'])
    tokens = TokenProvider(store, NO_IAM, clock=clock)
    assert [token_value(tokens.current(soon())) for _ in range(3)] == ["MII-one-1"] * 3
    assert store.reads == 1


@pytest.fixture
def with_credentials(upstream: Simulator, iam: SimulatedIam) -> Iterator[tuple[TokenProvider, FakeSecretStore, Clock]]:
    """Return a provider for credentials, its store, and the clock of both the provider and IAM."""
    clock, store = Clock(), FakeSecretStore([CREDENTIALS.encode()])
    iam.clock = lambda: clock.wall
    transport = Transport(upstream.url)
    yield TokenProvider(store, IamClient(transport, PROJECT_ID, clock), clock=clock), store, clock
    transport.close()


def test_current__credentials_and_concurrent_callers__one_read_and_one_login(
    with_credentials: tuple[TokenProvider, FakeSecretStore, Clock], iam: SimulatedIam
) -> None:
    tokens, store, _ = with_credentials
    with ThreadPoolExecutor(24) as callers:
        values = set(callers.map(lambda _: token_value(tokens.current(soon())), range(24)))
    assert values == set(iam.issued)
    assert (store.reads, len(iam.logins)) == (1, 1)


@pytest.mark.parametrize("stopped", ["wall", "monotonic"])
def test_current__issued_token__is_renewed_five_minutes_ahead(
    with_credentials: tuple[TokenProvider, FakeSecretStore, Clock], iam: SimulatedIam, stopped: str
) -> None:
    tokens, _, clock = with_credentials
    first = token_value(tokens.current(soon()))

    def go(seconds: float) -> None:
        clock.wall += seconds * (stopped != "wall")
        clock.monotonic += seconds * (stopped != "monotonic")

    go(24 * HOUR - 5 * MINUTE - 1)
    assert token_value(tokens.current(soon())) == first
    assert len(iam.logins) == 1
    go(2)
    assert token_value(tokens.current(soon())) == first  # nobody waits
    until(lambda: token_value(tokens.current(soon())) != first)
    assert len(iam.logins) == 2
    assert tokens.expiring() is None


def test_current__issued_at_is_missing__expiry_uses_our_clock(
    with_credentials: tuple[TokenProvider, FakeSecretStore, Clock], iam: SimulatedIam
) -> None:
    tokens, _, clock = with_credentials
    iam.tells = ("expires_at",)
    first = token_value(tokens.current(soon()))
    clock.wall += 24 * HOUR - MINUTE
    tokens.current(soon())
    until(lambda: token_value(tokens.current(soon())) != first)


def test_current__background_renewal_hangs__does_not_wait(
    with_credentials: tuple[TokenProvider, FakeSecretStore, Clock], iam: SimulatedIam
) -> None:
    tokens, _, clock = with_credentials
    tokens.current(soon())
    iam.play("silent", for_ever=True)
    clock.wall += 24 * HOUR - MINUTE

    began = time.monotonic()
    for _ in range(5):
        tokens.current(soon(0.3))
    assert_within(began, 0.1)


def test_expiring__renewal_failed__is_reported_until_it_succeeds(
    with_credentials: tuple[TokenProvider, FakeSecretStore, Clock], iam: SimulatedIam
) -> None:
    tokens, _, clock = with_credentials
    tokens.current(soon())
    end = clock.wall + 24 * HOUR
    iam.play("status_500", for_ever=True)
    clock.wall = end - 4 * MINUTE
    assert tokens.expiring() is None  # believed to be renewable until that failed

    tokens.current(soon())
    until(lambda: tokens.expiring() is not None)
    assert tokens.expiring() == pytest.approx(end)

    iam.play()
    clock.wall += MINUTE
    tokens.current(soon())
    until(lambda: tokens.expiring() is None)


def test_expired_token__iam_is_unreachable__is_still_sent(
    with_credentials: tuple[TokenProvider, FakeSecretStore, Clock], iam: SimulatedIam
) -> None:
    # Our clock may be wrong: the upstream's refusal is what decides.
    tokens, _, clock = with_credentials
    first = token_value(tokens.current(soon()))
    iam.play("status_500", for_ever=True)
    clock.wall += 30 * HOUR
    assert token_value(tokens.current(soon())) == first


def test_renew__credentials_and_concurrent_callers__one_read_and_one_login(
    with_credentials: tuple[TokenProvider, FakeSecretStore, Clock], iam: SimulatedIam
) -> None:
    tokens, store, _ = with_credentials
    refused = tokens.current(soon())
    with ThreadPoolExecutor(24) as callers:
        renewed = set(callers.map(lambda _: token_value(tokens.renew(refused, soon())), range(24)))
    assert len(renewed) == 1
    assert token_value(refused) not in renewed
    assert (store.reads, len(iam.logins)) == (2, 2)


@pytest.mark.parametrize("seconds_left", [3600, 1, -5])
def test_expiring__token_expires_soon__is_reported(seconds_left: int) -> None:
    clock = Clock(wall=1_763_913_600.0 - seconds_left)
    tokens = TokenProvider(FakeSecretStore([static("2025-11-23T16:00:00Z")]), NO_IAM, clock=clock)
    assert tokens.expiring() is None
    assert token_value(tokens.current(soon())) == TOKEN
    assert tokens.expiring() == 1_763_913_600.0


@pytest.mark.parametrize(("warn", "left"), [(3600, 3601), (0, 1), (60, 61)])
def test_expiring__token_expires_later__is_not_reported(warn: float, left: float) -> None:
    clock = Clock(wall=1_763_913_600.0 - left)
    tokens = TokenProvider(FakeSecretStore([static("2025-11-23T16:00:00Z")]), NO_IAM, warn_seconds=warn, clock=clock)
    tokens.current(soon())
    assert tokens.expiring() is None


@pytest.mark.parametrize("secret", [b"MIIToken", b'{"token":"MIIToken"}'])
def test_expiring__no_expiry__is_not_reported(secret: bytes) -> None:
    tokens = TokenProvider(FakeSecretStore([secret]), NO_IAM)
    tokens.current(soon())
    assert tokens.expiring() is None


def test_secret__token_expires_soon__is_read_once_a_minute() -> None:
    clock = Clock(wall=1_763_913_600.0 - 1800)
    store = FakeSecretStore([static("2025-11-23T16:00:00Z"), static("2025-11-24T16:00:00Z")])
    tokens = TokenProvider(store, NO_IAM, clock=clock)
    tokens.current(soon())
    for _ in range(3):
        clock.monotonic += 19
        tokens.current(soon())
    assert store.reads == 1
    clock.monotonic += 5
    tokens.current(soon())
    until(lambda: tokens.expiring() is None)
    assert store.reads == 2


def test_state__issued_token__has_kind_and_expiry_but_no_value(
    with_credentials: tuple[TokenProvider, FakeSecretStore, Clock],
) -> None:
    tokens, _, clock = with_credentials
    assert tokens.state() is None
    token = tokens.current(soon())
    state = tokens.state()
    assert state is not None
    assert (state.kind, state.version) == ("credentials", None)
    assert state.expires_at == pytest.approx(clock.wall + 24 * HOUR)
    assert token_value(token) not in repr(state) + repr(token)


@pytest.mark.parametrize(("said", "told"), [("7", "7"), ("a1b2-c3", "a1b2-c3"), ("x y\n", None), ("v" * 65, None)])
def test_state__version__only_if_it_is_well_formed(said: str, told: str | None) -> None:
    class Versioned:
        def read(self, deadline: Deadline) -> Secret:
            return Secret(b"MIIToken", said)

    tokens = TokenProvider(Versioned(), NO_IAM)
    tokens.current(soon())
    state = tokens.state()
    assert state is not None
    assert state.version == told


def test_verdict__token_expires_soon__is_degraded(function: Callable[..., Function]) -> None:
    clock = Clock(wall=1_763_913_600.0 - 1800)
    checked = function("healthy", "no_tasks", clock=clock, ROMA_TOKEN=static("2025-11-23T16:00:00Z").decode())

    response = checked.get()
    verdict = response.get_json()

    assert (response.status_code, verdict["status"], verdict["marker"]) == (200, "degraded", "FDI-OK")
    assert verdict["reason"] == "no tasks visible in two; the token expires at 2025-11-23T16:00:00Z"
    assert [instance["reason"] for instance in verdict["instances"]] == ["the token expires soon", "no tasks visible"]
    assert [warning["code"] for warning in verdict["warnings"]] == ["no_tasks_visible", "token_expires_soon"]
    warning = verdict["warnings"][1]
    assert warning["instance"] is None
    assert warning["message"] == "The end of the token is 2025-11-23T16:00:00Z, and it was not renewed."
    assert "credentials" in warning["next_step"]
    hidden = function(
        "healthy", "no_tasks", clock=clock, ROMA_TOKEN=static("2025-11-23T16:00:00Z").decode(), FDI_ANONYMOUS="verdict"
    ).verdict()
    assert hidden["reason"] == "2 of 2 instances degraded (no_tasks_visible, token_expires_soon)"


@pytest.mark.parametrize(
    ("play", "status"), [("doc_example", "unhealthy"), ("status_500", "unknown"), ("healthy", "degraded")]
)
def test_verdict__token_expires_soon__never_improves_the_status(
    function: Callable[..., Function], play: str, status: str
) -> None:
    clock = Clock(wall=1_763_913_600.0 + 5)  # past its end, and tried all the same
    checked = function(play, clock=clock, ROMA_TOKEN=static("2025-11-23T16:00:00Z").decode())
    verdict = checked.verdict()
    assert verdict["status"] == status
    assert [warning["code"] for warning in verdict["warnings"]] == ["token_expires_soon"]


def test_ready__token__has_source_kind_version_and_expiry(function: Callable[..., Function], tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(static("2099-11-23T16:00:00Z"))
    os.utime(tmp_path / "token", (1_763_913_600, 1_763_913_600))
    response = function("healthy", FDI_TOKEN=f"file://{tmp_path}/token").get("/ready")

    assert response.get_json()["token"] == {
        "source": "file",
        "kind": "token",
        "version": "2025-11-23T16:00:00Z",
        "expires_at": "2099-11-23T16:00:00Z",
    }


@pytest.mark.parametrize("brought", [b"MII-one-1", b"missing"])
def test_renew__background_read_in_progress__starts_another_read_after_it(brought: bytes) -> None:
    # What was begun before the rotation may bring what was there before it.
    clock = Clock()
    store = FakeSecretStore([b'{"token":"MII-one-1","expires_at":"2023-11-14T22:15:00Z"}', brought, b"MII-two-2"])
    tokens = TokenProvider(store, NO_IAM, clock=clock)
    refused = tokens.current(soon())
    clock.wall += 95
    store.hang = over = threading.Event()
    tokens.current(soon())
    until(lambda: store.reads == 2)
    store.hang = None

    with ThreadPoolExecutor(4) as callers:
        renewed = [callers.submit(tokens.renew, refused, soon()) for _ in range(4)]
        time.sleep(0.1)
        over.set()
        assert {token_value(token.result()) for token in renewed} == {"MII-two-2"}
    assert store.reads == 3


def test_renew__background_read_returned_the_same__starts_another_read() -> None:
    clock = Clock()
    store = FakeSecretStore([b'{"token":"MII-one-1","expires_at":"2023-11-14T22:15:00Z"}', b"MII-one-1", b"MII-two-2"])
    tokens = TokenProvider(store, NO_IAM, clock=clock)
    refused = tokens.current(soon())
    clock.wall += 95
    tokens.current(soon())
    until(lambda: tokens.current(soon()).generation == 2)
    assert token_value(tokens.renew(refused, soon())) == "MII-two-2"


def test_check__new_token_is_refused_too__next_step_says_so(
    function: Callable[..., Function], upstream: Simulator, iam: SimulatedIam
) -> None:
    upstream.play("id-one", "healthy")
    checked = function("refuses_token", ROMA_TOKEN=CREDENTIALS)
    steps: list[str] = []
    for _ in range(12):
        error = checked.instance()["error"]
        assert error["code"] == "token_rejected"
        steps.append(error["next_step"].partition(",")[0].partition(".")[0])
    assert len(iam.logins) <= 11
    # Once no other token is asked for, nothing says that it is new.
    assert (steps[0], steps[-1]) == ("IAM gave this token just now", "ROMA Connect refused several new tokens")


def test_ready__cached_token_was_refused__reports_it(
    function: Callable[..., Function], upstream: Simulator, iam: SimulatedIam, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(CREDENTIALS.encode())
    checked = function("healthy", FDI_TOKEN=f"file://{tmp_path}/secret")
    assert checked.verdict()["healthy"] is True
    iam.revoke()
    iam.play("wrong_password", for_ever=True)
    checked.get()
    response = checked.get("/ready")
    assert (response.status_code, response.get_json()["ready"]) == (200, True)  # E34
    assert "IAM refused" in response.get_json()["faults"][0]["message"]


def test_current__no_thread__is_token_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = TokenProvider(FakeSecretStore([b"MII-one-1"]), NO_IAM)

    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none_left)
        with pytest.raises(CheckError, match="no thread was free"):
            tokens.current(soon())
    assert token_value(tokens.current(soon())) == "MII-one-1"


def test_check__other_error_after_a_renewal__keeps_its_next_step(function: Callable[..., Function]) -> None:
    error = function(("refuses_token", "status_500"), ROMA_TOKEN=CREDENTIALS).instance()["error"]
    assert error["code"] == "upstream_error"
    assert "IAM" not in error["next_step"]


def test_cached_secret__repr__hides_the_value() -> None:
    shown = repr(CachedSecret(TOKEN, "token", "7", 1.0, None))
    assert TOKEN not in shown
    assert "version='7'" in shown
