"""Who may see details: names and keys in a secret, looked up for the key that a caller presents."""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING, Any

from fdi_health.clock import now
from fdi_health.credentials.refreshing_cache import READ_SECONDS, RefreshingCache
from fdi_health.credentials.secret_format import json_object, secret_text
from fdi_health.errors import CheckError
from schemas.settings_fields import NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fdi_health.clock import Deadline, Instant
    from fdi_health.credentials.refreshing_cache import Refresh
    from fdi_health.secret_stores import SecretStore

KEY = re.compile(rb"[\x21-\x2d\x2f-\x7e]{16,512}")
"""Printable ASCII without white space and dots: what has dots may be a platform's JWT."""

ONLY_NAME = "caller"
"""The name of the only caller, where the secret holds nothing but a key."""

_UNKNOWN_KEY_SECONDS = 30.0
"""How often an unknown key may cause the secret to be read again, or guessing would be paid for by us."""

_FRESH_SECONDS = 300.0
"""After how long the secret is read again on the side, so that a key that was taken out dies."""

_OLDEST_SECONDS = 600.0
"""After how long no key is good any more until the secret has been read again."""

_FORM = (
    'must be one bare key, or JSON such as {"prometheus": "…", "grafana": "…"}: a name of letters, digits and _.- '
    "and a key of its own, 16 to 512 printable characters without dots and spaces"
)


class ApiKeys:
    """The keys of FDI_CALLERS.

    Args:
        store: where they are.
        key: which key of a JSON secret to look under, or None.
        clock: reads both clocks.
        read_seconds: how long refresh the secret may take.

    """

    def __init__(
        self,
        store: SecretStore,
        key: str | None = None,
        clock: Callable[[], Instant] = now,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        self._store, self._json_key = store, key
        self._clock = clock
        self._held: RefreshingCache[Mapping[str, bytes]] = RefreshingCache(self._get, clock, read_seconds)

    def name_of(self, presented: bytes, deadline: Deadline) -> str | None:
        """Return the name of the caller that has this key, or None.

        Raises:
            CheckError: `callers_unavailable`, where that can't be told because the secret can't be read.

        """
        snapshot = self._held.snapshot
        might_be_one = KEY.fullmatch(presented) is not None
        if snapshot is None or snapshot.began.seconds_until(self._clock()) >= _OLDEST_SECONDS:
            if not might_be_one:
                return None
            return _match(self._newer_than(snapshot.generation if snapshot else 0, deadline), presented)
        name = _match(snapshot.value, presented)
        since = self._held.seconds_since_read()
        if name is not None:
            if since >= _FRESH_SECONDS:
                self._held.refresh_in_background()
            return name
        if not might_be_one:
            return None
        if since >= _UNKNOWN_KEY_SECONDS or self._held.is_being_read():
            return _match(self._newer_than(snapshot.generation, deadline), presented)
        if self._held.failures:
            raise _unavailable("they could not be read again a moment ago")
        return None

    def load(self, deadline: Deadline) -> int:
        """Read the keys and return how many there are; raises as `name_of` does."""
        return len(self._newer_than(0, deadline))

    def _newer_than(self, generation: int, deadline: Deadline) -> Mapping[str, bytes]:
        try:
            return self._held.newer_than(generation, deadline).value
        except CheckError as error:
            raise _as_ours(error) from None

    def _get(self, refresh: Refresh[Mapping[str, bytes]]) -> Mapping[str, bytes]:
        return parse_api_keys(self._store.read(refresh.deadline).data, self._json_key)


def parse_api_keys(secret: bytes, key: str | None) -> dict[str, bytes]:
    """Return name → key.

    Args:
        secret: one bare key, or a JSON object name → key.
        key: which key of a JSON object to look under, for one bare key or for such an object; or None.

    Raises:
        CheckError: `callers_unavailable`; the message names the entry by its number and holds nothing of the secret.

    """
    try:
        text = secret_text(secret)
        found: Any = text
        if key is not None or text[0] in '{["':
            found = json_object(text)
            found = found if key is None else found.get(key)
    except CheckError as error:
        raise _unavailable(error.message) from None
    entries = found if isinstance(found, dict) else {ONLY_NAME: found}
    callers: dict[str, bytes] = {}
    for number, (name, value) in enumerate(entries.items(), 1):
        ours = value.encode() if isinstance(value, str) else b""
        if not NAME.fullmatch(name) or not KEY.fullmatch(ours):
            raise _unavailable(f"entry {number} {_FORM}")
        if ours in callers.values():
            raise _unavailable(f"entry {number} has the key of an earlier one; each caller needs a key of its own")
        callers[name] = ours
    if not callers:
        raise _unavailable(f"there is none; the secret {_FORM}")
    return callers


def _match(callers: Mapping[str, bytes], presented: bytes) -> str | None:
    # Every key is compared, and each in constant time: how long it takes says nothing about any of them.
    found = None
    for name, key in callers.items():
        if hmac.compare_digest(key, presented):
            found = name
    return found


def _as_ours(error: CheckError) -> CheckError:
    """Return what kept the secret from being read as a fault of the callers' keys, which it may be already."""
    if error.code == "callers_unavailable":
        return CheckError(error.code, error.message, next_step=error.next_step)
    return _unavailable(error.message)


def _unavailable(message: str) -> CheckError:
    step = "Check the secret that FDI_CALLERS names, its form, and that this function may read it."
    return CheckError("callers_unavailable", f"the callers' keys: {message}", next_step=step)
