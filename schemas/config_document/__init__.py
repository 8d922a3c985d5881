"""The document of FDI_CONFIG: several targets in, one value for each or every fault at once out.

It is made of the same fields as the environment, so that both accept the same values. A fault names the line, the path,
the form that is expected and an example; never a value, because a secret in a wrong place must not get into a log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from marshmallow import Schema, ValidationError, fields

from schemas.close_misses import close_miss
from schemas.config_document.faults import ConfigFault, ConfigFaults, child_path
from schemas.config_document.forms import load_each
from schemas.config_document.schema import MAX_INSTANCES, PolicySchema, TargetSchema
from schemas.config_document.yaml_reader import EXPECTED_DOCUMENT, MAX_DOCUMENT_BYTES, Node, plain, read
from schemas.policy_fields import TaskMute
from schemas.targets import TargetSettings, fill_in_endpoints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["MAX_DOCUMENT_BYTES", "MAX_TARGETS", "ConfigFault", "ConfigFaults", "load"]

MAX_TARGETS = 100

_NULL = fields.Field.default_error_messages["null"]


class Targets(fields.Field[list[dict[str, Any]]]):
    """A list of targets, which the schema in the document's `target` loads."""

    def _deserialize(self, value: object, attr: str | None, data: Any, **_: Any) -> list[dict[str, Any]]:  # noqa: ARG002 -- marshmallow's signature
        if not isinstance(value, list) or not value:
            raise ValidationError("must be a list of targets, e.g. - name: emea")
        if len(value) > MAX_TARGETS:
            raise ValidationError(f"must be at most {MAX_TARGETS} targets: split the document over several functions")
        document = cast("DocumentSchema", self.parent)
        loaded, faults = load_each(document.target, enumerate(value))
        total = 0
        first_of: dict[str, int] = {}
        for number, target in enumerate(value):
            if not isinstance(target, dict):
                continue
            name, token, instances = target.get("name"), target.get("token"), target.get("instances")
            found: dict[str, list[str]] = {}
            if isinstance(name, str) and first_of.setdefault(name, number) != number:
                found["name"] = [
                    f"repeats the name of targets[{first_of[name]}]: each name may stand once, e.g. emea-2"
                ]
            if isinstance(token, str) and (fault := document.token_fault(token)):
                found["token"] = [fault]
            before, total = total, total + (len(instances) if isinstance(instances, dict | list) else 0)
            if before <= MAX_INSTANCES < total:
                found["instances"] = [f"is one too many: a document has at most {MAX_INSTANCES} instances; split it"]
            if found:
                faults[number] = found | faults.get(number, {})
        if faults:
            raise ValidationError(faults)
        return list(loaded.values())


class DocumentSchema(Schema):
    """The whole document.

    Args:
        present: the time now, in seconds since the epoch.
        token_fault: see `load`.

    """

    error_messages = {"unknown": "is not a field of the document"}  # noqa: RUF012 -- marshmallow's
    targets = Targets(required=True, error_messages={"required": f"is missing: the document {EXPECTED_DOCUMENT}"})

    def __init__(self, present: float, token_fault: Callable[[str], str | None]) -> None:
        super().__init__()
        self.target = TargetSchema(present)
        self.token_fault = token_fault


_FIELDS = {
    schema.error_messages["unknown"]: tuple(
        str(field.data_key or name) for name, field in schema._declared_fields.items()
    )
    for schema in (DocumentSchema, TargetSchema, PolicySchema)
}
"""The message for an unknown field → the fields that exist there."""


def load(
    data: bytes, present: float, token_fault: Callable[[str], str | None] = lambda _: None
) -> tuple[TargetSettings, ...]:
    """Return the targets in a document.

    Args:
        data: the document, in YAML or JSON.
        present: the time now, in seconds since the epoch.
        token_fault: returns what is wrong with a secret URL, without repeating it, or None.

    Raises:
        ConfigFaults: with every fault.

    """
    document = read(data)
    if not isinstance(document.root.value, dict):
        raise ConfigFaults([*document.faults, ConfigFault(document.root.line, "", EXPECTED_DOCUMENT)])
    faults = document.faults
    loaded: dict[str, Any] = {}
    try:
        loaded = DocumentSchema(present, token_fault).load(plain(document.root))
    except ValidationError as error:
        found = _faults(error.messages, document.root, "")
        faults = [*faults, *(fault for fault in found if fault.path not in document.unread)]
    if faults:
        raise ConfigFaults(faults, _with_hint)
    return tuple(_target(target) for target in loaded["targets"])


def _faults(messages: Any, node: Node, path: str) -> Iterator[ConfigFault]:
    """Yield the messages of marshmallow, which are nested like the document, with lines and paths."""
    if isinstance(messages, list):
        for message in messages:
            text = "has no value: give it one, or take it out" if message == _NULL else message
            yield ConfigFault(node.line, path, text)
        return
    members: dict[Any, Node] = {}
    if isinstance(node.value, dict | list):
        members = node.value if isinstance(node.value, dict) else dict(enumerate(node.value))
    positions = {key: number for number, key in enumerate(members, 1)}
    for key, inner in messages.items():
        if key == "_schema":
            yield from _faults(inner, node, path)
        else:
            # A member that is missing has the line of the mapping that it should be in.
            child = members.get(key, Node(node.line, None))
            yield from _faults(inner, child, child_path(path, key, positions.get(key, 0)))


def _with_hint(fault: ConfigFault) -> ConfigFault:
    """Return a fault of an unknown field with the field that is probably meant; searching it takes time."""
    names = _FIELDS.get(fault.message)
    if names is None:
        return fault
    close = close_miss([fault.path.rpartition(".")[2]], names)
    hint = f"did you mean {close}?" if close else f"the fields are {', '.join(names)}"
    return fault._replace(message=f"{fault.message}: {hint}")


def _target(loaded: dict[str, Any]) -> TargetSettings:
    policies, exclude = loaded.pop("policy"), loaded.pop("excluded")
    endpoint, iam_endpoint = fill_in_endpoints(loaded["region"], loaded["endpoint"], loaded["iam_endpoint"])
    by_field = {
        field: {instance: policy[field] for instance, policy in policies.items() if field in policy}
        for field in ("min_tasks", "min_running_tasks", "mute")
    }
    muted_tasks = tuple(
        TaskMute(instance, task, *period)
        for instance, policy in policies.items()
        for task, period in policy.get("muted_tasks", {}).items()
    )
    instances = loaded["instances"]
    return TargetSettings(
        **{
            **loaded,
            **by_field,
            "endpoint": endpoint,
            "iam_endpoint": iam_endpoint,
            "instances": tuple(instances or ()),
            "discovers": instances is None,
            "exclude": exclude,
            "muted_tasks": muted_tasks,
        }
    )
