"""The token or access key of one endpoint: cached, renewed, and reported if it expires soon and cannot be renewed."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Any

from fdi_health.clock import now
from fdi_health.credentials.authenticators import Signature, Token
from fdi_health.credentials.refreshing_cache import MAX_READ_SECONDS, RefreshingCache
from fdi_health.credentials.secret_reader import CachedSecret, SecretReader
from fdi_health.credentials.signer import AccessKey
from fdi_health.models import TokenState

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

_KEY_REREAD_SECONDS = 600.0
"""How often the secret of an access key is read again in the background, so that a new key is in use before the old one
is deleted."""

_REFUSED_KEY_REREAD_SECONDS = 30.0
"""How often the secret of a refused access key is read again."""

_REREAD_SECONDS = 60.0
"""How often a secret is read again in the background while its token expires soon: somebody may have replaced it."""

_MAX_LOGINS_FOR_REFUSALS = 10
"""How many logins a minute may replace tokens that ROMA Connect refuses."""

_VERSION = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)


class TokenProvider:
    """The token or access key in one secret, or the token for the credentials in it.

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
        self._iam, self._reader = iam, SecretReader(store, iam, key)
        self._warn_seconds, self._clock = warn_seconds, clock
        self._cache: RefreshingCache[CachedSecret] = RefreshingCache(self._read, clock, max_read_seconds)
        self._refused_generation = 0
        self._logins_for_refusals: deque[Instant] = deque(maxlen=_MAX_LOGINS_FOR_REFUSALS)
        self._refusal: CheckError | None = None

    def current(self, deadline: Deadline) -> Token | Signature:
        """Return the cached token or access key; the first caller reads it.

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
        return self._authenticator(snapshot)

    def renew(self, refused: Token | Signature, deadline: Deadline) -> Token | Signature:
        """Return a token or access key that was read later than `refused`. One read serves all callers.

        `refused` itself is returned if ROMA Connect refuses one new token after the other, because at most
        `_MAX_LOGINS_FOR_REFUSALS` logins a minute are made for that; and if the secret of an access key was read again
        after the refusal, less than `_REFUSED_KEY_REREAD_SECONDS` ago.

        Raises:
            CheckError: `token_unavailable`.

        """
        # A probe that started earlier may report the refusal of an older token later.
        self._refused_generation = max(self._refused_generation, refused.generation)
        snapshot = self._cache.snapshot
        if isinstance(refused, Signature) and self._was_read_after_refusal(refused):
            return refused
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
        if snapshot.maybe_stale and self._authenticator(snapshot).is_same_secret(refused):
            # The background read began before the refusal: the secret may have been rotated since.
            snapshot = self._cache.get(deadline, after_generation=snapshot.generation)
        return self._authenticator(snapshot)

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
            raise failure.copy()
        self.current(deadline)
        if self._refusal is not None:
            raise self._refusal.copy()

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
        secret = snapshot.value
        version = secret.version if secret.version and _VERSION.fullmatch(secret.version) else None
        return TokenState(secret.kind, version, secret.expires_at)

    def _authenticator(self, snapshot: Snapshot[CachedSecret]) -> Token | Signature:
        secret, others = snapshot.value, self._iam.secrets.values()
        if isinstance(secret.value, AccessKey):
            return Signature(secret.value, self._iam.limits.of_key(secret.value), snapshot.generation, others)
        return Token(secret.value, snapshot.generation, secret.expires_at, secret.renewable, others)

    def _was_read_after_refusal(self, refused: Signature) -> bool:
        """Whether the newest read found the refused key, later than the refusal and a short time ago."""
        snapshot, refused_at = self._cache.snapshot, refused.limit.refused_at
        return (
            snapshot is not None
            and snapshot.generation == refused.generation
            and refused_at is not None
            and refused_at.seconds_until(snapshot.began) > 0
            and self._cache.seconds_since_read() < _REFUSED_KEY_REREAD_SECONDS
        )

    def _read(self, call: Call[Any]) -> CachedSecret:
        snapshot = self._cache.snapshot
        secret = self._reader.read(call)
        if secret.renewable and snapshot is not None and snapshot.generation == self._refused_generation:
            self._logins_for_refusals.append(call.began)
        return secret

    def _seconds_left(self, snapshot: Snapshot[CachedSecret]) -> float | None:
        lifetime = snapshot.value.lifetime_seconds
        return None if lifetime is None else lifetime - snapshot.began.seconds_until(self._clock())

    def _is_due(self, snapshot: Snapshot[CachedSecret]) -> bool:
        """Whether to read another token now, although this one was not refused."""
        lifetime, left = snapshot.value.lifetime_seconds, self._seconds_left(snapshot)
        since = self._cache.seconds_since_read()
        if isinstance(snapshot.value.value, AccessKey) and since >= _KEY_REREAD_SECONDS:
            return True
        if lifetime is None or left is None:
            return False
        # A token that had expired when it was read is used: reading it again at once would return the same.
        if lifetime > 0 and left <= min(MAX_RENEW_AHEAD_SECONDS, lifetime / 10):
            return since >= min(_RENEWAL_INTERVAL_SECONDS, max(_MIN_RENEWAL_INTERVAL_SECONDS, lifetime / 10))
        return not snapshot.value.renewable and left <= self._warn_seconds and since >= _REREAD_SECONDS
