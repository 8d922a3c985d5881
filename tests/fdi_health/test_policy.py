"""The operator's policy: too few tasks, too few running ones, and mutes that end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdi_health.clock import Instant, now
from fdi_health.errors import NEXT_STEPS, CheckError
from fdi_health.evaluation import evaluate, hide_details
from fdi_health.models import Instance, ProbeResult, Statistics, TaskCounts
from fdi_health.policy import Mute, Policy
from fdi_health.policy.mutes import NEVER_MUTED
from fdi_health.reasons import next_steps
from schemas import verdict as verdict_schema
from tests.fdi_health.test_evaluation import results

if TYPE_CHECKING:
    from collections.abc import Callable

    from fdi_health.models import Verdict
    from tests.conftest import Function

NOW = datetime(2026, 11, 24, tzinfo=UTC)
PRESENT = NOW.timestamp()
ONE = Instance("payments", "id-1")
EMPTY = TaskCounts(0, 0, 0, 0)
ORDER = ["healthy", "degraded", "unknown", "unhealthy"]
KEYS = st.sampled_from(["*", "payments", "id-1", "another"])
MUTES = st.dictionaries(KEYS, st.builds(Mute, st.none() | st.integers(-9, 9), st.integers(-9, 9)), max_size=3)
POLICIES = st.builds(
    Policy,
    st.frozensets(KEYS, max_size=2),
    st.dictionaries(KEYS, st.integers(1, 9), max_size=2),
    st.dictionaries(KEYS, st.integers(1, 9), max_size=2),
    MUTES,
)


def answered(running: int = 0, abnormal: int = 0, stopped: int = 0) -> ProbeResult:
    return ProbeResult(ONE, Statistics(TaskCounts(running, abnormal, stopped, 0), EMPTY), None, Instant(0, 0), 0.1)


def failed(code: str) -> ProbeResult:
    return ProbeResult(ONE, None, CheckError(code, "said so"), Instant(0, 0), 0.1)


def judged(result: ProbeResult, policy: Policy, present: float = PRESENT) -> Verdict:
    verdict = evaluate([result], policy, NOW, present=present)
    verdict_schema.document(verdict)  # raises if it contradicts itself
    verdict_schema.document(hide_details(verdict))
    return verdict


@pytest.mark.parametrize(
    ("policy", "status", "reason"),
    [
        (Policy(min_running_tasks={"payments": 3}), "unhealthy", "2 of at least 3 tasks running in payments"),
        (Policy(min_running_tasks={"payments": 2}), "healthy", "none"),
        (Policy(min_tasks={"payments": 9}), "unknown", "payments unknown (tasks_missing)"),
        (Policy(min_tasks={"payments": 8}), "healthy", "none"),
        (Policy(min_tasks={"*": 9}), "unknown", "payments unknown (tasks_missing)"),
        (Policy(min_tasks={"id-1": 9}), "unknown", "payments unknown (tasks_missing)"),
        (Policy(min_tasks={"*": 9, "payments": 1}), "healthy", "none"),
        (Policy(min_tasks={"id-1": 9, "payments": 1}), "healthy", "none"),
        (Policy(min_tasks={"*": 9, "id-1": 1}), "healthy", "none"),
        (Policy(min_tasks={"another": 9}), "healthy", "none"),
        # Too few running is the worse of the two.
        (
            Policy(min_tasks={"*": 9}, min_running_tasks={"*": 3}),
            "unhealthy",
            "2 of at least 3 tasks running in payments",
        ),
    ],
)
def test_policy__too_few_tasks__is_unhealthy_or_unknown(policy: Policy, status: str, reason: str) -> None:
    verdict = judged(answered(running=2, stopped=6), policy)
    assert (verdict.status, verdict.reason) == (status, reason)


def test_min_tasks__not_reached__shows_the_counts_and_what_to_do() -> None:
    verdict = judged(answered(running=2), Policy(min_tasks={"*": 3}))
    assert verdict.details is not None
    (instance,) = verdict.details.instances
    assert instance.common_task_details == TaskCounts(2, 0, 0, 0)
    assert instance.error is not None
    assert (instance.error.code, instance.error.message) == ("tasks_missing", "2 of at least 3 tasks visible")
    assert next_steps(instance, ()) == [NEXT_STEPS["tasks_missing"]]
    assert verdict.anonymous_reason == "1 of 1 instances unknown (tasks_missing)"


def test_min_tasks__no_task_visible__pages_although_the_instance_may_be_empty() -> None:
    assert judged(answered(), Policy(frozenset("*"), min_tasks={"*": 1})).status == "unknown"


def test_min_running_tasks__not_reached__has_its_own_next_step() -> None:
    verdict = judged(answered(running=2), Policy(min_running_tasks={"*": 3}))
    assert verdict.details is not None
    (step,) = next_steps(verdict.details.instances[0], ())
    assert step.startswith("Start the stopped tasks")


def test_abnormal_and_too_few_running__reason_says_both() -> None:
    verdict = judged(answered(running=2, abnormal=1), Policy(min_running_tasks={"*": 3}))
    assert verdict.details is not None
    assert verdict.details.instances[0].reason == "1 abnormal common task, 2 of at least 3 tasks running"
    assert verdict.reason == "1 abnormal task in payments"


@pytest.mark.parametrize(
    ("mute", "is_muted"),
    [
        (Mute(None, PRESENT + 1), True),
        (Mute(None, PRESENT), False),
        (Mute(PRESENT, PRESENT + 1), True),
        (Mute(PRESENT + 1, PRESENT + 2), False),
        (Mute(PRESENT - 2, PRESENT - 1), False),
    ],
)
def test_mute__is_active_from_its_beginning_until_its_end(mute: Mute, is_muted: bool) -> None:
    verdict = judged(answered(abnormal=1), Policy(mutes={"payments": mute}))
    assert verdict.status == ("degraded" if is_muted else "unhealthy")


def test_mute__unhealthy_instance__is_degraded_and_says_what_is_muted_until_when() -> None:
    verdict = judged(answered(abnormal=2), Policy(mutes={"payments": Mute(None, PRESENT + 3600)}))
    assert verdict.reason == "payments muted until 2026-11-24T01:00:00Z"
    assert verdict.anonymous_reason == "1 of 1 instances degraded (muted)"
    assert verdict.details is not None
    (warning,) = verdict.details.warnings
    assert (warning.code, warning.instance) == ("muted", "payments")
    assert warning.message == "payments is muted until 2026-11-24T01:00:00Z: 2 abnormal common tasks."


@pytest.mark.parametrize("code", sorted(NEXT_STEPS))
def test_mute__unknown_instance__is_degraded_unless_nothing_can_be_watched(code: str) -> None:
    verdict = judged(failed(code), Policy(mutes={"*": Mute(None, PRESENT + 3600)}))
    assert verdict.status == ("unknown" if code in NEVER_MUTED else "degraded")
    assert verdict.details is not None
    assert verdict.details.instances[0].error is not None  # it stays shown


@pytest.mark.parametrize(
    ("fail_on", "marker", "http_status"),
    [
        (("unhealthy", "unknown"), "FDI-OK", 200),
        (("degraded",), "FDI-OK", 200),
        (("none",), "FDI-OK", 200),
        (("healthy",), "FDI-NOT-OK", 503),
    ],
)
def test_mute__fails_the_check__only_in_a_fire_drill(fail_on: Any, marker: str, http_status: int) -> None:
    policy = Policy(mutes={"*": Mute(None, PRESENT + 3600)})
    verdict = judged(answered(abnormal=1), policy)._replace(fail_on=fail_on)
    assert (verdict.outcome.marker, verdict.outcome.http_status) == (marker, http_status)
    verdict_schema.document(verdict)


def test_muted_beside_degraded__fails_on_degraded() -> None:
    other = ProbeResult(Instance("crm", "id-2"), Statistics(EMPTY, EMPTY), None, Instant(0, 0), 0.1)
    policy = Policy(mutes={"payments": Mute(None, PRESENT + 3600)})
    verdict = evaluate([answered(abnormal=1), other], policy, NOW, present=PRESENT)._replace(fail_on=("degraded",))
    assert verdict.outcome.http_status == 503
    verdict_schema.document(verdict)


def test_mutes__not_ended__are_listed_also_while_nothing_is_wrong() -> None:
    policy = Policy(mutes={"payments": Mute(PRESENT + 60, PRESENT + 3600), "crm": Mute(None, PRESENT - 1)})
    verdict = judged(answered(running=1), policy)
    assert verdict.status == "healthy"
    document = verdict_schema.document(verdict)
    assert document["mutes"] == [
        {"instance": "payments", "from": "2026-11-24T00:01:00Z", "until": "2026-11-24T01:00:00Z"}
    ]
    assert "mutes" not in verdict_schema.document(judged(answered(running=1), policy, present=PRESENT + 3600))


@given(results(), POLICIES)
def test_any_policy__never_makes_a_bad_instance_healthy(found: list[ProbeResult], policy: Policy) -> None:
    without = evaluate(found, Policy(), NOW, present=0.0).details
    with_policy = evaluate(found, policy, NOW, present=0.0)
    verdict_schema.document(with_policy)
    assert without is not None
    assert with_policy.details is not None
    for before, after in zip(without.instances, with_policy.details.instances, strict=True):
        if before.status in ("unhealthy", "unknown"):
            assert after.status != "healthy"


@pytest.mark.parametrize("key", ["payments", "id-1", "*"])
def test_allow_empty__by_alias_id_or_every__is_healthy(key: str) -> None:
    assert judged(answered(), Policy(frozenset({key}))).status == "healthy"


def test_allow_empty__another_instance__is_degraded() -> None:
    assert judged(answered(), Policy(frozenset({"another", "id-2"}))).status == "degraded"


@given(results(), POLICIES, st.integers(-9, 9))
def test_any_policy_without_active_mutes__never_makes_an_instance_milder(
    found: list[ProbeResult], policy: Policy, present: int
) -> None:
    policy = policy._replace(allow_empty=frozenset())
    ended = {key: mute for key, mute in policy.mutes.items() if not mute.is_active(present)}
    plain = evaluate(found, Policy(), NOW, present=present)
    judged_again = evaluate(found, policy._replace(mutes=ended), NOW, present=present)
    assert plain.details is not None
    assert judged_again.details is not None
    for before, after in zip(plain.details.instances, judged_again.details.instances, strict=True):
        assert ORDER.index(after.status) >= ORDER.index(before.status)
    without_mutes = evaluate(found, policy._replace(mutes={}), NOW, present=present)
    assert [i.status for i in judged_again.details.instances] == [
        i.status for i in (without_mutes.details.instances if without_mutes.details else ())
    ]


@dataclass
class Clock:
    """Both clocks, some seconds ahead of the machine's."""

    ahead: float = 0.0

    def __call__(self) -> Instant:
        present = now()
        return Instant(present.wall + self.ahead, present.monotonic + self.ahead)


