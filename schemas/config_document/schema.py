"""The schemas of a target and of a policy in a configuration document.

`metadata` says what a field is for; docs/build_configuration.py writes the page from it.
"""

from __future__ import annotations

import re
from typing import Any

from marshmallow import Schema, ValidationError, validates_schema

from schemas.config_document.forms import (
    EVERY,
    InstanceNames,
    ListedInstances,
    Note,
    Period,
    PolicyByInstance,
    SecretText,
    TaskPeriods,
    Texts,
)
from schemas.policy_fields import mute_ends_too_late, task_mute_ends_too_late
from schemas.settings_fields import INSTANCE_ID, MARKER, NAME, REGION, Endpoint, Matching, Number

MAX_INSTANCES = 6000
"""Of all targets together. A check of 5,010 already takes longer than its deadline; see docs/scale.md."""

_PROJECT = "must be the project's ID, e.g. c53626012ba84727b938ca8bf03108ef"
_NAME = "must be a name of letters, digits, _, . and -, e.g. emea"
_ALIAS = re.compile(rf"\*|{NAME.pattern}", re.ASCII)


def _about(kind: str, meaning: str, example: str) -> dict[str, str]:
    return {"kind": kind, "meaning": meaning, "example": example}


def _missing(message: str) -> dict[str, Any]:
    return {"required": message.replace("must be", "is missing:", 1)}


class PolicySchema(Schema):
    """The policy for an instance, or for all.

    Args:
        present: the time now, in seconds since the epoch, from which a mute without a beginning counts.

    """

    error_messages = {  # noqa: RUF012 -- marshmallow's
        "type": "must be a mapping, e.g. {min_tasks: 3}",
        "unknown": "is not a field of a policy",
    }

    def __init__(self, present: float = 0.0) -> None:
        super().__init__()
        self._present = present

    min_tasks = Number(
        1,
        999_999_999,
        "12",
        whole=True,
        metadata=_about("whole number", "Fewer visible tasks make the instance unknown (`tasks_missing`).", "12"),
    )
    min_running_tasks = Number(
        1,
        999_999_999,
        "3",
        whole=True,
        metadata=_about("whole number", "Fewer running tasks make the instance unhealthy.", "3"),
    )
    mute = Period(
        metadata=_about(
            "UNTIL or FROM/UNTIL",
            "The instance is muted in this time, which is at most 31 days long; without FROM it ends within 31 days.",
            "2026-12-01T22:00+01:00/2026-12-02T06:00+01:00",
        )
    )
    muted_tasks = TaskPeriods(
        metadata=_about(
            "mapping of tasks to UNTIL or FROM/UNTIL",
            "These tasks, by name or ID, are muted until a time within 366 days.",
            "{nightly-export: 2026-12-31T00:00Z}",
        )
    )
    note = Note(
        metadata=_about("text, at most 200 characters", "Why, for people who read the document.", "agreed with sales")
    )

    @validates_schema(skip_on_field_errors=False)
    def _mutes_end(self, data: dict[str, Any], **_: Any) -> None:
        faults: dict[str, Any] = {}
        begins, ends = data.get("mute", (None, 0.0))
        if mute_ends_too_late(begins, ends, self._present):
            faults["mute"] = ["must end within 31 days if it has no beginning, e.g. 2026-12-02T06:00+01:00"]
        late = {
            task: ["must end within 366 days, e.g. nightly-export: 2026-12-31T00:00Z"]
            for task, (_begins, ends) in data.get("muted_tasks", {}).items()
            if task_mute_ends_too_late(ends, self._present)
        }
        if late:
            faults["muted_tasks"] = late
        if faults:
            raise ValidationError(faults)


