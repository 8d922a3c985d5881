"""`awssecretsmanager://NAME-or-ARN?region=R`: a secret in AWS Secrets Manager."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fdi_health.secret_stores import Secret, build_error
from fdi_health.secret_stores.aws.client import call, find_region, parse_region
from fdi_health.secret_stores.aws.errors import NOT_DECRYPTED, Service, build_wrong_server_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fdi_health.clock import Deadline
    from fdi_health.secret_stores import SecretUrl

_NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}", re.ASCII)
_ARN = re.compile(r"arn:aws[a-z-]*:secretsmanager:([a-z0-9-]+):[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]{1,519}", re.ASCII)

_SERVICE = Service(
    name="secretsmanager",
    title="Secrets Manager",
    action="secretsmanager:GetSecretValue",
    errors={
        "ResourceNotFoundException": ("does not exist", "Create it, or correct its name and region in the secret URL."),
        "DecryptionFailure": NOT_DECRYPTED,
        "InvalidRequestException": ("is not in a state to be read", "Check whether it is marked for deletion."),
    },
    phrases=(
        (
            frozenset({"ResourceNotFoundException"}),
            re.compile("staging label:? *AWSCURRENT", re.IGNORECASE),
            (
                "has no current value: no version has the label AWSCURRENT",
                "Store a value in it, or finish its rotation.",
            ),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class NamedSecret:
    """One secret, in its current version.

    Attributes:
        name: its name or ARN.
        region: its region, or None for the region of the environment.
        environ: the process's environment.

    """

    name: str
    region: str | None
    environ: Mapping[str, str] = field(repr=False)

    def read(self, deadline: Deadline) -> Secret:
        """Return the secret's string or binary; see `SecretStore.read`."""
        region = find_region(self.region, self.environ)
        # Without a stage, an emulator may return the version before a rotation.
        arguments = {"SecretId": self.name, "VersionStage": "AWSCURRENT"}
        response = call(_SERVICE, "get_secret_value", region, deadline, **arguments)
        version = response.get("VersionId")
        return Secret(_value(response), version if isinstance(version, str) else None)


def _value(response: Mapping[str, Any]) -> bytes:
    if isinstance(response.get("SecretString"), str):
        return str(response["SecretString"]).encode("utf-8", "surrogatepass")
    if isinstance(response.get("SecretBinary"), bytes):
        return bytes(response["SecretBinary"])
    if not response.get("ARN") and not response.get("Name"):
        raise build_wrong_server_error(_SERVICE)
    raise build_error("contains neither a string nor a binary", "Store the token in it.")


def open_store(url: SecretUrl, environ: Mapping[str, str]) -> NamedSecret:
    """Return the secret that the URL names; raises InvalidSecretUrl."""
    form = (
        "must be awssecretsmanager:// and a name or ARN, with ?region= if neither ARN nor environment names it, "
        "e.g. awssecretsmanager://prod/roma-token?region=eu-west-1"
    )
    return NamedSecret(url.place, parse_region(url, _NAME, _ARN, form), environ)
