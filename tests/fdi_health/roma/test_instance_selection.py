"""Which listed instances are asked, and by what name."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from fdi_health.models import Instance
from fdi_health.roma.instance_selection import (
    SKIPPED_STATES,
    DiscoveredInstances,
    name_instances,
    safe_name,
    select_instances,
)
from fdi_health.roma.instances import ListedInstance
from schemas.roma.instances import load_instances
from schemas.settings_fields import MARKER, NAME
from schemas.targets import TargetSettings


def listed(*entries: tuple[str, ...]) -> list[ListedInstance]:
    """Return instances from (ID, name) or (ID, name, state)."""
    return [ListedInstance(one[0], one[1], one[2] if len(one) > 2 else "RUNNING") for one in entries]


def select(
    instances: list[ListedInstance],
    *exclude: str,
    named: tuple[tuple[str, str], ...] = (),
    min_instances: int = 0,
) -> DiscoveredInstances:
    settings = TargetSettings(
        None, "https://roma.example", "p", "env://T", named, None, None, True, frozenset(exclude), min_instances
    )
    return select_instances(instances, settings)


def names(found: DiscoveredInstances) -> list[str]:
    return [instance.name for instance in found.instances]


def codes(found: DiscoveredInstances) -> list[str]:
    return [warning.code for warning in found.warnings]


TWO = listed(("id-1", "payments"), ("id-2", "crm"))


def test_instances__by_their_own_names__are_ordered_by_name() -> None:
    assert select(TWO) == DiscoveredInstances((Instance("crm", "id-2"), Instance("payments", "id-1")))


def test_instances__with_an_alias__have_that_name() -> None:
    assert names(select(TWO, named=(("zoo", "id-2"),))) == ["payments", "zoo"]


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("Payments_1.x", "Payments_1.x"),
        ("pay ments/<b>", "pay-ments--b"),
        ("FDI-OK", "FDI_OK"),
        ("my FDI OK", "my-FDI_OK"),
        ("支付", ""),
        ("ROMA 支付", "ROMA"),
        ("...", ""),
        ("- -", ""),
        ("", ""),
        ("a" * 70, "a" * 64),
    ],
)
def test_safe_name__any_text__is_an_alias_or_empty(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@pytest.mark.parametrize(
    ("entries", "named", "expected"),
    [
        ((("b", "x"), ("a", "x"), ("c", "x")), (), {"a": "x", "b": "x-2", "c": "x-3"}),
        ((("b", "x"), ("a", "x")), (("x", "b"),), {"a": "x-2", "b": "x"}),
        ((("a", "x"), ("b", "x"), ("c", "x-2")), (), {"a": "x", "b": "x-3", "c": "x-2"}),
        ((("a", "b"), ("b", "x")), (), {"a": "b-2", "b": "x"}),
        ((("a", "a"),), (), {"a": "a"}),
        ((("a", "支付"),), (), {"a": "a"}),
        ((("a", "n" * 64), ("b", "n" * 64)), (), {"a": "n" * 64, "b": f"{'n' * 62}-2"}),
    ],
)
def test_names__of_several_instances__are_unique(
    entries: tuple[tuple[str, str], ...], named: tuple[tuple[str, str], ...], expected: dict[str, str]
) -> None:
    assert name_instances(listed(*entries), named) == expected


@pytest.mark.parametrize("exclusion", ["id-2", "Crm.old", "Crm--old-", "Crm--old"])
def test_exclusion__by_id_name_or_safe_name__is_not_asked(exclusion: str) -> None:
    name = "Crm.old" if exclusion == "Crm.old" else "Crm !old!" if exclusion == "Crm--old" else "Crm--old-"
    found = select(listed(("id-1", "payments"), ("id-2", name)), exclusion)
    assert (names(found), found.warnings) == (["payments"], ())


def test_exclusion__of_a_numbered_name__leaves_the_others() -> None:
    assert names(select(listed(("a", "x"), ("b", "x"), ("c", "y")), "x-2")) == ["x", "y"]


def test_exclusion__that_matches_nothing__is_a_warning() -> None:
    found = select(TWO, "sandbox")
    (warning,) = found.warnings
    assert warning[:2] == ("exclusion_unmatched", None)
    assert "sandbox" in warning.message
    assert names(found) == ["crm", "payments"]


def test_exclusion__of_a_required_instance__excludes_nothing() -> None:
    found = select(TWO, "crm", named=(("c", "id-2"),))
    assert (names(found), codes(found)) == (["c", "payments"], ["exclusion_unmatched"])


@pytest.mark.parametrize("status", sorted(SKIPPED_STATES))
def test_instance__in_a_state_without_work__is_skipped_with_a_warning(status: str) -> None:
    found = select(listed(("id-1", "payments"), ("id-2", "crm", status)))
    (warning,) = found.warnings
    assert (names(found), warning.code, warning.instance) == (["payments"], "instance_skipped", "crm")
    assert status in warning.message


@pytest.mark.parametrize("status", ["RUNNING", "FROZEN", "FREEZING", "ERROR", "NOT_DOCUMENTED", "", "deleting"])
def test_instance__in_any_other_state__is_asked(status: str) -> None:
    assert names(select(listed(("id-1", "payments", status)))) == ["payments"]


def test_instance__excluded_and_in_a_state_without_work__needs_no_warning() -> None:
    assert codes(select(listed(("id-1", "payments"), ("id-2", "crm", "DELETING")), "crm")) == []


def test_instance__required_and_in_a_state_without_work__is_asked() -> None:
    found = select(listed(("id-1", "payments", "DELETING")), named=(("payments", "id-1"),))
    assert (names(found), found.warnings) == (["payments"], ())


@pytest.mark.parametrize(
    ("instances", "arguments", "message"),
    [
        ([], {}, "the project's list of instances is empty"),
        (TWO, {"named": (("erp", "id-9"), ("crm", "id-2"))}, "not in the project's list of instances: erp"),
        (TWO, {"min_instances": 3}, "2 of at least 3 instances found"),
        (
            listed(("id-1", "a", "CREATING"), ("id-2", "b")),
            {"exclude": "b"},
            "no instance is left to ask: 1 excluded, 1 skipped for their state",
        ),
    ],
)
def test_list__that_lacks_instances__is_an_error_without_instances(
    instances: list[ListedInstance], arguments: dict[str, Any], message: str
) -> None:
    exclude = arguments.pop("exclude", None)
    found = select(instances, *([exclude] if exclude else []), **arguments)
    assert found.error is not None
    assert (found.instances, found.error.code, found.error.message) == ((), "instance_not_found", message)
    assert found.error.next_step


def test_min_instances__reached__is_no_error() -> None:
    assert select(TWO, min_instances=2).error is None


# Properties.

STATES = st.sampled_from(["RUNNING", "FROZEN", "DELETING", "NEW_STATE"])
ENTRIES = st.lists(
    st.fixed_dictionaries(
        {"id": st.text("ab-_1", min_size=1, max_size=3), "name": st.text("ab FDI-OK.支", max_size=8), "status": STATES}
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda entry: entry["id"],
)
JUNK = st.one_of(st.none(), st.booleans(), st.integers(-1, 0), st.floats(), st.just([]), st.just({}), st.just(("x",)))


@given(ENTRIES)
def test_names__of_any_list__are_unique_aliases_without_the_marker(entries: list[dict[str, str]]) -> None:
    found = name_instances(listed(*((one["id"], one["name"]) for one in entries)), ())
    assert len(set(found.values())) == len(entries)
    for instance_id, name in found.items():
        assert NAME.fullmatch(name)
        assert not MARKER.search(name)
        assert name == instance_id or name not in found


def from_document(document: Any) -> set[str] | None:
    """Return the IDs of the instances that are asked, or None for an error."""
    try:
        entries = load_instances(document)
    except ValidationError:
        return None
    found = select([ListedInstance(one["id"], one["name"], one["status"]) for one in entries])
    return None if found.error else {instance.instance_id for instance in found.instances}


@given(ENTRIES, st.data())
def test_damaged_list__never_asks_fewer_instances_without_an_error(
    entries: list[dict[str, Any]], data: st.DataObject
) -> None:
    document: dict[str, Any] = {"total": len(entries), "size": len(entries), "instances": entries}
    whole = from_document(document)
    damaged = copy.deepcopy(document)
    place = data.draw(st.sampled_from(["entry", "field", "document"]))
    index = data.draw(st.integers(0, len(entries) - 1))
    container: Any = {"entry": damaged["instances"], "field": damaged["instances"][index], "document": damaged}[place]
    key = index if place == "entry" else data.draw(st.sampled_from(sorted(container)))
    if data.draw(st.booleans()):
        del container[key]
    else:
        container[key] = data.draw(JUNK)
    asked = from_document(damaged)
    assert asked is None or asked == whole
