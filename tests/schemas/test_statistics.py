"""What is a statistics document: exact counts, and no two things said at once."""

from __future__ import annotations

from typing import Any

import pytest
from marshmallow import ValidationError

from schemas.statistics import COUNTS, MAX_COUNT, StatisticsSchema

GROUP = dict.fromkeys(COUNTS, 1)
SOUND = {"common_task_details": GROUP, "cdc_task_details": GROUP}


def faults(document: Any, **kwargs: Any) -> dict[str, Any]:
    try:
        StatisticsSchema(**kwargs).load(document)
    except ValidationError as error:
        return dict(error.messages_dict)
    return {}


@pytest.mark.parametrize("count", [0, 1, MAX_COUNT])
@pytest.mark.parametrize("name", COUNTS)
def test_count__is_a_whole_number_in_range(name: str, count: int) -> None:
    document = {**SOUND, "cdc_task_details": {**GROUP, name: count, "else": "ignored"}}
    assert StatisticsSchema().load(document)["cdc_task_details"] == {**GROUP, name: count}


@pytest.mark.parametrize("count", [-1, MAX_COUNT + 1, True, 0.0, 1.5, "1", None, [], {}])
@pytest.mark.parametrize("name", COUNTS)
def test_count__not_an_integer_in_range__is_a_fault(name: str, count: object) -> None:
    found = faults({**SOUND, "cdc_task_details": {**GROUP, name: count}})
    assert found == {"cdc_task_details": {name: ["Not an integer from 0 to 999,999,999,999."]}}


@pytest.mark.parametrize("name", COUNTS)
def test_count__missing__is_a_fault(name: str) -> None:
    group = {other: 1 for other in COUNTS if other != name}
    assert list(faults({**SOUND, "common_task_details": group})["common_task_details"]) == [name]


@pytest.mark.parametrize("group", [None, [], 5, "x"])
def test_group__is_an_object(group: object) -> None:
    assert list(faults({**SOUND, "common_task_details": group})) == ["common_task_details"]


def test_group__may_be_left_out_only_where_the_settings_say_so() -> None:
    document = {"common_task_details": GROUP}
    assert list(faults(document)) == ["cdc_task_details"]
    assert list(faults(document, optional_groups=["common"])) == ["cdc_task_details"]
    assert faults(document, optional_groups=["cdc"]) == {}
    assert faults({"cdc_task_details": GROUP}, optional_groups=["common"]) == {}
    assert faults({}, optional_groups=["cdc", "common"]) == {"common_task_details": ["no task group"]}


@pytest.mark.parametrize(
    ("error_code", "sound"), [("FDI.9999", False), (0, False), ([], False), (None, True), ("", True)]
)
def test_document__with_an_error_code__is_refused(error_code: object, sound: bool) -> None:
    found = faults({**SOUND, "error_code": error_code})
    assert found == ({} if sound else {"error_code": ["error_code in a successful answer"]})


@pytest.mark.parametrize("document", [None, [], [SOUND], 5, "text"])
def test_document__is_an_object(document: object) -> None:
    assert list(faults(document)) == ["_schema"]


def other(document: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    loaded: dict[str, Any] = StatisticsSchema(**kwargs).load(document)["other_task_details"]
    return loaded


@pytest.mark.parametrize("name", ["flow_task_details", "x_task_details", "Real-Time.2_task_details", "orchestration"])
def test_further_group__is_loaded_by_its_own_name(name: str) -> None:  # D59
    group = {**GROUP, "abnormal_tasks_count": 3}
    assert other({**SOUND, name: {**group, "else": "ignored"}}) == {name: group}


def test_document_without_further_groups__has_none() -> None:
    assert other({**SOUND, "note": {"running_tasks_count": 1}, "abnormal_tasks_count": 3, "task_detail": None}) == {}


@pytest.mark.parametrize("name", ["flow_task_details", "orchestration"])
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("value", [-1, MAX_COUNT + 1, True, 0.0, "1", None, []])
def test_further_group__obeys_the_strict_rules(name: str, count: str, value: object) -> None:  # D59
    found = faults({**SOUND, name: {**GROUP, count: value}})
    assert found == {"other_task_details": {count: ["Not an integer from 0 to 999,999,999,999."]}}


@pytest.mark.parametrize("value", [None, [], [GROUP], 5, "x", True, {}, {"abnormal_tasks_count": 0}])
def test_further_group__is_an_object_with_all_counts(value: object) -> None:  # D59
    assert list(faults({**SOUND, "flow_task_details": value})) == ["other_task_details"]


@pytest.mark.parametrize(
    "name",
    [
        "_task_details",
        "__task_details",
        " flow_task_details",
        "flow\n_task_details",
        "flöw_task_details",
        "fl|ow_task_details",
        'fl"ow_task_details',
        "<b>_task_details",
        "",
        "FDI-OK_task_details",
        "xfdi-ok",
        f"{'x' * 52}_task_details",  # 65 characters
    ],
)
def test_further_group__with_a_name_that_is_not_plain_is_refused(name: str) -> None:  # D59
    assert faults({**SOUND, name: GROUP}) == {"other_task_details": ["the name of a further task group is not plain"]}


def test_further_group__may_have_a_name_of_64_characters() -> None:
    name = f"{'x' * 51}_task_details"
    assert other({**SOUND, name: GROUP}) == {name: GROUP}


@pytest.mark.parametrize("names", [["common"], ["cdc"], ["flow", "flow_task_details"]])
def test_two_groups_with_one_name__are_refused(names: list[str]) -> None:  # D59
    found = faults({**SOUND, **dict.fromkeys(names, GROUP)})
    assert found == {"other_task_details": ["two task groups have one name"]}


def test_further_groups__are_16_at_most() -> None:  # D59
    groups = {f"g{number}_task_details": GROUP for number in range(16)}
    assert other({**SOUND, **groups}) == groups
    found = faults({**SOUND, **groups, "one_more": GROUP})
    assert found == {"other_task_details": ["more than 16 further task groups"]}


def test_further_group__does_not_stand_for_a_required_one() -> None:  # D59
    assert list(faults({"common_task_details": GROUP, "flow_task_details": GROUP})) == ["cdc_task_details"]
    assert faults({"flow_task_details": GROUP}, optional_groups=["cdc", "common"]) != {}
    assert other({"common_task_details": GROUP, "flow_task_details": GROUP}, optional_groups=["cdc"]) != {}
