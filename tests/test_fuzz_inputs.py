"""What the fuzzer starts from, what it found once, and what it might find, goes through every target again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import INPUTS, TARGETS

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = sorted(path for path in INPUTS.rglob("*") if path.is_file())


@pytest.mark.parametrize("place", KNOWN, ids=lambda place: f"{place.parent.name}/{place.name}")
def test_input__is_harmless(place: Path) -> None:
    TARGETS[place.parent.name](place.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.binary(max_size=200) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes__are_harmless(name: str, data: bytes) -> None:
    TARGETS[name](data)
