"""Maps the errors of Azure's libraries to messages. It imports none of them."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from fdi_health.secret_stores import build_error, map_vendor_error

if TYPE_CHECKING:
    from fdi_health.errors import CheckError

_CERTIFICATE_VARIABLE = "AZURE_CLIENT_CERTIFICATE_PATH"
_TOKEN_FILE_VARIABLE = "AZURE_FEDERATED_TOKEN_FILE"  # noqa: S105 -- the name of a variable
_IMDS_HOST = "169.254.169.254"

_FORBIDDEN = (
    "may not be read by this function",
    "Grant the role Key Vault Secrets User on this secret to the function's identity, or the access policy `get`.",
)
_FIREWALL = (
    "could not be read: the vault's firewall refuses this function's network address",
    "Allow the function's network in the vault's networking settings, or use a private endpoint.",
)
OTHER_SERVER = ("could not be read: another server answered in place of Key Vault", "Check the proxy variables.")
_EXPIRED = ("cannot be read: its version has expired", "Store a new version, or change its expiry date.")
_NOT_YET_VALID = ("cannot be read: its version is not yet valid", "Change its activation date, or wait for it.")
_UNREACHABLE = (
    "could not be read: Key Vault is unreachable",
    "Check the vault's name in the secret URL, DNS (private endpoint) and the network path.",
)
_ERRORS: dict[str, tuple[str, str]] = {
    "SecretNotFound": ("does not exist", "Create it, or correct the vault and the name in the secret URL."),
    "SecretDisabled": ("cannot be read: its version is disabled", "Enable the version, or store a new one."),
    "SecretExpired": _EXPIRED,
    "SecretNotYetValid": _NOT_YET_VALID,
    **dict.fromkeys(("ForbiddenByFirewall", "ForbiddenByConnection"), _FIREWALL),
    "Forbidden": _FORBIDDEN,
    "BadParameter": ("has a name that Key Vault refuses", "Correct the name in the secret URL."),
    "HTTP 401": (
        "could not be read: Key Vault refuses this function's credentials",
        "Check that the function's identity belongs to the vault's tenant, and this machine's clock.",
    ),
    "HTTP 429": ("could not be read: Key Vault is rate limiting (HTTP 429)", "Check the vault's request quota."),
    "SSLError": (
        "could not be read: the TLS connection to Key Vault is not trusted",
        "Check REQUESTS_CA_BUNDLE and any proxy that intercepts TLS.",
    ),
    "ProxyError": ("could not be read: the proxy refused the request", "Check HTTPS_PROXY and NO_PROXY."),
    "NameResolutionError": (
        "could not be read: the vault's host name cannot be resolved",
        "Check the vault's name in the secret URL, and DNS if the vault has a private endpoint.",
    ),
    "ServiceRequestError": _UNREACHABLE,
    "ServiceResponseError": _UNREACHABLE,
    "ValueError": OTHER_SERVER,  # a response that is not Key Vault's, or a challenge for another resource
}
"""Key Vault's error code, HTTP status, or the name of an exception class → description and next step."""

_NO_CREDENTIALS = (
    "could not be read: no Azure credentials were found",
    "Give the function a managed identity; set AZURE_CLIENT_ID to its client ID if it is user-assigned.",
)
_REFUSED = (
    "could not be read: Microsoft Entra ID refuses this function's credentials",
    "Check AZURE_TENANT_ID, AZURE_CLIENT_ID and the client secret or certificate.",
)
_WRONG_SECRET = (
    "could not be read: Microsoft Entra ID refuses the client secret of this function's credentials",
    "Set AZURE_CLIENT_SECRET to the secret's value; its ID is not accepted.",
)
_EXPIRED_SECRET = (
    "could not be read: the client secret of this function's credentials has expired",
    "Create a new client secret and set AZURE_CLIENT_SECRET, or use a managed identity.",
)
_UNKNOWN_CLIENT = (
    "could not be read: Microsoft Entra ID does not know the application of this function's credentials",
    "Check AZURE_CLIENT_ID and AZURE_TENANT_ID.",
)
_UNKNOWN_TENANT = (
    "could not be read: Microsoft Entra ID does not know the tenant of this function's credentials",
    "Check AZURE_TENANT_ID and AZURE_AUTHORITY_HOST.",
)
_WRONG_CERTIFICATE = (
    "could not be read: Microsoft Entra ID refuses the certificate of this function's credentials",
    f"Upload the certificate to the application, or correct {_CERTIFICATE_VARIABLE}.",
)
_NO_FEDERATION = (
    "could not be read: Microsoft Entra ID refuses the identity token of this function's credentials",
    "Check the federated credential of the identity: issuer, subject and audience.",
)
_WRONG_CLOCK = (
    "could not be read: the identity token has expired, or this machine's clock is wrong",
    "Set this machine's clock, e.g. by NTP, and check that the token file is renewed.",
)
_ENTRA_ERRORS = {
    "90002": _UNKNOWN_TENANT,
    "700016": _UNKNOWN_CLIENT,
    "700024": _WRONG_CLOCK,
    "700027": _WRONG_CERTIFICATE,
    "7000215": _WRONG_SECRET,
    "7000222": _EXPIRED_SECRET,
    **dict.fromkeys(("70021", "700211", "700212", "700213"), _NO_FEDERATION),
}
"""Number of an AADSTS code → description and next step."""

