"""The data types of fdi-health: instances, probe results, the policy and the verdict.

Most are NamedTuples. They are as immutable and as typed as frozen dataclasses, and take a seventh of the time to define
at every cold start.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

from fdi_health.outcome import Outcome, decide
from schemas.query import DEFAULT_FAIL_ON

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from fdi_health.clock import Instant
    from fdi_health.errors import CheckError
    from fdi_health.tasks import TaskNames

Status = Literal["healthy", "degraded", "unhealthy", "unknown"]

WORST_FIRST: tuple[Status, ...] = ("unhealthy", "unknown", "degraded", "healthy")
"""The order of the statuses. A verdict has the status of its worst instance."""


class Instance(NamedTuple):
    """A ROMA Connect instance in the settings.

    Attributes:
        name: the alias, `[A-Za-z0-9_.-]{1,64}`; the ID if there is no alias.
        instance_id: the vendor's ID, `[0-9A-Za-z_-]{1,64}`.

    """

    name: str
    instance_id: str


class TaskCounts(NamedTuple):
    """How many tasks of one group are in which state; the API's own field names, each 0 … 999,999,999,999."""

    running_tasks_count: int
    abnormal_tasks_count: int
    terminated_tasks_count: int
    completed_tasks_count: int


NO_COUNTS = TaskCounts(0, 0, 0, 0)


class Statistics(NamedTuple):
    """One instance's valid response.

    One of the first two groups is None only if FDI_OPTIONAL_TASK_GROUPS names it, never both. `other_task_details` are
    further groups, by the names that ROMA Connect uses, see `schemas.statistics.other_groups`.
    """

    common_task_details: TaskCounts | None
    cdc_task_details: TaskCounts | None
    other_task_details: Mapping[str, TaskCounts] = MappingProxyType({})


class ProbeResult(NamedTuple):
    """The result of one probe of one instance: statistics or an error, exactly one of the two.

    Attributes:
        instance: the probed instance.
        statistics: the valid response, or None.
        error: why there are no statistics, or None.
        arrived: when the response was complete, or the probe failed.
        duration_seconds: how long the probe took.
        token_expires_at: when the token for this instance expires, in seconds since the epoch, if that is soon and it
            can't be renewed; else None.

    """

    instance: Instance
    statistics: Statistics | None
    error: CheckError | None
    arrived: Instant
    duration_seconds: float
    token_expires_at: float | None = None


class TokenState(NamedTuple):
    """What may be shown of the token or access key in use.

    Attributes:
        kind: `access_key` if the secret holds one, `token` if it holds a token, `credentials` if IAM issued the token
            for credentials, `agency` if the platform issued a token or a temporary key for the function's agency.
        version: the version of the secret, as its secret store calls it, or None.
        expires_at: when the token or key expires, in seconds since the epoch, or None if that is unknown.

    """

    kind: Literal["access_key", "token", "credentials", "agency"]
    version: str | None
    expires_at: float | None


INFORMING = frozenset({"mute_unmatched"})
"""Codes of warnings that degrade nothing."""


class VerdictWarning(NamedTuple):
    """Something that an operator should read, although nobody is paged.

    Attributes:
        code: `no_tasks_visible`, `token_expires_soon`, `muted`, `muted_tasks`, `mute_unmatched`.
        instance: the instance's name, or None if the warning is not about a single one.
        message: what was seen.
        next_step: what to do about it.

    """

    code: str
    instance: str | None
    message: str
    next_step: str


class InstanceVerdict(NamedTuple):
    """One instance's part of the verdict; `reason` is `none` exactly when its status is healthy.

    `runs_too_few` is whether it runs fewer tasks than the policy demands. `tasks` are the tasks behind the counts, None
    if nobody asked for them.
    """

    name: str
    instance_id: str
    status: Status
    reason: str
    duration_seconds: float
    common_task_details: TaskCounts | None
    cdc_task_details: TaskCounts | None
    other_task_details: Mapping[str, TaskCounts]
    error: CheckError | None
    runs_too_few: bool = False
    tasks: TaskNames | None = None


def counts_by_group(found: Statistics | InstanceVerdict) -> dict[str, TaskCounts]:
    """Return the counts of every group, by its name without the suffix: `common`, `cdc`, `flow`."""
    groups: dict[str, TaskCounts] = {}
    if found.common_task_details is not None:
        groups["common"] = found.common_task_details
    if found.cdc_task_details is not None:
        groups["cdc"] = found.cdc_task_details
    for name, counts in found.other_task_details.items():
        groups[name.removesuffix("_task_details")] = counts
    return groups


def total(found: Statistics | InstanceVerdict) -> TaskCounts:
    """Return the counts of all groups, added up."""
    return add_up(counts_by_group(found).values())


def add_up(counts: Iterable[TaskCounts]) -> TaskCounts:
    """Return the sum of counts, field by field; zeros if there are none."""
    return TaskCounts(*map(sum, zip(NO_COUNTS, *counts, strict=True)))


class ListedMute(NamedTuple):
    """A mute that has not ended, of an instance or of one of its tasks; UTC."""

    instance: str
    begins: datetime | None
    ends: datetime
    task: str | None = None


class Details(NamedTuple):
    """What only callers who may see details are shown.

    Attributes:
        totals: the sum of all groups of the instances that responded; None if no instance did.
        warnings: see `VerdictWarning`.
        error: a failure that is not of a single instance, or None.
        instances: one part per instance, in the order of the request.
        token: what is known of the token in use, or None.
        is_fresh: whether at least one result is of this check rather than from the cache.
        mutes: the mutes that have not ended, active or not.
        token_ends: when the token ends, if a warning is due, in seconds since the epoch.

    """

    totals: TaskCounts | None
    warnings: tuple[VerdictWarning, ...]
    error: CheckError | None
    instances: tuple[InstanceVerdict, ...]
    token: TokenState | None = None
    is_fresh: bool = True
    mutes: tuple[ListedMute, ...] = ()
    token_ends: tuple[float, ...] = ()


class Verdict(NamedTuple):
    """Whether the tasks of the instances are healthy.

    Attributes:
        status: the worst of the instances.
        reason: for a pager: `none` exactly when healthy, at most 120 characters, no task name, no secret.
        anonymous_reason: the same without any instance's name.
        checked_at: when the oldest result arrived; UTC, whole seconds.
        age_seconds: how old the oldest result is.
        duration_seconds: how long the check took.
        instances_count: status → number of instances; every status is a key.
        details: None for callers who may not see them.
        fail_on: the statuses that fail the check; each request chooses, see `decide`.
        muted_count: how many instances are degraded only because they are muted; `degraded` in `fail_on` is not about
            them.

    """

    status: Status
    reason: str
    anonymous_reason: str
    checked_at: datetime
    age_seconds: float
    duration_seconds: float
    instances_count: dict[Status, int]
    details: Details | None
    fail_on: Collection[str] = DEFAULT_FAIL_ON
    muted_count: int = 0

    @property
    def healthy(self) -> bool:
        """Whether every instance responded and no task is abnormal: healthy or degraded."""
        return self.status in ("healthy", "degraded")

    @property
    def outcome(self) -> Outcome:
        """The marker and the HTTP status for this request."""
        # The verdict's own status covers a top-level error, which `instances_count` does not show.
        statuses: set[str] = {self.status, *(s for s, count in self.instances_count.items() if count)}
        if "degraded" in statuses and self.instances_count["degraded"] == self.muted_count:
            statuses = statuses - {"degraded"} | {"healthy"}
        return decide(statuses, self.fail_on)

    @property
    def marker(self) -> str:
        """The word for keyword checkers."""
        return self.outcome.marker
