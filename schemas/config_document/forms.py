"""The forms that only a configuration document has: lists, and mappings by instance or task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, cast

from marshmallow import Schema, ValidationError, fields

from schemas.instance_fields import InstanceFaults, instance_fault
from schemas.policy_fields import check_task, read_mute, read_task_mute
from schemas.settings_fields import INSTANCE_ID, MARKER, NAME

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Mapping

_Periods: TypeAlias = dict[str, tuple[float | None, float]]

EVERY = "*"
MAX_NOTE_CHARACTERS = 200

_INSTANCE_FAULTS = InstanceFaults(
    form="must be an alias and an ID (in a list: an ID), e.g. payments: fae7ff6c-8e07-4cf8-9e67-589cab2f017c",
    marker="must not contain the word that keyword checkers search for (FDI, a hyphen, OK); choose another alias, "
    "e.g. payments: ID",
    repeated="repeats an alias or ID of this target; each may stand once, e.g. payments: ID1 and crm: ID2",
)
_INSTANCES = 'must be a mapping of aliases to IDs, a list of IDs, or "*", e.g. payments: ID'
_UNKNOWN_INSTANCE = "must be an alias or ID in the target's instances, or *, e.g. payments"
_POLICY = "must be a mapping of aliases, IDs or * to policies, e.g. payments: {min_tasks: 3}"
_PERIOD = (
    "must be UNTIL or FROM/UNTIL, each with date, time and offset, e.g. 2026-12-01T22:00+01:00/2026-12-02T06:00+01:00"
)
_TASKS = "must be a mapping of tasks, by name or ID, to UNTIL or FROM/UNTIL, e.g. nightly-export: 2026-12-31T00:00Z"


def load_each(schema: Schema, items: Iterable[tuple[str | int, Any]]) -> tuple[dict[Any, Any], dict[str | int, Any]]:
    """Return key → what the schema loads, and key → the messages of those that it refuses."""
    loaded: dict[Any, Any] = {}
    faults: dict[str | int, Any] = {}
    for key, item in items:
        try:
            loaded[key] = schema.load(item)
        except ValidationError as error:
            faults[key] = error.messages
    return loaded, faults


class SecretText(fields.Field[str]):
    """The URL of a secret, as a text; the stores know their URLs' forms."""

    expected = "must be the URL of the secret with the access key, e.g. file:///run/secrets/roma-key"

    def _deserialize(self, value: object, attr: str | None, data: Any, **_: Any) -> str:  # noqa: ARG002 -- marshmallow's signature
        if not isinstance(value, str) or not value or not value.isprintable():
            raise ValidationError(self.expected)
        return value


