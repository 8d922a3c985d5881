"""The verdict's document is exact, and one that does not agree with itself is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from marshmallow import ValidationError

from fdi_health.clock import Instant
from fdi_health.errors import CheckError
from fdi_health.evaluation import evaluate
from fdi_health.models import Details, Instance, ProbeResult, Statistics, TaskCounts, Verdict
from fdi_health.policy import Mute, Policy
from schemas import verdict as verdict_schema
from schemas import verdict_invariants

CHECKED_AT = datetime(2026, 11, 24, 16, 0, 0, 900_000, UTC)
FULL = Statistics(TaskCounts(1, 0, 0, 0), None)


def verdict(abnormal: int = 0) -> Verdict:
    counts = TaskCounts(2, abnormal, 6, 8)
    answered = ProbeResult(Instance("a", "1"), Statistics(counts, counts), None, Instant(0, 0), 0.25)
    failed = ProbeResult(Instance("b", "2"), None, CheckError("timeout", "late"), Instant(0, 0), 0.5)
    return evaluate([answered, *([failed] if abnormal else [])], Policy(), CHECKED_AT, 1.26, 0.0584)


def details(found: Verdict) -> Details:
    assert found.details is not None
    return found.details


def with_first_instance(found: Verdict, **changes: Any) -> Verdict:
    first, *others = details(found).instances
    return found._replace(details=details(found)._replace(instances=(first._replace(**changes), *others)))


def test_document__in_another_time_zone__has_its_time_in_utc(far_from_utc: None) -> None:
    east = CHECKED_AT.astimezone(timezone(timedelta(hours=5)))
    assert verdict_schema.document(verdict()._replace(checked_at=east))["checked_at"] == "2026-11-24T16:00:00Z"


def test_document__has_a_reason_of_120_characters_at_most() -> None:
    found = verdict(abnormal=2)
    assert verdict_schema.document(found._replace(reason="x" * 120))["reason"] == "x" * 120


def test_status__is_required_and_one_of_four_in_what_is_described() -> None:
    shown = [schema.fields["status"] for schema in (verdict_schema.AnonymousVerdict(), verdict_schema.Instance())]
    for field in (*shown, verdict_schema._status()):
        assert field.required
        with pytest.raises(ValidationError):
            field.deserialize("fine")


@pytest.mark.parametrize(("status", "sound"), [("unknown", True), ("unhealthy", False), ("degraded", False)])
def test_document__without_instances__is_unknown(status: str, sound: bool) -> None:
    document = verdict_schema.document(verdict(abnormal=2))
    nothing = dict.fromkeys(verdict_invariants.STATUSES, 0)
    healthy = status == "degraded"
    changed = {
        **document,
        "status": status,
        "healthy": healthy,
        "marker": "FDI-OK" if healthy else "FDI-NOT-OK",
        "instances_count": nothing,
        "instances": [],
        "totals": None,
    }
    assert (list(verdict_invariants.invariants(changed)) == []) is sound


@pytest.mark.parametrize("status", ["healthy", "degraded"])
@pytest.mark.parametrize("groups", [(True, True), (True, False), (False, True), (False, False)])
def test_healthy_instance__without_a_group__is_refused(status: str, groups: tuple[bool, bool]) -> None:
    document = verdict_schema.document(verdict())
    counts = document["totals"] and {"running_tasks_count": 1, "abnormal_tasks_count": 0} | {
        "terminated_tasks_count": 1,
        "completed_tasks_count": 1,
    }
    shown = [counts if group else None for group in groups]
    (instance,) = document["instances"]
    changed = {
        **document,
        "status": status,
        "reason": "none" if status == "healthy" else "why",
        "instances_count": {**dict.fromkeys(verdict_invariants.STATUSES, 0), status: 1},
        "instances": [{**instance, "status": status, "common_task_details": shown[0], "cdc_task_details": shown[1]}],
        "totals": {name: sum(groups) for name in counts} | {"abnormal_tasks_count": 0} if any(groups) else None,
    }
    broken = list(verdict_invariants.invariants(changed))
    assert broken == ([] if any(groups) else ["an instance is healthy without counts"])


def test_document__has_whole_seconds_and_rounded_durations() -> None:
    document = verdict_schema.document(verdict())

    assert document["checked_at"] == "2026-11-24T16:00:00Z"
    assert (document["age_seconds"], document["duration_seconds"]) == (1.3, 0.058)
    assert document["instances_count"] == {"total": 1, "healthy": 1, "degraded": 0, "unhealthy": 0, "unknown": 0}


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "healthy"},
        {"status": "fine"},
        {"reason": "none"},
        {"reason": "x" * 121},
        {"age_seconds": 1},
        {"age_seconds": -0.1},
        {"duration_seconds": float("nan")},
        {"checked_at": datetime(2026, 11, 24)},  # noqa: DTZ001 -- a moment without a zone is the fault
        {"checked_at": "2026-11-24T16:00:00Z"},
        {"instances_count": {"unhealthy": 1, "unknown": 0, "degraded": 0, "healthy": 0}},
        {"instances_count": {"unhealthy": True, "unknown": 1, "degraded": 0, "healthy": 0}},
        {"instances_count": {"unhealthy": 0, "unknown": 0, "degraded": 0, "healthy": 2}},
    ],
)
def test_document__refuses_what_does_not_agree(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        verdict_schema.document(verdict(abnormal=2)._replace(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "unhealthy"},
        {"common_task_details": None},
        {"common_task_details": None, "cdc_task_details": None},
        {"common_task_details": TaskCounts(2, 1, 6, 8)},
        {"common_task_details": TaskCounts(2, 0.0, 6, 8)},  # type: ignore[arg-type] # the inexact count is the fault
        {"common_task_details": TaskCounts(True, 0, 6, 8)},
        {"common_task_details": TaskCounts(-1, 0, 6, 8)},
        {"error": CheckError("timeout", "late")},
        {"duration_seconds": None},
    ],
)
def test_document__refuses_an_instance_that_does_not_agree(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        verdict_schema.document(with_first_instance(verdict(), **changes))


def test_document__refuses_totals_that_are_not_the_sum() -> None:
    found = verdict()
    for totals in (None, TaskCounts(0, 0, 0, 0)):
        with pytest.raises(ValidationError):
            verdict_schema.document(found._replace(details=details(found)._replace(totals=totals)))


def test_document__keeps_the_order_that_people_read() -> None:
    document = verdict_schema.document(verdict(abnormal=2))
    assert list(document["instances"][0]) == [
        "name",
        "instance_id",
        "status",
        "reason",
        "duration_seconds",
        "common_task_details",
        "cdc_task_details",
        "error",
    ]
    assert list(document["instances"][1]["error"]) == [
        "code",
        "message",
        "next_step",
        "upstream_status",
        "upstream_code",
        "upstream_message",
        "request_id",
    ]


def test_invariants__compare_marker_and_healthy() -> None:
    sound = verdict_schema.document(verdict())
    assert list(verdict_invariants.invariants(sound)) == []
    assert list(verdict_invariants.invariants({**sound, "marker": "FDI-NOT-OK"})) != []
    assert list(verdict_invariants.invariants({**sound, "healthy": False})) != []


@pytest.mark.parametrize("fail_on", [["healthy"], ["unknown", "healthy"]])
def test_invariants__compare_marker_and_fail_on_of_a_drill(fail_on: list[str]) -> None:  # G05
    sound = verdict_schema.document(verdict()._replace(fail_on=fail_on))
    assert sound["marker"] == "FDI-NOT-OK"
    assert list(verdict_invariants.invariants(sound, fail_on)) == []
    assert list(verdict_invariants.invariants({**sound, "marker": "FDI-OK"}, fail_on)) != []


def test_invariants__compare_marker_and_fail_on_of_a_degraded_instance() -> None:  # G05
    empty = Statistics(TaskCounts(0, 0, 0, 0), None)
    found = [ProbeResult(Instance(name, name), s, None, Instant(0, 0), 0.1) for name, s in (("a", empty), ("b", FULL))]
    for status, marker, wrong in (("degraded", "FDI-NOT-OK", "FDI-OK"), ("unknown", "FDI-OK", "FDI-NOT-OK")):
        sound = verdict_schema.document(evaluate(found, Policy(), CHECKED_AT)._replace(fail_on=[status]))
        assert sound["marker"] == marker
        assert list(verdict_invariants.invariants({**sound, "marker": wrong}, [status])) != []


def test_error_of_the_whole_check__counts_as_one_unknown_instance() -> None:  # G01
    found = evaluate([], Policy(), CHECKED_AT)
    failed = found._replace(details=details(found)._replace(error=CheckError("timeout", "late")))
    document = verdict_schema.document(failed)
    assert (document["error"]["code"], document["status"]) == ("timeout", "unknown")
    for fail_on, http_status in ((["unknown"], 503), (["unhealthy"], 200), (["unhealthy", "degraded"], 200)):
        assert failed._replace(fail_on=fail_on).outcome == ("FDI-NOT-OK", http_status)
        assert failed._replace(fail_on=fail_on, details=None).outcome == ("FDI-NOT-OK", http_status)


def test_error_of_the_whole_check__with_instances_or_health__is_refused() -> None:
    for found in (verdict(), verdict(abnormal=2)):
        with pytest.raises(ValidationError, match="top-level error"):
            verdict_schema.document(
                found._replace(details=details(found)._replace(error=CheckError("timeout", "late")))
            )


def with_flow(counts: TaskCounts) -> Verdict:
    statistics = Statistics(FULL.common_task_details, None, {"flow_task_details": counts})
    return evaluate([ProbeResult(Instance("a", "1"), statistics, None, Instant(0, 0), 0.25)], Policy(), CHECKED_AT)


def test_further_group__stands_after_the_known_ones() -> None:  # D59
    (instance,) = verdict_schema.document(with_flow(TaskCounts(1, 2, 3, 4)))["instances"]
    assert list(instance)[5:8] == ["common_task_details", "cdc_task_details", "other_task_details"]
    assert instance["other_task_details"] == {
        "flow_task_details": {
            "running_tasks_count": 1,
            "abnormal_tasks_count": 2,
            "terminated_tasks_count": 3,
            "completed_tasks_count": 4,
        }
    }


@pytest.mark.parametrize(
    "counts",
    [
        TaskCounts(1, 1, 3, 4),
        TaskCounts(2, 0, 3, 4),
        TaskCounts(1, False, 3, 4),
        TaskCounts(1, 0, 3, 4.0),  # type: ignore[arg-type] # the inexact count is the fault
    ],
)
def test_document__refuses_a_further_group_that_does_not_agree(counts: TaskCounts) -> None:  # D59
    changed = with_first_instance(with_flow(TaskCounts(1, 0, 3, 4)), other_task_details={"flow_task_details": counts})
    with pytest.raises(ValidationError):
        verdict_schema.document(changed)


def test_document__refuses_a_further_group_as_the_only_one() -> None:  # D59
    found = with_flow(TaskCounts(1, 0, 3, 4))
    changed = with_first_instance(found, common_task_details=None)
    changed = changed._replace(details=details(changed)._replace(totals=TaskCounts(1, 0, 3, 4)))
    with pytest.raises(ValidationError, match="healthy without counts"):
        verdict_schema.document(changed)


def test_invariants__muted_instance_that_is_not_degraded__is_a_contradiction() -> None:
    policy = Policy(mutes={"*": Mute(None, 2.0)})
    found = ProbeResult(Instance("one", "id-1"), None, CheckError("timeout", "-"), Instant(0, 0), 0.1)
    sound = verdict_schema.document(evaluate([found], policy, datetime(2026, 11, 24, tzinfo=UTC), present=1.0))
    assert list(verdict_invariants.invariants(sound, muted_count=1)) == []
    (instance,) = sound["instances"]
    wrong = {**sound, "instances": [{**instance, "status": "healthy"}]}
    assert "an instance is muted and not degraded" in list(verdict_invariants.invariants(wrong, muted_count=1))


def test_document__names_of_abnormal_tasks_without_abnormal_counts__is_refused() -> None:
    instance: dict[str, Any] = {
        "name": "one",
        "status": "healthy",
        "reason": "none",
        "error": None,
        "common_task_details": dict.fromkeys(verdict_invariants.COUNTS, 0),
        "cdc_task_details": None,
        "abnormal_tasks": [{}],
    }
    document = {
        "status": "healthy",
        "healthy": True,
        "marker": "FDI-OK",
        "reason": "none",
        "instances_count": {"healthy": 1, "degraded": 0, "unhealthy": 0, "unknown": 0},
        "error": None,
        "warnings": [],
        "totals": dict.fromkeys(verdict_invariants.COUNTS, 0),
        "instances": [instance],
    }
    assert list(verdict_invariants.invariants(document)) == [
        "an instance names abnormal tasks that its counts do not have"
    ]
    instance["abnormal_tasks"] = []
    assert list(verdict_invariants.invariants(document)) == []
