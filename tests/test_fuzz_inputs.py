"""Replays the fuzzer's inputs, its earlier finds and some arbitrary bytes through every fuzz target."""

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
def test_fuzz_input__raises_no_unexpected_error(place: Path) -> None:
    TARGETS[place.parent.name](place.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.binary(max_size=200) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes__raise_no_unexpected_error(name: str, data: bytes) -> None:
    TARGETS[name](data)
