"""The data types of the verdict and its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from fdi_health.outcome import Outcome, decide
from schemas.query import DEFAULT_FAIL_ON

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from fdi_health.errors import CheckError
    from fdi_health.models import TaskCounts, TokenState
    from fdi_health.tasks import TaskNames

Status = Literal["healthy", "degraded", "unhealthy", "unknown"]

WORST_FIRST: tuple[Status, ...] = ("unhealthy", "unknown", "degraded", "healthy")
"""The order of the statuses. A verdict has the status of its worst instance."""

INFORMING = frozenset({"mute_unmatched", "instance_skipped", "exclusion_unmatched"})
"""Codes of warnings that degrade nothing."""

OF_TARGETS = frozenset({"discovery_stale", "instance_gone", "config_rejected"})
"""Codes of warnings that degrade the verdict and none of its instances."""


class VerdictWarning(NamedTuple):
    """Something that an operator should read, although nobody is paged.

    Attributes:
        code: `no_tasks_visible`, `token_expires_soon`, `muted`, `muted_tasks`, `mute_unmatched`, `discovery_stale`,
            `instance_gone`, `instance_skipped`, `exclusion_unmatched`.
        instance: the instance's name, or None if the warning is not about a single one.
        message: what was seen.
        next_step: what to do about it.
        target: the name of the target, or None if there is only that of the environment.

    """

    code: str
    instance: str | None
    message: str
    next_step: str
    target: str | None = None

    @property
    def key(self) -> tuple[str | None, str | None]:
        """Target and name of the instance that it is about."""
        return self.target, self.instance


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
    target: str | None = None

    @property
    def label(self) -> str:
        """Its name for people, with that of its target."""
        return self.name if self.target is None else f"{self.target}/{self.name}"

    @property
    def key(self) -> tuple[str | None, str]:
        """Target and name: no other instance has both."""
        return self.target, self.name


class TargetVerdict(NamedTuple):
    """One target's part of the verdict.

    Attributes:
        name: its name in FDI_CONFIG; None for the target of the environment.
        region: its region, or None.
        project_id: its project.
        error: why there is no list of its instances, or None.
        token: what is known of its token or access key, or None.

    """

    name: str | None
    region: str | None
    project_id: str
    error: CheckError | None = None
    token: TokenState | None = None


class ListedMute(NamedTuple):
    """A mute that has not ended, of an instance or of one of its tasks; UTC."""

    instance: str
    begins: datetime | None
    ends: datetime
    task: str | None = None
    target: str | None = None


class Details(NamedTuple):
    """What only callers who may see details are shown.

    Attributes:
        totals: the sum of all groups of the instances that responded; None if no instance did.
        warnings: see `VerdictWarning`.
        error: a failure that is not of a single instance, or None.
        instances: one part per instance, in the order of the request.
        token: what is known of the token in use, or None; of the only target.
        is_fresh: whether at least one result is of this check rather than from the cache.
        mutes: the mutes that have not ended, active or not.
        token_ends: when tokens end about which a warning is due: seconds since the epoch.
        targets: the targets that were asked, if FDI_CONFIG describes them; else none.

    """

    totals: TaskCounts | None
    warnings: tuple[VerdictWarning, ...]
    error: CheckError | None
    instances: tuple[InstanceVerdict, ...]
    token: TokenState | None = None
    is_fresh: bool = True
    mutes: tuple[ListedMute, ...] = ()
    token_ends: tuple[float, ...] = ()
    targets: tuple[TargetVerdict, ...] = ()


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
        has_target_warning: whether a warning degrades the verdict that is about no instance.
        unlisted_count: of how many targets the instances are not known; each counts as an unknown instance in
            `fail_on`, and in no number of instances.

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
    unlisted_count: int = 0
    has_target_warning: bool = False

    @property
    def healthy(self) -> bool:
        """Whether every instance responded and no task is abnormal: healthy or degraded."""
        return self.status in ("healthy", "degraded")

    @property
    def outcome(self) -> Outcome:
        """The marker and the HTTP status for this request."""
        # The verdict's own status covers a top-level error, which `instances_count` does not show.
        statuses: set[str] = {self.status, *(s for s, count in self.instances_count.items() if count)}
        if self.unlisted_count:
            statuses.add("unknown")
        if self.has_target_warning:
            statuses.add("degraded")
        elif "degraded" in statuses and self.instances_count["degraded"] == self.muted_count:
            statuses = statuses - {"degraded"} | {"healthy"}
        return decide(statuses, self.fail_on)

    @property
    def marker(self) -> str:
        """The word for keyword checkers."""
        return self.outcome.marker
