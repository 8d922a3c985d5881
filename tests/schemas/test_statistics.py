"""What is a statistics document: exact counts, and no two things said at once."""

from __future__ import annotations

from typing import Any

import pytest
from marshmallow import ValidationError

from schemas.statistics import COUNTS, LARGEST_COUNT, StatisticsSchema

GROUP = dict.fromkeys(COUNTS, 1)
SOUND = {"common_task_details": GROUP, "cdc_task_details": GROUP}


def faults(document: Any, **kwargs: Any) -> dict[str, Any]:
    try:
        StatisticsSchema(**kwargs).load(document)
    except ValidationError as error:
        return dict(error.messages_dict)
    return {}


@pytest.mark.parametrize("count", [0, 1, LARGEST_COUNT])
@pytest.mark.parametrize("name", COUNTS)
def test_count__is_a_whole_number_in_range(name: str, count: int) -> None:
    document = {**SOUND, "cdc_task_details": {**GROUP, name: count, "else": "ignored"}}
    assert StatisticsSchema().load(document)["cdc_task_details"] == {**GROUP, name: count}


@pytest.mark.parametrize("count", [-1, LARGEST_COUNT + 1, True, 0.0, 1.5, "1", None, [], {}])
@pytest.mark.parametrize("name", COUNTS)
def test_count__that_is_anything_else_is_told(name: str, count: object) -> None:
    found = faults({**SOUND, "cdc_task_details": {**GROUP, name: count}})
    assert found == {"cdc_task_details": {name: ["Not an integer from 0 to 999,999,999,999."]}}


@pytest.mark.parametrize("name", COUNTS)
def test_count__that_is_missing_is_told(name: str) -> None:
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
def test_answer_that_names_an_error__is_none(error_code: object, sound: bool) -> None:
    found = faults({**SOUND, "error_code": error_code})
    assert found == ({} if sound else {"error_code": ["error_code in a successful answer"]})


@pytest.mark.parametrize("document", [None, [], [SOUND], 5, "text"])
def test_document__is_an_object(document: object) -> None:
    assert list(faults(document)) == ["_schema"]
