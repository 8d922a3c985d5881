from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from simulator import Simulator
from tests.simulator.wire import INSTANCE, OTHER, TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(tokens=[TOKEN]) as simulator:
        simulator.play(INSTANCE, "doc_example")
        simulator.play(OTHER, "healthy")
        yield simulator
