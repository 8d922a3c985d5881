"""What a caller may ask, at its edges; the rest is asked over HTTP in handlers/test_http.py."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError
from marshmallow.exceptions import SCHEMA

from schemas import query
from schemas.query import Query


@pytest.mark.parametrize("value", ["0.5", "1", " 2 ", "\x1c2", "999999999", 0.5, 1, 2.5, 999_999_999])
def test_deadline__is_a_number_above_zero(value: Any) -> None:
    body = json.dumps({"deadline": value}).encode()
    assert query.load({}, body).deadline == float(value.strip() if isinstance(value, str) else value)


@pytest.mark.parametrize("value", ["0", "-1", "1e3", "nan", "", 0, -1, 1e9, 10**400, True, None, [], [1, 0]])
def test_deadline__that_is_anything_else_is_a_fault(value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        query.load({}, json.dumps({"deadline": value}).encode())
    assert list(caught.value.messages_dict) == ["deadline"]


@pytest.mark.parametrize("value", ["", "a b", "eu/west", "n" * 65])
def test_target__that_is_no_name__is_a_fault(value: str) -> None:
    with pytest.raises(ValidationError) as caught:
        query.load({"target": [value]})
    assert caught.value.messages_dict == {"target": ["must name targets, e.g. target=emea or target=emea,apac"]}


@pytest.mark.parametrize(
    ("body", "meant"),
    [
        ({"instnce": "a"}, "instance"),
        ({"instance": "a", "failon": "none"}, "fail_on"),
        ({"Deadline": 1, "Format": "json"}, "deadline"),
    ],
)
def test_body_of_ours_and_misspelt_fields__is_a_fault(body: dict[str, Any], meant: str) -> None:  # G20
    with pytest.raises(ValidationError) as caught:
        query.load({}, json.dumps(body).encode())
    assert caught.value.messages_dict == {SCHEMA: [f"a parameter is not known: did you mean {meant}?"]}


@pytest.mark.parametrize(
    "body",
    [
        {"instnce": "a", "alert": 1},
        {"alert": 1},
        {"instnce" + "x" * n: 1 for n in range(3)},
        {f"instance{n}": "a" for n in range(17)},
    ],
)
def test_body__with_other_fields__asks_for_the_defaults(body: dict[str, Any]) -> None:
    assert query.load({}, json.dumps(body).encode()) == query.load({})


@pytest.mark.parametrize("name", ["instnce", "fail-on", "dealine", "Format"])
@pytest.mark.parametrize("value", ["a", ""])
def test_misspelt_parameter__any_value__is_a_fault(name: str, value: str) -> None:  # G20
    with pytest.raises(ValidationError):
        query.load({"instance": ["a"], name: [value]})


@given(st.dictionaries(st.text(max_size=10), st.lists(st.text(max_size=5), min_size=1, max_size=2), max_size=4))
def test_query__is_either_a_fault_or_never_narrower_than_it_says(parameters: dict[str, list[str]]) -> None:
    try:
        loaded = query.load(parameters)
    except ValidationError as error:
        assert len(error.messages_dict) >= 1
        return
    assert (loaded.instance is None) == ("instance" not in parameters)


def test_load__without_parameters__has_the_defaults() -> None:
    assert query.load({}) == query.load({"x": ["1"]}) == Query(None, None, ("unhealthy", "unknown"), None, None)


@pytest.mark.parametrize(
    ("values", "count"),
    [(["none"], 0), (["all"], 50), (["1"], 1), (["50"], 50), ([" 7 "], 7), (["2", "9"], 9), (["none", "3"], 3)],
)
def test_explain__none_all_or_a_number__is_a_count(values: list[str], count: int) -> None:
    assert query.load({"explain": values}).explain == count
    assert query.load({}, json.dumps({"explain": values}).encode()).explain == count


def test_explain__not_given__is_five() -> None:
    assert query.load({"instance": ["a"]}).explain == query.Query().explain == 5


@pytest.mark.parametrize("value", ["", "0", "51", "-1", "1.5", "five", "ALL", "\u0665", "1" * 5000])
def test_explain__anything_else__is_refused(value: str) -> None:
    with pytest.raises(ValidationError) as caught:
        query.load({"explain": [value]})
    assert caught.value.messages_dict["explain"] == ["must be none, all or a number from 1 to 50, e.g. explain=10"]


@pytest.mark.parametrize("value", [None, True, 1.0, {}, []])
def test_explain__of_another_type_in_a_body__is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        query.load({}, json.dumps({"explain": value}).encode())


def test_explain__misspelt__is_refused() -> None:
    with pytest.raises(ValidationError, match="did you mean explain"):
        query.load({"explian": ["3"]})


def test_query__with_more_unknown_names_than_are_compared__is_refused() -> None:
    many = {f"z{number}": ["1"] for number in range(64)}
    assert list(query.load({**many, "fail_on": ["degraded"]}).fail_on) == ["degraded"]
    with pytest.raises(ValidationError) as caught:
        query.load({**many, "z64": ["1"]})
    assert caught.value.messages_dict == {SCHEMA: ["the query has more than 64 parameters that are not known"]}
