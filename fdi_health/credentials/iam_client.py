"""Credentials → token, at the vendor's Identity and Access Management.

Sources: the vendor's API reference, "Obtaining a User Token Through Password Authentication" (POST /v3/auth/tokens),
and its page on login policies: 5 failed logins within 15 minutes lock a user out for 15 minutes, by default.
"""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from fdi_health.clock import now, parse_timestamp
from fdi_health.credentials.cooldown import LoginOutcome, next_cooldown
from fdi_health.credentials.iam_error_codes import explain_failure, map_error_response
from fdi_health.credentials.secret_history import SecretHistory
from fdi_health.credentials.token_format import form_of
from fdi_health.errors import CheckError
from fdi_health.transport.exception_mapping import may_have_been_sent
from fdi_health.transport.retry import ATTEMPTS, Retries, retry_after
from schemas import strict_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from fdi_health.clock import Deadline, Instant
    from fdi_health.credentials.cooldown import Cooldown
    from fdi_health.credentials.secret_format import Credentials
    from fdi_health.transport.client import Response, Transport

_FIRST_ATTEMPTS = 2
"""The most requests for one token, for credentials that IAM has not accepted yet: each may count as a failure."""

_MAX_COOLDOWNS = 8
"""How many credentials that failed are remembered: a secrets manager may return old and new ones in turn."""

_PATH = "/v3/auth/tokens?nocatalog=true"
"""Without the catalog of services, which nobody reads here and which makes up most of the answer."""


class IssuedToken(NamedTuple):
    """A token as IAM gave it; its repr hides the value.

    Attributes:
        value: fit for a header.
        expires_at: its end in seconds since the epoch, by IAM's clock, or None where the answer does not say.
        life_seconds: how long it lives from its issue, independent of our own clock; or None.

    """

    value: str
    expires_at: float | None
    life_seconds: float | None

    def __repr__(self) -> str:
        return f"IssuedToken(expires_at={self.expires_at})"


