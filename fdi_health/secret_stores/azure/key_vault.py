"""`azurekeyvault://VAULT/SECRET`: a secret in Azure Key Vault, with an optional `/VERSION`.

azure-identity finds the credentials, and its own variables work, such as AZURE_CLIENT_ID. KEY_VAULT_EMULATOR_HOST,
named like the emulator variables of Google's libraries, is the address of an emulator on this machine with TLS.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fdi_health.secret_stores import InvalidSecretUrl, Secret, build_error, build_missing_library_error
from fdi_health.secret_stores.azure.errors import OTHER_SERVER, map_file_error, map_response_error, map_settings_error
from schemas.settings_fields import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from azure.keyvault.secrets import SecretClient

    from fdi_health.clock import Deadline
    from fdi_health.secret_stores import SecretUrl
    from fdi_health.secret_stores.azure.transport import DeadlineTransport

EMULATOR_VARIABLE = "KEY_VAULT_EMULATOR_HOST"
AUTHORITY_VARIABLE = "AZURE_AUTHORITY_HOST"

_AUTHORITIES = {
    "vault.azure.net": "login.microsoftonline.com",
    "vault.azure.cn": "login.chinacloudapi.cn",
    "vault.usgovcloudapi.net": "login.microsoftonline.us",
}
"""Domain of a cloud's vaults → the host that issues this cloud's tokens."""

_DEFAULT_DOMAIN = "vault.azure.net"
_VAULT = re.compile(r"(?=.{3,24}\Z)[A-Za-z](?:-?[A-Za-z0-9])+", re.ASCII)
_SECRET = re.compile(r"[A-Za-z0-9-]{1,127}", re.ASCII)
_VERSION = re.compile(r"[A-Za-z0-9]{32}", re.ASCII)
_LOGGERS = ("azure.core", "azure.identity", "azure.keyvault", "msal", "msal.token_cache")

_DEVELOPER_CREDENTIALS = (
    "broker",
    "cli",
    "developer_cli",
    "interactive_browser",
    "powershell",
    "shared_token_cache",
    "visual_studio_code",
)
_RETRIES: dict[str, Any] = {"retry_total": 2, "retry_backoff_factor": 0.1, "retry_backoff_max": 0.5}


@dataclass(frozen=True, slots=True)
class VaultSecret:
    """One secret, in its current version or in the version that the URL names.

    Attributes:
        host: the vault's host name.
        name: the secret's name.
        version: the version to read, or None for the current one.
        environ: the process's environment, which may name an emulator.

    """

    host: str
    name: str
    version: str | None
    environ: Mapping[str, str] = field(repr=False)

    def read(self, deadline: Deadline) -> Secret:
        """Return the secret's value; see `SecretStore.read`. The dates `nbf` and `exp` are not checked."""
        # Below level ERROR these log URLs, identities and the text of refusals.
        for name in _LOGGERS:
            library = logging.getLogger(name)
            library.setLevel(max(library.level, logging.ERROR))
        try:
            import azure.identity  # takes 0.4 s, so only if this store is used
            import azure.keyvault.secrets  # noqa: F401 -- is it installed?
            from azure.core.exceptions import AzureError
        except ModuleNotFoundError:
            raise build_missing_library_error("azure") from None
        from fdi_health.secret_stores.azure.transport import DeadlineTransport

        with DeadlineTransport(deadline) as transport:
            client = self._client(transport)
            try:
                secret = client.get_secret(self.name, self.version)
            except (AzureError, ValueError) as error:
                failure = transport.error or map_response_error(error, transport.host, transport.status)
            else:
                failure = None if secret.value is not None and secret.id else build_error(*OTHER_SERVER)
        # Raised inside `except`, it would keep the response, and with it the open connection, for as long as it lives.
        if failure is not None:
            raise failure
        return Secret(str(secret.value).encode("utf-8", "surrogatepass"), str(secret.id).rpartition("/")[2] or None)

    def _client(self, transport: DeadlineTransport) -> SecretClient:
        from azure.identity import DefaultAzureCredential
        from azure.keyvault.secrets import SecretClient

        emulator = self.environ.get(EMULATOR_VARIABLE)
        if emulator and not is_loopback(emulator.rpartition(":")[0]):
            raise build_error(
                f"could not be read: the address in {EMULATOR_VARIABLE} is not on this machine",
                f"Unset {EMULATOR_VARIABLE}, or set it to a loopback address, e.g. 127.0.0.1:8443.",
            )
        authority = None if self.environ.get(AUTHORITY_VARIABLE) else _AUTHORITIES[self.host.partition(".")[2]]
        # Credentials of a developer start programs and windows, which a deadline does not end.
        developers = dict.fromkeys((f"exclude_{name}_credential" for name in _DEVELOPER_CREDENTIALS), True)
        try:
            credential = DefaultAzureCredential(
                authority=authority,
                # The authority comes from this function's settings. Discovery would ask a server whether it exists.
                disable_instance_discovery=True,
                transport=transport,
                **developers,
                **_RETRIES,
            )
        except OSError as error:
            raise map_file_error(error) from None
        except ValueError:
            raise map_settings_error() from None
        return SecretClient(
            f"https://{emulator or self.host}",
            credential,
            verify_challenge_resource=not emulator,
            permit_redirects=False,
            transport=transport,
            **_RETRIES,
        )


def open_store(url: SecretUrl, environ: Mapping[str, str]) -> VaultSecret:
    """Return the secret that the URL names; raises InvalidSecretUrl, which says the part that is wrong."""
    parts = url.place.split("/")
    if len(parts) not in (2, 3):
        raise _invalid("names a vault and a secret, and may name a version")
    vault, _, domain = parts[0].partition(".")
    domain = domain.lower() if "." in parts[0] else _DEFAULT_DOMAIN
    if not _VAULT.fullmatch(vault):
        raise _invalid("has a vault name of 3 to 24 letters, digits and single hyphens")
    if domain not in _AUTHORITIES:
        domains = ", ".join(_AUTHORITIES)
        raise _invalid(f"has a vault name, or a vault's host name in one of {domains}")
    if not _SECRET.fullmatch(parts[1]):
        raise _invalid("has a secret name of 1 to 127 letters, digits and hyphens")
    if parts[2:] and not _VERSION.fullmatch(parts[2]):
        raise _invalid("has a version of 32 letters and digits, or none")
    if url.query:
        raise _invalid("has no query")
    return VaultSecret(f"{vault.lower()}.{domain}", parts[1], parts[2] if parts[2:] else None, environ)


def _invalid(rule: str) -> InvalidSecretUrl:
    return InvalidSecretUrl(
        f"must be azurekeyvault://VAULT/SECRET that {rule}, e.g. azurekeyvault://acme-vault/roma-key"
    )
