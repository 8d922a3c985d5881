"""Asks for the list of a project's instances (ListRomaInstancesV3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from marshmallow import ValidationError

from fdi_health.errors import CheckError
from fdi_health.models import Instance
from fdi_health.redaction import redact
from fdi_health.roma.api import Authenticator, redacted_fields
from fdi_health.roma.error_codes import FORBIDDEN, NOT_FOUND
from schemas.roma.instances import load_instances

if TYPE_CHECKING:
    from collections.abc import Collection

    from fdi_health.clock import Deadline
    from fdi_health.roma.api import Api

MAX_LIST_BYTES = 4 * 1024 * 1024
"""The largest body of a list. An entry has some 500 bytes."""

_MAX_NAME_CHARACTERS = 256

_LIST = Instance("*", "*")
"""Stands for the list where the API wants an instance: for the limit of an access key and for the kept connection. No
instance has this ID, so the list never shares a connection or a place in the limit with one."""

LIST_STEP = (
    "Grant the user roma:instances:list in this project; if it has it, look for a proxy or firewall on the way. Or "
    "name the instances in FDI_INSTANCES instead of *."
)
_OWN_WORDS = {
    FORBIDDEN.message: ("forbidden", "the user may not list the instances of the project", LIST_STEP),
    NOT_FOUND.message: (
        "api_not_found",
        "ROMA Connect does not know the project or its list of instances",
        "Check FDI_PROJECT_ID and the region, or name the instances in FDI_INSTANCES instead of *.",
    ),
}
"""The message of an error of one instance → code, message and next step of that error of the list."""


class RenewableAuthenticator(Authenticator, Protocol):
    """A token or access key that can be compared with a later one."""

    def is_same_secret(self, other: object) -> bool:
        """Whether another read returned the same secret."""
        ...


Renewable = TypeVar("Renewable", bound=RenewableAuthenticator)


class RenewableTokenSource(Protocol[Renewable]):
    """Provides the token or access key of one target. Both methods raise CheckError."""

    def current(self, deadline: Deadline) -> Renewable:
        """Return the cached token or access key, reading it first if there is none."""
        ...

    def renew(self, refused: Renewable, deadline: Deadline) -> Renewable:
        """Return one that was read later than `refused`, or `refused`."""
        ...


class ListedInstance(NamedTuple):
    """An instance in the list.

    Attributes:
        instance_id: the vendor's ID, `[0-9A-Za-z_-]{1,64}`.
        name: the name in the console, redacted; may be empty.
        status: the vendor's word for its state.

    """

    instance_id: str
    name: str
    status: str


def list_path(api: Api) -> str:
    """Return the path of ListInstances."""
    return f"/v3/{api.project_id}/roma/instances"


def list_instances(api: Api, authenticator: Authenticator, deadline: Deadline) -> tuple[ListedInstance, ...]:
    """Return every instance of the project, in the order of the list.

    Args:
        api: the API in the project.
        authenticator: the token or access key.
        deadline: when the list must be here.

    Raises:
        CheckError: any result code but `token_unavailable`; `invalid_response` for an incomplete list.

    """
    secrets = authenticator.secrets
    try:
        return api.get(
            list_path(api),
            _LIST,
            authenticator,
            deadline,
            lambda document: _read(document, secrets),
            max_body_bytes=MAX_LIST_BYTES,
        )
    except CheckError as error:
        raise _about_the_list(error) from None


def list_with_renewal(api: Api, tokens: RenewableTokenSource[Any], deadline: Deadline) -> tuple[ListedInstance, ...]:
    """Return every instance of the project. A refused token or key is read again, and the request is sent once more.

    Raises:
        CheckError: any result code; see `list_instances`.

    """
    authenticator = tokens.current(deadline)
    try:
        return list_instances(api, authenticator, deadline)
    except CheckError as error:
        if error.code != "token_rejected":
            raise
        renewed = tokens.renew(authenticator, deadline)
        if renewed.is_same_secret(authenticator):
            raise
    return list_instances(api, renewed, deadline)


def _read(document: Any, secrets: Collection[str]) -> tuple[ListedInstance, ...]:
    try:
        entries = load_instances(document)
        if any(redact(entry["id"], secrets, len(entry["id"])) != entry["id"] for entry in entries):
            raise ValidationError("has an ID with a part of a secret in it")
    except ValidationError as error:
        raise CheckError(
            "invalid_response",
            f"the list of instances {error.messages[0]}",
            next_step="Ask again; if it goes on, compare the list in the console, and name the instances in "
            "FDI_INSTANCES instead of *.",
            upstream_status=200,
            **redacted_fields(document, secrets),
        ) from None
    return tuple(
        ListedInstance(entry["id"], redact(entry["name"], secrets, _MAX_NAME_CHARACTERS) or "", entry["status"])
        for entry in entries
    )


def _about_the_list(error: CheckError) -> CheckError:
    """Return an error in words about the list, where those about an instance would mislead."""
    for general, (code, message, next_step) in _OWN_WORDS.items():
        if error.message.startswith(general):
            about = error.copy(message=message, next_step=next_step)
            about.code = code
            return about
    return error
