"""Exchanges credentials for a token at Identity and Access Management (IAM).

Sources: the vendor's API reference, "Obtaining a User Token Through Password Authentication" (POST /v3/auth/tokens),
and its page on login policies: 5 failed logins within 15 minutes lock a user out for 15 minutes, by default.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from fdi_health.clock import now, parse_timestamp
from fdi_health.credentials.cooldown import LoginOutcome
from fdi_health.credentials.credential_limits import CredentialLimits
from fdi_health.credentials.iam_error_codes import map_error_response, map_login_error
from fdi_health.credentials.token_format import find_format_error
from fdi_health.errors import CheckError
from fdi_health.redaction import SecretHistory
from fdi_health.transport.exception_mapping import may_have_been_sent
from fdi_health.transport.retry import ATTEMPTS, Retries, retry_after
from schemas import strict_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from fdi_health.clock import Deadline, Instant
    from fdi_health.credentials.secret_format import Credentials
    from fdi_health.transport.client import Response, Transport

_PATH = "/v3/auth/tokens?nocatalog=true"
"""Without the catalog of services, which is most of the response and which nobody reads here."""


class IssuedToken(NamedTuple):
    """A token that IAM issued; its repr hides the value.

    Attributes:
        value: a valid value of an HTTP header.
        expires_at: when it expires, in seconds since the epoch by IAM's clock, or None if the response does not say.
        lifetime_seconds: how long it lives from its issue, independent of our own clock; or None.

    """

    value: str
    expires_at: float | None
    lifetime_seconds: float | None

    def __repr__(self) -> str:
        return f"IssuedToken(expires_at={self.expires_at})"


class IamClient:
    """Exchanges credentials for tokens. Thread-safe.

    Args:
        transport: to IAM's endpoint, or None if the settings do not name it.
        project_id: the project to request tokens for if the credentials name none.
        clock: reads both clocks.
        wall: returns seconds since the epoch, for a Retry-After that is a date.
        limits: those of the process; None for others than those of other clients.

    Attributes:
        limits: limit the logins, and the requests with an access key.
        secrets: the passwords and tokens of this process, for redaction.

    """

    def __init__(
        self,
        transport: Transport | None,
        project_id: str,
        clock: Callable[[], Instant] = now,
        wall: Callable[[], float] = time.time,
        limits: CredentialLimits | None = None,
    ) -> None:
        self.secrets = SecretHistory()
        self._transport = transport
        self._project_id = project_id
        self.limits = limits or CredentialLimits(clock)
        self._wall = wall
        self._retries = Retries("IAM")

    def create_token(self, credentials: Credentials, deadline: Deadline) -> IssuedToken:
        """Return a new token.

        A failed login starts a cooldown, in which these credentials are not sent again: a health check that repeated a
        wrong password would lock its own user.

        Raises:
            CheckError: `token_unavailable`. No message contains any part of the credentials or of IAM's response.

        """
        transport = self._transport
        if transport is None:
            raise CheckError(
                "token_unavailable",
                "the secret contains credentials, and the settings do not name an IAM endpoint",
                next_step="Set FDI_IAM_ENDPOINT, e.g. https://iam.cn-north-4.myhuaweicloud.com, or FDI_REGION.",
            )
        limit = self.limits.of_user(credentials)
        login = limit.begin(deadline)
        self.secrets.add(credentials.password)
        body = json.dumps(_request_document(credentials, self._project_id)).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "fdi-health"}
        sent = False

        def attempt() -> IssuedToken:
            nonlocal sent
            try:
                response = transport.post(_PATH, headers, body, deadline)
            except CheckError as error:
                sent = sent or may_have_been_sent(error)
                raise
            sent = True
            if response.status == 201:
                return _parse_response(response)
            raise self._map_error(response, credentials)

        try:
            issued = self._retries.run(attempt, deadline, login.max_requests or ATTEMPTS)
        except CheckError as error:
            outcome = LoginOutcome.UNCERTAIN if sent else LoginOutcome.NOT_SENT
            if error.code == "token_unavailable" and error.upstream_status in (401, 403):
                outcome = LoginOutcome.REFUSED
            if error.code != "token_unavailable":
                error = map_login_error(error)
            raise limit.fail(login, outcome, error) from None
        limit.succeed(login)
        self.limits.end_cooldowns(credentials)
        self.secrets.add(issued.value)
        return issued

    def _map_error(self, response: Response, credentials: Credentials) -> CheckError:
        if response.status != 429 and response.status < 500:
            names = (credentials.username, credentials.domain_name)
            return map_error_response(response.status, response.body, names)
        code = "throttled" if response.status == 429 else "upstream_error"
        seconds = retry_after(response.headers, self._wall())
        return CheckError(code, "IAM failed", upstream_status=response.status, retry_after=seconds)


def _request_document(credentials: Credentials, project_id: str) -> dict[str, Any]:
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


def _parse_response(response: Response) -> IssuedToken:
    if not response.complete:
        raise CheckError("invalid_response", "too large", upstream_status=response.status)
    try:
        document = strict_json.loads(response.body)
    except strict_json.InvalidJSON:
        # An empty body looks like a response that was cut off, and then a retry may succeed.
        status = response.status if response.body else None
        raise CheckError("invalid_response", "not JSON", upstream_status=status) from None
    value = response.headers.get("X-Subject-Token", "").strip()
    if find_format_error(value) is not None:
        raise CheckError("invalid_response", "no token", upstream_status=response.status)
    details = document.get("token") if isinstance(document, dict) else None
    if not isinstance(details, dict):
        raise CheckError("invalid_response", "no token document", upstream_status=response.status)
    try:
        expires_at = parse_timestamp(details.get("expires_at"))
    except ValueError:
        # The token is usable all the same. It is renewed when it is refused.
        return IssuedToken(value, None, None)
    try:
        lifetime = expires_at - parse_timestamp(details.get("issued_at"))
    except ValueError:
        lifetime = 0.0
    return IssuedToken(value, expires_at, lifetime if lifetime > 0 else None)
