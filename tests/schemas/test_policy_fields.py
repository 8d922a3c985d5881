"""The settings that are a policy for instances."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from marshmallow import ValidationError

from schemas import settings

BASE = {
    "FDI_REGION": "cn-north-4",
    "FDI_PROJECT_ID": "p",
    "FDI_INSTANCES": "payments=id-1,crm=id-2",
    "FDI_TOKEN": "env://T",
}

PRESENT = 1_796_083_200.0
"""2026-12-01."""


def faults(**variables: str) -> list[tuple[str, int | None, str]]:
    with pytest.raises(ValidationError) as caught:
        settings.load({**BASE, **variables}, PRESENT)
    return list(settings.faults(caught.value))


@pytest.mark.parametrize("variable", ["FDI_MIN_TASKS", "FDI_MIN_RUNNING_TASKS"])
def test_counts__by_alias_id_or_star__are_loaded(variable: str) -> None:
    loaded = settings.load({**BASE, variable: "*=1, payments=12,id-2=3,"}, PRESENT)
    assert getattr(loaded, variable.removeprefix("FDI_").lower()) == {"*": 1, "payments": 12, "id-2": 3}


@pytest.mark.parametrize(
    "text", ["payments", "payments=", "payments=0", "payments=-1", "payments=1.5", "=3", "a b=3", "payments=1_0"]
)
def test_counts__malformed__name_the_entry_and_show_an_example(text: str) -> None:
    ((variable, entry, message),) = faults(FDI_MIN_TASKS=f"*=1,{text}")
    assert (variable, entry) == ("FDI_MIN_TASKS", 2)
    assert message == "must be an instance's name or *, =, and a whole number from 1 to 999999999, e.g. *=1,payments=12"


def test_counts__repeated__are_a_fault() -> None:
    assert faults(FDI_MIN_TASKS="*=1,*=2") == [
        ("FDI_MIN_TASKS", 2, "repeats the name of an earlier entry, e.g. *=1,payments=12")
    ]


@pytest.mark.parametrize(
    ("variable", "text"),
    [("FDI_MIN_TASKS", "nobody=1"), ("FDI_MIN_RUNNING_TASKS", "nobody=1"), ("FDI_MUTE", "nobody=2026-12-01T00:00Z")],
)
def test_policy__of_an_instance_that_is_not_configured__is_a_fault(variable: str, text: str) -> None:
    assert faults(**{variable: text}) == [(variable, 1, "must be for an instance in FDI_INSTANCES, or *")]


def test_mute__from_and_until__are_seconds_since_the_epoch() -> None:
    loaded = settings.load(
        {**BASE, "FDI_MUTE": "payments=2026-12-01T22:00+01:00/2026-12-02T06:00+01:00,*=2026-12-31T00:00:00Z"}, PRESENT
    )
    assert loaded.mute == {"payments": (1_796_158_800.0, 1_796_187_600.0), "*": (None, 1_798_675_200.0)}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2026-12-01",
        "2026-12-01T22:00",
        "2026-12-01T22:00/2026-12-02T06:00Z",
        "1999-12-01T22:00Z",
        "/",
        "a/b/c",
    ],
)
def test_mute__without_date_time_and_offset__shows_the_form(text: str) -> None:
    ((variable, entry, message),) = faults(FDI_MUTE=f"payments={text}")
    assert (variable, entry) == ("FDI_MUTE", 1)
    assert message.startswith(
        "must be an instance's name or *, =, and UNTIL or FROM/UNTIL, each with date, time and offset"
    )
    assert message.endswith("e.g. payments=2026-12-01T22:00+01:00/2026-12-02T06:00+01:00")


@pytest.mark.parametrize(
    "text",
    [
        "2026-12-01T00:00Z/2027-01-01T00:01Z",
        "2026-12-02T00:00Z/2026-12-01T00:00Z",
        "2026-12-02T00:00Z/2026-12-02T00:00Z",
    ],
)
def test_mute__too_long_or_backwards__is_a_fault(text: str) -> None:
    ((_, entry, message),) = faults(FDI_MUTE=f"payments={text}")
    assert entry == 1
    assert message.startswith("must be at most 31 days long and end after it begins")


def test_muted_tasks__load_to_instance_task_and_times() -> None:
    text = "payments/nightly-export=2026-12-31T00:00Z,*/a = b/c=2026-11-30T22:00Z/2026-12-01T06:00+01:00,"
    first, second = settings.load({**BASE, "FDI_MUTED_TASKS": text}, PRESENT).muted_tasks
    assert first == ("payments", "nightly-export", None, datetime(2026, 12, 31, tzinfo=UTC).timestamp())
    assert second[:2] == ("*", "a = b/c")
    assert second.begins == datetime(2026, 11, 30, 22, tzinfo=UTC).timestamp()
    assert second.ends == datetime(2026, 12, 1, 5, tzinfo=UTC).timestamp()


def test_muted_tasks__ended__are_no_fault() -> None:
    assert settings.load({**BASE, "FDI_MUTED_TASKS": "payments/a=2020-01-01T00:00Z"}, PRESENT).muted_tasks


@pytest.mark.parametrize(
    "text",
    [
        "payments",
        "payments/nightly-export",
        "payments=2026-12-31T00:00Z",
        "payments/=2026-12-31T00:00Z",
        "/a=2026-12-31T00:00Z",
        "payments/a=soon",
        "payments/a=2026-12-31T00:00",
        "payments/a=2026-12-31",
        "payments/a=2028-12-31T00:00Z",
        "payments/a=2026-12-02T00:00Z/2026-12-01T00:00Z",
        "payments/a\x07=2026-12-31T00:00Z",
        "payments/fdi-ok=2026-12-31T00:00Z",
        f"payments/{'x' * 129}=2026-12-31T00:00Z",
        "nobody/a=2026-12-31T00:00Z",
    ],
)
def test_muted_tasks__malformed__names_entry_and_form_without_the_value(text: str) -> None:
    ((variable, entry, message),) = faults(FDI_MUTED_TASKS=f"payments/x=2026-12-31T00:00Z,{text}")
    assert (variable, entry) == ("FDI_MUTED_TASKS", 2)
    assert "must" in message
    assert "2028" not in message


def test_muted_tasks__twice__is_a_fault() -> None:
    text = "payments/a=2026-12-31T00:00Z,payments/a=2026-12-30T00:00Z"
    ((_, entry, message),) = faults(FDI_MUTED_TASKS=text)
    assert (entry, "repeats the instance and task" in message) == (2, True)


@pytest.mark.parametrize("text", ["on", "Check", "1"])
def test_flow_tasks__other_than_off_or_check__is_a_fault(text: str) -> None:
    assert faults(FDI_FLOW_TASKS=text) == [("FDI_FLOW_TASKS", None, "must be off or check, e.g. check")]
