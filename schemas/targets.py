"""One target: an endpoint, a project, its instances and the policy for them.

The environment describes one, FDI_CONFIG several; both become this value.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from schemas.policy_fields import TaskMute
    from schemas.settings import Settings


OF_ONE_PROJECT = (
    "FDI_REGION",
    "FDI_ENDPOINT",
    "FDI_PROJECT_ID",
    "FDI_INSTANCES",
    "FDI_TOKEN",
    "FDI_IAM_ENDPOINT",
    "FDI_ALLOW_EMPTY",
    "FDI_OPTIONAL_TASK_GROUPS",
    "FDI_FLOW_TASKS",
    "FDI_MIN_TASKS",
    "FDI_MIN_RUNNING_TASKS",
    "FDI_MUTE",
    "FDI_MUTED_TASKS",
    "FDI_MAX_CALLS_PER_SECOND",
)
"""The settings of a single project, which FDI_CONFIG replaces."""


class TargetSettings(NamedTuple):
    """The settings of one target.

    Attributes:
        name: its name in FDI_CONFIG; None for the target of the environment.
        endpoint: ROMA Connect's base URL, from the region if that was given.
        project_id: the project of all instances.
        token: the URL of the secret with the access key, the credentials or the token.
        instances: the instances that are named, as pairs of alias and ID.
        region: the region, or None.
        iam_endpoint: IAM's base URL, or None.
        discovers: whether every instance of the project is asked (`*`); `instances` must be among them then.
        exclude: aliases, names or IDs of instances that are not asked; only with `discovers`.
        min_instances: how many instances there must be; only with `discovers`.
        optional_task_groups: task groups that a response may lack.
        flow_tasks: whether flow tasks are counted too.
        allow_empty: aliases or IDs of instances that may have no tasks; `*` for every instance.
        max_calls_per_second: how many requests a second are sent to this endpoint for this secret, or None.
        min_tasks, min_running_tasks: alias, ID or `*` → number.
        mute: alias, ID or `*` → (from or None, until), in seconds since the epoch.
        muted_tasks: see `TaskMute`.

    """

    name: str | None
    endpoint: str
    project_id: str
    token: str
    instances: tuple[tuple[str, str], ...] = ()
    region: str | None = None
    iam_endpoint: str | None = None
    discovers: bool = False
    exclude: frozenset[str] = frozenset()
    min_instances: int = 0
    optional_task_groups: frozenset[str] = frozenset()
    flow_tasks: Literal["off", "check"] = "off"
    allow_empty: frozenset[str] = frozenset()
    max_calls_per_second: float | None = None
    min_tasks: Mapping[str, int] = MappingProxyType({})
    min_running_tasks: Mapping[str, int] = MappingProxyType({})
    mute: Mapping[str, tuple[float | None, float]] = MappingProxyType({})
    muted_tasks: tuple[TaskMute, ...] = ()

    def __repr__(self) -> str:
        # A secret in a wrong place must not get into a log.
        return f"TargetSettings({self.name!r})"


def from_settings(settings: Settings) -> TargetSettings:
    """Return the target that the environment describes."""
    return TargetSettings(
        name=None,
        endpoint=settings.endpoint,
        project_id=settings.project_id,
        token=settings.token,
        instances=settings.instances,
        region=settings.region,
        iam_endpoint=settings.iam_endpoint,
        discovers=settings.discovers,
        exclude=settings.exclude,
        optional_task_groups=settings.optional_task_groups,
        flow_tasks=settings.flow_tasks,
        allow_empty=settings.allow_empty,
        max_calls_per_second=settings.max_calls_per_second,
        min_tasks=settings.min_tasks,
        min_running_tasks=settings.min_running_tasks,
        mute=settings.mute,
        muted_tasks=tuple(settings.muted_tasks),
    )


def fill_in_endpoints(region: str | None, endpoint: str | None, iam_endpoint: str | None) -> tuple[str, str | None]:
    """Return the base URLs of ROMA Connect and IAM; those that are not given come from the region.

    There is a region or an endpoint. Without a region, IAM's may be missing.
    """
    if iam_endpoint:
        # Other programs want the API's version in it.
        iam_endpoint = iam_endpoint.removesuffix("/v3")
    elif region:
        iam_endpoint = f"https://iam.{region}.myhuaweicloud.com"
    return endpoint or f"https://roma.{region}.myhuaweicloud.com", iam_endpoint
