"""`gcpsecretmanager://projects/P/secrets/S/versions/V`: a secret in Google Cloud Secret Manager.

A regional secret, `projects/P/locations/L/secrets/S/versions/V`, exists only at the endpoint of its region.
Credentials are the application default credentials (https://google.aip.dev/auth/4110). SECRET_MANAGER_EMULATOR_HOST,
named like the emulator variables of Google's libraries, is the address of an emulator on this machine without TLS.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fdi_health.secret_stores import (
    InvalidSecretUrl,
    Secret,
    build_error,
    build_missing_library_error,
    map_vendor_error,
)
from fdi_health.secret_stores.google.credentials import find_credentials
from schemas.settings_fields import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.cloud import secretmanager_v1

    from fdi_health.clock import Deadline
    from fdi_health.errors import CheckError
    from fdi_health.secret_stores import SecretUrl

EMULATOR_VARIABLE = "SECRET_MANAGER_EMULATOR_HOST"

# The location becomes part of a host name, so it must not contain a character that ends one.
_NAME = re.compile(
    r"projects/[a-z0-9:.-]+/(?:locations/(?P<location>(?=[a-z0-9-]{1,32}/)[a-z]+(?:-[a-z0-9]+)*)/)?"
    r"secrets/[A-Za-z0-9_-]{1,255}/versions/[A-Za-z0-9_-]+",
    re.ASCII,
)

_ENABLE_STEP = "Enable the version, or add a new one."
_TIMED_OUT = ("could not be read before the deadline", "Check the network path to Secret Manager, then try again.")

_ERRORS: dict[str, tuple[str, str]] = {
    "NotFound": ("does not exist", "Create the secret and a version of it, or correct the name in the secret URL."),
    "PermissionDenied": (
        "may not be read by this function",
        "Grant roles/secretmanager.secretAccessor on this secret to the function's service account.",
    ),
    "Unauthenticated": (
        "could not be read: Google refuses this function's credentials",
        "Check the function's service account.",
    ),
    "GoogleAuthError": ("could not be read: the Google credentials are not usable", "Check the service account."),
    "FailedPrecondition": ("is not in a state to be read", _ENABLE_STEP),
    "InvalidArgument": ("has a name that Secret Manager refuses", "Correct the name in the secret URL."),
    "ResourceExhausted": ("could not be read: Secret Manager is rate limiting", "Check the project's quota."),
    "DeadlineExceeded": _TIMED_OUT,
    "RetryError": _TIMED_OUT,
    "ServiceUnavailable": (
        "could not be read: Secret Manager is unreachable",
        "Check the network path to Secret Manager.",
    ),
    "SERVICE_DISABLED": (
        "could not be read: the Secret Manager API is not enabled",
        "Enable it in the secret's project.",
    ),
    "BILLING_DISABLED": ("could not be read: billing is disabled", "Enable billing in the secret's project."),
    "DESTROYED": ("cannot be read: its version is destroyed", _ENABLE_STEP),
    "DISABLED": ("cannot be read: its version is disabled", _ENABLE_STEP),
}
"""Name of Google's exception class or of its base, reason of its ErrorInfo, or state of the version → description and
next step."""

_STATE = re.compile("is in (DESTROYED|DISABLED) state", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a secret, or the latest.

    Attributes:
        name: `projects/P/secrets/S/versions/V`.
        location: the region of a regional secret, or None.
        environ: the process's environment, which may name an emulator.

    """

    name: str
    location: str | None
    environ: Mapping[str, str] = field(repr=False)

    def read(self, deadline: Deadline) -> Secret:
        """Return the version's payload; see `SecretStore.read`. A payload that fails its checksum is read once more."""
        # At level DEBUG these log whole responses, which contain the payload.
        for name in ("google.cloud.secretmanager_v1", "google.api_core.retry"):
            library = logging.getLogger(name)
            library.setLevel(max(library.level, logging.INFO))
        try:
            import google.cloud.secretmanager_v1  # noqa: F401 -- is it installed?
            import google_crc32c  # noqa: F401 -- as above
            from google.api_core.exceptions import GoogleAPIError  # takes 115 ms, so only if this store is used
            from google.auth.exceptions import GoogleAuthError
        except ImportError:
            raise build_missing_library_error("gcp") from None
        try:
            client = self._client(deadline)
            try:
                for _ in range(2):
                    response = self._access(client, deadline)
                    if _is_intact(response.payload):
                        return Secret(bytes(response.payload.data), response.name.rpartition("/")[2] or None)
            finally:
                client.transport.close()  # type: ignore[no-untyped-call] # the only untyped method
        except (GoogleAPIError, GoogleAuthError) as error:
            raise _map_error(error) from None
        raise build_error("was read twice and failed its checksum", "Add the version again: its data is damaged.")

    def _client(self, deadline: Deadline) -> secretmanager_v1.SecretManagerServiceClient:
        from google.cloud import secretmanager_v1

        emulator = self.environ.get(EMULATOR_VARIABLE)
        if not emulator:
            options = {"api_endpoint": f"secretmanager.{self.location}.rep.googleapis.com"} if self.location else None
            return secretmanager_v1.SecretManagerServiceClient(
                credentials=find_credentials(deadline), client_options=options
            )
        if not is_loopback(emulator.rpartition(":")[0]):
            raise build_error(
                f"could not be read: the address in {EMULATOR_VARIABLE} is not on this machine",
                f"Unset {EMULATOR_VARIABLE}, or set it to a loopback address, e.g. 127.0.0.1:9090.",
            )
        import grpc
        from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
            SecretManagerServiceGrpcTransport,
        )

        channel = grpc.insecure_channel(emulator)
        return secretmanager_v1.SecretManagerServiceClient(transport=SecretManagerServiceGrpcTransport(channel=channel))

    def _access(
        self, client: secretmanager_v1.SecretManagerServiceClient, deadline: Deadline
    ) -> secretmanager_v1.AccessSecretVersionResponse:
        from google.api_core import exceptions, retry

        # `timeout` alone does not limit the call: by default the library retries for a minute.
        seconds = max(0.001, deadline.remaining())
        retries = retry.Retry(
            predicate=retry.if_exception_type(exceptions.ServiceUnavailable, exceptions.ResourceExhausted),
            initial=0.1,
            maximum=0.5,
            timeout=seconds,
        )
        return client.access_secret_version(name=self.name, timeout=seconds, retry=retries)


def _is_intact(payload: secretmanager_v1.SecretPayload) -> bool:
    """Whether the payload matches its CRC-32C, if it has one."""
    import google_crc32c

    return "data_crc32c" not in payload or payload.data_crc32c == google_crc32c.value(bytes(payload.data))


def _map_error(error: Exception) -> CheckError:
    name = str(getattr(error, "reason", None))
    # The vendor's text contains the secret's name, so only the word for its state is used.
    state = _STATE.search(str(error))
    if state is not None and type(error).__name__ == "FailedPrecondition":
        name = state[1].upper()
    return map_vendor_error(error, _ERRORS, ("could not be read", "Check Secret Manager's status."), name)


def open_store(url: SecretUrl, environ: Mapping[str, str]) -> Version:
    """Return the version that the URL names; raises InvalidSecretUrl."""
    name = _NAME.fullmatch(url.place)
    if name is None or url.query:
        raise InvalidSecretUrl(
            "must be gcpsecretmanager://projects/PROJECT/secrets/SECRET/versions/VERSION, for a regional secret with "
            "locations/LOCATION before secrets, "
            "e.g. gcpsecretmanager://projects/acme/secrets/roma-token/versions/latest"
        )
    return Version(url.place, name["location"], environ)
