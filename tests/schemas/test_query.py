"""What a caller may ask, at its edges; the rest is asked over HTTP in handlers/test_http.py."""

from __future__ import annotations

import json
from typing import Any

import pytest
from marshmallow import ValidationError

from schemas import query


@pytest.mark.parametrize("value", ["0.5", "1", " 2 ", "\x1c2", "999999999", 0.5, 1, 2.5, 999_999_999])
def test_deadline__is_a_number_above_zero(value: Any) -> None:
    body = json.dumps({"deadline": value}).encode()
    assert query.load({}, body)["deadline"] == float(value.strip() if isinstance(value, str) else value)


@pytest.mark.parametrize("value", ["0", "-1", "1e3", "nan", "", 0, -1, 1e9, 10**400, True, None, [], [1, 0]])
def test_deadline__that_is_anything_else_is_a_fault(value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        query.load({}, json.dumps({"deadline": value}).encode())
    assert list(caught.value.messages_dict) == ["deadline"]


def test_nothing_asked__is_the_defaults() -> None:
    assert query.load({}) == {"instance": None, "fail_on": ["unhealthy", "unknown"], "deadline": None, "format": None}