class IamClient:
    """Logs users in.

    Args:
        transport: IAM's endpoint, or None where the settings do not say it.
        project_id: the project that tokens are asked for where the credentials name none.
        clock: reads both clocks.
        wall: returns seconds since the epoch, for a Retry-After that is a date.

    Attributes:
        logins: how many logins have begun; those that a cooldown prevented do not count.
        secrets: the passwords and tokens of this process, for redaction.

    """

    def __init__(
        self,
        transport: Transport | None,
        project_id: str,
        clock: Callable[[], Instant] = now,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.logins = 0
        self.secrets = SecretHistory()
        self._transport = transport
        self._project_id = project_id
        self._clock, self._wall = clock, wall
        self._retries = Retries("IAM")
        self._lock = threading.Lock()
        self._cooldowns: dict[Credentials, Cooldown] = {}
        self._accepted: Credentials | None = None

    def create_token(self, credentials: Credentials, deadline: Deadline) -> IssuedToken:
        """Return a new token.

        A failed login begins a cooldown, in which these credentials are not sent: a health check that repeated a wrong
        password would lock its own user.

        Raises:
            CheckError: `token_unavailable`; no message holds any part of the credentials or of IAM's words.

        """
        transport = self._transport
        if transport is None:
            raise CheckError(
                "token_unavailable",
                "the secret holds credentials and it is not known where IAM is",
                next_step="Set FDI_IAM_ENDPOINT, e.g. https://iam.cn-north-4.myhuaweicloud.com, or FDI_REGION.",
            )
        with self._lock:
            previous = self._cooldowns.get(credentials)
            if previous is not None and not previous.is_over(self._clock()):
                raise previous.as_error()
            accepted = credentials == self._accepted
            # A read that is past its deadline may go on beside the next one, so this login counts as failed until it
            # has ended.
            pending = self._remember(credentials, previous, LoginOutcome.UNCERTAIN, _NO_RESPONSE, accepted=accepted)
            self.logins += 1
        self.secrets.add(credentials.password)
        body = json.dumps(_question(credentials, self._project_id)).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "fdi-health"}
        sent = False

        def attempt() -> IssuedToken:
            nonlocal sent
            try:
                reply = transport.post(_PATH, headers, body, deadline)
            except CheckError as error:
                sent = sent or may_have_been_sent(error)
                raise
            sent = True
            if reply.status == 201:
                return _read(reply)
            raise self._failure(reply, credentials)

        # A response that was lost may have been a refusal, which IAM counts.
        unaccepted = 1 if previous is not None and previous.perhaps_counted else _FIRST_ATTEMPTS
        try:
            issued = self._retries.run(attempt, deadline, ATTEMPTS if accepted else unaccepted)
        except CheckError as error:
            outcome = LoginOutcome.UNCERTAIN if sent else LoginOutcome.NOT_SENT
            if error.code == "token_unavailable" and error.upstream_status in (401, 403):
                outcome = LoginOutcome.REFUSED
            meaning = error if error.code == "token_unavailable" else _explained(error)
            with self._lock:
                if outcome is LoginOutcome.REFUSED and self._accepted == credentials:
                    self._accepted = None
                if self._cooldowns.get(credentials) is pending:
                    pending = self._remember(credentials, previous, outcome, meaning, accepted=accepted)
            raise pending.as_error() from None
        with self._lock:
            self._cooldowns.clear()
            self._accepted = credentials
        self.secrets.add(issued.value)
        return issued

    def _remember(
        self,
        credentials: Credentials,
        previous: Cooldown | None,
        outcome: LoginOutcome,
        meaning: CheckError,
        *,
        accepted: bool,
    ) -> Cooldown:
        cooldown = next_cooldown(previous, outcome, meaning, self._clock(), accepted=accepted)
        self._cooldowns.pop(credentials, None)
        self._cooldowns[credentials] = cooldown
        if len(self._cooldowns) > _MAX_COOLDOWNS:
            del self._cooldowns[next(iter(self._cooldowns))]
        return cooldown

    def _failure(self, reply: Response, credentials: Credentials) -> CheckError:
        status = reply.status
        if status == 429:
            return CheckError(
                "throttled", "IAM asks for fewer calls", retry_after=retry_after(reply.headers, self._wall())
            )
        if status >= 500:
            seconds = retry_after(reply.headers, self._wall())
            return CheckError("upstream_error", "IAM failed", upstream_status=status, retry_after=seconds)
        return map_error_response(status, reply.body, (credentials.username, credentials.domain_name))


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


def _read(reply: Response) -> IssuedToken:
    if not reply.complete:
        raise CheckError("invalid_response", "too large", upstream_status=reply.status)
    try:
        document = strict_json.loads(reply.body)
    except strict_json.InvalidJSON:
        # An empty body is what a cut-off answer looks like: another one may be whole.
        raise CheckError("invalid_response", "no JSON", upstream_status=reply.status if reply.body else None) from None
    value = reply.headers.get("X-Subject-Token", "").strip()
    if form_of(value) is not None:
        raise CheckError("invalid_response", "no token", upstream_status=reply.status)
    about = document.get("token") if isinstance(document, dict) else None
    if not isinstance(about, dict):
        raise CheckError("invalid_response", "no token document", upstream_status=reply.status)
    try:
        expires_at = parse_timestamp(about.get("expires_at"))
    except ValueError:
        # The token is good all the same; when it is refused it is renewed.
        return IssuedToken(value, None, None)
    try:
        life = expires_at - parse_timestamp(about.get("issued_at"))
    except ValueError:
        life = 0.0
    return IssuedToken(value, expires_at, life if life > 0 else None)


def _explained(error: CheckError) -> CheckError:
    message, next_step = explain_failure(error)
    return CheckError("token_unavailable", message, next_step=next_step, retry_after=error.retry_after)


_NO_RESPONSE = _explained(CheckError("timeout", "no response before the deadline"))
