"""JSON that two readers could read differently is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import strict_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_loads__reads_what_json_writes(value: object) -> None:
    assert strict_json.loads(json.dumps(value).encode()) == value
    assert strict_json.loads(b"\xef\xbb\xbf" + json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary())
def test_loads__never_raises_anything_else(data: bytes) -> None:
    try:
        strict_json.loads(data)
    except strict_json.InvalidJSON as error:
        assert str(error)
        assert error.__cause__ is None


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "a syntax error"),
        (b"[1] x", "a syntax error"),
        (b"9" * 5000, "a syntax error"),  # C43
        (b"[" * 100_000, "nested too deeply"),  # C45
        (b'{"a":1,"a":2}', "a key stands twice in one object"),
        (b'[{"b":{"a":1,"a":1}}]', "a key stands twice in one object"),
        (b"NaN", "NaN or Infinity"),  # C44
        (b"[-Infinity]", "NaN or Infinity"),
        (b"1e400", "a number too large"),
        (b"-1e400", "a number too large"),
        (b'"\\ud800"', "a lone surrogate"),
        (b'{"\\udfff":1}', "a lone surrogate"),
        (b'"\xff"', "not UTF-8"),
        ("{}".encode("utf-16"), "not UTF-8"),
    ],
)
def test_loads__says_why_it_refuses(data: bytes, why: str) -> None:
    with pytest.raises(strict_json.InvalidJSON, match=f"^{why}$"):
        strict_json.loads(data)
