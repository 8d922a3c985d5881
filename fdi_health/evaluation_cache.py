"""Reuses the last verdict while its inputs are unchanged: with 200 instances, evaluating takes longer than the rest.

What depends on the time or on one request (age, duration, token, freshness, `fail_on`) is never reused.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from fdi_health.clock import earliest
from fdi_health.evaluation import NO_LISTS, evaluate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fdi_health.clock import Instant
    from fdi_health.models import ProbeResult, TokenState, Verdict
    from fdi_health.policy import Policy
    from fdi_health.tasks import TaskList


class _Evaluation(NamedTuple):
    results: Sequence[ProbeResult]
    token_expires_at: float | None
    mutes: tuple[tuple[str, bool], ...]
    task_lists: Mapping[str, TaskList | str]
    verdict: Verdict
    oldest: Instant
    newest_monotonic: float


class EvaluationCache:
    """The last evaluation of a process.

    Threads share it without a lock: the last evaluation is one immutable value, read once and replaced as a whole.

    Args:
        policy: the same for every evaluation.

    Attributes:
        policy: as given.

    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._last: _Evaluation | None = None

    def evaluate(
        self,
        results: Sequence[ProbeResult],
        token_expires_at: float | None,
        *,
        began: Instant,
        present: Instant,
        token: TokenState | None,
        task_lists: Mapping[str, TaskList | str] = NO_LISTS,
    ) -> Verdict:
        """Return the verdict, details included.

        Args:
            results: one per instance asked, at least one. The caller must not change it afterwards.
            token_expires_at: when the token expires, in seconds since the epoch, if a warning is due; else None.
            began: when the check began.
            present: the time now, from which the age is counted.
            token: what is known of the token in use, or None.
            task_lists: see `evaluation.evaluate`.

        """
        last = self._last
        mutes = self.policy.mute_states(present.wall)
        inputs = (results, token_expires_at, mutes, task_lists)
        if last is None or last[:4] != inputs:
            last = self._last = self._evaluate(*inputs, present)
        details = last.verdict.details
        return last.verdict._replace(
            age_seconds=last.oldest.seconds_until(present),
            duration_seconds=began.seconds_until(present),
            details=details and details._replace(token=token, is_fresh=last.newest_monotonic >= began.monotonic),
        )

    def _evaluate(
        self,
        results: Sequence[ProbeResult],
        token_expires_at: float | None,
        mutes: tuple[tuple[str, bool], ...],
        task_lists: Mapping[str, TaskList | str],
        present: Instant,
    ) -> _Evaluation:
        oldest = earliest(result.arrived for result in results)
        verdict = evaluate(
            [result._replace(token_expires_at=token_expires_at) for result in results],
            self.policy,
            checked_at=datetime.fromtimestamp(oldest.wall, UTC),
            present=present.wall,
            task_lists=task_lists,
        )
        newest_monotonic = max(result.arrived.monotonic for result in results)
        return _Evaluation(results, token_expires_at, mutes, task_lists, verdict, oldest, newest_monotonic)
