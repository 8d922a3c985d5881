"""The list of a project's instances (ListRomaInstancesV3).

It is read strictly, because it decides what is asked: an entry that were left out would never be checked. So one that
is not valid, a total that does not fit, or an ID that stands twice makes the whole list invalid.

Source: the vendor's API reference (ListRomaInstancesV3, updated 2025-12-26). It documents no pages.
"""

from __future__ import annotations

from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields

from schemas.settings_fields import INSTANCE_ID, MARKER


class InstanceId(fields.Field[str]):
    """The ID of an instance. It becomes a part of paths and of the verdict, so the marker must not be in it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> str:  # noqa: ARG002 -- marshmallow's signature
        if not isinstance(value, str) or not INSTANCE_ID.fullmatch(value) or MARKER.search(value):
            raise ValidationError("Not an ID.")
        return value


class AnyText(fields.Field[str]):
    """A text, also an empty one."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> str:  # noqa: ARG002 -- marshmallow's signature
        if not isinstance(value, str):
            raise ValidationError("Not a text.")
        return value


class InstanceSchema(Schema):
    """One instance in the list."""

    class Meta:
        """Ignore what is not used."""

        unknown = EXCLUDE

    id = InstanceId(required=True)
    name = AnyText(required=True)
    status = AnyText(required=True)


_INSTANCE = InstanceSchema()


def load_instances(document: Any) -> list[dict[str, str]]:
    """Return `id`, `name` and `status` of every instance in the list.

    Raises:
        ValidationError: the list is not valid or not complete. Its only message goes on from "the list of instances"
            and contains nothing of the document but numbers.

    """
    entries = document.get("instances") if isinstance(document, dict) else None
    if not isinstance(entries, list) or document.get("error_code") not in (None, ""):
        raise ValidationError("is not a list of instances")
    numbers = [document.get(name) for name in ("total", "size")]
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ValidationError("does not say how many there are")
    if len(entries) < max(numbers):
        raise ValidationError(f"is incomplete: {len(entries)} of {max(numbers)}")
    if len(entries) > min(numbers):
        raise ValidationError(f"contradicts itself: {len(entries)} entries instead of {min(numbers)}")
    try:
        loaded: list[dict[str, str]] = [_INSTANCE.load(entry) for entry in entries]
    except ValidationError:
        raise ValidationError("has an entry without a valid ID, name or status") from None
    if len({entry["id"] for entry in loaded}) < len(loaded):
        raise ValidationError("has an instance twice")
    return loaded
