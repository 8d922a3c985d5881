"""A token's end, exact to the second: when another one is got ahead of it, when it is announced, what is told of it."""

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
from tests.fdi_health.fake_secret_store import HOUR, NO_IAM, Clock, Shelf, no_read_in_progress, soon, static, until

if TYPE_CHECKING:
    from fdi_health.clock import Deadline
    from simulator import Iam as SimulatedIam
    from simulator import Simulator

START = Clock().wall


def ending_in(seconds: float) -> bytes:
    return static(datetime.fromtimestamp(START + seconds, UTC).isoformat())


def held(clock: Clock, *secrets: bytes, warn_seconds: float = 0) -> tuple[TokenProvider, Shelf]:
    """Return tokens that hold the first of the secrets, and their shelf."""
    shelf = Shelf(list(secrets))
    tokens = TokenProvider(shelf, NO_IAM, clock=clock, warn_seconds=warn_seconds)
    tokens.current(soon())
    return tokens, shelf


def reads_more(tokens: TokenProvider, shelf: Shelf) -> bool:
    """Whether using the token now begins a read on the side; waits until that is over."""
    before = shelf.reads
    tokens.current(soon())
    until(no_read_in_progress)
    return shelf.reads > before


@pytest.mark.parametrize(("life", "ahead"), [(6000, 300), (3000, 300), (1000, 100), (5, 0.5)])
def test_token__is_got_anew_five_minutes_or_a_tenth_of_its_life_ahead(life: float, ahead: float) -> None:
    clock = Clock()
    tokens, shelf = held(clock, ending_in(life), b"MII-two-2")
    clock.monotonic = life - ahead - 0.01
    assert not reads_more(tokens, shelf)
    clock.monotonic = life - ahead
    assert reads_more(tokens, shelf)


@pytest.mark.parametrize("life", [0, -1, -HOUR])
def test_token_that_had_ended_when_it_was_read__is_not_read_again_for_a_minute(life: float) -> None:
    clock = Clock()
    tokens, shelf = held(clock, ending_in(life))
    clock.monotonic += 59
    assert not reads_more(tokens, shelf)


@pytest.mark.parametrize(("life", "rest"), [(20, 2), (1000, 5)])
def test_next_try__comes_after_five_seconds_or_a_tenth_of_its_life(life: float, rest: float) -> None:
    clock = Clock()
    tokens, shelf = held(clock, ending_in(life), b"missing")
    clock.monotonic = life
    assert reads_more(tokens, shelf)
    clock.monotonic = life + rest - 0.05
    assert not reads_more(tokens, shelf)
    clock.monotonic = life + rest
    assert reads_more(tokens, shelf)


def test_announced_token__is_looked_for_when_it_is_announced_and_a_minute_later() -> None:
    clock = Clock()
    tokens, shelf = held(clock, ending_in(8000), warn_seconds=3600)
    for seconds, reads in {4399: False, 4400: True, 4459: False, 4460: True}.items():
        clock.wall = START + seconds
        assert reads_more(tokens, shelf) is reads


@pytest.mark.parametrize(("left", "announced"), [(3601, False), (3600, True)])
def test_announcement__begins_an_hour_ahead_unless_told_otherwise(left: float, announced: bool) -> None:
    tokens = TokenProvider(Shelf([ending_in(left)]), NO_IAM, clock=Clock())
    tokens.current(soon())
    assert (tokens.expiring() is not None) is announced


def test_token__tells_its_end() -> None:
    tokens, _ = held(Clock(), ending_in(100))
    assert tokens.current(soon()).expires_at == START + 100


def test_token_under_a_key__is_found() -> None:
    assert TokenProvider(Shelf([b'{"roma":"MII-one-1"}']), NO_IAM, "roma").current(soon()).value == "MII-one-1"


def test_life_of_a_token_for_credentials__goes_by_iam_s_clock_alone(upstream: Simulator, iam: SimulatedIam) -> None:
    clock, shelf = Clock(), Shelf([CREDENTIALS.encode()])
    iam.clock = lambda: clock.wall - HOUR
    transport = Transport(upstream.url)
    tokens = TokenProvider(shelf, IamClient(transport, PROJECT_ID, clock), clock=clock)
    tokens.current(soon())
    clock.wall += 24 * HOUR - 301
    assert not reads_more(tokens, shelf)
    clock.wall += 1
    assert reads_more(tokens, shelf)
    transport.close()


def test_state__tells_the_version_of_credentials(upstream: Simulator) -> None:
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


def test_readiness__is_not_lost_by_a_read_ahead_that_fails() -> None:
    clock = Clock()
    tokens, shelf = held(clock, ending_in(1000), b"missing")
    clock.monotonic = 950
    assert reads_more(tokens, shelf)
    tokens.check_usable(soon())


def test_readiness__is_lost_by_a_refusal_that_could_not_be_mended() -> None:
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


def test_readiness__is_not_regained_by_the_late_refusal_of_an_older_token() -> None:
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


def test_now__is_what_a_read_waits_by() -> None:
    began = time.monotonic()
    with pytest.raises(CheckError, match="before the deadline"):
        TokenProvider(Shelf([b"MII-one-1"], wait_seconds=0.5), NO_IAM).current(soon(0.05))
    assert time.monotonic() - began < 0.05 + 0.3
