"""Oracle Functions: calls through a gateway are requests, others get the verdict, and its deadline is kept.

tests/deploy/test_oracle_app.py sends real calls through the platform's own library.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import pytest

from handlers.application import Application
from handlers.triggers.oracle_functions import respond_to_call
from tests.conformance.platform import settings_for
from tests.machine import assert_within

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from simulator import Simulator


class Call(NamedTuple):
    """The methods of fdk's context that the trigger reads."""

    method: str | None = "GET"
    url: str | None = "/"
    headers: Mapping[str, str | list[str]] = MappingProxyType({})
    seconds: float | None = 30

    def Method(self) -> str | None:  # noqa: N802 -- the library's name
        return self.method

    def RequestURL(self) -> str | None:  # noqa: N802 -- the library's name
        return self.url

    def HTTPHeaders(self) -> Mapping[str, str | list[str]]:  # noqa: N802 -- the library's name
        return self.headers

    def Deadline(self) -> str:  # noqa: N802 -- the library's name
        return "soon" if self.seconds is None else (datetime.now(UTC) + timedelta(seconds=self.seconds)).isoformat()


@pytest.fixture
def application(upstream: Simulator) -> Iterator[Application]:
    made = Application({**settings_for(upstream), "FDI_DEADLINE_SECONDS": "2"})
    yield made
    made.close()


@pytest.mark.parametrize("url", ["/live", "https://acme.example/live", "//live", "/%6Cive?x"])
def test_call__of_a_gateway__is_a_request(application: Application, url: str) -> None:
    response = respond_to_call(Call(url=url), b"", application)
    assert (response.status, json.loads(response.body)) == (200, {"live": True})


def test_head__promises_no_body(application: Application) -> None:
    response = respond_to_call(Call("HEAD", "/live"), b"", application)
    assert (response.body, "Content-Length" in response.headers) == (b"", False)


def test_repeated_header__is_joined(application: Application) -> None:
    call = Call(url="/metrics", headers={"Accept": ["text/plain;q=0.1", "application/openmetrics-text"]})
    assert respond_to_call(call, b"", application).media_type == "application/openmetrics-text"


@pytest.mark.parametrize(("body", "status"), [(b'{"instance": "orders"}', "healthy"), (b"x", "unhealthy")])
def test_call__without_a_gateway__gets_the_verdict(application: Application, body: bytes, status: str) -> None:
    response = respond_to_call(Call(None, None), body, application)
    assert (response.status, json.loads(response.body)["status"]) == (200, status)


@pytest.mark.parametrize(("seconds", "limit"), [(1.0, 0.5), (None, 2.0)])
def test_deadline__is_what_the_platform_leaves(
    application: Application, upstream: Simulator, seconds: float | None, limit: float
) -> None:
    upstream.play("id-orders", "silent")
    began = time.monotonic()
    response = respond_to_call(Call(url="/?instance=orders", seconds=seconds), b"", application)
    assert_within(began, limit + 0.3)
    assert (response.status, time.monotonic() - began > limit - 0.1) == (503, True)
