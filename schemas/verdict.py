"""The verdict as a JSON document: dumped by marshmallow, then validated before it is sent.

marshmallow's `dump` is lenient (0.9 becomes 0, True becomes 1), and a wrong verdict is the worst bug here. So values of
an inexact type are refused, and the document must not contradict itself; see `invariants`.
"""

from __future__ import annotations

import functools
import operator
from typing import Any

from marshmallow import Schema, ValidationError, fields, missing, validate

from schemas.exact_fields import ByAttribute, Epoch, Exactly, LeftOut, Timestamp
from schemas.verdict_invariants import STATUSES, invariants


def _status() -> fields.String:
    return fields.String(required=True, validate=validate.OneOf(STATUSES))


class TaskCounts(ByAttribute):
    """Four exact counts."""

    running_tasks_count = Exactly(int, smallest=0)
    abnormal_tasks_count = Exactly(int, smallest=0)
    terminated_tasks_count = Exactly(int, smallest=0)
    completed_tasks_count = Exactly(int, smallest=0)


class OtherGroups(fields.Dict):
    """Further task groups, by the names that ROMA Connect uses; left out if there are none."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        return super()._serialize(value, attr, obj, **kwargs) or missing  # type: ignore[no-untyped-call] # marshmallow's


class Error(ByAttribute):
    """Why an instance is unknown."""

    code = Exactly(str)
    message = Exactly(str)
    next_step = Exactly(str, allow_none=True)
    upstream_status = Exactly(int, allow_none=True)
    upstream_code = Exactly(str, allow_none=True)
    upstream_message = Exactly(str, allow_none=True)
    request_id = Exactly(str, allow_none=True)


class VerdictWarning(ByAttribute):
    """Something that an operator should read, although nobody is paged."""

    code = Exactly(str)
    target = LeftOut(str)
    instance = Exactly(str, allow_none=True)
    message = Exactly(str)
    next_step = Exactly(str)


class Mute(ByAttribute):
    """A mute that has not ended."""

    instance = Exactly(str)
    task = LeftOut(str)
    target = LeftOut(str)
    begins = Timestamp(data_key="from", allow_none=True)
    ends = Timestamp(data_key="until")


class Mutes(fields.List[Any]):
    """The mutes; left out if there are none."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        return super()._serialize(value, attr, obj, **kwargs) or missing


class AbnormalTask(ByAttribute):
    """An abnormal task; null where ROMA Connect does not say."""

    task_id = Exactly(str, allow_none=True)
    task_name = Exactly(str, allow_none=True)
    task_type = Exactly(str, allow_none=True)
    position = Exactly(str, allow_none=True)
    last_execute_time = Timestamp(allow_none=True)
    source_app_name = Exactly(str, allow_none=True)
    target_app_name = Exactly(str, allow_none=True)
    failed_at = Timestamp(allow_none=True)
    remarks = Exactly(str, allow_none=True)
    dirty_data_count = Exactly(int, smallest=0, allow_none=True)


class StoppedTask(ByAttribute):
    """A stopped task of an instance that runs too few."""

    task_id = Exactly(str, allow_none=True)
    task_name = Exactly(str, allow_none=True)
    task_type = Exactly(str, allow_none=True)
    last_execute_time = Timestamp(allow_none=True)


class Tasks(fields.List[Any]):
    """Named tasks; left out if nobody asked for them."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        return missing if value is None else super()._serialize(value, attr, obj, **kwargs)


class TasksNote(Exactly):
    """Why named tasks are missing or incomplete, or null; left out together with them."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        tasks = str(self.attribute).removesuffix("_note")
        if _of_tasks(obj, tasks) is None:
            return missing
        return super()._serialize(value, attr, obj, **kwargs)


def _of_tasks(instance: Any, attr: str) -> Any:
    """Return an attribute of an instance's named tasks, None if nobody asked for them."""
    return None if instance.tasks is None else operator.attrgetter(attr)(instance)


