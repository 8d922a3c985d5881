"""The limit that ROMA Connect states with a 429."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdi_health.roma.rate_limit import MAX_LIMIT, stated_limit


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("policy user over ratelimit, limit:15, time:1 second", 15.0),
        ("policy user over ratelimit,limit:15,time:1 second", 15.0),
        ("The throttling threshold has been reached: policy user over ratelimit,limit:600,time:1 minute", 10.0),
        ("limit:1, time:1 minute", 1 / 60),
        ("limit: 15, time: 1 second.", 15.0),
        ("limit:1000000, time:1 second", 1e6),
    ],
)
def test_stated_limit__is_per_second(text: str, limit: float) -> None:
    assert stated_limit(text) == limit


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "The throttling threshold has been reached",
        "policy user over ratelimit, limit:XX, time:1 second",
        "limit:0, time:1 second",
        "limit:-5, time:1 second",
        "limit:015, time:1 second",
        "limit:1.5, time:1 second",
        "limit:1e3, time:1 second",
        "limit:1000001, time:1 second",
        "limit:99999999, time:1 second",
        "limit:15, time:2 second",
        "limit:15, time:10 second",
        "limit:15, time:1 hour",
        "limit:15, time:1 seconds",
        "limit:15, time:1",
        "limit:15",
        "time:1 second, limit:15",
        "ratelimit:15, time:1 second",
        "limit:15 of limit:20",
        "limit:\u0661\u0665, time:1 second",
    ],
)
def test_stated_limit__nonsense__is_ignored(text: str | None) -> None:
    assert stated_limit(text) is None


@given(st.text())
def test_stated_limit__any_text__is_a_limit_in_bounds_or_none(text: str) -> None:
    for said in (text, f"limit:{text}, time:1 second", f"limit:15, time:1 {text}"):
        limit = stated_limit(said)
        assert limit is None or 1 / 60 <= limit <= MAX_LIMIT
