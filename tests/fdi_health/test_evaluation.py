"""The rules that decide whether somebody is paged, as properties and examples."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdi_health.clock import Instant
from fdi_health.errors import NEXT_STEPS, CheckError
from fdi_health.evaluation import evaluate, hide_details
from fdi_health.formats import text_format
from fdi_health.models import Instance, ProbeResult, Statistics, TaskCounts, TokenState, Verdict
from fdi_health.policy import Policy
from fdi_health.reasons import UNHEALTHY_NEXT_STEP
from schemas import verdict as verdict_schema

NOW = datetime(2026, 11, 24, tzinfo=UTC)
COUNT = st.integers(0, 3) | st.integers(0, 999_999_999_999)
COUNTS = st.builds(TaskCounts, COUNT, COUNT | st.just(0), COUNT, COUNT) | st.just(TaskCounts(0, 0, 0, 0))
CODES = st.sampled_from(sorted(NEXT_STEPS))
OTHER = st.dictionaries(st.sampled_from(["flow_task_details", "orchestration"]), COUNTS, max_size=2)
NAMES = st.text("AZaz09_.-", min_size=1, max_size=64)


@st.composite
def results(draw: st.DrawFn, least: int = 1, most: int = 12) -> list[ProbeResult]:
    names = draw(st.lists(NAMES, min_size=least, max_size=most, unique=True))
    return [draw(result(Instance(name, f"id-{number}"))) for number, name in enumerate(names)]


@st.composite
def result(draw: st.DrawFn, instance: Instance) -> ProbeResult:
    if draw(st.booleans()):
        error = CheckError(draw(CODES), "said so")
        return ProbeResult(instance, None, error, Instant(0, 0), 0.1)
    common, cdc = draw(st.tuples(COUNTS, COUNTS | st.none()) | st.tuples(COUNTS | st.none(), COUNTS))
    return ProbeResult(instance, Statistics(common, cdc, draw(OTHER)), None, Instant(0, 0), 0.1)


def status_by_hand(found: ProbeResult, allow_empty: frozenset[str]) -> str:
    """Evaluate one result in the plainest words there are; shares no line with what it checks."""
    if found.error is not None:
        return "unknown"
    assert found.statistics is not None
    groups = [g for g in (found.statistics.common_task_details, found.statistics.cdc_task_details) if g is not None]
    if not groups:
        return "unknown"
    groups += found.statistics.other_task_details.values()
    for group in groups:
        if group.abnormal_tasks_count != 0:
            return "unhealthy"
    for group in groups:
        if group.running_tasks_count or group.terminated_tasks_count or group.completed_tasks_count:
            return "healthy"
    return "healthy" if found.instance.name in allow_empty or "*" in allow_empty else "degraded"


def worst(statuses: list[str]) -> str:
    if "unhealthy" in statuses:
        return "unhealthy"
    if "unknown" in statuses:
        return "unknown"
    return "degraded" if "degraded" in statuses else "healthy"


@given(results(), st.data())
def test_evaluate__agrees_with_the_plain_rule(found: list[ProbeResult], data: st.DataObject) -> None:
    names = st.sampled_from(["*", *(f.instance.name for f in found)])
    allow_empty = data.draw(st.frozensets(names))
    verdict = evaluate(found, Policy(allow_empty), NOW)

    statuses = [status_by_hand(f, allow_empty) for f in found]
    assert verdict.details is not None
    assert [instance.status for instance in verdict.details.instances] == statuses
    assert verdict.status == worst(statuses)
    assert verdict.healthy == (verdict.status in ("healthy", "degraded"))


@given(results(), st.randoms())
def test_evaluate__does_not_mind_the_order(found: list[ProbeResult], random: object) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined] # hypothesis types its randoms as object
    one, other = evaluate(found, Policy(), NOW), evaluate(shuffled, Policy(), NOW)
    assert (one.status, one.instances_count) == (other.status, other.instances_count)


@given(results(least=2))
def test_evaluate__one_more_finding_never_makes_it_milder(found: list[ProbeResult]) -> None:
    order = ["healthy", "degraded", "unknown", "unhealthy"]
    fewer, more = evaluate(found[:-1], Policy(), NOW), evaluate(found, Policy(), NOW)
    assert order.index(more.status) >= order.index(fewer.status)


@given(results(most=40))
def test_verdict__is_sound_short_and_safe_with_and_without_details(found: list[ProbeResult]) -> None:
    verdict = evaluate(found, Policy(), NOW)
    for shown in (verdict, hide_details(verdict)):
        document = verdict_schema.document(shown)  # raises if it does not agree with itself
        assert 0 < len(document["reason"]) <= 120
        assert (document["reason"] == "none") == (verdict.status == "healthy")


@given(results())
def test_hidden_verdict__names_nobody(found: list[ProbeResult]) -> None:
    hidden = hide_details(
        evaluate(
            [
                ProbeResult(
                    Instance(f"zz.{f.instance.name}", f.instance.instance_id),
                    f.statistics,
                    f.error,
                    f.arrived,
                    f.duration_seconds,
                )
                for f in found
            ],
            Policy(),
            NOW,
        )
    )
    assert hidden.details is None
    assert "zz." not in hidden.reason


def verdict_of(*statuses: str, code: str = "timeout") -> Verdict:
    found = []
    for number, status in enumerate(statuses):
        counts = TaskCounts(int(status != "degraded"), 2 if status == "unhealthy" else 0, 0, 0)
        unknown = status == "unknown"
        found.append(
            ProbeResult(
                Instance(f"n{number}", f"i{number}"),
                None if unknown else Statistics(counts, TaskCounts(0, 0, 0, 0)),
                CheckError(code, "said so") if unknown else None,
                Instant(0, 0),
                0.1,
            )
        )
    return evaluate(found, Policy(), NOW)


@pytest.mark.parametrize(
    ("statuses", "reason", "anonymous"),
    [
        (["healthy"], "none", "none"),
        (["unhealthy"], "2 abnormal tasks in n0", "1 of 1 instances unhealthy"),
        (
            ["unknown", "unhealthy"],
            "2 abnormal tasks in n1; n0 unknown (timeout)",
            "1 of 2 instances unhealthy, 1 unknown (timeout)",
        ),
        (["degraded", "healthy"], "no tasks visible in n0", "1 of 2 instances degraded (no_tasks_visible)"),
        (
            ["degraded", "unknown"],
            "n1 unknown (timeout); no tasks visible in n0",
            "1 of 2 instances unknown (timeout), 1 degraded (no_tasks_visible)",
        ),
    ],
)
def test_reason__is_worst_first(statuses: list[str], reason: str, anonymous: str) -> None:
    verdict = verdict_of(*statuses)
    assert (verdict.reason, verdict.anonymous_reason) == (reason, anonymous)


def test_reason__says_how_many_are_left_out() -> None:
    reason = verdict_of(*["unhealthy"] * 30).reason
    assert reason.startswith("2 abnormal tasks in n0; 2 abnormal tasks in n1; ")
    assert reason.endswith("; +26 more")
    assert len(reason) <= 120


def test_reason__fits_the_longest_names() -> None:
    counts = TaskCounts(0, 999_999_999_999, 0, 0)
    found = [
        ProbeResult(Instance(f"{'n' * 60}{number}", f"i{number}"), Statistics(counts, counts), None, Instant(0, 0), 0.1)
        for number in range(2000)
    ]
    assert len(evaluate(found, Policy(), NOW).reason) <= 120


def test_reason__counts_one_task_in_the_singular() -> None:
    counts = TaskCounts(0, 1, 0, 0)
    verdict = evaluate(
        [ProbeResult(Instance("a", "1"), Statistics(counts, None), None, Instant(0, 0), 0.1)], Policy(), NOW
    )
    assert verdict.reason == "1 abnormal task in a"
    assert verdict.details is not None
    assert verdict.details.instances[0].reason == "1 abnormal common task"


def test_text__of_a_hidden_verdict_is_one_line() -> None:
    assert list(text_format.lines(hide_details(verdict_of("unhealthy", "healthy")))) == [
        "FDI-NOT-OK unhealthy: 1 of 2 instances unhealthy"
    ]


def test_no_findings__are_unknown() -> None:
    verdict = evaluate([], Policy(), NOW)
    assert (verdict.status, verdict.healthy, verdict.reason) == ("unknown", False, "no instance was asked")
    assert verdict.anonymous_reason == "no instance was asked"


def test_finding_without_answer_and_error__is_unknown() -> None:
    flow = {"flow_task_details": TaskCounts(1, 0, 0, 0)}
    for statistics in (None, Statistics(None, None), Statistics(None, None, flow)):
        verdict = evaluate([ProbeResult(Instance("a", "1"), statistics, None, Instant(0, 0), 0.1)], Policy(), NOW)
        assert (verdict.status, verdict.reason) == ("unknown", "a unknown (invalid_response)")


def test_finding_with_answer_and_error__is_unknown() -> None:
    counts = TaskCounts(1, 0, 0, 0)
    error = CheckError("timeout", "said so")
    found = ProbeResult(Instance("a", "1"), Statistics(counts, counts), error, Instant(0, 0), 0.1)
    verdict = evaluate([found], Policy(), NOW)
    assert verdict.status == "unknown"
    assert verdict.details is not None
    assert verdict.details.instances[0].common_task_details is None  # nor is a number of it shown


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=12))
def test_reason__shows_as_much_as_fits(lengths: list[int]) -> None:
    names = [f"{'n' * length}{number}" for number, length in enumerate(lengths)]
    error = CheckError("timeout", "said so")
    verdict = evaluate(
        [ProbeResult(Instance(name, name), None, error, Instant(0, 0), 0.1) for name in names], Policy(), NOW
    )
    clauses = [f"{name} unknown (timeout)" for name in names]
    whole = [
        "; ".join([*clauses[:shown], *([f"+{len(names) - shown} more"] * (shown < len(names)))])
        for shown in range(len(names) + 1)
    ]
    assert verdict.reason == max((text for text in whole if len(text) <= 120), key=whole.index)


@pytest.mark.parametrize(("length", "shown"), [(120, "whole"), (121, "more")])
def test_reason__of_exactly_the_length_is_whole(length: int, shown: str) -> None:
    rest = " unknown (timeout); b unknown (timeout)"
    name = "a" * (length - len(rest))
    error = CheckError("timeout", "said so")
    found = [ProbeResult(Instance(text, text), None, error, Instant(0, 0), 0.1) for text in (name, "b")]
    assert evaluate(found, Policy(), NOW).reason.endswith("+1 more" if shown == "more" else rest)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_anonymous_reason__shows_as_many_codes_as_fit_into_50_characters(number: int) -> None:
    for codes in combinations(sorted(NEXT_STEPS), number):
        found = [
            ProbeResult(Instance(code, code), None, CheckError(code, "said so"), Instant(0, 0), 0.1) for code in codes
        ]
        texts = [
            ", ".join([*codes[:shown], *([f"+{number - shown} more"] * (shown < number))])
            for shown in range(1, number + 1)
        ]
        shown = next(text for text in reversed(texts) if len(text) <= 50)
        expected = f"{number} of {number} instances unknown ({shown})"
        assert evaluate(found, Policy(), NOW).anonymous_reason == expected


def test_reason__of_a_name_that_never_fits_is_a_count() -> None:
    name = "n" * 200
    found = [ProbeResult(Instance(name, "1"), None, CheckError("timeout", "said so"), Instant(0, 0), 0.1)]
    assert evaluate(found, Policy(), NOW).reason == "+1 more"


SOON, LATER = 1_790_000_000.0, 1_790_003_600.0
FULL, EMPTY = Statistics(TaskCounts(1, 0, 0, 0), None), Statistics(TaskCounts(0, 0, 0, 0), None)


def announced(name: str, statistics: Statistics, expires_at: float | None = SOON) -> ProbeResult:
    return ProbeResult(Instance(name, name), statistics, None, Instant(0, 0), 0.1, expires_at)


def test_end_of_a_token__is_announced_once_and_names_no_instance() -> None:
    verdict = evaluate([announced("a", FULL, LATER), announced("b", FULL), announced("c", FULL)], Policy(), NOW)
    assert (verdict.status, verdict.instances_count["degraded"]) == ("degraded", 3)
    assert verdict.anonymous_reason == "3 of 3 instances degraded (token_expires_soon)"
    assert verdict.reason == "the token expires at 2026-09-21T14:13:20Z; the token expires at 2026-09-21T15:13:20Z"
    assert verdict.details is not None
    assert [(warning.code, warning.instance) for warning in verdict.details.warnings] == [
        ("token_expires_soon", None),
        ("token_expires_soon", None),
    ]


def test_end_of_a_token__stands_after_what_is_worse_and_beside_what_is_empty() -> None:
    unknown = ProbeResult(Instance("u", "u"), None, CheckError("timeout", "said so"), Instant(0, 0), 0.1)
    verdict = evaluate([announced("a", FULL), announced("b", EMPTY), unknown], Policy(), NOW)
    assert verdict.reason == ("u unknown (timeout); no tasks visible in b; the token expires at 2026-09-21T14:13:20Z")
    assert evaluate([announced("a", FULL), announced("b", EMPTY)], Policy(), NOW).anonymous_reason == (
        "2 of 2 instances degraded (no_tasks_visible, token_expires_soon)"
    )


def test_end_of_a_token__is_not_in_the_reason_where_nothing_is_degraded_by_it() -> None:
    sick = Statistics(TaskCounts(0, 2, 0, 0), None)
    assert evaluate([announced("a", sick)], Policy(), NOW).reason == "2 abnormal tasks in a"


def test_empty_instances__are_warned_of_by_name() -> None:
    verdict = evaluate([announced("a", FULL, None), announced("b", EMPTY, None)], Policy(), NOW)
    assert verdict.details is not None
    assert [(warning.code, warning.instance) for warning in verdict.details.warnings] == [("no_tasks_visible", "b")]
    assert "b" in verdict.details.warnings[0].message


def test_evaluate__passes_on_what_it_is_told_and_is_fresh_unless_told() -> None:
    token = TokenState("token", "7", SOON)
    told = evaluate([announced("a", FULL, None)], Policy(), NOW, 3.0, 0.25, token)
    untold = evaluate([announced("a", FULL, None)], Policy(), NOW)
    assert (told.checked_at, told.age_seconds, told.duration_seconds) == (NOW, 3.0, 0.25)
    assert (untold.age_seconds, untold.duration_seconds) == (0.0, 0.0)
    assert told.details is not None
    assert untold.details is not None
    assert (told.details.token, untold.details.token) == (token, None)


def with_flow(abnormal: int, running: int = 0) -> ProbeResult:
    counts = TaskCounts(0, 0, 0, 0)
    flow = {"flow_task_details": TaskCounts(running, abnormal, 0, 0)}
    return ProbeResult(Instance("a", "1"), Statistics(counts, counts, flow), None, Instant(0, 0), 0.1)


def test_further_group__counts_in_status_reason_and_totals() -> None:  # D59
    verdict = evaluate([with_flow(3), announced("b", FULL, None)], Policy(), NOW)
    assert (verdict.status, verdict.reason) == ("unhealthy", "3 abnormal tasks in a")
    assert verdict.details is not None
    assert verdict.details.instances[0].reason == "3 abnormal flow tasks"
    assert verdict.details.totals == TaskCounts(1, 3, 0, 0)


def test_further_group__with_tasks_is_not_an_empty_instance() -> None:  # D59
    assert evaluate([with_flow(0, running=1)], Policy(), NOW).status == "healthy"
    assert evaluate([with_flow(0)], Policy(), NOW).status == "degraded"


def test_reason_of_an_instance__names_as_many_groups_as_fit() -> None:  # D59
    groups = {f"{'g' * 50}{number:02}_task_details": TaskCounts(0, 1, 0, 0) for number in range(16)}
    result = ProbeResult(Instance("a", "1"), Statistics(TaskCounts(0, 2, 0, 0), None, groups), None, Instant(0, 0), 0.1)
    verdict = evaluate([result], Policy(), NOW)
    assert verdict.details is not None
    reason = verdict.details.instances[0].reason
    assert reason == f"2 abnormal common tasks, 1 abnormal {'g' * 50}00 task, +15 more"


def test_unhealthy_instance__has_a_next_step_in_text() -> None:
    lines = list(text_format.lines(verdict_of("unhealthy", "healthy", "unknown", "degraded")))
    steps = [line.partition("-> ")[2] for line in lines if "-> " in line]
    assert lines[1].startswith("  n0  unhealthy")
    assert lines[2].partition("-> ")[2] == UNHEALTHY_NEXT_STEP
    assert len(steps) == 3
    assert steps[1] == NEXT_STEPS["timeout"]


def test_every_warning__has_a_next_step_in_text() -> None:
    verdict = evaluate([announced("a", EMPTY)], Policy(), NOW)
    assert verdict.details is not None
    text = "\n".join(text_format.lines(verdict))
    assert len(verdict.details.warnings) == 2
    assert all(warning.next_step in text for warning in verdict.details.warnings)


@given(
    counts=st.fixed_dictionaries(dict.fromkeys(["unhealthy", "unknown", "degraded"], st.integers(0, 9))),
    size=st.sampled_from([1, 10, 100]),
    codes=st.lists(CODES, min_size=1, unique=True),
)
def test_anonymous_reason__is_short_and_names_every_bad_status(
    counts: dict[str, int], size: int, codes: list[str]
) -> None:
    found = []
    for number, (status, _) in enumerate((s, n) for s, count in counts.items() for n in range(count * size)):
        tasks = TaskCounts(int(status != "degraded"), int(status == "unhealthy"), 0, 0)
        error = CheckError(codes[number % len(codes)], "said so") if status == "unknown" else None
        statistics = None if error else Statistics(tasks, None)
        found.append(ProbeResult(Instance(f"n{number}", f"i{number}"), statistics, error, Instant(0, 0), 0.1, SOON))
    reason = evaluate(found, Policy(), NOW).anonymous_reason
    assert len(reason) <= 120
    for status, count in counts.items():
        assert (f"{count * size} " in reason and status in reason) or not count


def test_anonymous_reason__leaves_codes_out_that_do_not_fit() -> None:
    codes = ["instance_not_running", "token_unavailable", "a_code"]
    found = [with_flow(1)] * 10_000 + [announced("b", EMPTY)] * 10_000
    for number in range(10_000):
        error = CheckError(codes[number % 3], "said so")
        found.append(ProbeResult(Instance("u", "u"), None, error, Instant(0, 0), 0.1))
    assert evaluate(found, Policy(), NOW).anonymous_reason == (
        "10000 of 30000 instances unhealthy, 10000 unknown (instance_not_running, token_unavailable, a_code), "
        "10000 degraded"
    )