_ENTRA_CODE = re.compile(r"AADSTS(\d{4,9})", re.ASCII)
_OTHER_TENANT = re.compile("not configured to acquire tokens for tenant")
_NO_FILE = re.compile(r"\[Errno (?:2|13|20|21)\]")


def map_response_error(error: Any, host: str, status: int) -> CheckError:
    """Map an AzureError, or the ValueError of an unexpected response. None of its text is kept.

    Args:
        error: the exception.
        host: the host of the last request.
        status: the status of the last response, or 0 if there was none.

    """
    response = getattr(error, "response", None)
    if response is None:
        if type(error).__name__ in ("ClientAuthenticationError", "CredentialUnavailableError"):
            return _map_credentials_error(str(error), host, status)
        cause = getattr(error, "inner_exception", None)
        # Its class is that of requests; the reason of urllib3 is only in its text.
        name = "NameResolutionError" if "Failed to resolve" in str(cause) else type(cause).__name__
        return map_vendor_error(error, _ERRORS, ("could not be read", "Check Azure's status page."), name)
    status = response.status_code
    details = getattr(error, "error", None)
    code = getattr(details, "code", None)
    inner = getattr(details, "innererror", None) or {}
    names = (str(inner.get("code")), str(code), f"HTTP {status}")
    default = OTHER_SERVER
    if status >= 500:
        default = (f"could not be read: Key Vault failed (HTTP {status})", "Check Azure's status page.")
    known = next((_ERRORS[name] for name in names if name in _ERRORS), default)
    return build_error(*known)


def _map_credentials_error(text: str, host: str, status: int) -> CheckError:
    """Map the failure of all credentials. Its text is the only place of the reason."""
    code = _ENTRA_CODE.search(text)
    if code is not None:
        return build_error(*_ENTRA_ERRORS.get(code[1], _REFUSED))
    if _OTHER_TENANT.search(text):
        return build_error(
            "could not be read: the vault belongs to another tenant than this function's credentials",
            "Check AZURE_TENANT_ID, or use a vault of that tenant.",
        )
    if _NO_FILE.search(text):
        return build_error(
            f"could not be read: the token file that {_TOKEN_FILE_VARIABLE} names cannot be read",
            f"Mount the service account's projected token there, or unset {_TOKEN_FILE_VARIABLE}.",
        )
    server = "the server that issues this function's credentials"
    if status == 429 or status >= 500:
        return build_error(f"could not be read: {server} failed (HTTP {status})", "Try again, then check its status.")
    # Most machines have no metadata service, so its silence says that there are no credentials.
    if host not in ("", _IMDS_HOST) and not status:
        return build_error(
            f"could not be read: {server} is unreachable", "Check IDENTITY_ENDPOINT or AZURE_AUTHORITY_HOST."
        )
    return build_error(*_NO_CREDENTIALS)


def map_file_error(error: OSError) -> CheckError:
    """Map the error of a file that azure-identity could not open, which is a certificate."""
    problem = "does not exist" if isinstance(error, FileNotFoundError) else "cannot be read"
    return build_error(
        f"could not be read: the file that {_CERTIFICATE_VARIABLE} names {problem}",
        f"Mount the certificate there, or unset {_CERTIFICATE_VARIABLE}.",
    )


def map_settings_error() -> CheckError:
    """Return the error of AZURE_ variables that azure-identity refuses."""
    name = _CERTIFICATE_VARIABLE if os.environ.get(_CERTIFICATE_VARIABLE) else "AZURE_TOKEN_CREDENTIALS"
    return build_error(
        "could not be read: the Azure credentials' settings are not valid",
        f"Check {name}, AZURE_TENANT_ID and AZURE_AUTHORITY_HOST (https).",
    )
