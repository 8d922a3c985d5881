"""Google's application default credentials, found and exchanged for an access token before a deadline.

Left alone, Google's libraries do that inside the call to the API. There a refusal looks like an API that is out of
reach, which is tried again until the deadline, and a metadata server that fails is asked again after 1, 2, 4 … seconds.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from fdi_health.secret_stores import unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fdi_health.clock import Deadline
    from fdi_health.errors import CheckError

CREDENTIALS_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_MAX_ATTEMPTS = 3
_FIRST_WAIT_SECONDS = 0.1
_PASSING_STATUSES = frozenset({408, 429, 500, 502, 503, 504})

_TOKEN_FILE_MISSING = re.compile("^File '.*' was not found", re.DOTALL)
_METADATA_STEP = (
    "Give this function a service account; on GKE, bind its Kubernetes service account to one (Workload Identity, "
    "roles/iam.workloadIdentityUser)."
)
_METADATA_REFUSED = ("was not asked for: the metadata server gave no Google credentials", _METADATA_STEP)
_NO_TOKEN_FILE = (
    f"was not asked for: the token file that the configuration in {CREDENTIALS_VARIABLE} names does not exist",
    "Mount the service account's projected token there, or correct the configuration's credential_source.",
)
_REFUSED = (
    "was not asked for: Google refused this function's credentials",
    f"Check the service account, and the credentials that {CREDENTIALS_VARIABLE} names.",
)
_METADATA_PATH = "/computeMetadata/"
_METADATA = ("the metadata server", _METADATA_STEP)
_TOKEN_SERVICE = (
    "the token service",
    f"Check the network path to the token service that the configuration in {CREDENTIALS_VARIABLE} names.",
)


class _NoResponse(NamedTuple):
    """Stands for the response of a metadata server that is not there."""

    status: int = 0
    headers: Mapping[str, str] = {}
    data: bytes = b""


class _Request:
    """Makes the HTTP requests of google.auth, each within the time that is left.

    A failure that may pass is tried again at once; one that lasts raises CheckError, which google.auth lets through.

    Attributes:
        session: where google.auth puts its client certificates.

    """

    def __init__(self, deadline: Deadline) -> None:
        from google.auth.transport.requests import Request

        self._request = Request()
        self._deadline = deadline
        self.session = self._request.session

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return the response, for google.auth to read; raises CheckError at the deadline at the latest."""
        from google.auth.exceptions import TransportError

        # google.auth looks for a metadata server by asking for its root; most machines have none.
        looking = urlsplit(url).path in ("", "/")
        attempts = 0
        while True:
            attempts += 1
            left = self._deadline.remaining()
            seconds = max(0.001, min(timeout or left, left / 2 if looking else left))
            try:
                response: Any = self._request(
                    url=url, method=method, body=body, headers=headers, timeout=seconds, **kwargs
                )
            except TransportError:
                response = _NoResponse()
            if looking or (response.status and response.status not in _PASSING_STATUSES):
                return response
            wait = _FIRST_WAIT_SECONDS * 2 ** (attempts - 1)
            if attempts == _MAX_ATTEMPTS or wait >= self._deadline.remaining():
                raise _failure(url, response.status)
            time.sleep(wait)


def _failure(url: str, status: int) -> CheckError:
    """Return the error of a server that failed with a status, or with none."""
    source, next_step = _METADATA if urlsplit(url).path.startswith(_METADATA_PATH) else _TOKEN_SERVICE
    what = f"failed (HTTP {status})" if status else "is out of reach"
    return unavailable(f"was not asked for: {source}, which gives this function its credentials, {what}", next_step)


def find_credentials(deadline: Deadline) -> Any:
    """Return credentials with an access token, or a service account's, which need none.

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
        # The client makes a service account's token itself.
        if not isinstance(credentials, service_account.Credentials):
            credentials.refresh(request)
    except DefaultCredentialsError:
        raise _no_credentials() from None
    except GoogleAuthError as error:
        raise _refusal(error, by_metadata_server=by_metadata_server) from None
    except OSError as error:
        raise _unreadable_file(error) from None
    return credentials


def _no_credentials() -> CheckError:
    """Return why there are no credentials; google.auth reads the variable in the process's environment."""
    place = os.environ.get(CREDENTIALS_VARIABLE)
    if not place:
        return unavailable(
            "was not asked for: no Google credentials were found",
            f"Run as a service account, or set {CREDENTIALS_VARIABLE}.",
        )
    what = "holds no Google credentials" if Path(place).is_file() else "does not exist"
    return unavailable(
        f"was not asked for: the file that {CREDENTIALS_VARIABLE} names {what}",
        f"Mount the file of credentials there, or unset {CREDENTIALS_VARIABLE}.",
    )


def _unreadable_file(error: OSError) -> CheckError:
    names = f"{CREDENTIALS_VARIABLE} names"
    if error.filename != os.environ.get(CREDENTIALS_VARIABLE):
        names = f"the configuration in {CREDENTIALS_VARIABLE} names"
    return unavailable(
        f"was not asked for: the file that {names} cannot be read", "Let this function's user read that file."
    )


def _refusal(error: Exception, *, by_metadata_server: bool) -> CheckError:
    token_file_missing = _TOKEN_FILE_MISSING.search(str(error)) is not None
    return unavailable(
        *(_METADATA_REFUSED if by_metadata_server else _NO_TOKEN_FILE if token_file_missing else _REFUSED)
    )
