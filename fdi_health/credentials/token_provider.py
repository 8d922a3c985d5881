"""The token of one endpoint: held, got anew when it is refused or about to end, announced when it can't be."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from fdi_health.clock import now
from fdi_health.credentials.iam_error_codes import LATE_STEP
from fdi_health.credentials.refreshing_cache import READ_SECONDS, RefreshingCache
from fdi_health.credentials.secret_format import SecretToken, parse_secret
from fdi_health.errors import CheckError
from fdi_health.models import Token, TokenState

if TYPE_CHECKING:
    from collections.abc import Callable

    from fdi_health.clock import Deadline, Instant
    from fdi_health.credentials.iam_client import IamClient, IssuedToken
    from fdi_health.credentials.refreshing_cache import Refresh, Snapshot
    from fdi_health.credentials.secret_format import Credentials
    from fdi_health.secret_stores import SecretStore

AHEAD_SECONDS = 300.0
"""How long before its end a token is got anew, at most; a tenth of its life where that is shorter."""

_REST_SECONDS = 5.0
"""How long after one try to get a token ahead of its end the next one may begin, whether it failed or not."""

_MIN_REST_SECONDS = 1.0
"""The same for a token that lives for seconds: a login for every check would be too many."""

_LOOK_SECONDS = 60.0
"""How often a secret is read again, on the side, while the end of its token is announced: somebody may have acted."""

_MOST_LOGINS = 10

_VERSION = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)


class _CachedCredentials(NamedTuple):
    """A token as it is kept.

    Attributes:
        value: fit for a header.
        version: the secret's version, or None.
        expires_at: its end in seconds since the epoch, by its issuer's clock, or None.
        life_seconds: how long it lives from when the read began, or None where that is not known.
        renewable: whether another one can be had for credentials.

    """

    value: str
    version: str | None
    expires_at: float | None
    life_seconds: float | None
    renewable: bool

    def __repr__(self) -> str:
        return f"_CachedCredentials(expires_at={self.expires_at})"


class TokenProvider:
    """The token in one secret, or for the credentials in it.

    Args:
        store: where the secret is.
        iam: where credentials become a token.
        key: which key of a JSON secret to look under, or None.
        warn_seconds: how long before the end of a token that we can't renew it is announced.
        clock: reads both clocks.
        read_seconds: how long refresh the secret and logging in may take.

    """

    def __init__(
        self,
        store: SecretStore,
        iam: IamClient,
        key: str | None = None,
        warn_seconds: float = 3600.0,
        clock: Callable[[], Instant] = now,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        self._store, self._iam, self._json_key = store, iam, key
        self._warn_seconds = warn_seconds
        self._clock = clock
        self._held: RefreshingCache[_CachedCredentials] = RefreshingCache(self._get, clock, read_seconds)
        self._refused: int = 0
        self._logins_for_refusals: deque[Instant] = deque(maxlen=_MOST_LOGINS)

    def current(self, deadline: Deadline) -> Token:
        """Return the token held, getting it first if none is.

        If its end is near, or past by our clocks, another one is obtained in the background, and nobody waits for it.
        The one held is used until it is refused: the refusal decides, not a clock.

        Raises:
            CheckError: `token_unavailable`.

        """
        snapshot = self._held.snapshot
        if snapshot is None:
            return self._token(self._held.newer_than(0, deadline))
        if self._is_due(snapshot):
            self._held.refresh_in_background()
        return self._token(snapshot)

    def renew(self, refused: Token, deadline: Deadline) -> Token:
        """Return a token got later than `refused` was; the first caller gets it, the others get the same.

        Where an upstream refuses one new token after the other, `refused` itself is returned: at most `_MOST_LOGINS`
        times a minute is IAM asked for that.

        Raises:
            CheckError: `token_unavailable`.

        """
        # A probe that set out earlier may bring the refusal of an older one later.
        self._refused = max(self._refused, refused.generation)
        snapshot = self._held.snapshot
        if (
            snapshot is not None
            and snapshot.generation == refused.generation
            and snapshot.value.renewable
            and self._held.failure is None
        ):
            logins, present = self._logins_for_refusals, self._clock()
            if len(logins) == _MOST_LOGINS and logins[0].seconds_until(present) < _LOOK_SECONDS:
                return refused
        return self._token(
            self._held.newer_than(refused.generation, deadline, lambda held: held.value == refused.value)
        )

    def be_ready(self, deadline: Deadline) -> None:
        """Raise CheckError if no token is held that is any good, and none can be had.

        One that was refused, and could not be renewed since, is no good.
        """
        snapshot, failure = self._held.snapshot, self._held.failure
        if snapshot is not None and snapshot.generation == self._refused and failure is not None:
            raise CheckError(failure.code, failure.message, next_step=failure.next_step)
        self.current(deadline)

    def expiring(self) -> float | None:
        """Return when the token ends, in seconds since the epoch, if that is soon and we can't renew it; else None.

        That we can renew one is believed until it was tried and failed.
        """
        snapshot = self._held.snapshot
        left = self._seconds_left(snapshot) if snapshot else None
        if snapshot is None or left is None or left > self._warn_seconds or not self._warn_seconds:
            return None
        return None if snapshot.value.renewable and self._held.failure is None else snapshot.value.expires_at

    def state(self) -> TokenState | None:
        """Return what may be told about the token held, or None where none is."""
        snapshot = self._held.snapshot
        if snapshot is None:
            return None
        held = snapshot.value
        version = held.version if held.version and _VERSION.fullmatch(held.version) else None
        return TokenState("credentials" if held.renewable else "token", version, held.expires_at)

    def _token(self, snapshot: Snapshot[_CachedCredentials]) -> Token:
        held = snapshot.value
        return Token(held.value, snapshot.generation, held.expires_at, held.renewable, self._iam.secrets.values())

    def _get(self, refresh: Refresh[_CachedCredentials]) -> _CachedCredentials:
        began = self._clock()
        secret = self._store.read(refresh.deadline)
        found = parse_secret(secret.data, self._json_key)
        refresh.secret_is_valid = True
        if isinstance(found, SecretToken):
            self._iam.secrets.add(found.value)
            life = None if found.expires_at is None else found.expires_at - began.wall
            return _CachedCredentials(found.value, secret.version, found.expires_at, life, renewable=False)
        refresh.stage, refresh.next_step = "IAM did not answer", LATE_STEP
        issued = self._log_in(found, refresh)
        life = issued.life_seconds
        if life is None and issued.expires_at is not None:
            life = issued.expires_at - began.wall
        return _CachedCredentials(issued.value, secret.version, issued.expires_at, life, renewable=True)

    def _log_in(self, credentials: Credentials, refresh: Refresh[_CachedCredentials]) -> IssuedToken:
        snapshot, logins = self._held.snapshot, self._iam.logins
        try:
            return self._iam.create_token(credentials, refresh.deadline)
        finally:
            # Counted here, where each login is one: of those who were refused at once, each would count it.
            if snapshot is not None and snapshot.generation == self._refused and self._iam.logins > logins:
                self._logins_for_refusals.append(refresh.began)

    def _seconds_left(self, snapshot: Snapshot[_CachedCredentials]) -> float | None:
        life = snapshot.value.life_seconds
        return None if life is None else life - snapshot.began.seconds_until(self._clock())

    def _is_due(self, snapshot: Snapshot[_CachedCredentials]) -> bool:
        """Whether to get another token now, although this one was not refused."""
        life, left = snapshot.value.life_seconds, self._seconds_left(snapshot)
        if life is None or left is None:
            return False
        since = self._held.seconds_since_read()
        # One that was past its end when it was read is not read again at once for that: it is tried.
        if life > 0 and left <= min(AHEAD_SECONDS, life / 10):
            return since >= min(_REST_SECONDS, max(_MIN_REST_SECONDS, life / 10))
        return not snapshot.value.renewable and left <= self._warn_seconds and since >= _LOOK_SECONDS
