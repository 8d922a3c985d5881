"""`awssecretsmanager://NAME-or-ARN?region=R`: a secret in AWS Secrets Manager.

boto3 finds the credentials, and its own variables work, such as AWS_ENDPOINT_URL.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fdi_health.secret_stores import InvalidSecretUrl, Secret, build_error, map_vendor_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fdi_health.clock import Deadline
    from fdi_health.errors import CheckError
    from fdi_health.secret_stores import SecretUrl

_NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}", re.ASCII)
_ARN = re.compile(r"arn:aws[a-z-]*:secretsmanager:([a-z0-9-]+):[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]{1,519}", re.ASCII)
_REGION = re.compile(r"region=([a-z0-9-]{1,32})", re.ASCII)
_REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")

_ATTEMPTS = 2
_NO_CREDENTIALS = (
    "could not be read: no AWS credentials were found",
    "Give the function a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
)
_REFUSED_SOURCE = (
    "could not be read: the source of this function's AWS credentials returned none",
    "Check the role that the platform gives to this function (task role, pod identity), or the credential process.",
)
_BAD_IDENTITY = (
    "could not be read: AWS refuses the identity token of this function's credentials",
    "Check the role's trust policy, the service account, and the token's audience (sts.amazonaws.com).",
)
_NO_IDENTITY_PROVIDER = (
    "could not be read: AWS could not check this function's credentials with their identity provider",
    "Try again. If it fails again, check that AWS can reach the identity provider's issuer URL.",
)
_WRONG_CLOCK = (
    "could not be read: this machine's clock is wrong, so AWS refuses its signatures",
    "Set this machine's clock, e.g. by NTP, then try again.",
)
_NO_CURRENT_VALUE = (
    "has no current value: no version has the label AWSCURRENT",
    "Store a value in it, or finish its rotation.",
)
_BAD_CREDENTIALS = (
    "could not be read: AWS refuses this function's credentials",
    "Check the function's role or access key.",
)
_THROTTLED = ("could not be read: Secrets Manager is rate limiting", "Check the account's request quota.")
_BAD_NAME = ("has a name that Secrets Manager refuses", "Correct the name in the secret URL.")
_UNREACHABLE = ("could not be read: Secrets Manager is unreachable", "Check the region and the network path.")
_TIMED_OUT = ("could not be read before the deadline", "Check the network path to Secrets Manager, then try again.")

_BAD_CREDENTIALS_CODES = (
    "ExpiredToken ExpiredTokenException IncompleteSignature InvalidClientTokenId InvalidSignatureException "
    "MissingAuthenticationTokenException OptInRequired SignatureDoesNotMatch UnrecognizedClientException"
)
_ERRORS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(_BAD_CREDENTIALS_CODES.split(), _BAD_CREDENTIALS),
    **dict.fromkeys(("RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed"), _WRONG_CLOCK),
    **dict.fromkeys(("ThrottlingException", "TooManyRequestsException"), _THROTTLED),
    **dict.fromkeys(("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"), _NO_CREDENTIALS),
    **dict.fromkeys(("SSOError", "TokenRetrievalError"), _NO_CREDENTIALS),
    "ResourceNotFoundException": ("does not exist", "Create it, or correct its name and region in the secret URL."),
    "AccessDeniedException": (
        "may not be read by this function",
        "Allow secretsmanager:GetSecretValue on this secret (and kms:Decrypt if it has its own key).",
    ),
    "DecryptionFailure": ("cannot be decrypted", "Allow kms:Decrypt on the key that encrypts it."),
    "InvalidRequestException": ("is not in a state to be read", "Check whether it is marked for deletion."),
    **dict.fromkeys(("InvalidParameterException", "ValidationException"), _BAD_NAME),
    "AccessDenied": (
        "may not be read by this function",
        "Check that the function may assume its role and read this secret (secretsmanager:GetSecretValue).",
    ),
    "IDPCommunicationError": _NO_IDENTITY_PROVIDER,
    "IDPRejectedClaim": _BAD_IDENTITY,
    "InvalidIdentityToken": _BAD_IDENTITY,
    "RegionDisabledException": (
        "could not be read: AWS issues no credentials in this region",
        "Activate AWS STS in the region, or use a region that the account has enabled.",
    ),
    "CredentialRetrievalError": _REFUSED_SOURCE,
    "ReadTimeoutError": _TIMED_OUT,
    "ConnectTimeoutError": _TIMED_OUT,
    "SSLError": (
        "could not be read: the TLS connection to Secrets Manager is not trusted",
        "Check AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE and any proxy that intercepts TLS.",
    ),
    "ProxyConnectionError": (
        "could not be read: the proxy refused the request",
        "Check HTTPS_PROXY, or exempt Secrets Manager's host with NO_PROXY.",
    ),
    "HTTPClientError": _UNREACHABLE,
    "ConnectionError": _UNREACHABLE,
}
"""AWS's error code, or the name of boto3's exception class or of its base → description and next step."""

_PHRASES: tuple[tuple[frozenset[str], re.Pattern[str], tuple[str, str]], ...] = (
    (
        frozenset({"ResourceNotFoundException"}),
        re.compile("staging label:? *AWSCURRENT", re.IGNORECASE),
        _NO_CURRENT_VALUE,
    ),
    (
        frozenset({"InvalidSignatureException", "SignatureDoesNotMatch", "AuthFailure"}),
        re.compile("signature expired|signature not yet current|is now (?:earlier|later) than", re.IGNORECASE),
        _WRONG_CLOCK,
    ),
)
"""AWS's error codes, a phrase in its text, description and next step: some codes have several causes."""