class TargetSchema(Schema):
    """A target. `policies` loads the policies in it."""

    error_messages = {  # noqa: RUF012 -- marshmallow's
        "type": "must be a mapping with the fields of a target, e.g. - name: emea",
        "unknown": "is not a field of a target",
    }

    def __init__(self, present: float = 0.0) -> None:
        super().__init__()
        self.policies = PolicySchema(present)

    name = Matching(
        NAME,
        _NAME,
        required=True,
        error_messages=_missing(_NAME),
        metadata=_about("text", "Names the target; no two have the same name.", "emea"),
    )
    region = Matching(
        REGION,
        "must be a region's name, e.g. cn-north-4",
        load_default=None,
        allow_none=False,
        metadata=_about("text", "The region. A target has a region or an `endpoint`.", "cn-north-4"),
    )
    endpoint = Endpoint(
        "https://roma.cn-north-4.myhuaweicloud.com",
        load_default=None,
        allow_none=False,
        metadata=_about(
            "URL",
            "ROMA Connect's base URL instead of the region's.",
            "https://roma.cn-north-4.myhuaweicloud.com",
        ),
    )
    project_id = Matching(
        INSTANCE_ID,
        _PROJECT,
        required=True,
        error_messages=_missing(_PROJECT),
        metadata=_about("text", "The project's ID.", "c53626012ba84727b938ca8bf03108ef"),
    )
    token = SecretText(
        required=True,
        error_messages=_missing(SecretText.expected),
        metadata=_about(
            "secret URL", "The secret with the access key, the credentials or the token.", "file:///run/secrets/emea"
        ),
    )
    iam_endpoint = Endpoint(
        "https://iam.cn-north-4.myhuaweicloud.com",
        load_default=None,
        allow_none=False,
        metadata=_about("URL", "IAM's base URL instead of the region's.", "https://iam.cn-north-4.myhuaweicloud.com"),
    )
    instances = ListedInstances(
        required=True,
        error_messages=_missing("must be the instances to ask, e.g. payments: fae7ff6c-8e07-4cf8-9e67-589cab2f017c"),
        metadata=_about(
            'mapping of aliases to IDs, list of IDs, or `"*"`',
            'The instances; `"*"` is every instance of the project.',
            "{payments: fae7ff6c-8e07-4cf8-9e67-589cab2f017c}",
        ),
    )
    excluded = Texts(
        NAME,
        "must be an alias, name or ID, e.g. sandbox",
        data_key="exclude",  # marshmallow's schemas have an attribute of that name
        load_default=frozenset,
        metadata=_about("list of texts", 'Instances that `"*"` leaves out, by name or ID.', "[sandbox]"),
    )
    min_instances = Number(
        1,
        MAX_INSTANCES,
        "3",
        whole=True,
        load_default=0,
        metadata=_about("whole number", 'Fewer instances that `"*"` finds are an error of the target.', "3"),
    )
    optional_task_groups = Texts(
        re.compile("cdc|common"),
        "must be cdc or common, e.g. cdc",
        load_default=frozenset,
        metadata=_about("list of `cdc`, `common`", "Task groups that a response may lack.", "[cdc]"),
    )
    flow_tasks = Matching(
        re.compile("off|check"),
        "must be off or check, e.g. check",
        load_default="off",
        metadata=_about("`off` or `check`", "Whether orchestration tasks are counted too.", "check"),
    )
    allow_empty = InstanceNames(
        _ALIAS,
        "must be an alias or ID of an instance, or *, e.g. sandbox",
        load_default=frozenset,
        metadata=_about("list of texts", "Instances that may have no tasks; `*` is every instance.", "[sandbox]"),
    )
    max_calls_per_second = Number(
        0.1,
        1000,
        "10",
        whole=False,
        load_default=None,
        allow_none=False,
        metadata=_about("number", "How many requests a second are sent to this target.", "10"),
    )
    policy = PolicyByInstance(
        load_default=dict,
        metadata=_about(
            "mapping of aliases, IDs or `*` to policies",
            "Limits and mutes of instances; the fields of a policy are below.",
            '{payments: {min_tasks: 12}, "*": {min_tasks: 1}}',
        ),
    )

    @validates_schema(skip_on_field_errors=False, pass_original=True)
    def _is_complete(self, data: dict[str, Any], original: object, **_: Any) -> None:
        if not isinstance(original, dict):
            return
        faults: dict[str, list[str]] = {}
        # A field that is there and wrong has its own fault already and is missing from `data` altogether.
        if data.get("region", ...) is None and data.get("endpoint", ...) is None:
            faults["region"] = ["is missing: the region to ask, e.g. cn-north-4 (or the field endpoint)"]
        if MARKER.search(data.get("name", "")):
            faults["name"] = [
                f"must not contain the word that keyword checkers search for (FDI, a hyphen, OK); {_NAME}"
            ]
        if original.get("instances", EVERY) != EVERY:
            for field, value in (("exclude", data.get("excluded")), ("min_instances", data.get("min_instances"))):
                if value:
                    faults[field] = [f'is only for instances: "{EVERY}"; take it out, or ask every instance']
        if faults:
            raise ValidationError(faults)
