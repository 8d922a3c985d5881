"""The command line, run in this process against the simulated upstream; a login client; a clock set by hand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import pytest

from fdi_health import cli, log
from fdi_health.credentials.iam_client import IamClient
from fdi_health.transport.client import Transport
from tests.conftest import PROJECT_ID, TOKEN
from tests.fdi_health.fake_secret_store import Clock

if TYPE_CHECKING:
    from simulator import Simulator

Run: TypeAlias = Callable[..., tuple[int, str, str]]
PLAYS = {"payments": "doc_example", "orders": "healthy", "sandbox": "no_tasks", "crm": "refuses_token"}


@pytest.fixture
def clock() -> Clock:
    """Return both clocks, set by hand."""
    return Clock()


@pytest.fixture
def iam_client(upstream: Simulator, clock: Clock) -> Iterator[IamClient]:
    """Return a client of the simulated IAM."""
    transport = Transport(upstream.url)
    yield IamClient(transport, PROJECT_ID, clock)
    transport.close()


@pytest.fixture
def run(upstream: Simulator, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Return what runs a command line with some settings; it gives exit status, stdout and stderr."""
    for name, play in PLAYS.items():
        upstream.play(f"id-{name}", play)
    settings = {
        "FDI_ENDPOINT": upstream.url,
        "FDI_PROJECT_ID": PROJECT_ID,
        "FDI_INSTANCES": ",".join(f"{name}=id-{name}" for name in PLAYS),
        "FDI_TOKEN": "env://ROMA_TOKEN",
        "ROMA_TOKEN": TOKEN,
        "FDI_DEADLINE_SECONDS": "2",
    }

    def call(*words: str, **changes: str) -> tuple[int, str, str]:
        for name, value in {**settings, **changes}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["fdi_health", *words])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        log.flush()
        out, err = capfd.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, out, err

    return call
