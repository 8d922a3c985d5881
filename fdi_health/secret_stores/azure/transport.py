"""The HTTP transport for Azure's libraries that ends every request and every wait at a deadline.

The libraries' own limits are per request: five minutes for a response, and more than a minute of retries for the
credentials of a virtual machine. This module imports azure-core, so import it only where the store is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from azure.core.exceptions import AzureError, ServiceRequestTimeoutError
from azure.core.pipeline.transport import RequestsTransport

from fdi_health.secret_stores import build_error

if TYPE_CHECKING:
    from fdi_health.clock import Deadline
    from fdi_health.errors import CheckError

_MIN_SECONDS = 0.001


class DeadlineTransport(RequestsTransport):  # type: ignore[misc] # azure-core imports it lazily, so mypy sees no class
    """Sends the requests of the credentials and of the vault's client.

    The credentials' library replaces every exception by its own, so this class also records what happened.

    Attributes:
        error: the error that ended the read at the deadline, or None.
        host: the host of the last request.
        status: the HTTP status of the last response, or 0 if there was none.

    """

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self.error: CheckError | None = None
        self.host = ""
        self.status = 0
        self._deadline = deadline
        self.open()
        # requests replaces the Authorization header by the credentials in a netrc file, unless the session has its own.
        self.session.auth = _keep_headers

    def send(self, request: Any, **kwargs: Any) -> Any:
        """Send a request within the remaining time; raises AzureError at the deadline."""
        left = self._deadline.remaining()
        if not left or self.error:
            raise self._end()
        for name in ("connection_timeout", "read_timeout"):
            kwargs[name] = max(_MIN_SECONDS, min(kwargs.get(name, left), left))
        if request.url.startswith("http://"):
            # Only endpoints of this machine use plain HTTP. A proxy must not see the header that authorises them.
            kwargs["proxies"] = {"http": None}
        self.host, self.status = urlsplit(request.url).hostname or "", 0
        try:
            response = super().send(request, **kwargs)
        except AzureError:
            if self._deadline.expired:
                self._end()
            raise
        self.status = response.status_code
        return response

    def sleep(self, duration: float) -> None:
        """Wait before a retry; raises AzureError if the retry would be after the deadline."""
        if duration >= self._deadline.remaining():
            raise self._end()
        super().sleep(duration)

    def _end(self) -> AzureError:
        """Record that the deadline ends the read, once, and return an exception that the libraries know."""
        if self.error is None:
            self.error = _build_timeout_error(self.status)
        return ServiceRequestTimeoutError("the deadline ends this read")


def _build_timeout_error(status: int) -> CheckError:
    """Return the error of a read that took too long; the status is 0 if the last request had no response."""
    description = "could not be read before the deadline"
    if status:
        description += f": the last response was HTTP {status}"
    return build_error(
        description, "Check the network path to Key Vault and to the source of credentials, then try again."
    )


def _keep_headers(request: Any) -> Any:
    return request
