"""The token of a FunctionGraph agency passes the suite of every store."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest

from fdi_health.secret_stores.invocation import invocation
from tests.conformance.secret_store import SecretStoreSuite

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


class TestAgency(SecretStoreSuite):
    """The suite within an invocation."""

    keyed = False

    @pytest.fixture
    def harness(self) -> Iterator[Harness]:
        harness = Harness()
        before = invocation.set(harness)
        yield harness
        invocation.reset(before)
