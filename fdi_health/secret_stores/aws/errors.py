"""The messages for the errors of the AWS stores: tables, and the functions that look errors up in them."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from fdi_health.secret_stores import build_error, map_vendor_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fdi_health.errors import CheckError

    Explanation = tuple[str, str]
    Phrase = tuple[frozenset[str], re.Pattern[str], Explanation]

_TOKEN_FILE_VARIABLES = ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
FILE_ERRORS = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)

_WRONG_CLOCK = (
    "could not be read: this machine's clock is wrong, so AWS refuses its signatures",
    "Set this machine's clock, e.g. by NTP, then try again.",
)
_BAD_CREDENTIALS = (
    "could not be read: AWS refuses this function's credentials",
    "Check the function's role or access key.",
)
NOT_DECRYPTED = ("cannot be decrypted", "Allow kms:Decrypt on the key that encrypts it.")

_BAD_CREDENTIALS_CODES = (
    "ExpiredToken ExpiredTokenException IncompleteSignature InvalidClientTokenId InvalidSignatureException "
    "MissingAuthenticationTokenException OptInRequired SignatureDoesNotMatch UnrecognizedClientException"
)
_ERRORS: dict[str, Explanation] = {
    **dict.fromkeys(_BAD_CREDENTIALS_CODES.split(), _BAD_CREDENTIALS),
    **dict.fromkeys(("RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed"), _WRONG_CLOCK),
    **dict.fromkeys(
        ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "SSOError", "TokenRetrievalError"),
        (
            "could not be read: no AWS credentials were found",
            "Give the function a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        ),
    ),
    **dict.fromkeys(
        ("IDPRejectedClaim", "InvalidIdentityToken"),
        (
            "could not be read: AWS refuses the identity token of this function's credentials",
            "Check the role's trust policy, the service account, and the token's audience (sts.amazonaws.com).",
        ),
    ),
    "IDPCommunicationError": (
        "could not be read: AWS could not check this function's credentials with their identity provider",
        "Try again. If it fails again, check that AWS can reach the identity provider's issuer URL.",
    ),
    "RegionDisabledException": (
        "could not be read: AWS issues no credentials in this region",
        "Activate AWS STS in the region, or use a region that the account has enabled.",
    ),
    "CredentialRetrievalError": (
        "could not be read: the source of this function's AWS credentials returned none",
        "Check the role that the platform gives to this function (task role, pod identity), or the credential process.",
    ),
}
"""AWS's error code, or the name of botocore's exception class or of its base → description and next step."""

_PHRASES: tuple[Phrase, ...] = (
    (
        frozenset({"InvalidSignatureException", "SignatureDoesNotMatch", "AuthFailure"}),
        re.compile("signature expired|signature not yet current|is now (?:earlier|later) than", re.IGNORECASE),
        _WRONG_CLOCK,
    ),
    (
        frozenset({"AccessDeniedException"}),
        re.compile("to perform: kms:Decrypt|access to KMS is not allowed|ciphertext refers to", re.IGNORECASE),
        NOT_DECRYPTED,
    ),
)
"""AWS's error codes, a phrase in its text, description and next step: some codes have several causes."""


class Service(NamedTuple):
    """An AWS service that stores secrets.

    Attributes:
        name: botocore's name of it.
        title: its name in messages.
        action: the IAM action that reads a secret.
        errors: as `_ERRORS`, for its own error codes.
        phrases: as `_PHRASES`, for its own texts. A name from the secret URL must not be able to match one.

    """

    name: str
    title: str
    action: str
    errors: Mapping[str, Explanation]
    phrases: tuple[Phrase, ...] = ()

    def all_errors(self) -> dict[str, Explanation]:
        """Return the table of the errors that a call may end with."""
        throttled = (f"could not be read: {self.title} is rate limiting", "Check the account's request quota.")
        bad_name = (f"has a name that {self.title} refuses", "Correct the name in the secret URL.")
        unreachable = (f"could not be read: {self.title} is unreachable", "Check the region and the network path.")
        timed_out = (
            "could not be read before the deadline",
            f"Check the network path to {self.title}, then try again.",
        )
        return {
            **_ERRORS,
            **dict.fromkeys(("ThrottlingException", "TooManyRequestsException"), throttled),
            **dict.fromkeys(("InvalidParameterException", "ValidationException"), bad_name),
            **dict.fromkeys(("ReadTimeoutError", "ConnectTimeoutError"), timed_out),
            **dict.fromkeys(("HTTPClientError", "ConnectionError"), unreachable),
            "AccessDeniedException": (
                "may not be read by this function",
                f"Allow {self.action} on this secret (and kms:Decrypt if it has its own key).",
            ),
            "AccessDenied": (
                "may not be read by this function",
                f"Check that the function may assume its role and read this secret ({self.action}).",
            ),
            "SSLError": (
                f"could not be read: the TLS connection to {self.title} is not trusted",
                "Check AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE and any proxy that intercepts TLS.",
            ),
            "ProxyConnectionError": (
                "could not be read: the proxy refused the request",
                f"Check HTTPS_PROXY, or exempt {self.title}'s host with NO_PROXY.",
            ),
            **self.errors,
        }


def build_wrong_server_error(service: Service) -> CheckError:
    """Return the error for a response without what every response of the service has."""
    return build_error(
        f"could not be read: another server answered in place of {service.title}",
        "Check AWS_ENDPOINT_URL and proxy variables.",
    )


def map_error_response(service: Service, error: Exception, details: Mapping[str, Any]) -> CheckError:
    """Map AWS's error response. For some codes only the text distinguishes the causes."""
    code, text = str(details.get("Code", "")), str(details.get("Message", ""))
    for codes, phrase, explanation in (*service.phrases, *_PHRASES):
        if code in codes and phrase.search(text):
            return build_error(*explanation)
    # STS documents some codes with the suffix and sends them without it.
    names = (code, code.removesuffix("Exception"))
    return map_vendor_error(error, service.all_errors(), ("could not be read", "Check AWS's status page."), *names)


def map_file_error(error: OSError) -> CheckError:
    """Map the error of a file that botocore could not open. It reads its variables from the process's environment."""
    variable = next((name for name in _TOKEN_FILE_VARIABLES if os.environ.get(name) == error.filename), None)
    file = "a file that the AWS configuration names"
    next_step = "Check the files that the AWS variables and the AWS configuration file name."
    if variable:
        file = f"the token file that {variable} names"
        next_step = f"Mount the service account's projected token there, or unset {variable}."
    problem = "does not exist" if isinstance(error, FileNotFoundError) else "cannot be read"
    return build_error(f"could not be read: {file} {problem}", next_step)
