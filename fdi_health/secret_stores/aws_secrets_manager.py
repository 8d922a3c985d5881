"""`awssecretsmanager://NAME-or-ARN?region=R`: a secret in AWS Secrets Manager.

Credentials are found as boto3 finds them everywhere, and its own variables, AWS_ENDPOINT_URL among them, work.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fdi_health.secret_stores import InvalidSecretUrl, Secret, fault_of, unavailable

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
    "was not asked for: no AWS credentials were found",
    "Give the function a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
)
_REFUSED_SOURCE = (
    "was not asked for: what gives this function its AWS credentials gave none",
    "Check the role that the platform gives to this function (task role, pod identity), or the credential process.",
)
_BAD_IDENTITY = (
    "was not asked for: AWS refuses the identity token that this function's credentials come from",
    "Check the role's trust policy, the service account, and the token's audience (sts.amazonaws.com).",
)
_NO_IDENTITY_PROVIDER = (
    "was not asked for: AWS could not check this function's credentials with their identity provider",
    "Ask again; if it goes on, check that AWS can reach the identity provider's issuer URL.",
)
_WRONG_CLOCK = (
    "was asked for with a signature of another time: this machine's clock is wrong",
    "Set this machine's clock, e.g. by NTP, then ask again.",
)
_NO_CURRENT_VALUE = (
    "has no current value: none of its versions is labelled AWSCURRENT",
    "Store a value in it, or finish its rotation.",
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
    "RequestExpired": _WRONG_CLOCK,
    "RequestInTheFuture": _WRONG_CLOCK,
    "RequestTimeTooSkewed": _WRONG_CLOCK,
    "IDPCommunicationError": _NO_IDENTITY_PROVIDER,
    "IDPRejectedClaim": _BAD_IDENTITY,
    "InvalidIdentityToken": _BAD_IDENTITY,
    "RegionDisabledException": (
        "was not asked for: AWS gives no credentials in this region",
        "Activate AWS STS in the region, or use a region that the account has enabled.",
    ),
    "MissingAuthenticationTokenException": _BAD_CREDENTIALS,
    "OptInRequired": _BAD_CREDENTIALS,
    "UnrecognizedClientException": _BAD_CREDENTIALS,
    "InvalidClientTokenId": _BAD_CREDENTIALS,
    "InvalidSignatureException": _BAD_CREDENTIALS,
    "ExpiredTokenException": _BAD_CREDENTIALS,
    "IncompleteSignature": _BAD_CREDENTIALS,
    "NoCredentialsError": _NO_CREDENTIALS,
    "PartialCredentialsError": _NO_CREDENTIALS,
    "CredentialRetrievalError": _REFUSED_SOURCE,
    "ProfileNotFound": _NO_CREDENTIALS,
    "SSOError": _NO_CREDENTIALS,
    "TokenRetrievalError": _NO_CREDENTIALS,
    "ReadTimeoutError": _LATE,
    "ConnectTimeoutError": _LATE,
    "SSLError": (
        "was not read: there is no trusted connection to Secrets Manager",
        "Check AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE and whether something intercepts TLS on the way.",
    ),
    "ProxyConnectionError": (
        "was not read: the proxy did not let the request through",
        "Check HTTPS_PROXY, or exempt Secrets Manager's host with NO_PROXY.",
    ),
    "HTTPClientError": _OUT_OF_REACH,
    "ConnectionError": _OUT_OF_REACH,
}
"""AWS's error code or name of boto3's exception class, or of a base of it → what we say."""

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
"""AWS's error codes, and a phrase of AWS's text that tells one of their causes from the others → what we say."""

_TOKEN_FILE_VARIABLES = ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
_UNREADABLE_FILE = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)


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
        """Return the secret's string or binary; see `SecretStore.read`."""
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
        from botocore.exceptions import BotoCoreError, ClientError  # 0.3 s: only where this store is used

        try:
            client = self._client(region, deadline)
            try:
                # Without the stage, a stand-in may answer with the version before a rotation.
                answer = client.get_secret_value(SecretId=self.name, VersionStage="AWSCURRENT")
            finally:
                client.close()
        except ClientError as error:
            raise _refusal(error, error.response.get("Error", {})) from None
        except BotoCoreError as error:
            raise fault_of(error, _FAULTS, ("could not be read", "Check region and AWS configuration.")) from None
        except _UNREADABLE_FILE as error:
            raise _unreadable_file(error) from None
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
        # What boto3 asks for credentials, such as STS, has a minute per request by default.
        session.set_default_client_config(config)
        return boto3.session.Session(botocore_session=session).client(
            "secretsmanager", region_name=region, config=config
        )


def _refusal(error: Exception, details: Mapping[str, Any]) -> CheckError:
    """Return what AWS's error response means; for some codes only the text tells the causes apart."""
    code, text = str(details.get("Code", "")), str(details.get("Message", ""))
    # STS documents some codes with the suffix and sends them without it.
    names = (code, code.removesuffix("Exception"))
    for codes, phrase, meaning in _PHRASES:
        if code in codes and phrase.search(text):
            return unavailable(*meaning)
    return fault_of(error, _FAULTS, ("could not be read", "Check AWS's status page."), *names)


def _unreadable_file(error: OSError) -> CheckError:
    """Return what it means that boto3 could not open a file; boto3 reads its variables in the process's environment."""
    named = next((name for name in _TOKEN_FILE_VARIABLES if os.environ.get(name) == error.filename), None)
    source = f"the token file that {named} names" if named else "a file that the AWS configuration names"
    what = "does not exist" if isinstance(error, FileNotFoundError) else "cannot be read"
    return unavailable(
        f"was not asked for: {source} {what}",
        f"Mount the service account's projected token there, or unset {named}."
        if named
        else "Check the files that the AWS variables and the AWS configuration file name.",
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


def open_store(url: SecretUrl, environ: Mapping[str, str]) -> NamedSecret:
    """Return the secret that the URL names; raises InvalidSecretUrl."""
    arn, asked = _ARN.fullmatch(url.place), _REGION.fullmatch(url.query)
    region = asked[1] if asked else None
    if not (arn or _NAME.fullmatch(url.place)) or (url.query and not asked) or (arn and region not in (None, arn[1])):
        raise InvalidSecretUrl(
            "must be awssecretsmanager:// and a name or ARN, with ?region= where neither ARN nor environment says it, "
            "e.g. awssecretsmanager://prod/roma-token?region=eu-west-1"
        )
    return NamedSecret(url.place, arn[1] if arn else region, environ)
