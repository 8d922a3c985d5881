"""The settings: environment variables in, one typed value or every fault at once out.

A fault names the variable, the entry in a list, the form that is expected and an example; never a value, because a
secret in the wrong variable must not get into a log or a response.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from schemas.instance_fields import Instances, InstanceSelection
from schemas.policy_fields import (
    MUTE_EXAMPLE,
    CountByInstance,
    MuteByInstance,
    TaskMute,
    TaskMutes,
    policy_faults,
)
from schemas.service_links import is_service_link
from schemas.settings_fields import (
    INSTANCE_ID,
    NAME,
    REGION,
    Endpoint,
    Entries,
    Matching,
    Number,
)
from schemas.targets import OF_ONE_PROJECT, fill_in_endpoints

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX = "FDI_"


class Settings(NamedTuple):
    """The settings; each is named after its variable, without `FDI_`.

    `endpoint` and `iam_endpoint` are filled in from the region. `instances` are pairs of name and ID; for `discovers`
    and `exclude` see `InstanceSelection`.
    """

    region: str | None
    endpoint: str
    config: str | None
    project_id: str
    instances: tuple[tuple[str, str], ...]
    token: str
    iam_endpoint: str | None
    token_warn_seconds: float
    callers: str | None
    deadline_seconds: float
    cache_seconds: float
    max_parallel: int
    anonymous: Literal["verdict", "details", "refuse"]
    allow_empty: frozenset[str]
    optional_task_groups: frozenset[str]
    min_tasks: dict[str, int]
    min_running_tasks: dict[str, int]
    mute: dict[str, tuple[float | None, float]]
    muted_tasks: list[TaskMute]
    flow_tasks: Literal["off", "check"]
    discovers: bool
    exclude: frozenset[str]
    discovery_seconds: float
    max_calls_per_second: float | None


class SettingsSchema(Schema):
    """Every setting; a variable that is absent or empty has its default.

    Args:
        present: the time now, in seconds since the epoch, from which a mute without a beginning counts. Only `load`
            needs it.
        has_config: whether FDI_CONFIG describes the targets, so that no variable of a single project is needed.

    """

    def __init__(self, present: float = 0.0, *, has_config: bool = False) -> None:
        super().__init__()
        self._present, self._has_config = present, has_config
        if has_config:
            for name, empty in (("project_id", ""), ("instances", InstanceSelection(())), ("token", "")):
                self.fields[name].required, self.fields[name].load_default = False, empty

    region = Matching(REGION, "must be a region's name, e.g. cn-north-4", data_key="FDI_REGION", load_default=None)
    endpoint = Endpoint("https://roma.cn-north-4.myhuaweicloud.com", data_key="FDI_ENDPOINT", load_default=None)
    project_id = Matching(
        INSTANCE_ID,
        "must be the project's ID, e.g. c53626012ba84727b938ca8bf03108ef",
        data_key="FDI_PROJECT_ID",
        required=True,
        error_messages={"required": "is missing: the project's ID, e.g. c53626012ba84727b938ca8bf03108ef"},
    )
    instances = Instances(
        data_key="FDI_INSTANCES",
        required=True,
        error_messages={
            "required": "is missing: the instances to ask, e.g. payments=fae7ff6c-8e07-4cf8-9e67-589cab2f017c"
        },
    )
    config = fields.String(data_key="FDI_CONFIG", load_default=None)
    token = fields.String(
        data_key="FDI_TOKEN",
        required=True,
        error_messages={
            "required": "is missing: the URL of the secret with the access key, e.g. file:///run/secrets/roma-key"
        },
    )
    iam_endpoint = Endpoint("https://iam.cn-north-4.myhuaweicloud.com", data_key="FDI_IAM_ENDPOINT", load_default=None)
    token_warn_seconds = Number(0, 86400, "3600", whole=False, data_key="FDI_TOKEN_WARN_SECONDS", load_default=3600.0)
    callers = fields.String(data_key="FDI_CALLERS", load_default=None)
    deadline_seconds = Number(0.1, 60, "4", whole=False, data_key="FDI_DEADLINE_SECONDS", load_default=4.0)
    cache_seconds = Number(0, 60, "5", whole=False, data_key="FDI_CACHE_SECONDS", load_default=5.0)
    max_parallel = Number(1, 256, "64", whole=True, data_key="FDI_MAX_PARALLEL", load_default=64)
    anonymous = fields.String(
        data_key="FDI_ANONYMOUS",
        load_default="verdict",
        validate=validate.OneOf(
            ["verdict", "details", "refuse"], error="must be verdict, details or refuse, e.g. verdict"
        ),
    )
    allow_empty = Entries(
        re.compile(rf"\*|{NAME.pattern}", re.ASCII),
        "must be an instance's name or *, e.g. sandbox",
        data_key="FDI_ALLOW_EMPTY",
        load_default=list,
    )
    optional_task_groups = Entries(
        re.compile("cdc|common"),
        "must be cdc or common, e.g. cdc",
        data_key="FDI_OPTIONAL_TASK_GROUPS",
        load_default=list,
    )

    min_tasks = CountByInstance("*=1,payments=12", data_key="FDI_MIN_TASKS", load_default=dict)
    min_running_tasks = CountByInstance("payments=3", data_key="FDI_MIN_RUNNING_TASKS", load_default=dict)
    mute = MuteByInstance(MUTE_EXAMPLE, data_key="FDI_MUTE", load_default=dict)
    muted_tasks = TaskMutes(data_key="FDI_MUTED_TASKS", load_default=list)
    flow_tasks = fields.String(
        data_key="FDI_FLOW_TASKS",
        load_default="off",
        validate=validate.OneOf(["off", "check"], error="must be off or check, e.g. check"),
    )
    discovery_seconds = Number(10, 3600, "300", whole=False, data_key="FDI_DISCOVERY_SECONDS", load_default=300.0)
    max_calls_per_second = Number(0.1, 1000, "12", whole=False, data_key="FDI_MAX_CALLS_PER_SECOND", load_default=None)

    @validates_schema(skip_on_field_errors=False)
    def _has_an_endpoint(self, data: dict[str, Any], **_: Any) -> None:
        # A field that is there and wrong has its own fault already and is missing from `data` altogether.
        if not self._has_config and data.get("region", ...) is None and data.get("endpoint", ...) is None:
            raise ValidationError("is missing: the region to ask, e.g. cn-north-4 (or set FDI_ENDPOINT)", "FDI_REGION")

    @validates_schema(skip_on_field_errors=False)
    def _has_callers_to_let_in(self, data: dict[str, Any], **_: Any) -> None:
        if data.get("anonymous") == "refuse" and data.get("callers") is None:
            raise ValidationError(
                "is missing: FDI_ANONYMOUS=refuse lets nobody in without a key; the URL of the secret that holds the "
                "callers' keys, e.g. file:///run/secrets/callers",
                "FDI_CALLERS",
            )

    @validates_schema(skip_on_field_errors=False)
    def _allow_empty_names_instances(self, data: dict[str, Any], **_: Any) -> None:
        selection = data.get("instances")
        if selection is None or selection.discovers:
            return
        known = {"*"} | {name for name, _ in selection.named}
        faults = {
            number: ["must be the name of an instance in FDI_INSTANCES, or *, e.g. sandbox"]
            for number, name in enumerate(data.get("allow_empty", []), 1)
            if name not in known
        }
        if faults:
            raise ValidationError({"FDI_ALLOW_EMPTY": faults})

    @validates_schema(skip_on_field_errors=False)
    def _policies_are_for_instances_and_end(self, data: dict[str, Any], **_: Any) -> None:
        faults = policy_faults(data, self._present)
        if faults:
            raise ValidationError(faults)


def load(environ: Mapping[str, str], present: float) -> Settings:
    """Return the settings in an environment.

    Args:
        environ: the environment.
        present: the time now, in seconds since the epoch.

    Raises:
        ValidationError: with every fault; see `faults`.

    """
    has_config = bool(environ.get("FDI_CONFIG", "").strip())
    schema = SettingsSchema(present, has_config=has_config)
    known = {str(field.data_key) for field in schema.fields.values()}
    ours = {
        name: value.strip()
        for name, value in environ.items()
        if name in known or (name.startswith(PREFIX) and not is_service_link(name, value))
    }
    messages: dict[str, Any] = {name: [_unknown(name, known)] for name in ours if name not in known}
    if has_config:
        given = [name for name in OF_ONE_PROJECT if ours.get(name)]
        message = (
            "is for a single project: leave it out beside FDI_CONFIG, and put it into that document, e.g. targets:"
        )
        messages |= {name: [message] for name in given}
        ours = {name: value for name, value in ours.items() if name not in given}
    loaded: dict[str, Any] = {}
    try:
        loaded = schema.load({name: value for name, value in ours.items() if name in known and value})
    except ValidationError as error:
        messages |= error.messages_dict
    if messages:
        raise ValidationError(messages)
    selection = loaded.pop("instances")
    endpoint, iam_endpoint = fill_in_endpoints(loaded["region"], loaded["endpoint"], loaded["iam_endpoint"])
    changed = {
        "endpoint": endpoint,
        "iam_endpoint": iam_endpoint,
        "allow_empty": frozenset(loaded["allow_empty"]),
        "optional_task_groups": frozenset(loaded["optional_task_groups"]),
    }
    return Settings(
        **loaded | changed, instances=selection.named, discovers=selection.discovers, exclude=selection.exclude
    )


def faults(error: ValidationError) -> Iterator[tuple[str, int | None, str]]:
    """Yield (variable, entry's number or None, message) for each fault in what `load` raised."""
    for variable, messages in error.messages_dict.items():
        by_entry = messages if isinstance(messages, dict) else {None: messages}
        for entry, texts in by_entry.items():
            for text in texts:
                yield variable, entry, text


def _unknown(name: str, known: set[str]) -> str:
    import difflib  # valid settings do not need it

    close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    hint = f"did you mean {close[0]}?" if close else "take it out; names that begin with FDI_ are reserved."
    return f"is not a setting: {hint}"
