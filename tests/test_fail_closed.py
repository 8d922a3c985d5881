"""Deleting or damaging any part of an upstream response never improves a verdict (docs/contract.md, "fail closed").

A further task group is not a required one: without it the rest is another valid answer, so only spoiling it, or adding
to the answer, is a part of the property.
"""

from __future__ import annotations

import copy
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.documented_responses import HEALTHY
from simulator.responses import body_response, json_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator import Simulator
    from tests.conftest import Function

COUNTS = ("running_tasks_count", "abnormal_tasks_count", "terminated_tasks_count", "completed_tasks_count")
GROUPS = ("common_task_details", "cdc_task_details")
LARGEST = 999_999_999_999
BADNESS = {"healthy": 0, "degraded": 1, "unknown": 2, "unhealthy": 3}

COUNT = st.sampled_from([0, 0, 0, 1, 2, LARGEST]) | st.integers(0, LARGEST)
GROUP = st.fixed_dictionaries(dict.fromkeys(COUNTS, COUNT))
# D59: names that make a member a task group, and names that do so only if its value looks like one
SUFFIXED = st.sampled_from(["flow_task_details", "x_task_details", "Real-Time.2_task_details"])
UNSUFFIXED = st.sampled_from(["orchestration", "flow", "data", "tasks"])
DOCUMENT = st.builds(
    lambda required, further: {**required, **further},
    st.fixed_dictionaries(dict.fromkeys(GROUPS, GROUP)),
    st.dictionaries(SUFFIXED | st.just("orchestration"), GROUP, max_size=2),
)
INVALID = st.one_of(
    st.none(),
    st.booleans(),
    st.text(),
    st.sampled_from(["0", "1", " 0", "0x0", "", "٣"]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1e300, float("nan"), float("inf"), float("-inf")]),
    st.integers(max_value=-1),
    st.integers(min_value=LARGEST + 1),
    st.lists(st.integers(0, 2), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(0, 2), max_size=2),
)
PATHS = [*((group,) for group in GROUPS), *((group, count) for group in GROUPS for count in COUNTS)]


def is_json(value: Any) -> bool:
    """Say whether a value is JSON at all: NaN and the infinities are not, wherever they stand."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def groups_of(document: dict[str, Any]) -> list[str]:
    """Name every member that is a task group, as CONTRACT says it."""
    further = [
        name
        for name, value in document.items()
        if name.endswith("_task_details") or (type(value) is dict and "abnormal_tasks_count" in value)
    ]
    return [*GROUPS, *(name for name in further if name not in GROUPS)]


def plainly_valid(document: Any) -> bool:
    """Say whether a document is a complete answer, in words of its own: no schema of the function's is used."""
    if type(document) is not dict:
        return False
    labels = [name.removesuffix("_task_details") for name in groups_of(document)]
    if len(labels) > 18 or len(set(labels)) < len(labels):
        return False
    for group in groups_of(document):
        if not re.fullmatch("[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", group) or "fdi-ok" in group.lower():
            return False
        if type(document.get(group)) is not dict:
            return False
        for count in COUNTS:
            value = document[group].get(count)
            if type(value) is not int or value < 0 or value > LARGEST:
                return False
    return True


def plain_status(document: Any) -> str:
    """Say what the status of one instance with this answer is."""
    if not plainly_valid(document):
        return "unknown"
    counts = [document[group] for group in groups_of(document)]
    if any(group["abnormal_tasks_count"] for group in counts):
        return "unhealthy"
    return "healthy" if any(group[count] for group in counts for count in COUNTS) else "degraded"


@pytest.fixture
def status_of(function: Callable[..., Function], upstream: Simulator) -> Callable[[bytes], str]:
    checked = function("healthy")

    def ask(body: bytes) -> str:
        upstream.play("id-one", body_response(body))
        response = checked.get("/?explain=none")
        status: str = response.get_json()["status"]
        good = status in ("healthy", "degraded")
        assert response.get_json()["healthy"] is good
        assert (response.status_code == 200) is good
        assert (b"FDI-OK" in response.data) is good
        return status

    return ask


slow_is_fine = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=120)


@slow_is_fine
@given(document=DOCUMENT)
def test_valid_response__has_the_expected_status(status_of: Callable[[bytes], str], document: dict[str, Any]) -> None:
    assert status_of(json.dumps(document).encode()) == plain_status(document)


@slow_is_fine
@given(document=DOCUMENT, path=st.sampled_from(PATHS))
def test_deleted_part__never_improves_the_verdict(
    status_of: Callable[[bytes], str], document: dict[str, Any], path: tuple[str, ...]
) -> None:
    less = copy.deepcopy(document)
    (less[path[0]] if len(path) > 1 else less).pop(path[-1])

    assert status_of(json.dumps(less).encode()) == "unknown"


