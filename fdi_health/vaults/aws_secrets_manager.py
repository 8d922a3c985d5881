"""`awssecretsmanager://NAME-or-ARN?region=R`: a secret in AWS Secrets Manager.

Credentials are found as boto3 finds them everywhere, and its own variables, AWS_ENDPOINT_URL among them, work.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fdi_health.vaults import InvalidSecretUrl, Secret, fault_of, unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fdi_health.deadline import Deadline
    from fdi_health.vaults import SecretUrl

_NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}", re.ASCII)
_ARN = re.compile(r"arn:aws[a-z-]*:secretsmanager:([a-z0-9-]+):[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]{1,519}", re.ASCII)
_REGION = re.compile(r"region=([a-z0-9-]{1,32})", re.ASCII)
_REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")

_ATTEMPTS = 2
_NO_CREDENTIALS = (
    "was not asked for: no AWS credentials were found",
    "Give the function a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
)
_BAD_CREDENTIALS = ("was asked for with credentials that AWS refuses", "Check the function's role or access key.")
_THROTTLED = ("was not read: Secrets Manager asks for fewer calls", "Check the account's request quota.")
_OUT_OF_REACH = ("was not read: Secrets Manager is out of reach", "Check the region and the way to Secrets Manager.")
_LATE = ("was not read before the deadline", "Check the way to Secrets Manager, or ask again.")

_FAULTS: dict[str, tuple[str, str]] = {
    "ResourceNotFoundException": ("does not exist", "Create it, or correct name and region in the secret URL."),
    "AccessDeniedException": (
        "may not be read by this function",
        "Allow secretsmanager:GetSecretValue on this secret (and kms:Decrypt on its key, if it has one of its own).",
    ),
    "DecryptionFailure": ("can't be decrypted", "Allow kms:Decrypt on the key that encrypts it."),
    "InvalidRequestException": ("is not in a state to be read", "Check whether it is marked for deletion."),
    "InvalidParameterException": ("has a name that Secrets Manager refuses", "Correct the name in the secret URL."),
    "ValidationException": ("has a name that Secrets Manager refuses", "Correct the name in the secret URL."),
    "ThrottlingException": _THROTTLED,
    "TooManyRequestsException": _THROTTLED,
    "AccessDenied": (
        "may not be read by this function",
        "Check that the function may assume its role and read this secret (secretsmanager:GetSecretValue).",
    ),
    "ExpiredToken": _BAD_CREDENTIALS,
    "SignatureDoesNotMatch": _BAD_CREDENTIALS,
    "RequestExpired": _BAD_CREDENTIALS,
    "MissingAuthenticationTokenException": _BAD_CREDENTIALS,
    "OptInRequired": _BAD_CREDENTIALS,
    "InvalidIdentityToken": _BAD_CREDENTIALS,
    "UnrecognizedClientException": _BAD_CREDENTIALS,
    "InvalidClientTokenId": _BAD_CREDENTIALS,
    "InvalidSignatureException": _BAD_CREDENTIALS,
    "ExpiredTokenException": _BAD_CREDENTIALS,
    "IncompleteSignature": _BAD_CREDENTIALS,
    "NoCredentialsError": _NO_CREDENTIALS,
    "PartialCredentialsError": _NO_CREDENTIALS,
    "CredentialRetrievalError": _NO_CREDENTIALS,
    "ProfileNotFound": _NO_CREDENTIALS,
    "SSOError": _NO_CREDENTIALS,
    "TokenRetrievalError": _NO_CREDENTIALS,
    "ReadTimeoutError": _LATE,
    "ConnectTimeoutError": _LATE,
    "HTTPClientError": _OUT_OF_REACH,
    "ConnectionError": _OUT_OF_REACH,
}
"""AWS's error code or name of boto3's exception class, or of a base of it → what we say."""


@dataclass(frozen=True, slots=True)
class NamedSecret:
    """One secret, in its current version.

    Attributes:
        name: its name or ARN.
        region: where it is, or None if only the environment may say.
        environ: where the region may stand.

    """

    name: str
    region: str | None
    environ: Mapping[str, str] = field(repr=False)

    def read(self, deadline: Deadline) -> Secret:
        """Return the secret's string or binary; see `Vault.read`."""
        region = self.region or next((self.environ[name] for name in _REGION_VARIABLES if self.environ.get(name)), None)
        if region is None:
            raise unavailable(
                "was not asked for: its region is not known",
                "Put ?region= behind the secret's name in the secret URL, e.g. ?region=eu-west-1, or give its ARN.",
            )
        # At DEBUG this library logs whole answers, the secret among them.
        for name in ("botocore", "botocore.parsers", "botocore.endpoint"):
            library = logging.getLogger(name)
            library.setLevel(max(library.level, logging.INFO))
        from botocore.exceptions import BotoCoreError, ClientError  # 0.3 s: only where this vault is used

        try:
            client = self._client(region, deadline)
            try:
                # Without the stage, a stand-in may answer with the version before a rotation.
                answer = client.get_secret_value(SecretId=self.name, VersionStage="AWSCURRENT")
            finally:
                client.close()
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            raise fault_of(error, _FAULTS, ("could not be read", "Check AWS's status page."), str(code)) from None
        except BotoCoreError as error:
            raise fault_of(error, _FAULTS, ("could not be read", "Check region and AWS configuration.")) from None
        version = answer.get("VersionId")
        return Secret(_value(answer), version if isinstance(version, str) else None)

    def _client(self, region: str, deadline: Deadline) -> Any:
        import boto3.session
        import botocore.session
        from botocore.config import Config

        share = max(0.001, deadline.remaining() / _ATTEMPTS)
        session = botocore.session.get_session()
        # Where there are no credentials, the last place to look is the machine's metadata service.
        session.set_config_variable("metadata_service_timeout", share)
        session.set_config_variable("metadata_service_num_attempts", 1)
        config = Config(
            connect_timeout=share, read_timeout=share, retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"}
        )
        return boto3.session.Session(botocore_session=session).client(
            "secretsmanager", region_name=region, config=config
        )


def _value(answer: Mapping[str, Any]) -> bytes:
    if isinstance(answer.get("SecretString"), str):
        return str(answer["SecretString"]).encode("utf-8", "surrogatepass")
    if isinstance(answer.get("SecretBinary"), bytes):
        return bytes(answer["SecretBinary"])
    if not answer.get("ARN") and not answer.get("Name"):
        raise unavailable(
            "was not read: what answered is not Secrets Manager", "Check AWS_ENDPOINT_URL and proxy variables."
        )
    raise unavailable("holds neither a string nor a binary", "Store the token in it.")


def open_vault(url: SecretUrl, environ: Mapping[str, str]) -> NamedSecret:
    """Return the secret that the URL names; raises InvalidSecretUrl."""
    arn, asked = _ARN.fullmatch(url.place), _REGION.fullmatch(url.query)
    region = asked[1] if asked else None
    if not (arn or _NAME.fullmatch(url.place)) or (url.query and not asked) or (arn and region not in (None, arn[1])):
        raise InvalidSecretUrl(
            "must be awssecretsmanager:// and a name or ARN, with ?region= where neither ARN nor environment says it, "
            "e.g. awssecretsmanager://prod/roma-token?region=eu-west-1"
        )
    return NamedSecret(url.place, arn[1] if arn else region, environ)
