"""Which instances are asked: the forms of FDI_INSTANCES and of its entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from marshmallow import ValidationError, fields

from schemas.settings_fields import INSTANCE_ID, MARKER, NAME, split_entries

if TYPE_CHECKING:
    from collections.abc import Container


class InstanceSelection(NamedTuple):
    """Which instances are asked.

    Attributes:
        named: (alias, ID) pairs, in their order.
        discovers: whether every instance of the project is asked; the named ones must be among them then.
        exclude: names, aliases or IDs of instances that are not asked; only with `discovers`.

    """

    named: tuple[tuple[str, str], ...]
    discovers: bool = False
    exclude: frozenset[str] = frozenset()


class Instances(fields.Field[InstanceSelection]):
    """`alias=ID`, bare IDs, `*` for every instance of the project, and `!name` for all but one; comma-separated."""

    def _deserialize(self, value: str, attr: str | None, data: Any, **_: Any) -> InstanceSelection:  # noqa: ARG002 -- marshmallow's signature
        pairs: list[tuple[str, str]] = []
        faults: dict[int, list[str]] = {}
        taken: set[str] = set()
        excluded: dict[int, str] = {}
        discovers = False
        for number, entry in enumerate(split_entries(value), 1):
            fault = None
            if entry == "*":
                fault = "repeats *, which may stand once, e.g. *,!sandbox" if discovers else None
                discovers = True
            elif entry.startswith("!"):
                excluded[number] = entry.removeprefix("!")
            else:
                name, equals, instance_id = entry.rpartition("=")
                pair = (name if equals else instance_id, instance_id)
                fault = instance_fault(*pair, taken, _INSTANCE_FAULTS)
                pairs.append(pair)
                taken |= set(pair)
            if fault:
                faults[number] = [fault]
        faults |= _exclusion_faults(excluded, taken, discovers=discovers)
        if faults:
            raise ValidationError(faults)
        return InstanceSelection(tuple(pairs), discovers, frozenset(excluded.values()))


class InstanceFaults(NamedTuple):
    """What is said of an instance that cannot be used, in the words of the place where it stands.

    Attributes:
        form: the alias or the ID has a wrong form.
        marker: one of them contains the marker.
        repeated: one of them stands above already.

    """

    form: str
    marker: str
    repeated: str


_INSTANCE_FAULTS = InstanceFaults(
    form="must be alias=ID, a bare ID, or * for every instance, e.g. payments=fae7ff6c-8e07-4cf8-9e67-589cab2f017c",
    marker="must not contain the word that keyword checkers search for (FDI, a hyphen, OK); "
    "choose another alias, e.g. payments=ID",
    repeated="repeats an alias or ID of an earlier entry; each may stand once, e.g. payments=ID1,crm=ID2",
)


def instance_fault(name: object, instance_id: object, taken: Container[object], messages: InstanceFaults) -> str | None:
    """Return what is wrong with an instance, or None.

    Args:
        name: the alias, or the ID again.
        instance_id: the ID.
        taken: the aliases and IDs above it.
        messages: one of them is returned.

    """
    if not isinstance(name, str) or not isinstance(instance_id, str):
        return messages.form
    if not NAME.fullmatch(name) or not INSTANCE_ID.fullmatch(instance_id):
        return messages.form
    if MARKER.search(name) or MARKER.search(instance_id):
        return messages.marker
    if name in taken or instance_id in taken:
        return messages.repeated
    return None


def _exclusion_faults(excluded: dict[int, str], named: set[str], *, discovers: bool) -> dict[int, list[str]]:
    """Return number of the entry → fault.

    Args:
        excluded: number of the entry → what it excludes.
        named: the aliases and IDs in other entries.
        discovers: whether one of the entries is `*`.

    """
    faults: dict[int, list[str]] = {}
    for number, name in excluded.items():
        if not NAME.fullmatch(name):
            faults[number] = ["must be ! and an instance's name or ID, e.g. *,!sandbox"]
        elif MARKER.search(name):
            faults[number] = ["must not contain the word that keyword checkers search for; use the ID, e.g. *,!ID"]
        elif not discovers:
            faults[number] = ["excludes an instance from *, and there is no entry *, e.g. *,!sandbox"]
        elif name in named:
            faults[number] = ["excludes an instance that another entry names, e.g. *,payments=ID,!sandbox"]
        elif name in [other for earlier, other in excluded.items() if earlier < number]:
            faults[number] = ["repeats an earlier exclusion, e.g. *,!sandbox,!test"]
    return faults