class Instance(ByAttribute):
    """One instance's part."""

    target = LeftOut(str)
    name = Exactly(str)
    instance_id = Exactly(str)
    status = _status()
    reason = Exactly(str)
    duration_seconds = Exactly(float, smallest=0, digits=3)
    common_task_details = fields.Nested(TaskCounts, allow_none=True)
    cdc_task_details = fields.Nested(TaskCounts, allow_none=True)
    other_task_details = OtherGroups(keys=fields.String(), values=fields.Nested(TaskCounts))
    abnormal_tasks = Tasks(fields.Nested(AbnormalTask), attribute="tasks.abnormal")
    abnormal_tasks_note = TasksNote(str, attribute="tasks.abnormal_note", allow_none=True)
    stopped_tasks = Tasks(fields.Nested(StoppedTask), attribute="tasks.stopped")
    stopped_tasks_note = TasksNote(str, attribute="tasks.stopped_note", allow_none=True)
    error = fields.Nested(Error, allow_none=True)

    def get_attribute(self, obj: Any, attr: str, default: Any) -> Any:
        """Return an attribute; None for one of named tasks that nobody asked for."""
        return _of_tasks(obj, attr) if attr.startswith("tasks.") else super().get_attribute(obj, attr, default)


class Credentials(ByAttribute):
    """The kind of a target's credentials, the version of its secret, and when they expire."""

    kind = Exactly(str)
    version = Exactly(str, allow_none=True)
    expires_at = Epoch(allow_none=True)


class Target(ByAttribute):
    """One target's part, if FDI_CONFIG describes it."""

    name = Exactly(str)
    region = Exactly(str, allow_none=True)
    project_id = Exactly(str)
    error = fields.Nested(Error, allow_none=True)
    credentials = fields.Nested(Credentials, attribute="token", allow_none=True)


class Targets(fields.List[Any]):
    """The targets; left out if the environment describes the only one."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        named = [target for target in value if target.name is not None]
        return super()._serialize(named, attr, obj, **kwargs) or missing


class InstancesCount(Schema):
    """How many instances have which status."""

    total = fields.Function(lambda counts: sum(counts.values()))
    healthy = Exactly(int, smallest=0)
    degraded = Exactly(int, smallest=0)
    unhealthy = Exactly(int, smallest=0)
    unknown_ = Exactly(int, smallest=0, attribute="unknown", data_key="unknown")  # a schema has an `unknown` of its own


class AnonymousVerdict(ByAttribute):
    """What every caller sees."""

    status = _status()
    healthy = Exactly(bool)
    marker = Exactly(str)
    reason = Exactly(str)
    checked_at = Timestamp()
    age_seconds = Exactly(float, smallest=0, digits=1)
    duration_seconds = Exactly(float, smallest=0, digits=3)
    instances_count = fields.Nested(InstancesCount)


class DetailedVerdict(AnonymousVerdict):
    """What callers who may see details see."""

    totals = fields.Nested(TaskCounts, attribute="details.totals", allow_none=True)
    warnings = fields.List(fields.Nested(VerdictWarning), attribute="details.warnings")
    mutes = Mutes(fields.Nested(Mute), attribute="details.mutes")
    targets = Targets(fields.Nested(Target), attribute="details.targets")
    error = fields.Nested(Error, attribute="details.error", allow_none=True)
    instances = fields.List(fields.Nested(Instance), attribute="details.instances")


@functools.cache
def _schema(kind: type[AnonymousVerdict]) -> AnonymousVerdict:
    return kind()


def document(verdict: Any) -> dict[str, Any]:
    """Return the verdict as a JSON document, its keys in the order that callers read.

    Args:
        verdict: an object with the attributes of `fdi_health.models.Verdict`.

    Raises:
        ValidationError: it does not have these attributes or types, or contradicts itself.

    """
    schema = _schema(AnonymousVerdict if verdict.details is None else DetailedVerdict)
    dumped: dict[str, Any] = schema.dump(verdict)
    contradictions = list(
        invariants(
            dumped,
            verdict.fail_on,
            verdict.muted_count,
            verdict.unlisted_count,
            has_target_warning=verdict.has_target_warning,
        )
    )
    if contradictions:
        raise ValidationError(contradictions)
    return dumped
