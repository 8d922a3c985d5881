"""The expiry of a token, exact to the second: when it is renewed, and when it is reported."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from fdi_health.credentials.iam_client import IamClient
from fdi_health.credentials.token_provider import TokenProvider
from fdi_health.errors import CheckError
from fdi_health.secret_stores import Secret
from fdi_health.transport.client import Transport
from tests.conftest import CREDENTIALS, PROJECT_ID
from tests.fdi_health.fake_secret_store import (
    HOUR,
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
    from fdi_health.clock import Deadline
    from simulator import Iam as SimulatedIam
    from simulator import Simulator

START = Clock().wall


def ending_in(seconds: float) -> bytes:
    return static(datetime.fromtimestamp(START + seconds, UTC).isoformat())


def held(clock: Clock, *secrets: bytes, warn_seconds: float = 0) -> tuple[TokenProvider, FakeSecretStore]:
    """Return a provider that has read the first of the secrets, and its store."""
    store = FakeSecretStore(list(secrets))
    tokens = TokenProvider(store, NO_IAM, clock=clock, warn_seconds=warn_seconds)
    tokens.current(soon())
    return tokens, store


def reads_more(tokens: TokenProvider, store: FakeSecretStore) -> bool:
    """Whether using the token now starts a background read; waits until that has ended."""
    before = store.reads
    tokens.current(soon())
    until(no_read_in_progress)
    return store.reads > before


@pytest.mark.parametrize(("life", "ahead"), [(6000, 300), (3000, 300), (1000, 100), (5, 0.5)])
def test_renewal__five_minutes_or_a_tenth_of_the_lifetime_left__starts(life: float, ahead: float) -> None:
    clock = Clock()
    tokens, store = held(clock, ending_in(life), b"MII-two-2")
    clock.monotonic = life - ahead - 0.01
    assert not reads_more(tokens, store)
    clock.monotonic = life - ahead
    assert reads_more(tokens, store)


@pytest.mark.parametrize("life", [0, -1, -HOUR])
def test_renewal__token_had_expired_when_read__waits_a_minute(life: float) -> None:
    clock = Clock()
    tokens, store = held(clock, ending_in(life))
    clock.monotonic += 59
    assert not reads_more(tokens, store)


@pytest.mark.parametrize(("life", "rest"), [(20, 2), (1000, 5)])
def test_renewal__failed__is_retried_after_five_seconds_or_a_tenth_of_the_lifetime(life: float, rest: float) -> None:
    clock = Clock()
    tokens, store = held(clock, ending_in(life), b"missing")
    clock.monotonic = life
    assert reads_more(tokens, store)
    clock.monotonic = life + rest - 0.05
    assert not reads_more(tokens, store)
    clock.monotonic = life + rest
    assert reads_more(tokens, store)


def test_secret__token_expires_soon__is_read_again_at_once_and_after_a_minute() -> None:
    clock = Clock()
    tokens, store = held(clock, ending_in(8000), warn_seconds=3600)
    for seconds, reads in {4399: False, 4400: True, 4459: False, 4460: True}.items():
        clock.wall = START + seconds
        assert reads_more(tokens, store) is reads


@pytest.mark.parametrize(("left", "announced"), [(3601, False), (3600, True)])
def test_expiring__default__starts_an_hour_ahead(left: float, announced: bool) -> None:
    tokens = TokenProvider(FakeSecretStore([ending_in(left)]), NO_IAM, clock=Clock())
    tokens.current(soon())
    assert (tokens.expiring() is not None) is announced


def test_current__token_with_expiry__returns_it() -> None:
    tokens, _ = held(Clock(), ending_in(100))
    state = (tokens.current(soon()), tokens.state())[1]
    assert state is not None
    assert state.expires_at == START + 100


def test_current__json_key_in_the_url__selects_the_token() -> None:
    assert (
        token_value(TokenProvider(FakeSecretStore([b'{"roma":"MII-one-1"}']), NO_IAM, "roma").current(soon()))
        == "MII-one-1"
    )


def test_renewal__clock_skew_to_iam__uses_the_lifetime_of_iam(upstream: Simulator, iam: SimulatedIam) -> None:
    clock, store = Clock(), FakeSecretStore([CREDENTIALS.encode()])
    iam.clock = lambda: clock.wall - HOUR
    transport = Transport(upstream.url)
    tokens = TokenProvider(store, IamClient(transport, PROJECT_ID, clock), clock=clock)
    tokens.current(soon())
    clock.wall += 24 * HOUR - 301
    assert not reads_more(tokens, store)
    clock.wall += 1
    assert reads_more(tokens, store)
    transport.close()


def test_state__credentials__has_the_version_of_the_secret(upstream: Simulator) -> None:
    class Versioned:
        def read(self, deadline: Deadline) -> Secret:
            assert deadline.remaining() > 0
            return Secret(CREDENTIALS.encode(), "7")

    transport = Transport(upstream.url)
    tokens = TokenProvider(Versioned(), IamClient(transport, PROJECT_ID))
    tokens.current(soon())
    state = tokens.state()
    assert state is not None
    assert (state.kind, state.version) == ("credentials", "7")
    transport.close()


def test_check_usable__background_renewal_failed__is_usable() -> None:
    clock = Clock()
    tokens, store = held(clock, ending_in(1000), b"missing")
    clock.monotonic = 950
    assert reads_more(tokens, store)
    tokens.check_usable(soon())


def test_check_usable__refused_and_not_renewed__raises() -> None:
    class Moody:
        secrets = iter([Secret(b"MII-one-1")])

        def read(self, deadline: Deadline) -> Secret:
            for secret in self.secrets:
                return secret
            raise CheckError("token_unavailable", "gone", next_step="Put it back.")

    tokens = TokenProvider(Moody(), NO_IAM)
    refused = tokens.current(soon())
    with pytest.raises(CheckError, match="gone"):
        tokens.renew(refused, soon())
    with pytest.raises(CheckError, match="gone") as caught:
        tokens.check_usable(soon())
    assert (caught.value.code, caught.value.next_step) == ("token_unavailable", "Put it back.")


def test_check_usable__late_refusal_of_an_older_token__still_raises() -> None:
    class Moody:
        secrets = iter([Secret(b"MII-one-1"), Secret(b"MII-two-2")])

        def read(self, deadline: Deadline) -> Secret:
            for secret in self.secrets:
                return secret
            raise CheckError("token_unavailable", "gone")

    tokens = TokenProvider(Moody(), NO_IAM)
    older = tokens.current(soon())
    newer = tokens.renew(older, soon())
    with pytest.raises(CheckError, match="gone"):
        tokens.renew(newer, soon())
    assert tokens.renew(older, soon()) == newer
    with pytest.raises(CheckError, match="gone"):
        tokens.check_usable(soon())


def test_current__slow_store__raises_at_the_deadline() -> None:
    began = time.monotonic()
    with pytest.raises(CheckError, match="before the deadline"):
        TokenProvider(FakeSecretStore([b"MII-one-1"], wait_seconds=0.5), NO_IAM).current(soon(0.05))
    assert_within(began, 0.05 + 0.3)
