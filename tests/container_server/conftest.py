"""Fixtures: the container's server, running."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.platform import settings_for
from tests.container_server.callers import (
    DEADLINE_SECONDS,
    Server,
)
from tests.servers import container_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from simulator import Simulator


@pytest.fixture
def settings(upstream: Simulator) -> dict[str, str]:
    """Return settings whose instance `crm` never responds."""
    found = settings_for(upstream)
    upstream.play("id-crm", "silent")
    return {**found, "FDI_DEADLINE_SECONDS": str(DEADLINE_SECONDS), "FDI_ANONYMOUS": "details"}


@pytest.fixture
def server(settings: dict[str, str], tmp_path: Path) -> Iterator[Server]:
    with container_server(settings, tmp_path) as (url, process):
        yield Server(url, process, tmp_path)
