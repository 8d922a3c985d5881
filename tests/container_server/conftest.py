"""Fixtures: the container's server, running."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from simulator import Simulator
from tests.conformance.platform import settings_for
from tests.conftest import PROJECT_ID, TOKEN
from tests.container_server.callers import DEADLINE_SECONDS, Server
from tests.servers import container_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def settings(upstream: Simulator) -> dict[str, str]:
    """Return settings with an instance, `crm`, that never responds."""
    found = settings_for(upstream)
    upstream.play("id-crm", "silent")
    return {**found, "FDI_DEADLINE_SECONDS": str(DEADLINE_SECONDS), "FDI_ANONYMOUS": "details"}


@pytest.fixture
def server(settings: dict[str, str], tmp_path: Path) -> Iterator[Server]:
    with container_server(settings, tmp_path) as (url, process):
        yield Server(url, process, tmp_path)


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests of a module that leave it as it was."""
    home = tmp_path_factory.mktemp("home")
    with (
        Simulator(tokens=[TOKEN], project_id=PROJECT_ID) as simulator,
        container_server(settings_for(simulator), home) as (url, process),
    ):
        yield Server(url, process, home)
