"""The forms of the settings that are a policy for instances: `NAME=VALUE`, comma-separated."""

from __future__ import annotations

import re
from abc import abstractmethod
from datetime import datetime
from typing import Any, NamedTuple

from marshmallow import ValidationError, fields

from schemas.settings_fields import MARKER, NAME, split_entries

MAX_MUTE_SECONDS = 31 * 86400.0
"""A longer mute would be forgotten."""

MUTE_EXAMPLE = "payments=2026-12-01T22:00+01:00/2026-12-02T06:00+01:00"


MAX_TASK_MUTE_SECONDS = 366 * 86400.0
"""The same for a single task, which somebody may be mending for longer."""

TASK_MUTE_EXAMPLE = "payments/nightly-export=2026-12-31T00:00Z"
_TASK_MUTE_EXPECTED = (
    "must be an instance's name or *, /, the name or ID of a task, =, and UNTIL or FROM/UNTIL, each with date, time "
    "and offset"
)


class ByInstance(fields.Field[dict[str, Any]]):
    """`KEY=VALUE`, comma-separated; a key is an alias, an ID or `*`. Loads to a mapping.

    Args:
        example: of a whole setting.

    """

    expected = "must be NAME=VALUE"

    def __init__(self, example: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.example = example

    def _deserialize(self, value: str, attr: str | None, data: Any, **_: Any) -> dict[str, Any]:  # noqa: ARG002 -- marshmallow's signature
        loaded: dict[str, Any] = {}
        faults: dict[int, list[str]] = {}
        for number, entry in enumerate(split_entries(value), 1):
            key, equals, text = entry.partition("=")
            try:
                if not equals or not (key == "*" or NAME.fullmatch(key)):
                    raise ValidationError(self.expected)
                if key in loaded:
                    raise ValidationError("repeats the name of an earlier entry")
                loaded[key] = self.read(text)
            except ValidationError as error:
                faults[number] = [f"{message}, e.g. {self.example}" for message in error.messages]
        if faults:
            raise ValidationError(faults)
        return loaded

    @abstractmethod
    def read(self, text: str) -> Any:
        """Return the value of one entry; raises ValidationError."""


class CountByInstance(ByInstance):
    """A number of tasks for each instance."""

    expected = "must be an instance's name or *, =, and a whole number from 1 to 999999999"

    def read(self, text: str) -> int:
        """Return the number."""
        if not re.fullmatch("[1-9][0-9]{0,8}", text, re.ASCII):
            raise ValidationError(self.expected)
        return int(text)


class MuteByInstance(ByInstance):
    """When each instance is muted: `UNTIL` or `FROM/UNTIL`. Loads to pairs of seconds since the epoch."""

    expected = "must be an instance's name or *, =, and UNTIL or FROM/UNTIL, each with date, time and offset"

    def read(self, text: str) -> tuple[float | None, float]:
        """Return (from or None, until)."""
        return read_mute(text, self.expected)


class TaskMute(NamedTuple):
    """One entry of FDI_MUTED_TASKS; times are in seconds since the epoch.

    Attributes:
        instance: an alias, an ID or `*`.
        task: the ID or the name of a task.
        begins: when the mute begins, or None if it has begun already.
        ends: when it ends.

    """

    instance: str
    task: str
    begins: float | None
    ends: float


class TaskMutes(fields.Field[list[TaskMute]]):
    """`INSTANCE/TASK=UNTIL` or `INSTANCE/TASK=FROM/UNTIL`, comma-separated."""

    def _deserialize(self, value: str, attr: str | None, data: Any, **_: Any) -> list[TaskMute]:  # noqa: ARG002 -- marshmallow's signature
        loaded: list[TaskMute] = []
        faults: dict[int, list[str]] = {}
        for number, entry in enumerate(split_entries(value), 1):
            try:
                mute = _task_mute(entry)
                if any(mute[:2] == other[:2] for other in loaded):
                    raise ValidationError("repeats the instance and task of an earlier entry")
                loaded.append(mute)
            except ValidationError as error:
                faults[number] = [f"{message}, e.g. {TASK_MUTE_EXAMPLE}" for message in error.messages]
        if faults:
            raise ValidationError(faults)
        return loaded


def _task_mute(entry: str) -> TaskMute:
    key, _, times = entry.rpartition("=")
    instance, _, task = key.partition("/")
    task = task.strip()
    if not (instance == "*" or NAME.fullmatch(instance)):
        raise ValidationError(_TASK_MUTE_EXPECTED)
    check_task(task, _TASK_MUTE_EXPECTED)
    return TaskMute(instance, task, *read_task_mute(times, _TASK_MUTE_EXPECTED))


def check_task(task: str, expected: str) -> None:
    """Raise ValidationError for a text that is not the name or ID of a task."""
    if not (0 < len(task) <= 128 and task.isprintable()):
        raise ValidationError(expected)
    if MARKER.search(task):
        raise ValidationError("must not contain the word that keyword checkers search for (FDI, a hyphen, OK)")


def read_mute(text: str, expected: str) -> tuple[float | None, float]:
    """Return (from or None, until) of `UNTIL` or `FROM/UNTIL`; raises ValidationError."""
    first, last = _moments(text, expected)
    if first is not None and not 0 < last - first <= MAX_MUTE_SECONDS:
        raise ValidationError("must be at most 31 days long and end after it begins")
    return first, last


def read_task_mute(text: str, expected: str) -> tuple[float | None, float]:
    """Return the same for a task, which may be muted for longer."""
    first, last = _moments(text, expected)
    if first is not None and not first < last:
        raise ValidationError("must end after it begins")
    return first, last


def mute_ends_too_late(begins: float | None, ends: float, present: float) -> bool:
    """Whether a mute without a beginning ends more than 31 days from now."""
    return begins is None and ends - present > MAX_MUTE_SECONDS


def task_mute_ends_too_late(ends: float, present: float) -> bool:
    """Whether the mute of a task ends more than 366 days from now."""
    return ends - present > MAX_TASK_MUTE_SECONDS


def policy_faults(data: dict[str, Any], present: float) -> dict[str, dict[int, list[str]]]:
    """Return variable → number of the entry → faults that concern several settings, or the time.

    Args:
        data: the loaded settings; a field that has a fault of its own is missing.
        present: the time now, in seconds since the epoch, from which a mute without a beginning counts.

    """
    mutes, task_mutes = data.get("mute", {}), data.get("muted_tasks", [])
    keys = {
        "FDI_MIN_TASKS": list(data.get("min_tasks", {})),
        "FDI_MIN_RUNNING_TASKS": list(data.get("min_running_tasks", {})),
        "FDI_MUTE": list(mutes),
        "FDI_MUTED_TASKS": [mute.instance for mute in task_mutes],
    }
    selection = data.get("instances")
    # With FDI_INSTANCES=* the names are not known before the instances are listed.
    is_known = selection is not None and not selection.discovers
    known = {"*"} | {text for pair in selection.named for text in pair} if selection is not None else set()
    faults: dict[str, dict[int, list[str]]] = {variable: {} for variable in keys}
    for variable, names in keys.items():
        for number, name in enumerate(names, 1):
            if is_known and name not in known:
                faults[variable][number] = ["must be for an instance in FDI_INSTANCES, or *"]
    for number, (begins, ends) in enumerate(mutes.values(), 1):
        if mute_ends_too_late(begins, ends, present):
            message = f"must end within 31 days if it has no beginning, e.g. {MUTE_EXAMPLE}"
            faults["FDI_MUTE"].setdefault(number, []).append(message)
    for number, mute in enumerate(task_mutes, 1):
        if task_mute_ends_too_late(mute.ends, present):
            message = f"must end within 366 days, e.g. {TASK_MUTE_EXAMPLE}"
            faults["FDI_MUTED_TASKS"].setdefault(number, []).append(message)
    return {variable: found for variable, found in faults.items() if found}


def _moments(text: str, expected: str) -> tuple[float | None, float]:
    begins, slash, ends = text.rpartition("/")
    return (_moment(begins, expected) if slash else None), _moment(ends, expected)


def _moment(text: str, expected: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValidationError(expected) from None
    if moment.tzinfo is None or "T" not in text or not 2000 <= moment.year < 2100:
        raise ValidationError(expected)
    return moment.timestamp()