def text_of(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def test_function__mute_begins_and_ends__follows_the_clock_with_cached_results(
    function: Callable[..., Function],
) -> None:
    clock, start = Clock(), now().wall
    mute = f"one={text_of(start + 60)}/{text_of(start + 90)}"
    checked = function("doc_example", FDI_MUTE=mute, FDI_CACHE_SECONDS="60", clock=clock)
    seen = []
    for ahead in (0, 61, 85, 91):
        clock.ahead = ahead
        response = checked.get()
        seen.append((response.get_json()["status"], response.status_code, response.get_json()["marker"]))
    assert seen == [
        ("unhealthy", 503, "FDI-NOT-OK"),
        ("degraded", 200, "FDI-OK"),
        ("degraded", 200, "FDI-OK"),
        ("unhealthy", 503, "FDI-NOT-OK"),
    ]


def test_function__policies__are_read_from_the_settings(function: Callable[..., Function]) -> None:
    checked = function("healthy", "healthy", FDI_MIN_TASKS="one=24,*=1", FDI_MIN_RUNNING_TASKS="id-two=4")
    assert [i["status"] for i in checked.verdict()["instances"]] == ["unknown", "unhealthy"]
    metrics = checked.get("/metrics").text
    assert 'fdi_instance_status{fdi_instance="two",status="unhealthy"} 1' in metrics
    assert 'fdi_instance_error{code="tasks_missing",fdi_instance="one"} 1' in metrics


def test_function__mute__is_in_every_format(function: Callable[..., Function]) -> None:
    end = now().wall // 1 + 3600
    checked = function("doc_example", FDI_MUTE=f"one={text_of(end)}")
    assert "one is muted until 20" in checked.get("/?format=json").text
    assert "muted until 20" in checked.get("/?format=text").text
    assert checked.get("/?format=nagios").text.startswith("WARNING - FDI-OK degraded: one muted until 20")
    assert "muted until 20" in checked.get("/?format=health").text
    assert f'fdi_mute_until_timestamp_seconds{{fdi_instance="one"}} {end!r}' in checked.get("/metrics").text
    assert (
        "1 of 1 instances degraded (muted)"
        in function("doc_example", FDI_MUTE=f"one={text_of(end)}", FDI_ANONYMOUS="verdict").get().text
    )


def test_function__endless_mute__is_a_fault_that_names_the_entry(function: Callable[..., Function]) -> None:
    far = text_of(now().wall + 32 * 86400)
    response = function("healthy", FDI_MUTE=f"one={far}", FDI_ANONYMOUS="details").get()
    assert response.status_code == 500
    (fault,) = response.get_json()["faults"]
    assert (fault["variable"], fault["entry"]) == ("FDI_MUTE", 1)
    assert fault["message"].startswith("must end within 31 days")


def test_function__ended_mute__is_no_fault(function: Callable[..., Function]) -> None:
    assert function("healthy", FDI_MUTE="one=2020-01-01T00:00Z").get().status_code == 200


@pytest.mark.parametrize(
    ("own", "status"),
    [
        (Mute(PRESENT + 60, PRESENT + 120), "unhealthy"),  # it has a mute of its own, which has not begun
        (Mute(PRESENT - 120, PRESENT - 60), "degraded"),  # an ended mute has no effect
    ],
)
def test_mute_of_an_instance__goes_before_that_of_all__until_it_has_ended(own: Mute, status: str) -> None:
    policy = Policy(mutes={"*": Mute(None, PRESENT + 3600), "payments": own})
    assert judged(answered(abnormal=1), policy).status == status


def test_function__mute_that_ended_between_two_checks__is_not_listed(function: Callable[..., Function]) -> None:
    clock, start = Clock(), now().wall
    mute = f"one={text_of(start + 10)}/{text_of(start + 20)}"
    checked = function("healthy", FDI_MUTE=mute, FDI_CACHE_SECONDS="60", clock=clock)
    assert len(checked.verdict()["mutes"]) == 1
    clock.ahead = 30
    assert "mutes" not in checked.verdict()


def test_function__endless_mute_and_another_fault__are_reported_together(function: Callable[..., Function]) -> None:
    far = text_of(now().wall + 32 * 86400)
    response = function("healthy", FDI_MUTE=f"one={far}", FDI_CACHE_SECONDS="x").get()
    assert [fault["variable"] for fault in response.get_json()["faults"]] == ["FDI_CACHE_SECONDS", "FDI_MUTE"]
