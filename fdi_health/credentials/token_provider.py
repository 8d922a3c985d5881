"""The token of one endpoint: it is cached, renewed, and reported if it expires soon and cannot be renewed."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fdi_health.clock import now
from fdi_health.credentials.refreshing_cache import LOGIN, MAX_READ_SECONDS, RefreshingCache, copy_error
from fdi_health.credentials.secret_format import SecretToken, parse_secret
from fdi_health.models import Token, TokenState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fdi_health.clock import Deadline, Instant
    from fdi_health.concurrency.single_flight import Call
    from fdi_health.credentials.iam_client import IamClient
    from fdi_health.credentials.refreshing_cache import Snapshot
    from fdi_health.errors import CheckError
    from fdi_health.models import ProbeResult
    from fdi_health.secret_stores import SecretStore

MAX_RENEW_AHEAD_SECONDS = 300.0
"""A token is renewed this long before it expires, or a tenth of its lifetime if that is shorter."""

_RENEWAL_INTERVAL_SECONDS = 5.0
"""The time between two background renewals, or a tenth of the token's lifetime if that is shorter."""

_MIN_RENEWAL_INTERVAL_SECONDS = 1.0
"""A token that lives for seconds would otherwise cost a login for every check."""

_REREAD_SECONDS = 60.0
"""How often a secret is read again in the background while its token expires soon: somebody may have replaced it."""

_MAX_LOGINS_FOR_REFUSALS = 10
"""How many logins a minute may replace tokens that ROMA Connect refuses."""

_VERSION = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class _CachedToken:
    """A token as it is kept; its repr hides the value.

    Attributes:
        value: a valid value of an HTTP header.
        version: the secret's version, or None.
        expires_at: when it expires, in seconds since the epoch by its issuer's clock, or None.
        lifetime_seconds: how long it lives from the beginning of its read, or None if that is not known.
        renewable: whether IAM issued it, so that a new login gives another one.

    """

    value: str = field(repr=False)
    version: str | None
    expires_at: float | None
    lifetime_seconds: float | None
    renewable: bool


