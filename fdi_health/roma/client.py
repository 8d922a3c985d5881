"""Asks one instance for its task statistics (CountTasks), and for those of its flow tasks on request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from marshmallow import ValidationError

from fdi_health.errors import CheckError
from fdi_health.models import Statistics, TaskCounts, counts_by_group
from fdi_health.redaction import redact
from fdi_health.roma.api import redacted_fields
from fdi_health.roma.instance_statistics import FLOW_GROUP, count_flow_tasks
from schemas.statistics import MAX_GROUP_NAME_LENGTH, OTHER_GROUPS, REQUIRED_GROUPS, StatisticsSchema

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from fdi_health.clock import Deadline
    from fdi_health.models import Instance
    from fdi_health.roma.api import Api, Authenticator


def statistics_path(api: Api, instance: Instance) -> str:
    """Return the path of CountTasks for an instance."""
    return f"/v2/{api.project_id}/fdi/instances/{instance.instance_id}/statistics/tasks"


class Client:
    """Asks for one instance's statistics.

    Args:
        api: the API of the project that all instances are in.
        optional_groups: task groups that a response may lack.
        check_flow_tasks: whether to ask also for the counts of orchestration ("flow") tasks, which CountTasks lacks.

    """

    def __init__(self, api: Api, optional_groups: Collection[str] = (), *, check_flow_tasks: bool = False) -> None:
        self._api = api
        self._check_flow_tasks = check_flow_tasks
        self._schema = StatisticsSchema(optional_groups=optional_groups)

    def statistics(self, instance: Instance, authenticator: Authenticator, deadline: Deadline) -> Statistics:
        """Return the instance's valid statistics.

        Raises:
            CheckError: any result code but `token_unavailable`.

        """
        path = statistics_path(self._api, instance)
        secrets = authenticator.secrets
        statistics = self._api.get(
            path, instance, authenticator, deadline, lambda document: self._read(document, secrets)
        )
        # A further group may be called `flow` as well as `flow_task_details`: both are one group to our callers.
        if not self._check_flow_tasks or "flow" in counts_by_group(statistics):
            return statistics
        # They count like those of any other group: without them, nothing is known of the instance.
        try:
            flow = count_flow_tasks(self._api, instance, authenticator, deadline)
        except CheckError as error:
            raise error.copy(message=f"flow tasks: {error.message}") from None
        return statistics._replace(other_task_details={**statistics.other_task_details, FLOW_GROUP: flow})

    def _read(self, document: Any, secrets: Collection[str]) -> Statistics:
        try:
            loaded = self._schema.load(document)
            _refuse_secret_in_names(loaded[OTHER_GROUPS], secrets)
        except ValidationError as error:
            raise CheckError(
                "invalid_response",
                f"the response is not a valid statistics document ({_where(error.messages_dict)})",
                upstream_status=200,
                **redacted_fields(document, secrets),
            ) from None
        common, cdc = (TaskCounts(**loaded[name]) if name in loaded else None for name in REQUIRED_GROUPS)
        return Statistics(common, cdc, {name: TaskCounts(**counts) for name, counts in loaded[OTHER_GROUPS].items()})


def _refuse_secret_in_names(names: Iterable[str], secrets: Collection[str]) -> None:
    """Raise ValidationError if a further group's name, which is shown, holds a part of a secret."""
    if any(redact(name, secrets, MAX_GROUP_NAME_LENGTH) != name for name in names):
        raise ValidationError({OTHER_GROUPS: ["the name of a further task group is not plain"]})


def _where(messages: Mapping[str, Any]) -> str:
    """Name the first field at fault, by our schema's own names."""
    name, inner = next(iter(messages.items()))
    if name == "_schema":
        return "not an object"
    if isinstance(inner, dict):
        return f"{name}.{next(iter(inner))}"
    return name
