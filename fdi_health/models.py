"""The nouns of fdi-health: what was asked, what was found, what is answered.

Most are NamedTuples: as immutable and as typed as frozen dataclasses, which cost seven times as much to define, and
every cold start defines them all anew.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from fdi_health.outcome import Outcome, decide
from schemas.query import DEFAULT_FAIL_ON

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from fdi_health.clock import Deadline, Instant
    from fdi_health.errors import CheckError

Status = Literal["healthy", "degraded", "unhealthy", "unknown"]

WORST_FIRST: tuple[Status, ...] = ("unhealthy", "unknown", "degraded", "healthy")
"""The order of the statuses; the fleet is as bad as its worst instance."""


class Instance(NamedTuple):
    """A ROMA Connect instance that we were told to ask.

    Attributes:
        name: the alias, `[A-Za-z0-9_.-]{1,64}`; the ID where no alias was given.
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

    A group of the first two is None only where FDI_OPTIONAL_TASK_GROUPS names it, never both. `other_task_details` are
    further groups by the upstream's own names, see `schemas.statistics.other_groups`.
    """

    common_task_details: TaskCounts | None
    cdc_task_details: TaskCounts | None
    other_task_details: Mapping[str, TaskCounts] = MappingProxyType({})


class ProbeResult(NamedTuple):
    """What one probe of one instance found: statistics or an error, exactly one of the two.

    Attributes:
        instance: whom we asked.
        statistics: the valid answer, or None.
        error: why there is none, or None.
        arrived: when the answer was complete, or was given up.
        duration_seconds: how long this result's own probe took.
        token_expires_at: when the token for this instance ends, in seconds since the epoch, where that is soon and it
            can't be renewed; else None.

    """

    instance: Instance
    statistics: Statistics | None
    error: CheckError | None
    arrived: Instant
    duration_seconds: float
    token_expires_at: float | None = None


class Policy(NamedTuple):
    """The operator's rules for judging results.

    Attributes:
        allow_empty: names of instances that may have no task at all; `*` for every instance.

    """

    allow_empty: frozenset[str] = frozenset()


class TokenState(NamedTuple):
    """What may be told about the token in use.

    Attributes:
        kind: `token` where the secret holds one, `credentials` where it was got for such.
        version: the secret's version, in its secrets manager's words, or None.
        expires_at: the token's end in seconds since the epoch, or None where it is not known.

    """

    kind: Literal["token", "credentials"]
    version: str | None
    expires_at: float | None


class VerdictWarning(NamedTuple):
    """Something in a healthy response that somebody should read.

    Attributes:
        code: `no_tasks_visible`, `token_expires_soon`.
        instance: the instance's name, or None for what is about no single one.
        message: what was seen.
        next_step: what to do about it.

    """

    code: str
    instance: str | None
    message: str
    next_step: str


class InstanceVerdict(NamedTuple):
    """One instance's part of the verdict; `reason` is `none` exactly when its status is healthy."""

    name: str
    instance_id: str
    status: Status
    reason: str
    duration_seconds: float
    common_task_details: TaskCounts | None
    cdc_task_details: TaskCounts | None
    other_task_details: Mapping[str, TaskCounts]
    error: CheckError | None


def counts_by_group(found: Statistics | InstanceVerdict) -> dict[str, TaskCounts]:
    """Return the counts of every group that is there, by its name without the suffix: `common`, `cdc`, `flow`."""
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


class Details(NamedTuple):
    """What only callers who may see details are shown.

    Attributes:
        totals: the counts of all groups, added up over the instances that answered; None when none did.
        warnings: see `VerdictWarning`.
        error: a failure of no single instance, or None.
        instances: one part per instance, in the order asked.
        token: what is known of the token in use, or None.
        is_fresh: whether at least one result was obtained by this check, rather than reused.

    """

    totals: TaskCounts | None
    warnings: tuple[VerdictWarning, ...]
    error: CheckError | None
    instances: tuple[InstanceVerdict, ...]
    token: TokenState | None = None
    is_fresh: bool = True


class Verdict(NamedTuple):
    """The answer to "are the tasks of my instances healthy?".

    Attributes:
        status: the worst of the instances.
        reason: for a pager: `none` exactly when healthy, at most 120 characters, no task name, no secret.
        anonymous_reason: the same without any instance's name.
        checked_at: when the oldest result arrived; UTC, whole seconds.
        age_seconds: how old the oldest result is when the answer goes out.
        duration_seconds: how long the check took.
        instances_count: status → number of instances; every status is a key.
        details: None for callers who may not see them.
        fail_on: the statuses that fail the check; a request's own choice, see `decide`.

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

    @property
    def healthy(self) -> bool:
        """Whether every instance answered and no task is abnormal: healthy or degraded."""
        return self.status in ("healthy", "degraded")

    @property
    def outcome(self) -> Outcome:
        """The marker and the HTTP status for this request."""
        # The fleet's own status covers a failure that belongs to no instance: `instances_count` does not show it.
        return decide({self.status, *(s for s, count in self.instances_count.items() if count)}, self.fail_on)

    @property
    def marker(self) -> str:
        """The word for keyword checkers."""
        return self.outcome.marker


class Token(NamedTuple):
    """An IAM token; its repr hides the value.

    Attributes:
        value: the value of X-Auth-Token.
        generation: the number of the read in this process. Two reads that return the same value differ in it.
        expires_at: when it expires, in seconds since the epoch, or None if that is not known.
        renewable: whether IAM issued it for credentials, so that a new login gives another one.
        known_secrets: tokens and passwords that this process has used, for redaction.

    """

    value: str
    generation: int
    expires_at: float | None = None
    renewable: bool = False
    known_secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Token(generation={self.generation}, expires_at={self.expires_at})"


class TokenSource(Protocol):
    """Where the checker gets tokens from; `TokenProvider` is one."""

    def current(self, deadline: Deadline) -> Token:
        """Return the cached token; the first caller reads it.

        Raises:
            CheckError: `token_unavailable`.

        """
        ...

    def renew(self, refused: Token, deadline: Deadline) -> Token:
        """Return a token that was read later than `refused`. One read serves all callers.

        Raises:
            CheckError: `token_unavailable`.

        """
        ...
