"""One probe of one instance: ask, renew refused credentials, ask once more.

A probe never raises a CheckError: an error is a value in its result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from fdi_health.errors import CheckError
from fdi_health.models import ProbeResult
from fdi_health.roma.error_responses import TOKEN_STEPS

if TYPE_CHECKING:
    from collections.abc import Callable

    from fdi_health.clock import Deadline, Instant
    from fdi_health.concurrency.single_flight import Call
    from fdi_health.credentials.authenticators import Signature, Token
    from fdi_health.models import Instance, Statistics
    from fdi_health.roma.client import Client

RENEWING = "renewing the token"
"""The stage of a call that waits for another token."""

_RENEWED_STEP = (
    "IAM gave this token just now, so it is not expired. Check that its user, FDI_PROJECT_ID and the region belong "
    "together."
)
_REFUSED_AGAIN_STEP = (
    "ROMA Connect refused several new tokens. Check that the user, FDI_PROJECT_ID and the region belong together."
)


class TokenSource(Protocol):
    """Provides the token or access key of one target."""

    def current(self, deadline: Deadline) -> Token | Signature:
        """Return the cached token or access key, reading it first if there is none.

        Raises:
            CheckError: `token_unavailable`.

        """
        ...

    def renew(self, refused: Token | Signature, deadline: Deadline) -> Token | Signature:
        """Return one that was read later than `refused`, or `refused`. One read serves all callers.

        Raises:
            CheckError: `token_unavailable`.

        """
        ...


class Prober:
    """Probes the instances of one target.

    Args:
        client: asks one instance.
        clock: reads both clocks.

    """

    def __init__(self, client: Client, clock: Callable[[], Instant]) -> None:
        self._client, self._clock = client, clock

    def probe(
        self, instance: Instance, authenticator: Token | Signature, tokens: TokenSource, call: Call[ProbeResult]
    ) -> ProbeResult:
        """Return the result of one instance; `call` gives the deadline and is told the stage."""
        began = self._clock()
        try:
            statistics = self._ask(instance, authenticator, tokens, call)
        except CheckError as error:
            return self.unknown(instance, error, began)
        arrived = self._clock()
        return ProbeResult(instance, statistics, None, arrived, began.seconds_until(arrived))

    def unknown(self, instance: Instance, error: CheckError, began: Instant) -> ProbeResult:
        """Return the result of an instance that is unknown because of an error."""
        # An error that is kept as a value must not keep frames and foreign exceptions alive.
        error = error.with_traceback(None)
        error.__cause__ = error.__context__ = None
        arrived = self._clock()
        return ProbeResult(instance, None, error, arrived, began.seconds_until(arrived))

    def _ask(
        self, instance: Instance, authenticator: Token | Signature, tokens: TokenSource, call: Call[ProbeResult]
    ) -> Statistics:
        """Return the statistics; refused credentials are read again and the request is sent once more."""
        if not call.is_wanted:
            # Thousands of calls in a queue would otherwise go on while the response of their check is made.
            raise CheckError("timeout", "no thread was free before the deadline")
        try:
            return self._client.statistics(instance, authenticator, call.deadline)
        except CheckError as error:
            if error.code != "token_rejected":
                raise
            call.stage = RENEWING
            renewed = tokens.renew(authenticator, call.deadline)
            call.stage = ""
            if renewed.is_same_secret(authenticator):
                _improve_next_step(error, authenticator, _REFUSED_AGAIN_STEP)
                raise
        try:
            return self._client.statistics(instance, renewed, call.deadline)
        except CheckError as error:
            _improve_next_step(error, renewed, _RENEWED_STEP)
            raise


def too_late() -> CheckError:
    """Return the error of an instance that did not respond in time."""
    return CheckError("timeout", "no response before the deadline")


def _improve_next_step(error: CheckError, authenticator: Token | Signature, next_step: str) -> None:
    """Replace the general next step of a refusal; one that depends on the response is better and stays."""
    if authenticator.renewable and error.code == "token_rejected" and error.next_step in TOKEN_STEPS:
        error.next_step = next_step
