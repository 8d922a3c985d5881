"""The suite for every secret store: it returns the secret or raises `token_unavailable` with a true message, in time.

The test module of a store has a class that inherits `SecretStoreSuite` and a fixture `harness` of about ten lines.
`states` maps each trouble of the secrets manager to a function that causes it. Troubles it cannot have are left out.
"""

from __future__ import annotations

import contextvars
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import pytest

from fdi_health.clock import Deadline
from fdi_health.credentials.iam_client import IamClient
from fdi_health.credentials.token_provider import TokenProvider
from fdi_health.errors import CheckError
from fdi_health.secret_stores import open_store, parse_secret_url
from tests.fdi_health.fake_secret_store import token_value
from tests.machine import assert_within

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NO_IAM = IamClient(None, "project")
SECONDS = 1.5
SPARE_SECONDS = 0.3
LOW_RANDOM_SEED = 152872
"""A seed for which the first four random numbers are below 0.03."""

MESSAGES = {
    "removed": ("does not exist", "not set"),
    "forbidden": "may not be read by this",
    "disabled": "its version is disabled",
    "destroyed": "its version is destroyed",
    "pending deletion": "not in a state to be read",
    "wrong checksum": "failed its checksum",
    "silent": "before the deadline",
    "gone": ("is unreachable", "before the deadline"),
    "no credentials": "credentials",
    "no current value": "has no current value",  # D20
    "wrong clock": "clock is wrong",  # D21
    "no token file": "the token file that AWS_WEB_IDENTITY_TOKEN_FILE names does not exist",  # D23
    "no pod token file": "the token file that AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE names does not exist",
    "token file is a folder": "the token file that AWS_WEB_IDENTITY_TOKEN_FILE names cannot be read",
    "refused identity": "credentials",  # D28
    "silent STS": "before the deadline",
    "throttled for good": ("is rate limiting", "before the deadline"),
}
"""State → text that its message must contain, or a tuple of alternatives."""


class Harness(Protocol):
    """One secret of one secrets manager, for a test to arrange.

    Attributes:
        url: its secret URL.
        environ: the function's environment.

    """

    url: str
    environ: Mapping[str, str]

    def put(self, secret: bytes) -> None:
        """Store the secret; again, to rotate it."""
        ...

    def remove(self) -> None:
        """Delete the secret."""
        ...


def token_of(harness: Harness, key: str = "", seconds: float = SECONDS) -> str:
    """Read the token as the function does, in the function's time."""
    url = parse_secret_url(f"{harness.url}{key}")
    began = time.monotonic()
    try:
        tokens = TokenProvider(open_store(url, harness.environ), NO_IAM, url.key)
        return token_value(tokens.current(Deadline.after(seconds)))
    finally:
        assert_within(began, seconds + SPARE_SECONDS)


def message_of(harness: Harness, key: str = "", seconds: float = SECONDS) -> str:
    """Read the token, expecting `token_unavailable`, and return what it says."""
    with pytest.raises(CheckError) as caught:
        token_of(harness, key, seconds)
    assert caught.value.code == "token_unavailable"
    assert caught.value.next_step
    assert "s3cr3t" not in repr(caught.value) + str(caught.value.next_step)
    return caught.value.message


class SecretStoreSuite:
    """Inherit it and give it a `harness`."""

    states: ClassVar[Mapping[str, Callable[[Any], None]]] = {"removed": lambda harness: harness.remove()}
    passing_states: ClassVar[Mapping[str, Callable[[Any], None]]] = {"no trouble": lambda _: None}
    """Troubles that end before the deadline."""

    longest = 20_000
    keyed = True
    """Whether the URL may have a fragment."""

    def test_secret_store__missing_secret__says_so(self, harness: Harness) -> None:
        harness.remove()
        assert any(words in message_of(harness) for words in MESSAGES["removed"])

    def test_secret_store__stored_secret__is_returned(self, harness: Harness) -> None:
        harness.put(b"s3cr3t-token")
        assert token_of(harness) == "s3cr3t-token"

    @pytest.mark.parametrize("secret", [b"s3cr3t\n", b" s3cr3t\r\n\t", b"\xef\xbb\xbfs3cr3t"])
    def test_secret_store__outer_white_space_and_bom__is_removed(self, harness: Harness, secret: bytes) -> None:
        harness.put(secret)
        assert token_of(harness) == "s3cr3t"

    @pytest.mark.parametrize(
        ("secret", "message"),
        [
            (b" \n", "is empty"),
            (b"s3cr\n3t", "so it was not sent"),
            ("s3cr3t\u200b".encode(), "so it was not sent"),
            (b'{"other":"s3cr3t"}', 'a JSON object without "token"'),
            (b'["s3cr3t"]', "JSON but not an object"),
        ],
    )
    def test_secret_store__secret_without_a_token__says_why(
        self, harness: Harness, secret: bytes, message: str
    ) -> None:
        harness.put(secret)
        assert message in message_of(harness)

    @pytest.mark.parametrize("secret", ["s3cr3t".encode("utf-16"), b"\xfd\xff\x80s3cr3t"])
    def test_secret_store__secret_not_utf_8__says_so(self, harness: Harness, secret: bytes) -> None:
        harness.put(secret)
        assert "UTF-8" in message_of(harness) or "so it was not sent" in message_of(harness)

    def test_secret_store__long_secret__is_returned_whole(self, harness: Harness) -> None:
        harness.put(b"M" * self.longest)
        assert token_of(harness) == "M" * self.longest

    def test_secret_store__json_key_in_the_url__selects_the_token(self, harness: Harness) -> None:
        harness.put(b'{"token":"MII-one-1","roma":"MII-two-2"}')
        assert token_of(harness) == "MII-one-1"
        if not self.keyed:
            return
        assert token_of(harness, "#roma") == "MII-two-2"
        assert "secret URL names" in message_of(harness, "#missing")

    def test_secret_store__rotated_secret__next_read_returns_the_new_one(self, harness: Harness) -> None:
        url = parse_secret_url(harness.url)
        harness.put(b"old-token")
        tokens = TokenProvider(open_store(url, harness.environ), NO_IAM)
        refused = tokens.current(Deadline.after(SECONDS))
        harness.put(b"new-token")
        assert token_value(tokens.renew(refused, Deadline.after(SECONDS))) == "new-token"

    def test_secret_store__concurrent_callers__share_one_read(self, harness: Harness) -> None:
        harness.put(b"s3cr3t")
        url = parse_secret_url(harness.url)
        tokens = TokenProvider(open_store(url, harness.environ), NO_IAM)
        with ThreadPoolExecutor(8) as readers:
            context = [contextvars.copy_context() for _ in range(8)]
            found = readers.map(lambda own: own.run(tokens.current, Deadline.after(SECONDS)).generation, context)
            assert set(found) == {1}

    def test_secret_store__trouble__says_what_is_wrong(self, harness: Harness, state: str) -> None:
        harness.put(b"s3cr3t")
        self.states[state](harness)
        said = message_of(harness)
        wanted = MESSAGES[state]
        assert any(words in said for words in ((wanted,) if isinstance(wanted, str) else wanted)), said

    def test_secret_store__temporary_trouble__returns_the_secret(self, harness: Harness, passing_state: str) -> None:
        # Vendors' libraries wait for up to a random second, which is most of the deadline, so the seed keeps it short.
        before = random.getstate()
        random.seed(LOW_RANDOM_SEED)
        harness.put(b"s3cr3t")
        self.passing_states[passing_state](harness)
        try:
            assert token_of(harness) == "s3cr3t"
        finally:
            random.setstate(before)
