"""The token of a FunctionGraph agency passes the suite of every store."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest

from fdi_health.clock import Deadline
from fdi_health.credentials.authenticators import Signature
from fdi_health.credentials.signer import AccessKey
from fdi_health.credentials.token_provider import TokenProvider
from fdi_health.errors import CheckError
from fdi_health.models import TokenState
from fdi_health.secret_stores import open_store, parse_secret_url
from fdi_health.secret_stores.huawei.invocation import invocation
from tests.conformance.secret_store import NO_IAM, SecretStoreSuite

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Harness:
    """An invocation with a context that returns a given token."""

    url = "functiongraph://agency"
    environ: ClassVar[Mapping[str, str]] = {}

    def __init__(self) -> None:
        self._token: str | None = None

    def getToken(self) -> str | None:  # noqa: N802 -- the platform's name
        return self._token

    def put(self, secret: bytes) -> None:
        self._token = secret.decode("utf-8", "surrogateescape")

    def remove(self) -> None:
        self._token = None


class TemporaryKey:
    """An invocation with a context that has no token and returns a temporary key."""

    def __init__(self, key: str | None = "AK-one") -> None:
        self._key = key

    def getSecurityAccessKey(self) -> str | None:  # noqa: N802 -- the platform's name
        return self._key

    def getSecuritySecretKey(self) -> str:  # noqa: N802 -- as above
        return "Sk-one"

    def getSecurityToken(self) -> str:  # noqa: N802 -- as above
        return "t0ken1"


class BrokenToken(TemporaryKey):
    """The same with a `getToken` that fails."""

    def getToken(self) -> str:  # noqa: N802 -- the platform's name
        raise RuntimeError("no agency")


@pytest.mark.parametrize("context", [TemporaryKey(), BrokenToken()])
def test_agency__without_a_token__uses_its_temporary_key(context: TemporaryKey) -> None:
    before = invocation.set(context)
    tokens = TokenProvider(open_store(parse_secret_url("functiongraph://agency"), {}), NO_IAM)
    found, state = tokens.current(Deadline.after(1)), tokens.state()
    invocation.reset(before)
    assert isinstance(found, Signature)
    assert found.key == AccessKey("AK-one", "Sk-one", "t0ken1")
    assert state == TokenState("agency", None, None)


def test_agency__without_token_and_key__does_not_exist() -> None:
    before = invocation.set(TemporaryKey(None))
    with pytest.raises(CheckError, match="the function has no agency"):
        open_store(parse_secret_url("functiongraph://agency"), {}).read(Deadline.after(1))
    invocation.reset(before)


class TestAgency(SecretStoreSuite):
    """The suite within an invocation."""

    keyed = False

    @pytest.fixture
    def harness(self) -> Iterator[Harness]:
        harness = Harness()
        before = invocation.set(harness)
        yield harness
        invocation.reset(before)
