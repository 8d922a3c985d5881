"""The verdict as a JSON document: dumped by marshmallow, then validated before it is sent.

marshmallow's `dump` is lenient (0.9 becomes 0, True becomes 1), and a wrong verdict is the worst bug here. So values of
an inexact type are refused, and the document must not contradict itself; see `invariants`.
"""

from __future__ import annotations

import functools
import operator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from marshmallow import Schema, ValidationError, fields, missing, validate

from schemas.query import DEFAULT_FAIL_ON

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

STATUSES = ("unhealthy", "unknown", "degraded", "healthy")
MAX_REASON_CHARACTERS = 120
COUNTS = ("running_tasks_count", "abnormal_tasks_count", "terminated_tasks_count", "completed_tasks_count")


class Exactly(fields.Field[Any]):
    """A value of exactly one type; None only with `allow_none`.

    Args:
        kind: the type; subclasses are refused.
        smallest: the smallest number.
        digits: how many decimals a float has, or None.

    """

    def __init__(
        self, kind: type[Any], *, smallest: float | None = None, digits: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.kind, self.smallest, self.digits = kind, smallest, digits

    def _serialize(self, value: Any, attr: str | None, obj: Any, **_: Any) -> Any:  # noqa: ARG002 -- marshmallow's signature
        if value is None and self.allow_none:
            return None
        if type(value) is not self.kind or (self.smallest is not None and not value >= self.smallest):
            raise ValidationError(f"not exactly a {self.kind.__name__} in range")
        return value if self.digits is None else round(value, self.digits)


class Timestamp(fields.Field[datetime]):
    """A timestamp in UTC, whole seconds, `Z`."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **_: Any) -> str:  # noqa: ARG002 -- marshmallow's signature
        if not isinstance(value, datetime) or value.tzinfo is None:
            raise ValidationError("not a timestamp with a time zone")
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class ByAttribute(Schema):
    """A schema for objects with attributes; marshmallow would try `obj["name"]` on NamedTuples first."""

    def get_attribute(self, obj: Any, attr: str, default: Any) -> Any:  # noqa: ARG002 -- marshmallow's signature
        """Return an attribute; `a.b` is b of a."""
        return operator.attrgetter(attr)(obj)


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
    instance = Exactly(str, allow_none=True)
    message = Exactly(str)
    next_step = Exactly(str)


class Instance(ByAttribute):
    """One instance's part."""

    name = Exactly(str)
    instance_id = Exactly(str)
    status = _status()
    reason = Exactly(str)
    duration_seconds = Exactly(float, smallest=0, digits=3)
    common_task_details = fields.Nested(TaskCounts, allow_none=True)
    cdc_task_details = fields.Nested(TaskCounts, allow_none=True)
    other_task_details = OtherGroups(keys=fields.String(), values=fields.Nested(TaskCounts))
    error = fields.Nested(Error, allow_none=True)


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
    if contradictions := list(invariants(dumped, verdict.fail_on)):
        raise ValidationError(contradictions)
    return dumped


def invariants(document: dict[str, Any], fail_on: Collection[str] = DEFAULT_FAIL_ON) -> Iterator[str]:
    """Yield the contradictions in the document.

    Args:
        document: the verdict.
        fail_on: the statuses that fail the check that it is the response to.

    """
    status, healthy, counts = document["status"], document["healthy"], document["instances_count"]
    if healthy is not (status in ("healthy", "degraded")):
        yield "healthy does not follow from status"
    present = [name for name in STATUSES if counts[name]] or ["unknown"]
    fails = "healthy" in fail_on or status in fail_on or not set(present).isdisjoint(fail_on)
    if document["marker"] != ("FDI-OK" if healthy and not fails else "FDI-NOT-OK"):
        yield "marker does not follow from healthy and fail_on"
    if (document["reason"] == "none") is not (status == "healthy") or len(document["reason"]) > MAX_REASON_CHARACTERS:
        yield "reason does not follow from status, or is too long"
    if status != present[0]:
        yield "status is not the worst of the instances"
    if "instances" in document:
        yield from _detail_invariants(document, counts)


def _detail_invariants(document: dict[str, Any], counts: dict[str, int]) -> Iterator[str]:
    instances = document["instances"]
    if document["error"] is not None and (instances or document["status"] != "unknown"):
        yield "there is a top-level error although there are instances, or the status is not unknown"
    for name in STATUSES:
        if counts[name] != sum(instance["status"] == name for instance in instances):
            yield f"instances_count.{name} differs from the list of instances"
    every = [group for instance in instances for group in groups(instance)]
    shown = {name: sum(group[name] for group in every) for name in COUNTS} if every else None
    if document["totals"] != shown:
        yield "totals are not the sum of the instances' counts"
    for instance in instances:
        abnormal = any(group["abnormal_tasks_count"] for group in groups(instance))
        if (instance["status"] == "unhealthy") is not abnormal:
            yield "an instance's status does not follow from its counts"
        if (instance["error"] is not None) and instance["status"] != "unknown":
            yield "an instance has an error and is not unknown"
        if instance["status"] in ("healthy", "degraded") and not (
            instance["common_task_details"] or instance["cdc_task_details"]
        ):
            yield "an instance is healthy without counts"


def groups(instance: dict[str, Any]) -> list[dict[str, int]]:
    """Return the counts of every group that an instance shows."""
    required = (instance["common_task_details"], instance["cdc_task_details"])
    return [group for group in required if group is not None] + [*instance.get("other_task_details", {}).values()]
