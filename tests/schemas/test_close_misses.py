"""Which names are taken for misspelt names of ours, and which are left to others."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.close_misses import MAX_NAMES, close_miss, edit_distance
from schemas.query import QuerySchema

OURS = tuple(QuerySchema().fields)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("instnce", "instance"),  # G20
        ("instance_", "instance"),
        ("instances", "instance"),
        ("instence", "instance"),
        ("isntance", "instance"),
        ("intsanec", "instance"),
        ("insance", "instance"),
        ("nstanc", "instance"),
        ("Instance", "instance"),
        ("INSTANCE", "instance"),
        ("instance[]", "instance"),
        ("instance[0]", "instance"),
        ("instance[17]", "instance"),
        (" instance", "instance"),
        ("failon", "fail_on"),
        ("fail-on", "fail_on"),
        ("failOn", "fail_on"),
        ("fail.on", "fail_on"),
        ("fail_on[]", "fail_on"),
        ("fail_no", "fail_on"),
        ("fial_on", "fail_on"),
        ("dealine", "deadline"),
        ("deadlines", "deadline"),
        ("dedline", "deadline"),
        ("dealdine", "deadline"),
        ("fromat", "format"),
        ("formats", "format"),
        ("frmat", "format"),
        ("amp;fail_on", "fail_on"),
        ("AMP;failon", "fail_on"),
    ],
)
def test_misspelt_name__is_a_close_miss(name: str, meant: str) -> None:
    assert close_miss([name], OURS) == meant


@pytest.mark.parametrize(
    "name",
    [
        *OURS,
        "",
        "_",
        "t",
        "ts",
        "v",
        "x",
        "id",
        "code",
        "from",
        "form",
        "fail",
        "on",
        "time",
        "date",
        "name",
        "nocache",
        "cache",
        "cachebuster",
        "cache_bust",
        "random",
        "timestamp",
        "utm_source",
        "utm_medium",
        "fbclid",
        "token",
        "timeout",
        "target",
        "module",
        "explain",
        "instance_id",
        "instant_messages",
        "inst",
        "failed_on",
        "dead",
        "information",
        "formatting",
        "platform",
        "ﬁ",
        "日本",
        "a" * 10_000,
    ],
)
def test_other_name__is_not_a_close_miss(name: str) -> None:
    assert close_miss([name], OURS) is None


def test_short_names_of_ours__have_no_close_misses() -> None:
    assert close_miss(["host"], ["hosts", "post"]) == "hosts"
    assert close_miss(["host"], ["post"]) is None


def test_comparisons__many_names__are_bounded() -> None:
    # Permutations pass every cheap test: each costs a whole comparison.
    names = [f"ecnatsin{number}"[:9] for number in range(10_000)]
    began = time.thread_time()
    assert close_miss(names, OURS) is None
    assert time.thread_time() - began < 0.1
    assert close_miss([*["x"] * MAX_NAMES, "instnce"], OURS) is None


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [("", "", 0), ("", "ab", 2), ("ab", "", 2), ("ab", "ba", 1), ("abc", "ca", 3), ("kitten", "sitting", 3)],
)
def test_edit_distance__is_that_of_optimal_string_alignment(one: str, other: str, distance: int) -> None:
    assert edit_distance(one, other) == distance


@given(st.sampled_from(OURS), st.data())
def test_one_edit__is_always_a_close_miss(right: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(right) - 1))
    letter = data.draw(st.characters(codec="ascii", categories=["Ll", "Nd", "Po"]))
    edits = {
        "add": right[:place] + letter + right[place:],
        "drop": right[:place] + right[place + 1 :],
        "replace": right[:place] + letter + right[place + 1 :],
        "swap": right[:place] + right[place : place + 2][::-1] + right[place + 2 :],
    }
    for name in set(edits.values()) - {right}:
        assert close_miss([name], OURS) == right


@given(st.text(max_size=12), st.text(max_size=12))
def test_edit_distance__is_a_symmetric_measure(one: str, other: str) -> None:
    distance = edit_distance(one, other)
    assert distance == edit_distance(other, one)
    assert (distance == 0) == (one == other)
    assert abs(len(one) - len(other)) <= distance <= max(len(one), len(other))
