"""Credentials → token, at the vendor's Identity and Access Management.

Sources: the vendor's API reference, "Obtaining a User Token Through Password Authentication" (POST /v3/auth/tokens),
and its page on login policies: 5 failed logins within 15 minutes lock a user out for 15 minutes, by default.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from fdi_health.deadline import now
from fdi_health.errors import CheckError
from fdi_health.iam_errors import ON_THE_WAY, refusal_of
from fdi_health.moments import moment
from fdi_health.transport.retry import ATTEMPTS, Retries, retry_after
from schemas import strict_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from fdi_health.deadline import Deadline, Instant
    from fdi_health.secret import Credentials
    from fdi_health.transport.client import Reply, Transport

FIRST_REST_SECONDS = 60.0
"""How long credentials that IAM refused are not tried again; twice as long after each further refusal."""

LONGEST_REST_SECONDS = 900.0
"""The vendor's default window: logins after 0, 60, 180 and 420 s are four, and the fifth falls into the next one."""

_FIRST_ATTEMPTS = 2
"""The most requests for one token, for credentials that have not been good yet."""

_PATH = "/v3/auth/tokens?nocatalog=true"
"""Without the catalog of services, which nobody reads here and which makes up most of the answer."""


class IssuedToken(NamedTuple):
    """A token as IAM gave it; its repr hides the value.

    Attributes:
        value: fit for a header.
        expires_at: its end in seconds since the epoch, by IAM's clock, or None where the answer does not say.
        life_seconds: how long it lives from its issue, whatever our own clock says; or None.

    """

    value: str
    expires_at: float | None
    life_seconds: float | None

    def __repr__(self) -> str:
        return f"IssuedToken(expires_at={self.expires_at})"


class _Rest(NamedTuple):
    credentials: Credentials
    error: CheckError
    began: Instant
    seconds: float


class Iam:
    """Logs users in.

    Args:
        transport: IAM's endpoint, or None where the settings do not say it.
        project_id: the project that tokens are asked for where the credentials name none.
        clock: reads both clocks.
        wall: returns seconds since the epoch, for a Retry-After that is a date.

    """

    def __init__(
        self,
        transport: Transport | None,
        project_id: str,
        clock: Callable[[], Instant] = now,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._transport = transport
        self._project_id = project_id
        self._clock, self._wall = clock, wall
        self._retries = Retries("IAM")
        self._rest: _Rest | None = None
        self._accepted: Credentials | None = None

    def log_in(self, credentials: Credentials, deadline: Deadline) -> IssuedToken:
        """Return a new token; called by one thread at a time.

        Credentials that IAM has refused rest, `FIRST_REST_SECONDS` at first: a health check that repeated a wrong
        password would lock its own user out.

        Raises:
            CheckError: `token_unavailable`; no message holds any part of the credentials or of IAM's words.

        """
        transport = self._transport
        if transport is None:
            raise _unavailable(
                "the secret holds credentials and it is not known where IAM is",
                "Set FDI_IAM_ENDPOINT, e.g. https://iam.cn-north-4.myhuaweicloud.com, or FDI_REGION.",
            )
        rest = self._rest
        if rest is not None and rest.credentials != credentials:
            rest = self._rest = None
        if rest is not None and rest.began.seconds_until(self._clock()) < rest.seconds:
            raise _unavailable(rest.error.message, rest.error.next_step)
        body = json.dumps(_question(credentials, self._project_id)).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "fdi-health"}

        def attempt() -> IssuedToken:
            reply = transport.post(_PATH, headers, body, deadline)
            if reply.status == 201:
                return _read(reply)
            raise self._failure(reply)

        # An answer that was lost on the way may have been a refusal, which counts towards a lock-out.
        attempts = ATTEMPTS if credentials == self._accepted else _FIRST_ATTEMPTS
        try:
            issued = self._retries.run(attempt, deadline, attempts)
        except CheckError as error:
            if error.code == "token_unavailable":
                if error.upstream_status in (401, 403):
                    seconds = min(rest.seconds * 2, LONGEST_REST_SECONDS) if rest else FIRST_REST_SECONDS
                    self._rest = _Rest(credentials, error, self._clock(), seconds)
                raise _unavailable(error.message, error.next_step) from None
            raise _unavailable(*ON_THE_WAY[error.code]) from None
        self._rest, self._accepted = None, credentials
        return issued

    def _failure(self, reply: Reply) -> CheckError:
        status = reply.status
        if status == 429:
            return CheckError(
                "throttled", "IAM asks for fewer calls", retry_after=retry_after(reply.headers, self._wall())
            )
        if status >= 500:
            seconds = retry_after(reply.headers, self._wall())
            return CheckError("upstream_error", "IAM failed", upstream_status=status, retry_after=seconds)
        return refusal_of(status, reply.body)


def _question(credentials: Credentials, project_id: str) -> dict[str, Any]:
    scope, value = credentials.project or ("id", project_id)
    user = {
        "name": credentials.username,
        "password": credentials.password,
        "domain": {"name": credentials.domain_name},
    }
    return {
        "auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {scope: value}},
        }
    }


def _read(reply: Reply) -> IssuedToken:
    value = reply.headers.get("X-Subject-Token", "").strip()
    if not value or not value.isascii() or not value.isprintable():
        raise CheckError("invalid_response", "no token", upstream_status=reply.status)
    try:
        document = strict_json.loads(reply.body)
    except strict_json.InvalidJSON:
        # An empty body is what a cut-off answer looks like: another one may be whole.
        raise CheckError("invalid_response", "no JSON", upstream_status=reply.status if reply.body else None) from None
    about = document.get("token") if isinstance(document, dict) else None
    if not isinstance(about, dict):
        raise CheckError("invalid_response", "no token document", upstream_status=reply.status)
    try:
        expires_at = moment(about.get("expires_at"))
    except ValueError:
        # The token is good all the same; when it is refused it is renewed.
        return IssuedToken(value, None, None)
    try:
        life = expires_at - moment(about.get("issued_at"))
    except ValueError:
        life = 0.0
    return IssuedToken(value, expires_at, life if life > 0 else None)


def _unavailable(message: str, next_step: str | None) -> CheckError:
    return CheckError("token_unavailable", message, next_step=next_step)
