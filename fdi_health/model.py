"""The nouns of fdi-health: what was asked, what was found, what is answered.

Most are NamedTuples: as immutable and as typed as frozen dataclasses, which cost seven times as much to define, and
every cold start defines them all anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from fdi_health.deadline import Deadline, Instant
    from fdi_health.errors import CheckError

Status = Literal["healthy", "degraded", "unhealthy", "unknown"]
Group = Literal["common", "cdc"]

WORST_FIRST: tuple[Status, ...] = ("unhealthy", "unknown", "degraded", "healthy")
"""The order of the statuses; the fleet is as bad as its worst instance."""

GROUPS: tuple[Group, ...] = ("common", "cdc")


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

    def plus(self, other: TaskCounts) -> TaskCounts:
        """Return both groups' counts, added up."""
        return TaskCounts(
            self.running_tasks_count + other.running_tasks_count,
            self.abnormal_tasks_count + other.abnormal_tasks_count,
            self.terminated_tasks_count + other.terminated_tasks_count,
            self.completed_tasks_count + other.completed_tasks_count,
        )

    def all_zero(self) -> bool:
        """Whether no task is counted at all."""
        return not any(self)


NO_COUNTS = TaskCounts(0, 0, 0, 0)


class Statistics(NamedTuple):
    """One instance's valid answer; a group is None only where FDI_OPTIONAL_TASK_GROUPS names it, never both."""

    common_task_details: TaskCounts | None
    cdc_task_details: TaskCounts | None

    def total(self) -> TaskCounts:
        """Return the two groups' counts, added up."""
        return (self.common_task_details or NO_COUNTS).plus(self.cdc_task_details or NO_COUNTS)


class Finding(NamedTuple):
    """What one probe of one instance found: statistics or an error, exactly one of the two.

    Attributes:
        instance: whom we asked.
        statistics: the valid answer, or None.
        error: why there is none, or None.
        arrived: when the answer was complete, or was given up.
        duration_seconds: how long this finding's own probe took.
        token_expires_at: when the token for this instance ends, in seconds since the epoch, where that is soon and it
            can't be renewed; else None.

    """

    instance: Instance
    statistics: Statistics | None
    error: CheckError | None
    arrived: Instant
    duration_seconds: float
    token_expires_at: float | None = None


class Rules(NamedTuple):
    """The operator's rules for judging findings.

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
    """Something in a healthy answer that somebody should read.

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
    error: CheckError | None


class Details(NamedTuple):
    """What only callers who may see details are shown.

    Attributes:
        totals: common and CDC counts, added up over the instances that answered; None when none did.
        warnings: see `VerdictWarning`.
        error: a failure of no single instance, or None.
        instances: one part per instance, in the order asked.
        token: what is known of the token in use, or None.

    """

    totals: TaskCounts | None
    warnings: tuple[VerdictWarning, ...]
    error: CheckError | None
    instances: tuple[InstanceVerdict, ...]
    token: TokenState | None = None


class Verdict(NamedTuple):
    """The answer to "are the tasks of my instances healthy?".

    Attributes:
        status: the worst of the instances.
        reason: for a pager: `none` exactly when healthy, at most 120 characters, no task name, no secret.
        anonymous_reason: the same without any instance's name.
        checked_at: when the oldest finding arrived; UTC, whole seconds.
        age_seconds: how old the oldest finding is when the answer goes out.
        duration_seconds: how long the check took.
        instances_count: status → number of instances; every status is a key.
        details: None for callers who may not see them.

    """

    status: Status
    reason: str
    anonymous_reason: str
    checked_at: datetime
    age_seconds: float
    duration_seconds: float
    instances_count: dict[Status, int]
    details: Details | None

    @property
    def healthy(self) -> bool:
        """Whether nobody needs to be paged: healthy or degraded."""
        return self.status in ("healthy", "degraded")

    @property
    def marker(self) -> str:
        """The word for keyword checkers; one is no substring of the other."""
        return "FDI-OK" if self.healthy else "FDI-NOT-OK"


class Token(NamedTuple):
    """An IAM token as it was read; its repr hides the value.

    Attributes:
        value: what goes into X-Auth-Token.
        serial: the how-manieth read of this process it came from: two reads that gave the same value differ in it.
        expires_at: its end in seconds since the epoch, or None where the secret does not say.
        renewable: whether it was got for credentials.
        known_secrets: tokens and passwords that this process has used, for redaction.

    """

    value: str
    serial: int
    expires_at: float | None = None
    renewable: bool = False
    known_secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Token(serial={self.serial}, expires_at={self.expires_at})"


class TokenSource(Protocol):
    """Where the fleet gets tokens from."""

    def current(self, deadline: Deadline) -> Token:
        """Return the token held, reading it first if none is.

        Raises:
            CheckError: `token_unavailable`.

        """
        ...

    def renew(self, refused: Token, deadline: Deadline) -> Token:
        """Return a token read later than `refused`, reading it at most once for everybody who asks.

        Raises:
            CheckError: `token_unavailable`.

        """
        ...
