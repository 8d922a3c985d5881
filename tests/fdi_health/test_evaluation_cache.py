"""A reused evaluation gives exactly what a fresh one gives, for any change between two checks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from fdi_health.clock import Instant
from fdi_health.errors import CheckError
from fdi_health.evaluation import evaluate, hide_details
from fdi_health.evaluation_cache import EvaluationCache
from fdi_health.formats import FORMATS
from fdi_health.models import Instance, ProbeResult, Statistics, TaskCounts, TokenState, Verdict
from fdi_health.policy import Policy
from schemas.query import FAILING_STATUSES

ONE, TWO = Instance("one", "id-1"), Instance("two", "id-2")
POLICY = Policy(frozenset({"two"}))
STATISTICS = [
    Statistics(TaskCounts(1, 0, 0, 0), TaskCounts(0, 0, 0, 0)),
    Statistics(TaskCounts(1, 1, 0, 0), TaskCounts(0, 0, 0, 0)),
    Statistics(TaskCounts(0, 0, 0, 0), TaskCounts(0, 0, 0, 0)),
    Statistics(TaskCounts(1, 0, 0, 0), None, {"flow_task_details": TaskCounts(0, 1, 0, 0)}),
]
ERRORS = [CheckError("timeout", "too late"), CheckError("token_rejected", "refused"), CheckError("timeout", "too late")]
SECONDS = st.sampled_from([0.0, 0.5, 3.0, 90_000.0])
INSTANTS = st.builds(Instant, SECONDS, SECONDS)
RESULTS = st.builds(
    lambda instance, statistics, error, arrived, duration: ProbeResult(
        instance, None if error else statistics, error, arrived, duration
    ),
    st.sampled_from([ONE, TWO]),
    st.sampled_from(STATISTICS),
    st.none() | st.sampled_from(ERRORS),
    INSTANTS,
    st.sampled_from([0.1, 0.2]),
)
EXPIRY = st.sampled_from([None, 0.0, 1_800_000_000.0])
TOKENS = st.none() | st.builds(TokenState, st.sampled_from(["token", "credentials"]), st.none(), EXPIRY)


class Check(NamedTuple):
    """The inputs of one verdict, and how its caller sees it."""

    results: list[ProbeResult]
    token_expires_at: float | None
    began: Instant
    present: Instant
    token: TokenState | None
    fail_on: list[str]
    sees_details: bool


@st.composite
def checks(draw: st.DrawFn) -> list[Check]:
    """Several checks in a row over few results, so that the same, equal and other results follow each other."""
    pool = draw(st.lists(RESULTS, min_size=1, max_size=4))
    # Equal results that are not the same object, as two probes may bring.
    results = st.sampled_from(pool) | st.sampled_from(pool).map(lambda result: result._replace())
    check = st.builds(
        Check,
        st.lists(results, min_size=1, max_size=5),
        EXPIRY,
        INSTANTS,
        INSTANTS,
        TOKENS,
        st.lists(st.sampled_from(FAILING_STATUSES), unique=True),
        st.booleans(),
    )
    return draw(st.lists(check | st.just(draw(check)), min_size=1, max_size=6))


def fresh(check: Check) -> Verdict:
    """Evaluate in the plainest way, result by result."""
    results, ages = [], []
    for result in check.results:
        results.append(result._replace(token_expires_at=check.token_expires_at))
        ages.append(max(0.0, check.present.wall - result.arrived.wall))
        ages.append(max(0.0, check.present.monotonic - result.arrived.monotonic))
    return evaluate(
        results,
        POLICY,
        checked_at=datetime.fromtimestamp(min(result.arrived.wall for result in results), UTC),
        age_seconds=max(ages),
        duration_seconds=max(
            0.0, check.present.wall - check.began.wall, check.present.monotonic - check.began.monotonic
        ),
        token=check.token,
        is_fresh=any(result.arrived.monotonic >= check.began.monotonic for result in results),
    )


def shown(verdict: Verdict, check: Check) -> Verdict:
    chosen = verdict._replace(fail_on=check.fail_on)
    return chosen if check.sees_details else hide_details(chosen)


@given(checks())
def test_evaluation_cache__any_change_between_checks__gives_what_a_fresh_evaluation_gives(
    series: list[Check],
) -> None:
    cache = EvaluationCache(POLICY)
    for check in series:
        verdict = cache.evaluate(
            check.results, check.token_expires_at, began=check.began, present=check.present, token=check.token
        )
        expected = fresh(check)
        assert without_errors(verdict) == without_errors(expected)
        seen, expected_seen = shown(verdict, check), shown(expected, check)
        for form in ("json", "text", "openmetrics"):
            assert FORMATS[form].render(seen) == FORMATS[form].render(expected_seen)


def without_errors(verdict: Verdict) -> object:
    """Return the verdict with errors as text: `CheckError.copy` makes new errors, and they have no `==`."""
    assert verdict.details is not None
    instances = [
        (instance._replace(error=None), instance.error and (repr(instance.error), instance.error.next_step))
        for instance in verdict.details.instances
    ]
    return verdict._replace(details=None), verdict.details._replace(instances=()), instances


def test_evaluation_cache__same_results__are_evaluated_once() -> None:
    cache = EvaluationCache(POLICY)
    result = ProbeResult(ONE, STATISTICS[0], None, Instant(0, 0), 0.1)
    first, second = (
        cache.evaluate([result], None, began=Instant(1, 1), present=Instant(2, 2), token=None) for _ in "ab"
    )
    assert first.details is not None
    assert second.details is not None
    assert first.details.instances is second.details.instances


def test_evaluation_cache__a_task_turns_abnormal__is_unhealthy_at_once() -> None:
    cache = EvaluationCache(POLICY)
    at = Instant(0, 0)
    statuses = [
        cache.evaluate([ProbeResult(ONE, found, None, at, 0.1)], None, began=at, present=at, token=None).status
        for found in (STATISTICS[0], STATISTICS[1], STATISTICS[0])
    ]
    assert statuses == ["healthy", "unhealthy", "healthy"]
