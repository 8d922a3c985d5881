"""`awsparamstore://NAME-or-ARN?region=R`: a parameter in AWS Systems Manager Parameter Store, decrypted.

The text after `://` is the name exactly as AWS shows it. The name of a parameter in a hierarchy begins with `/`, so its
URL has three slashes: `awsparamstore:///prod/roma`. AWS refuses the name `prod/roma`, so that URL is malformed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fdi_health.secret_stores import Secret, build_error
from fdi_health.secret_stores.aws.client import call, find_region, parse_region
from fdi_health.secret_stores.aws.errors import Service, build_wrong_server_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fdi_health.clock import Deadline
    from fdi_health.secret_stores import SecretUrl

_LEVELS = r"(?:/[A-Za-z0-9_.-]+)+"
_VERSION = r"(?::[A-Za-z0-9_.-]{1,100})?"
_NAME = re.compile(rf"(?=.{{1,1011}}\Z)(?:[A-Za-z0-9_.-]+|{_LEVELS}){_VERSION}", re.ASCII)
_ARN = re.compile(
    rf"(?=.{{1,2048}}\Z)arn:aws[a-z-]*:ssm:([a-z0-9-]+):[0-9]{{12}}:parameter{_LEVELS}{_VERSION}", re.ASCII
)

_SERVICE = Service(
    name="ssm",
    title="Parameter Store",
    action="ssm:GetParameter",
    errors={
        "ParameterNotFound": (
            "does not exist",
            "Create the parameter, or correct its name and region in the secret URL.",
        ),
        "ParameterVersionNotFound": (
            "does not exist in the version that the secret URL names",
            "Correct the version or label after the colon in the secret URL, or remove it.",
        ),
        "InvalidKeyId": (
            "cannot be decrypted: AWS KMS cannot use the key that encrypts it",
            "Enable the key, or store the parameter again with another key.",
        ),
    },
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter.

    Attributes:
        name: its name or ARN; after a colon, a version or a label.
        region: its region, or None for the region of the environment.
        environ: the process's environment.

    """

    name: str
    region: str | None
    environ: Mapping[str, str] = field(repr=False)

    def read(self, deadline: Deadline) -> Secret:
        """Return the parameter's decrypted value; see `SecretStore.read`."""
        region = find_region(self.region, self.environ)
        response = call(_SERVICE, "get_parameter", region, deadline, Name=self.name, WithDecryption=True)
        parameter = response.get("Parameter") or {}
        version = parameter.get("Version")
        return Secret(_value(parameter), None if version is None else str(version))


def _value(parameter: Mapping[str, Any]) -> bytes:
    if not isinstance(parameter.get("Value"), str):
        raise build_wrong_server_error(_SERVICE)
    if parameter.get("Type") == "StringList":
        raise build_error(
            "is a parameter of the type StringList, which is not supported",
            "Create it again with the type SecureString.",
        )
    return str(parameter["Value"]).encode("utf-8", "surrogatepass")


def open_store(url: SecretUrl, environ: Mapping[str, str]) -> Parameter:
    """Return the parameter that the URL names; raises InvalidSecretUrl."""
    form = (
        "must be awsparamstore:// and a parameter's name or ARN, with ?region= if neither ARN nor environment names "
        "it; a name with levels begins with a slash, e.g. awsparamstore:///prod/roma?region=eu-west-1"
    )
    return Parameter(url.place, parse_region(url, _NAME, _ARN, form), environ)