class TokenProvider:
    """The token in one secret, or for the credentials in it.

    Args:
        store: where the secret is.
        iam: exchanges credentials for a token.
        key: which key of a JSON secret to use, or None.
        warn_seconds: how long before its expiry a token that cannot be renewed is reported; 0 for never.
        clock: reads both clocks.
        max_read_seconds: the time limit of reading the secret and logging in.

    """

    def __init__(
        self,
        store: SecretStore,
        iam: IamClient,
        key: str | None = None,
        warn_seconds: float = 3600.0,
        clock: Callable[[], Instant] = now,
        max_read_seconds: float = MAX_READ_SECONDS,
    ) -> None:
        self._store, self._iam, self._json_key = store, iam, key
        self._warn_seconds, self._clock = warn_seconds, clock
        self._cache: RefreshingCache[_CachedToken] = RefreshingCache(self._read, clock, max_read_seconds)
        self._refused_generation = 0
        self._logins_for_refusals: deque[Instant] = deque(maxlen=_MAX_LOGINS_FOR_REFUSALS)
        self._refusal: CheckError | None = None

    def current(self, deadline: Deadline) -> Token:
        """Return the cached token; the first caller reads it.

        If it expires soon, or has expired by our clocks, it is renewed in the background and nobody waits for that.
        It is used until ROMA Connect refuses it, since a clock may be wrong.

        Raises:
            CheckError: `token_unavailable`.

        """
        snapshot = self._cache.snapshot
        if snapshot is None:
            snapshot = self._cache.get(deadline)
        elif self._is_due(snapshot):
            self._cache.refresh_in_background()
        return self._token(snapshot)

    def renew(self, refused: Token, deadline: Deadline) -> Token:
        """Return a token that was read later than `refused`. One read serves all callers.

        If ROMA Connect refuses one new token after the other, `refused` itself is returned: at most
        `_MAX_LOGINS_FOR_REFUSALS` logins a minute are made for that.

        Raises:
            CheckError: `token_unavailable`.

        """
        # A probe that started earlier may report the refusal of an older token later.
        self._refused_generation = max(self._refused_generation, refused.generation)
        snapshot = self._cache.snapshot
        if (
            snapshot is not None
            and snapshot.generation == refused.generation
            and snapshot.value.renewable
            and self._cache.failure is None
        ):
            logins = self._logins_for_refusals
            if len(logins) == _MAX_LOGINS_FOR_REFUSALS and logins[0].seconds_until(self._clock()) < _REREAD_SECONDS:
                return refused
        snapshot = self._cache.get(deadline, after_generation=refused.generation)
        if snapshot.maybe_stale and snapshot.value.value == refused.value:
            # The background read began before the refusal: the secret may have been rotated since.
            snapshot = self._cache.get(deadline, after_generation=snapshot.generation)
        return self._token(snapshot)

    def record_results(self, results: Sequence[ProbeResult]) -> None:
        """Remember whether ROMA Connect refused the token in a check; a valid result of any instance proves it."""
        if any(result.statistics is not None for result in results):
            self._refusal = None
            return
        refusals = (r.error for r in results if r.error is not None and r.error.code == "token_rejected")
        self._refusal = next(refusals, self._refusal)

    def check_usable(self, deadline: Deadline) -> None:
        """Raise CheckError if there is no token, or if it was refused and not accepted or renewed since."""
        snapshot, failure = self._cache.snapshot, self._cache.failure
        if snapshot is not None and snapshot.generation == self._refused_generation and failure is not None:
            raise copy_error(failure)
        self.current(deadline)
        if self._refusal is not None:
            raise copy_error(self._refusal)

    def expiring(self) -> float | None:
        """Return when the token expires, in seconds since the epoch, if that is soon and it is not renewable; or None.

        A token that IAM issued counts as renewable until a renewal fails.
        """
        snapshot = self._cache.snapshot
        left = self._seconds_left(snapshot) if snapshot else None
        if snapshot is None or left is None or left > self._warn_seconds or not self._warn_seconds:
            return None
        return None if snapshot.value.renewable and self._cache.failure is None else snapshot.value.expires_at

    def state(self) -> TokenState | None:
        """Return what may be published about the cached token, or None if there is none."""
        snapshot = self._cache.snapshot
        if snapshot is None:
            return None
        token = snapshot.value
        version = token.version if token.version and _VERSION.fullmatch(token.version) else None
        return TokenState("credentials" if token.renewable else "token", version, token.expires_at)

    def _token(self, snapshot: Snapshot[_CachedToken]) -> Token:
        token = snapshot.value
        return Token(token.value, snapshot.generation, token.expires_at, token.renewable, self._iam.secrets.values())

    def _read(self, call: Call[Any]) -> _CachedToken:
        secret = self._store.read(call.deadline)
        content = parse_secret(secret.data, self._json_key)
        if isinstance(content, SecretToken):
            self._iam.secrets.add(content.value)
            lifetime = None if content.expires_at is None else content.expires_at - call.began.wall
            return _CachedToken(content.value, secret.version, content.expires_at, lifetime, renewable=False)
        call.stage = LOGIN
        snapshot = self._cache.snapshot
        issued = self._iam.create_token(content, call.deadline)
        if snapshot is not None and snapshot.generation == self._refused_generation:
            self._logins_for_refusals.append(call.began)
        lifetime = issued.lifetime_seconds
        if lifetime is None and issued.expires_at is not None:
            lifetime = issued.expires_at - call.began.wall
        return _CachedToken(issued.value, secret.version, issued.expires_at, lifetime, renewable=True)

    def _seconds_left(self, snapshot: Snapshot[_CachedToken]) -> float | None:
        lifetime = snapshot.value.lifetime_seconds
        return None if lifetime is None else lifetime - snapshot.began.seconds_until(self._clock())

    def _is_due(self, snapshot: Snapshot[_CachedToken]) -> bool:
        """Whether to read another token now, although this one was not refused."""
        lifetime, left = snapshot.value.lifetime_seconds, self._seconds_left(snapshot)
        if lifetime is None or left is None:
            return False
        since = self._cache.seconds_since_read()
        # A token that had expired when it was read is used: reading it again at once would return the same.
        if lifetime > 0 and left <= min(MAX_RENEW_AHEAD_SECONDS, lifetime / 10):
            return since >= min(_RENEWAL_INTERVAL_SECONDS, max(_MIN_RENEWAL_INTERVAL_SECONDS, lifetime / 10))
        return not snapshot.value.renewable and left <= self._warn_seconds and since >= _REREAD_SECONDS
