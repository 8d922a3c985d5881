"""The environment variables that steer fdi-health, and every fault in them at once.

A fault names the variable, the entry in a list, the form that is expected and an example; never a value, because a
secret that was put into the wrong variable must not travel on into a log or an answer.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from typing import TYPE_CHECKING, Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX = "FDI_"
KUBERNETES_PREFIX = "FDI_HEALTH_"
"""What Kubernetes injects into every pod for a service called fdi-health; none of ours."""

NAME = re.compile(r"(?!\.+\Z)[A-Za-z0-9_.-]{1,64}", re.ASCII)
"""An instance's alias; dots alone are a path's own words."""

INSTANCE_ID = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)
MARKER = re.compile("FDI-OK", re.IGNORECASE)
"""The marker of a healthy answer; keyword checkers may ignore case."""

_REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+", re.ASCII)
_ENDPOINT = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)"
    r"(:(?P<port>[0-9]{1,5}))?(?P<path>(/(?!\.+(/|\Z))[A-Za-z0-9._~-]+)*)/?",
    re.ASCII,
)


class Matching(fields.Field[str]):
    """A text of one form.

    Args:
        form: the whole text matches it.
        expected: the message, with an example.

    """

    def __init__(self, form: re.Pattern[str], expected: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.form = form
        self.expected = expected

    def _deserialize(self, value: str, attr: str | None, data: Any, **_: Any) -> str:  # noqa: ARG002 -- marshmallow's signature
        if not self.form.fullmatch(value):
            raise ValidationError(self.expected)
        return value


class Endpoint(fields.Field[str]):
    """The base URL of the API; https, except to this machine itself."""

    def _deserialize(self, value: str, attr: str | None, data: Any, **_: Any) -> str:  # noqa: ARG002 -- marshmallow's signature
        match = _ENDPOINT.fullmatch(value)
        if match is None or not 0 < int(match["port"] or 443) < 65536:
            raise ValidationError(
                "must be https://HOST[:PORT][/PATH] with no user, query or fragment, "
                "e.g. https://roma.cn-north-4.myhuaweicloud.com"
            )
        if match["scheme"] == "http" and not is_loopback(match["host"]):
            raise ValidationError(
                "must begin with https:// (http:// is for loopback addresses only), "
                "e.g. https://roma.cn-north-4.myhuaweicloud.com"
            )
        return value.removesuffix("/")


class Number(fields.Field[float]):
    """A plain decimal number within bounds; Python's own readers would also take `1_0`, `1e3` and `nan`."""

    def __init__(self, smallest: float, largest: float, example: str, *, whole: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.smallest, self.largest, self.whole = smallest, largest, whole
        kind = "a whole number" if whole else "a number"
        self.expected = f"must be {kind} from {smallest:g} to {largest:g}, e.g. {example}"

    def _deserialize(self, value: str, attr: str | None, data: Any, **_: Any) -> float:  # noqa: ARG002 -- marshmallow's signature
        if not NUMBER.fullmatch(value) or (self.whole and "." in value):
            raise ValidationError(self.expected)
        # A float first: int() refuses thousands of digits, float() makes them infinity, which is out of bounds.
        number = float(value)
        if not self.smallest <= number <= self.largest:
            raise ValidationError(self.expected)
        return int(number) if self.whole else number


class Entries(fields.Field[list[str]]):
    """A comma-separated list; a comma at the end is fine, an empty entry elsewhere is not.

    Args:
        form: every entry matches it.
        expected: the message for one that does not.

    """

    def __init__(self, form: re.Pattern[str], expected: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.form = form
        self.expected = expected

    def _deserialize(self, value: str, attr: str | None, data: Any, **_: Any) -> list[str]:  # noqa: ARG002 -- marshmallow's signature
        entries = _split(value)
        faults = {number: [self.expected] for number, entry in enumerate(entries, 1) if not self.form.fullmatch(entry)}
        if faults:
            raise ValidationError(faults)
        return entries


class Instances(fields.Field[list[tuple[str, str]]]):
    """`alias=ID` or bare IDs, comma-separated; loads to (name, instance ID) pairs in their order."""

    def _deserialize(self, value: str, attr: str | None, data: Any, **_: Any) -> list[tuple[str, str]]:  # noqa: ARG002 -- marshmallow's signature
        pairs: list[tuple[str, str]] = []
        faults: dict[int, list[str]] = {}
        taken: set[str] = set()
        for number, entry in enumerate(_split(value), 1):
            name, equals, instance_id = entry.rpartition("=")
            pair = (name if equals else instance_id, instance_id)
            if fault := _instance_fault(*pair, taken):
                faults[number] = [fault]
            pairs.append(pair)
            taken |= set(pair)
        if faults:
            raise ValidationError(faults)
        return pairs


def _instance_fault(name: str, instance_id: str, taken: set[str]) -> str | None:
    if not NAME.fullmatch(name) or not INSTANCE_ID.fullmatch(instance_id):
        return "must be alias=ID or a bare ID, e.g. payments=fae7ff6c-8e07-4cf8-9e67-589cab2f017c"
    if MARKER.search(name) or MARKER.search(instance_id):
        return "must not hold FDI-OK, the word that checkers look for; give it another alias, e.g. payments=ID"
    if {name, instance_id} & taken:
        return "repeats an alias or ID of an earlier entry; each may stand once, e.g. payments=ID1,crm=ID2"
    return None


def _split(value: str) -> list[str]:
    entries = [entry.strip() for entry in value.split(",")]
    if len(entries) > 1 and not entries[-1]:
        entries.pop()
    return entries


class SettingsSchema(Schema):
    """Every setting; a variable that is absent or empty has its default."""

    region = Matching(_REGION, "must be a region's name, e.g. cn-north-4", data_key="FDI_REGION", load_default=None)
    endpoint = Endpoint(data_key="FDI_ENDPOINT", load_default=None)
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
    token = fields.String(
        data_key="FDI_TOKEN",
        required=True,
        error_messages={"required": "is missing: the URL of the secret that holds the token, e.g. env://ROMA_TOKEN"},
    )
    deadline_seconds = Number(0.1, 60, "4", data_key="FDI_DEADLINE_SECONDS", load_default=4.0)
    cache_seconds = Number(0, 60, "5", data_key="FDI_CACHE_SECONDS", load_default=5.0)
    max_parallel = Number(1, 256, "64", whole=True, data_key="FDI_MAX_PARALLEL", load_default=64)
    anonymous = fields.String(
        data_key="FDI_ANONYMOUS",
        load_default="verdict",
        validate=validate.OneOf(["verdict", "details"], error="must be verdict or details, e.g. verdict"),
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

    @validates_schema(skip_on_field_errors=False)
    def _has_an_endpoint(self, data: dict[str, Any], **_: Any) -> None:
        # A field that is there and wrong has its own fault already and is missing from `data` altogether.
        if data.get("region", ...) is None and data.get("endpoint", ...) is None:
            raise ValidationError("is missing: the region to ask, e.g. cn-north-4 (or set FDI_ENDPOINT)", "FDI_REGION")

    @validates_schema(skip_on_field_errors=False)
    def _allow_empty_names_instances(self, data: dict[str, Any], **_: Any) -> None:
        known = {"*"} | {name for name, _ in data.get("instances", [])}
        faults = {
            number: ["must be the name of an instance in FDI_INSTANCES, or *, e.g. sandbox"]
            for number, name in enumerate(data.get("allow_empty", []), 1)
            if name not in known
        }
        if faults and "instances" in data:
            raise ValidationError({"FDI_ALLOW_EMPTY": faults})


def load(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings that stand in an environment.

    Returns:
        A dict with the names of `SettingsSchema`; `endpoint` is always set, from the region if need be.

    Raises:
        ValidationError: with every fault; see `faults`.

    """
    ours = {
        name: value.strip()
        for name, value in environ.items()
        if name.startswith(PREFIX) and not name.startswith(KUBERNETES_PREFIX)
    }
    schema = SettingsSchema()
    known = {str(field.data_key) for field in schema.fields.values()}
    messages: dict[str, Any] = {name: [_unknown(name, known)] for name in ours if name not in known}
    settings: dict[str, Any] = {}
    try:
        settings = schema.load({name: value for name, value in ours.items() if name in known and value})
    except ValidationError as error:
        messages |= error.messages_dict
    if messages:
        raise ValidationError(messages)
    settings["endpoint"] = settings["endpoint"] or f"https://roma.{settings['region']}.myhuaweicloud.com"
    return settings


def faults(error: ValidationError) -> Iterator[tuple[str, int | None, str]]:
    """Yield (variable, entry's number or None, message) for each fault in what `load` raised."""
    for variable, messages in error.messages_dict.items():
        by_entry = messages if isinstance(messages, dict) else {None: messages}
        for entry, texts in by_entry.items():
            for text in texts:
                yield variable, entry, text


def _unknown(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    hint = f"did you mean {close[0]}?" if close else "take it out; names that begin with FDI_ are reserved."
    return f"is not a setting: {hint}"


def is_loopback(host: str) -> bool:
    """Whether a host name or IP address can only be this machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