_TOKEN_FILE_VARIABLES = ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
_FILE_ERRORS = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)


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
        region = self.region or next((self.environ[name] for name in _REGION_VARIABLES if self.environ.get(name)), None)
        if region is None:
            raise build_error(
                "could not be read: its region is not known",
                "Add ?region= to the name in the secret URL, e.g. ?region=eu-west-1, or use the ARN of the secret.",
            )
        # At level DEBUG this library logs whole responses, which contain the secret.
        for name in ("botocore", "botocore.parsers", "botocore.endpoint"):
            library = logging.getLogger(name)
            library.setLevel(max(library.level, logging.INFO))
        from botocore.exceptions import BotoCoreError, ClientError  # takes 0.3 s, so only if this store is used

        try:
            client = self._client(region, deadline)
            try:
                # Without a stage, an emulator may return the version before a rotation.
                response = client.get_secret_value(SecretId=self.name, VersionStage="AWSCURRENT")
            finally:
                client.close()
        except ClientError as error:
            raise _map_error_response(error, error.response.get("Error", {})) from None
        except BotoCoreError as error:
            default = ("could not be read", "Check the region and the AWS configuration.")
            raise map_vendor_error(error, _ERRORS, default) from None
        except _FILE_ERRORS as error:
            raise _map_file_error(error) from None
        version = response.get("VersionId")
        return Secret(_value(response), version if isinstance(version, str) else None)

    def _client(self, region: str, deadline: Deadline) -> Any:
        import boto3.session
        import botocore.session
        from botocore.config import Config

        share = max(0.001, deadline.remaining() / _ATTEMPTS)
        session = botocore.session.get_session()
        # The metadata service is the last source of credentials, and may be unreachable.
        session.set_config_variable("metadata_service_timeout", share)
        session.set_config_variable("metadata_service_num_attempts", 1)
        config = Config(
            connect_timeout=share, read_timeout=share, retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"}
        )
        # By default, requests for credentials, e.g. to STS, may take a minute each.
        session.set_default_client_config(config)
        return boto3.session.Session(botocore_session=session).client(
            "secretsmanager", region_name=region, config=config
        )


def _map_error_response(error: Exception, details: Mapping[str, Any]) -> CheckError:
    """Map AWS's error response. For some codes only the text distinguishes the causes."""
    code, text = str(details.get("Code", "")), str(details.get("Message", ""))
    for codes, phrase, explanation in _PHRASES:
        if code in codes and phrase.search(text):
            return build_error(*explanation)
    # STS documents some codes with the suffix and sends them without it.
    names = (code, code.removesuffix("Exception"))
    return map_vendor_error(error, _ERRORS, ("could not be read", "Check AWS's status page."), *names)


def _map_file_error(error: OSError) -> CheckError:
    """Map the error of a file that boto3 could not open. boto3 reads its variables from the process's environment."""
    variable = next((name for name in _TOKEN_FILE_VARIABLES if os.environ.get(name) == error.filename), None)
    file = "a file that the AWS configuration names"
    next_step = "Check the files that the AWS variables and the AWS configuration file name."
    if variable:
        file = f"the token file that {variable} names"
        next_step = f"Mount the service account's projected token there, or unset {variable}."
    problem = "does not exist" if isinstance(error, FileNotFoundError) else "cannot be read"
    return build_error(f"could not be read: {file} {problem}", next_step)


def _value(response: Mapping[str, Any]) -> bytes:
    if isinstance(response.get("SecretString"), str):
        return str(response["SecretString"]).encode("utf-8", "surrogatepass")
    if isinstance(response.get("SecretBinary"), bytes):
        return bytes(response["SecretBinary"])
    if not response.get("ARN") and not response.get("Name"):
        raise build_error(
            "could not be read: another server answered in place of Secrets Manager",
            "Check AWS_ENDPOINT_URL and proxy variables.",
        )
    raise build_error("contains neither a string nor a binary", "Store the token in it.")


def open_store(url: SecretUrl, environ: Mapping[str, str]) -> NamedSecret:
    """Return the secret that the URL names; raises InvalidSecretUrl."""
    arn, query = _ARN.fullmatch(url.place), _REGION.fullmatch(url.query)
    region = query[1] if query else None
    if not (arn or _NAME.fullmatch(url.place)) or (url.query and not query) or (arn and region not in (None, arn[1])):
        raise InvalidSecretUrl(
            "must be awssecretsmanager:// and a name or ARN, with ?region= if neither ARN nor environment names it, "
            "e.g. awssecretsmanager://prod/roma-token?region=eu-west-1"
        )
    return NamedSecret(url.place, arn[1] if arn else region, environ)