@slow_is_fine
@given(document=DOCUMENT, path=st.sampled_from(PATHS), value=INVALID)
def test_damaged_part__never_improves_the_verdict(
    status_of: Callable[[bytes], str], document: dict[str, Any], path: tuple[str, ...], value: Any
) -> None:
    spoiled = copy.deepcopy(document)
    (spoiled[path[0]] if len(path) > 1 else spoiled)[path[-1]] = value

    assert status_of(json.dumps(spoiled).encode()) == plain_status(spoiled) == "unknown"


@slow_is_fine
@given(document=DOCUMENT, name=SUFFIXED, count=st.sampled_from([None, *COUNTS]), value=INVALID)
def test_damaged_further_group__never_improves_the_verdict(
    status_of: Callable[[bytes], str], document: dict[str, Any], name: str, count: str | None, value: Any
) -> None:  # D59
    spoiled = copy.deepcopy(document)
    if count is None:
        spoiled[name] = value
    else:
        spoiled.setdefault(name, dict.fromkeys(COUNTS, 0))[count] = value

    assert status_of(json.dumps(spoiled).encode()) == plain_status(spoiled) == "unknown"


@slow_is_fine
@given(
    document=DOCUMENT,
    spoil=st.none() | st.sampled_from(PATHS),
    name=SUFFIXED | UNSUFFIXED | st.text(max_size=20),
    value=GROUP | INVALID | st.dictionaries(st.sampled_from(COUNTS), COUNT | INVALID),
)
def test_added_member__never_improves_the_verdict(
    status_of: Callable[[bytes], str],
    document: dict[str, Any],
    spoil: tuple[str, ...] | None,
    name: str,
    value: Any,
) -> None:  # D59
    less = copy.deepcopy(document)
    if spoil is not None:
        (less[spoil[0]] if len(spoil) > 1 else less).pop(spoil[-1])
    more = {**less, name: value} if name not in less else less

    before, after = plain_status(less), status_of(json.dumps(more).encode())

    assert after == (plain_status(more) if is_json(more) else "unknown")
    if before in ("unhealthy", "unknown"):
        assert after in ("unhealthy", "unknown")
    # Tasks in a further group are tasks: an instance that shows some is not an empty one.
    elif before == "degraded" and after == "healthy":
        assert any(value.values())


@slow_is_fine
@given(document=DOCUMENT, data=st.data())
def test_cut_or_damaged_bytes__never_improve_the_verdict(
    status_of: Callable[[bytes], str], document: dict[str, Any], data: st.DataObject
) -> None:
    body = json.dumps(document, separators=(",", ":")).encode()
    start = data.draw(st.integers(0, len(body) - 1))
    end = data.draw(st.integers(start + 1, len(body)))
    damaged = body[:start] + data.draw(st.binary(max_size=3)) + body[end:]
    try:
        parsed = json.loads(damaged)
    except ValueError:
        parsed = None

    status = status_of(damaged)

    # What is left may be another valid answer: then that one's own status is the truth.
    assert status == plain_status(parsed) or status == "unknown"


@slow_is_fine
@given(document=DOCUMENT, group=st.sampled_from(GROUPS), count=st.sampled_from(COUNTS), other=COUNT)
def test_repeated_key__is_an_invalid_response(
    status_of: Callable[[bytes], str], document: dict[str, Any], group: str, count: str, other: int
) -> None:
    text = json.dumps(document)
    inner = json.dumps(document[group])
    twice = f'{inner[:-1]}, "{count}": {other}}}'

    assert status_of(text.replace(inner, twice, 1).encode()) == "unknown"


@slow_is_fine
@given(documents=st.lists(DOCUMENT | INVALID, min_size=2, max_size=4))
def test_verdict__is_that_of_the_worst_instance(function: Callable[..., Function], documents: list[Any]) -> None:
    answers = [body_response(json.dumps(document).encode()) for document in documents]

    verdict = function(*answers).verdict("/?explain=none")

    statuses = [plain_status(document) for document in documents]
    assert [instance["status"] for instance in verdict["instances"]] == statuses
    assert verdict["status"] == max(statuses, key=BADNESS.__getitem__)


@pytest.mark.parametrize(("age", "code"), [("0", None), ("1", "invalid_response"), ("86400", "invalid_response")])
def test_response__with_an_age_header__is_unknown_if_from_a_cache(
    function: Callable[..., Function], age: str, code: str | None
) -> None:
    checked = function(json_response(HEALTHY, headers=(("Age", age),)))
    error = checked.instance()["error"]
    assert (error["code"] if error else None) == code
