"""The verdict over several targets: none hides another one, and one without a list of instances is unknown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdi_health.clock import Instant
from fdi_health.errors import CheckError
from fdi_health.evaluation import evaluate, hide_details
from fdi_health.formats import FORMATS
from fdi_health.merging import Part, merge
from fdi_health.models import (
    WORST_FIRST,
    Instance,
    ProbeResult,
    Statistics,
    Status,
    TargetVerdict,
    TaskCounts,
    Verdict,
    VerdictWarning,
)
from fdi_health.policy import Policy
from schemas import verdict as verdict_schema

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
FAILED = CheckError("upstream_error", "it failed")


def part(name: str | None, *statuses: Status, error: CheckError | None = None, warning: str | None = None) -> Part:
    target = TargetVerdict(name, "cn-north-4", "p", error)
    warnings = (VerdictWarning(warning, None, "look", "do", name),) if warning else ()
    if error is not None:
        return Part(target, None, warnings)
    results = [result(f"i{number}", name, status) for number, status in enumerate(statuses)]
    return Part(target, evaluate(results, Policy(), NOW), warnings)


def result(alias: str, target: str | None, status: Status) -> ProbeResult:
    instance = Instance(alias, f"id-{alias}", target)
    if status == "unknown":
        return ProbeResult(instance, None, CheckError("timeout", "late"), Instant(0, 0), 0.1)
    counts = TaskCounts(int(status != "degraded"), int(status == "unhealthy"), 0, 0)
    return ProbeResult(instance, Statistics(counts, TaskCounts(0, 0, 0, 0)), None, Instant(0, 0), 0.1)


def merged(*parts: Part) -> Verdict:
    verdict = merge(parts, NOW, 0.1)
    verdict_schema.document(verdict)  # raises if it contradicts itself
    verdict_schema.document(hide_details(verdict))
    for form in FORMATS.values():
        form.render(verdict)
    return verdict


def test_merge__two_targets__names_both_and_adds_them_up() -> None:
    verdict = merged(part("emea", "unhealthy", "healthy"), part("apac", "unknown"))
    assert (verdict.status, verdict.reason) == ("unhealthy", "1 abnormal task in emea/i0; apac/i0 unknown (timeout)")
    assert verdict.anonymous_reason == "1 of 3 instances unhealthy, 1 unknown (timeout)"
    document = verdict_schema.document(verdict)
    assert [(i["target"], i["name"]) for i in document["instances"]] == [("emea", "i0"), ("emea", "i1"), ("apac", "i0")]
    assert [target["name"] for target in document["targets"]] == ["emea", "apac"]
    assert document["totals"]["abnormal_tasks_count"] == 1


def test_merge__target_without_a_list__is_unknown_and_the_others_are_complete() -> None:
    verdict = merged(part("emea", "healthy"), part("apac", error=FAILED))
    assert (verdict.status, verdict.reason) == ("unknown", "apac unknown (upstream_error)")
    assert verdict.anonymous_reason == "1 target unknown (upstream_error)"
    assert verdict.outcome == ("FDI-NOT-OK", 503)
    document = verdict_schema.document(verdict)
    assert (document["error"], document["instances_count"]["total"]) == (None, 1)
    assert document["targets"][1]["error"]["code"] == "upstream_error"


@pytest.mark.parametrize(("fail_on", "status"), [(["unhealthy"], 503), (["unknown"], 503), (["degraded"], 200)])
def test_merge__target_without_a_list_behind_an_unhealthy_one__fails_for_unknown_too(
    fail_on: list[str], status: int
) -> None:
    verdict = merged(part("emea", "unhealthy"), part("apac", error=FAILED))._replace(fail_on=fail_on)
    assert verdict.status == "unhealthy"
    assert verdict.outcome.http_status == status


def test_merge__no_list_at_all__is_the_error_of_the_verdict() -> None:
    verdict = merged(part(None, error=FAILED))
    document = verdict_schema.document(verdict)
    assert (document["status"], document["error"]["code"], document["instances"]) == ("unknown", "upstream_error", [])
    assert (verdict.reason, verdict.anonymous_reason) == (
        "instances unknown (upstream_error)",
        "1 target unknown (upstream_error)",
    )
    assert "targets" not in document
    assert 'fdi_instances{status="unknown"} 1' in FORMATS["prometheus"].render(verdict).decode()


def test_merge__warning_about_a_target__degrades_the_verdict_and_no_instance() -> None:
    verdict = merged(part("emea", "healthy", warning="discovery_stale"))
    assert (verdict.status, verdict.reason) == ("degraded", "discovery_stale in emea")
    assert verdict.anonymous_reason == "degraded (discovery_stale)"
    assert verdict.instances_count["degraded"] == 0
    assert verdict._replace(fail_on=["degraded"]).outcome == ("FDI-NOT-OK", 503)
    assert verdict.outcome == ("FDI-OK", 200)


def test_merge__informing_warning__degrades_nothing() -> None:
    verdict = merged(part("emea", "healthy", warning="instance_skipped"))
    assert (verdict.status, verdict.reason, verdict.anonymous_reason) == ("healthy", "none", "none")


def test_merge__metrics__have_labels_of_targets() -> None:
    text = FORMATS["prometheus"].render(merged(part("emea", "unhealthy"), part("apac", error=FAILED))).decode()
    assert 'fdi_abnormal_tasks_count{target="emea",fdi_instance="i0",group="common"} 1' in text
    assert 'fdi_target_status{target="emea",status="unhealthy"} 1' in text
    assert 'fdi_target_status{target="apac",status="unknown"} 1' in text


def test_merge__text__shows_the_failed_target_and_its_next_step() -> None:
    text = FORMATS["text"].render(merged(part("emea", "healthy"), part("apac", error=FAILED))).decode()
    assert "apac  unknown  it failed (upstream_error)\n  -> Look at the vendor's status page" in text


STATUSES = st.lists(st.sampled_from(WORST_FIRST), min_size=1, max_size=3)
PARTS: st.SearchStrategy[Any] = st.lists(
    STATUSES.map(lambda statuses: (statuses, None)) | st.just(([], FAILED)), min_size=1, max_size=4
)


@given(PARTS, st.booleans())
def test_any_targets__verdict_is_the_worst_of_all(
    found: list[tuple[list[Status], CheckError | None]], stale: bool
) -> None:
    parts = [part(f"t{n}", *statuses, error=error) for n, (statuses, error) in enumerate(found)]
    if stale:
        parts[0] = parts[0]._replace(warnings=(VerdictWarning("discovery_stale", None, "look", "do", "t0"),))
    unlisted: list[Status] = ["unknown"]
    every = [status for statuses, error in found for status in (unlisted if error else statuses)]
    if stale:
        every.append("degraded")
    verdict = merged(*parts)
    assert verdict.status == min(every, key=WORST_FIRST.index)
    assert verdict.healthy is all(status in ("healthy", "degraded") for status in every)
