"""The limits of every access key and every user of a process. Targets that use the same one share its limit."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

from fdi_health.clock import now
from fdi_health.credentials.access_key_limit import AccessKeyLimit
from fdi_health.credentials.login_limit import LoginLimit

if TYPE_CHECKING:
    from collections.abc import Callable

    from fdi_health.clock import Instant
    from fdi_health.credentials.secret_format import Credentials
    from fdi_health.credentials.signer import AccessKey

Key = TypeVar("Key")
Limit = TypeVar("Limit")

_MAX_REMEMBERED = 256
"""How many of each are remembered: a secret store may return an old and a new one in turn."""


class CredentialLimits:
    """One limit for each access key, and one for each user and password, by the newest use. Thread-safe.

    Args:
        clock: reads both clocks.

    """

    def __init__(self, clock: Callable[[], Instant] = now) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: dict[AccessKey, AccessKeyLimit] = {}
        self._users: dict[Credentials, LoginLimit] = {}

    def of_key(self, key: AccessKey) -> AccessKeyLimit:
        """Return the limit of an access key; it is the same for every read of that key."""
        with self._lock:
            others = (limit.refusals for other, limit in self._keys.items() if other.access_key == key.access_key)
            limit = self._keys.get(key) or AccessKeyLimit(self._clock, next(others, None))
            return _remember(self._keys, key, limit)

    def of_user(self, credentials: Credentials) -> LoginLimit:
        """Return the limit of a user and a password, for every project: IAM counts the failures of the user."""
        user = credentials._replace(project=None)
        with self._lock:
            return _remember(self._users, user, self._users.get(user) or LoginLimit(self._clock))

    def end_cooldowns(self, accepted: Credentials) -> None:
        """End the cooldowns of other passwords of a user, of whom IAM has accepted one."""
        with self._lock:
            limits = [limit for other, limit in self._users.items() if _is_same_user(other, accepted)]
        for limit in limits:
            limit.end_cooldown()


def _is_same_user(one: Credentials, other: Credentials) -> bool:
    return (one.username, one.domain_name) == (other.username, other.domain_name)


def _remember(limits: dict[Key, Limit], key: Key, limit: Limit) -> Limit:
    limits.pop(key, None)
    limits[key] = limit
    if len(limits) > _MAX_REMEMBERED:
        del limits[next(iter(limits))]
    return limit
