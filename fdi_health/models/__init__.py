"""The data types of fdi-health: instances, counts and probe results here, the verdict in `verdict`.

Most are NamedTuples. They are as immutable and as typed as frozen dataclasses, and take a seventh of the time to define
at every cold start.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

from fdi_health.models.verdict import (
    INFORMING,
    OF_TARGETS,
    WORST_FIRST,
    Details,
    InstanceVerdict,
    ListedMute,
    Status,
    TargetVerdict,
    Verdict,
    VerdictWarning,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fdi_health.clock import Instant
    from fdi_health.errors import CheckError

__all__ = [
    "INFORMING",
    "NO_COUNTS",
    "OF_TARGETS",
    "WORST_FIRST",
    "Details",
    "Instance",
    "InstanceVerdict",
    "ListedMute",
    "ProbeResult",
    "Statistics",
    "Status",
    "TargetVerdict",
    "TaskCounts",
    "TokenState",
    "Verdict",
    "VerdictWarning",
    "add_up",
    "counts_by_group",
    "total",
]


class Instance(NamedTuple):
    """A ROMA Connect instance in the settings.

    Attributes:
        name: the alias, `[A-Za-z0-9_.-]{1,64}`; the ID if there is no alias.
        instance_id: the vendor's ID, `[0-9A-Za-z_-]{1,64}`.
        target: the name of its target in FDI_CONFIG; None if the environment describes it.

    """

    name: str
    instance_id: str
    target: str | None = None

    @property
    def labels(self) -> set[str]:
        """What callers may call it: alias or ID, or target, slash and one of them."""
        own = {self.name, self.instance_id}
        return own if self.target is None else own | {f"{self.target}/{label}" for label in own}


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
