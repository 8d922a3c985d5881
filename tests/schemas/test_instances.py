"""The list of instances is complete and valid, or it is refused."""

from __future__ import annotations

from typing import Any

import pytest
from marshmallow import ValidationError

from schemas.roma.instances import load_instances


def entry(instance_id: Any = "id-1", **changes: Any) -> dict[str, Any]:
    return {"id": instance_id, "name": "Payments", "status": "RUNNING", "flavor": "basic", **changes}


def document(*entries: Any, **changes: Any) -> dict[str, Any]:
    return {"total": len(entries), "size": len(entries), "instances": list(entries), **changes}


def fault(found: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        load_instances(found)
    (message,) = caught.value.messages
    assert isinstance(message, str)
    return message


def test_list__valid__has_id_name_and_status_alone() -> None:
    assert load_instances(document(entry(), entry("id-2", name=""))) == [
        {"id": "id-1", "name": "Payments", "status": "RUNNING"},
        {"id": "id-2", "name": "", "status": "RUNNING"},
    ]


def test_list__without_an_instance__is_empty() -> None:
    assert load_instances(document()) == []


@pytest.mark.parametrize(
    "found",
    [None, [], "", {}, {"total": 0, "size": 0}, document(instances={}), document(error_code="FDI.9999"), [entry()]],
)
def test_list__of_another_form__is_refused(found: Any) -> None:
    assert fault(found) == "is not a list of instances"


@pytest.mark.parametrize("number", [None, "1", True, 1.0, -1])
@pytest.mark.parametrize("name", ["total", "size"])
def test_list__without_a_valid_number__is_refused(name: str, number: Any) -> None:
    assert fault(document(entry(), **{name: number})) == "does not say how many there are"


@pytest.mark.parametrize("name", ["total", "size"])
def test_list__number_missing__is_refused(name: str) -> None:
    found = document(entry())
    del found[name]
    assert fault(found) == "does not say how many there are"


@pytest.mark.parametrize("name", ["total", "size"])
def test_list__fewer_entries_than_it_says__is_incomplete(name: str) -> None:
    assert fault(document(entry("a"), entry("b"), entry("c"), **{name: 5})) == "is incomplete: 3 of 5"


@pytest.mark.parametrize("name", ["total", "size"])
def test_list__more_entries_than_it_says__contradicts_itself(name: str) -> None:
    assert fault(document(entry("a"), entry("b"), **{name: 1})) == "contradicts itself: 2 entries instead of 1"


def test_list__instance_twice__is_refused() -> None:
    assert fault(document(entry(), entry(name="Other"))) == "has an instance twice"


@pytest.mark.parametrize(
    "damaged",
    [
        None,
        "id-1",
        [],
        *(entry(value) for value in (None, 1, "", "a/b", "a" * 65, "FDI-OK", "x-fdi-ok")),
        *({**entry(), name: value} for name in ("name", "status") for value in (None, 1, ["x"])),
        *({key: value for key, value in entry().items() if key != name} for name in ("id", "name", "status")),
    ],
)
def test_entry__not_valid__makes_the_list_invalid(damaged: Any) -> None:
    assert fault(document(entry("id-0"), damaged)) == "has an entry without a valid ID, name or status"
