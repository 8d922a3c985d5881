"""`gcpsecretmanager://projects/P/secrets/S/versions/V`: a secret in Google Cloud Secret Manager.

A regional secret, `projects/P/locations/L/secrets/S/versions/V`, is known only at its region's own endpoint.
Credentials are the application default ones (https://google.aip.dev/auth/4110). SECRET_MANAGER_EMULATOR_HOST, named as
Google's own libraries name such variables, points at a server on this machine that speaks the API without TLS.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fdi_health.secret_stores import InvalidSecretUrl, Secret, fault_of, unavailable
from fdi_health.secret_stores.google_credentials import find_credentials
from schemas.settings_fields import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.cloud import secretmanager_v1

    from fdi_health.clock import Deadline
    from fdi_health.errors import CheckError
    from fdi_health.secret_stores import SecretUrl

EMULATOR_VARIABLE = "SECRET_MANAGER_EMULATOR_HOST"

# The location becomes a part of a host name: nothing that could end that name may be in it.
_NAME = re.compile(
    r"projects/[a-z0-9:.-]+/(?:locations/(?P<location>(?=[a-z0-9-]{1,32}/)[a-z]+(?:-[a-z0-9]+)*)/)?"
    r"secrets/[A-Za-z0-9_-]{1,255}/versions/[A-Za-z0-9_-]+",
    re.ASCII,
)

_FAULTS: dict[str, tuple[str, str]] = {
    "NotFound": ("does not exist", "Create the secret and a version of it, or correct the name in the secret URL."),
    "PermissionDenied": (
        "may not be read by this function",
        "Grant roles/secretmanager.secretAccessor on this secret to the function's service account.",
    ),
    "Unauthenticated": ("was asked for without valid credentials", "Check the function's service account."),
    "GoogleAuthError": ("was not asked for: the Google credentials could not be used", "Check the service account."),
    "FailedPrecondition": ("is not in a state to be read", "Enable the version, or add a new one."),
    "InvalidArgument": ("has a name that Secret Manager refuses", "Correct the name in the secret URL."),
    "ResourceExhausted": ("was not read: Secret Manager asks for fewer calls", "Check the project's quota."),
    "DeadlineExceeded": ("was not read before the deadline", "Check the way to Secret Manager, or ask again."),
    "RetryError": ("was not read before the deadline", "Check the way to Secret Manager, or ask again."),
    "ServiceUnavailable": ("was not read: Secret Manager is out of reach", "Check the way to Secret Manager."),
}
"""Name of Google's exception class, or of a base of it → what we say: importing the classes would import grpc."""

_STATE = re.compile("is in (DESTROYED|DISABLED) state", re.IGNORECASE)
_REASONS = {
    "SERVICE_DISABLED": ("was not read: the Secret Manager API is not enabled", "Enable it in the secret's project."),
    "BILLING_DISABLED": ("was not read: billing is disabled", "Enable billing in the secret's project."),
}
"""`reason` of Google's ErrorInfo → what we say."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a secret, or the latest.

    Attributes:
        name: `projects/P/secrets/S/versions/V`.
        location: the region of a regional secret, or None.
        environ: where the emulator's address may stand.

    """

    name: str
    location: str | None
    environ: Mapping[str, str] = field(repr=False)

    def read(self, deadline: Deadline) -> Secret:
        """Return the version's payload; see `SecretStore.read`. A payload that fails its checksum is read once more."""
        # At DEBUG these log whole answers, the payload among them, and the vendor's own words.
        for name in ("google.cloud.secretmanager_v1", "google.api_core.retry"):
            library = logging.getLogger(name)
            library.setLevel(max(library.level, logging.INFO))
        from google.api_core.exceptions import GoogleAPIError  # 115 ms: only where this store is used
        from google.auth.exceptions import GoogleAuthError

        try:
            client = self._client(deadline)
            try:
                for _ in range(2):
                    answer = self._access(client, deadline)
                    if _is_intact(answer.payload):
                        return Secret(bytes(answer.payload.data), answer.name.rpartition("/")[2] or None)
            finally:
                client.transport.close()  # type: ignore[no-untyped-call] # Google's transports are typed but for this
        except (GoogleAPIError, GoogleAuthError) as error:
            raise _fault(error) from None
        raise unavailable("was read twice and failed its checksum", "Add the version again; it was damaged.")

    def _client(self, deadline: Deadline) -> secretmanager_v1.SecretManagerServiceClient:
        from google.cloud import secretmanager_v1

        emulator = self.environ.get(EMULATOR_VARIABLE)
        if not emulator:
            options = {"api_endpoint": f"secretmanager.{self.location}.rep.googleapis.com"} if self.location else None
            return secretmanager_v1.SecretManagerServiceClient(
                credentials=find_credentials(deadline), client_options=options
            )
        if not is_loopback(emulator.rpartition(":")[0]):
            raise unavailable(
                f"was not asked for: {EMULATOR_VARIABLE} is not on this machine",
                f"Unset {EMULATOR_VARIABLE}, or give it a loopback address, e.g. 127.0.0.1:9090.",
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

        # `timeout` alone does not bound the call: the library's own retry would go on for a minute.
        seconds = max(0.001, deadline.remaining())
        again = retry.Retry(
            predicate=retry.if_exception_type(exceptions.ServiceUnavailable, exceptions.ResourceExhausted),
            initial=0.1,
            maximum=0.5,
            timeout=seconds,
        )
        return client.access_secret_version(name=self.name, timeout=seconds, retry=again)


def _is_intact(payload: secretmanager_v1.SecretPayload) -> bool:
    """Whether the payload matches the CRC-32C that came with it; versions that have none pass."""
    import google_crc32c

    return "data_crc32c" not in payload or payload.data_crc32c == google_crc32c.value(bytes(payload.data))


def _fault(error: Exception) -> CheckError:
    faults = {**_FAULTS, **_REASONS}
    names = [str(getattr(error, "reason", None))]
    # The vendor's text holds the secret's name; only the word for its state is taken from it.
    state = _STATE.search(str(error))
    if state is not None and type(error).__name__ == "FailedPrecondition":
        names = ["state"]
        faults["state"] = (f"can't be read: its version is {state[1].lower()}", "Enable the version, or add a new one.")
    return fault_of(error, faults, ("could not be read", "Check Secret Manager's status."), *names)


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