class Texts(fields.Field[frozenset[str]]):
    """A list of texts of one form.

    Args:
        form: every text matches it.
        expected: the message for one that does not.

    """

    def __init__(self, form: re.Pattern[str], expected: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.form = form
        self.expected = expected

    def _deserialize(self, value: object, attr: str | None, data: Mapping[str, Any] | None, **_: Any) -> frozenset[str]:  # noqa: ARG002 -- marshmallow's signature
        if not isinstance(value, list):
            raise ValidationError(f"must be a list; each entry {self.expected}")
        faults = {number: [fault] for number, entry in enumerate(value) if (fault := self.fault(entry, data or {}))}
        if faults:
            raise ValidationError(faults)
        return frozenset(value)

    def fault(self, entry: object, data: Mapping[str, Any]) -> str | None:  # noqa: ARG002 -- for those that need the rest
        """Return what is wrong with an entry, or None."""
        if not isinstance(entry, str) or not self.form.fullmatch(entry):
            return self.expected
        return _INSTANCE_FAULTS.marker if MARKER.search(entry) else None


class InstanceNames(Texts):
    """A list of aliases or IDs of the target's instances."""

    def fault(self, entry: object, data: Mapping[str, Any]) -> str | None:
        """Return what is wrong with an entry, or None."""
        known = _known_instances(data)
        return super().fault(entry, data) or (None if known is None or entry in known else _UNKNOWN_INSTANCE)


def _known_instances(data: Mapping[str, Any]) -> set[str] | None:
    """Return what may name an instance, or None if that is not known here."""
    instances = data.get("instances")
    if isinstance(instances, dict):
        instances = [*instances, *instances.values()]
    return {EVERY, *(text for text in instances if isinstance(text, str))} if isinstance(instances, list) else None


class ListedInstances(fields.Field[list[tuple[str, str]] | None]):
    """A mapping of aliases to IDs, or a list of IDs: loads to pairs of alias and ID. `*` loads to None."""

    def _deserialize(self, value: object, attr: str | None, data: Any, **_: Any) -> list[tuple[str, str]] | None:  # noqa: ARG002 -- marshmallow's signature
        if value == EVERY:
            return None
        if not isinstance(value, dict | list) or not value:
            raise ValidationError(_INSTANCES)
        entries = list(value.items()) if isinstance(value, dict) else [(entry, entry) for entry in value]
        faults: dict[str | int, list[str]] = {}
        taken: set[str] = set()
        for number, (name, instance_id) in enumerate(entries):
            if fault := instance_fault(name, instance_id, taken, _INSTANCE_FAULTS):
                faults[name if isinstance(value, dict) else number] = [fault]
            taken |= {text for text in (name, instance_id) if isinstance(text, str)}
        if faults:
            raise ValidationError(faults)
        return entries


class PolicyByInstance(fields.Field[dict[str, dict[str, Any]]]):
    """A mapping of aliases, IDs or `*` to policies, which the schema in the target's `policies` loads."""

    def _deserialize(self, value: object, attr: str | None, data: Any, **_: Any) -> dict[str, dict[str, Any]]:  # noqa: ARG002 -- marshmallow's signature
        if not isinstance(value, dict):
            raise ValidationError(_POLICY)
        schema: Schema = cast("Any", self.parent).policies
        loaded, faults = load_each(schema, value.items())
        known = _known_instances(data)
        for key in value:
            if known is not None and key not in known:
                faults[key] = {"_schema": [_UNKNOWN_INSTANCE]}
            elif not (key == EVERY or NAME.fullmatch(key) or INSTANCE_ID.fullmatch(key)) or MARKER.search(key):
                faults[key] = {"_schema": [_POLICY]}
        if faults:
            raise ValidationError(faults)
        return loaded


class Period(fields.Field[tuple[float | None, float]]):
    """`UNTIL` or `FROM/UNTIL`: loads to (from or None, until) in seconds since the epoch."""

    def _deserialize(self, value: object, attr: str | None, data: Any, **_: Any) -> tuple[float | None, float]:  # noqa: ARG002 -- marshmallow's signature
        return read_mute(value if isinstance(value, str) else "", _PERIOD)


class TaskPeriods(fields.Field[_Periods]):
    """A mapping of tasks to periods."""

    def _deserialize(self, value: object, attr: str | None, data: Any, **_: Any) -> _Periods:  # noqa: ARG002 -- marshmallow's signature
        if not isinstance(value, dict) or not value:
            raise ValidationError(_TASKS)
        loaded: _Periods = {}
        faults: dict[str, list[str]] = {}
        for task, text in value.items():
            try:
                check_task(task, _TASKS)
                loaded[task] = read_task_mute(text if isinstance(text, str) else "", _PERIOD)
            except ValidationError as error:
                faults[task] = list(map(str, error.messages))
        if faults:
            raise ValidationError(faults)
        return loaded


class Note(fields.Field[str]):
    """A text for people who read the document."""

    def _deserialize(self, value: object, attr: str | None, data: Any, **_: Any) -> str:  # noqa: ARG002 -- marshmallow's signature
        if not isinstance(value, str) or len(value) > MAX_NOTE_CHARACTERS:
            raise ValidationError(
                f"must be a text of at most {MAX_NOTE_CHARACTERS} characters, e.g. agreed with the night shift"
            )
        return value
