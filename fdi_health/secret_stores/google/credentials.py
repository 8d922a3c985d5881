"""Finds Google's application default credentials and exchanges them for an access token before a deadline.

Google's client would do that inside the API call. There it reports refused credentials as an unreachable API and
retries until the deadline, and it waits 1, 2, 4, … seconds for a metadata server that fails.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from fdi_health.secret_stores import build_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fdi_health.clock import Deadline
    from fdi_health.errors import CheckError

CREDENTIALS_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_MAX_ATTEMPTS = 3
_FIRST_WAIT_SECONDS = 0.1
_RETRYABLE_STATUSES = frozenset({408, 429, 500, 502, 503, 504})

_TOKEN_FILE_MISSING = re.compile("^File '.*' was not found", re.DOTALL)
_METADATA_STEP = (
    "Give this function a service account; on GKE, bind its Kubernetes service account to one (Workload Identity, "
    "roles/iam.workloadIdentityUser)."
)
_METADATA_REFUSED = ("could not be read: the metadata server returned no Google credentials", _METADATA_STEP)
_NO_TOKEN_FILE = (
    f"could not be read: the token file that the configuration in {CREDENTIALS_VARIABLE} names does not exist",
    "Mount the service account's projected token there, or correct the configuration's credential_source.",
)
_REFUSED = (
    "could not be read: Google refused this function's credentials",
    f"Check the service account and the credentials that {CREDENTIALS_VARIABLE} names.",
)
_METADATA_PATH = "/computeMetadata/"
_METADATA = ("the metadata server", _METADATA_STEP)
_TOKEN_SERVICE = (
    "the token service",
    f"Check the network path to the token service that the configuration in {CREDENTIALS_VARIABLE} names.",
)


class _NoResponse(NamedTuple):
    """Replaces the response of a server that is unreachable."""

    status: int = 0
    headers: Mapping[str, str] = {}
    data: bytes = b""


class _Request:
    """Sends the HTTP requests of google.auth, each within the remaining time.

    A temporary failure is retried soon. A lasting one raises CheckError, which google.auth does not catch.

    Attributes:
        session: google.auth stores its client certificates in it.

    """

    def __init__(self, deadline: Deadline) -> None:
        from google.auth.transport.requests import Request

        self._request = Request()
        self._deadline = deadline
        self.session = self._request.session

    def __call__(self, url: str, method: str = "GET", *, timeout: float | None = None, **kwargs: Any) -> Any:
        """Return the response; raises CheckError at the deadline at the latest."""
        from google.auth.exceptions import TransportError

        # google.auth requests `/` to detect a metadata server. Most machines have none.
        is_detection = urlsplit(url).path in ("", "/")
        attempts = 0
        while True:
            attempts += 1
            left = self._deadline.remaining()
            seconds = max(0.001, min(timeout or left, left / 2 if is_detection else left))
            try:
                response: Any = self._request(url, method, timeout=seconds, **kwargs)
            except TransportError:
                response = _NoResponse()
            if is_detection or (response.status and response.status not in _RETRYABLE_STATUSES):
                return response
            wait = _FIRST_WAIT_SECONDS * 2 ** (attempts - 1)
            if attempts == _MAX_ATTEMPTS or wait >= self._deadline.remaining():
                raise _build_server_error(url, response.status)
            time.sleep(wait)


def _build_server_error(url: str, status: int) -> CheckError:
    """Return the error of a server that failed; the status is 0 if it is unreachable."""
    server, next_step = _METADATA if urlsplit(url).path.startswith(_METADATA_PATH) else _TOKEN_SERVICE
    failure = f"failed (HTTP {status})" if status else "is unreachable"
    return build_error(f"could not be read: {server}, which issues this function's credentials, {failure}", next_step)


def find_credentials(deadline: Deadline) -> Any:
    """Return credentials with an access token, or a service account's key, which needs none.

    Raises:
        CheckError: `token_unavailable`.

    """
    import google.auth
    from google.auth import compute_engine
    from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
    from google.oauth2 import service_account

    request: Any = _Request(deadline)
    credentials: Any
    by_metadata_server = False
    try:
        credentials, _ = google.auth.default(request=request, default_scopes=_SCOPES)
        by_metadata_server = isinstance(credentials, compute_engine.Credentials)
        # The API client creates a service account's token itself.
        if not isinstance(credentials, service_account.Credentials):
            credentials.refresh(request)
    except DefaultCredentialsError:
        raise _build_missing_error() from None
    except GoogleAuthError as error:
        refused = _METADATA_REFUSED if by_metadata_server else _REFUSED
        raise build_error(*(_NO_TOKEN_FILE if _TOKEN_FILE_MISSING.search(str(error)) else refused)) from None
    except OSError as error:
        raise _map_file_error(error) from None
    return credentials


def _build_missing_error() -> CheckError:
    """Return why there are no credentials. google.auth reads the variable from the process's environment."""
    place = os.environ.get(CREDENTIALS_VARIABLE)
    if not place:
        return build_error(
            "could not be read: no Google credentials were found",
            f"Run this function as a service account, or set {CREDENTIALS_VARIABLE}.",
        )
    problem = "contains no Google credentials" if Path(place).is_file() else "does not exist"
    return build_error(
        f"could not be read: the file that {CREDENTIALS_VARIABLE} names {problem}",
        f"Mount the credentials file there, or unset {CREDENTIALS_VARIABLE}.",
    )


def _map_file_error(error: OSError) -> CheckError:
    names = f"{CREDENTIALS_VARIABLE} names"
    if error.filename != os.environ.get(CREDENTIALS_VARIABLE):
        names = f"the configuration in {CREDENTIALS_VARIABLE} names"
    return build_error(
        f"could not be read: the file that {names} cannot be read", "Allow this function's user to read that file."
    )
