"""The API keys of callers, which are read from a secret: finds the caller's name for a key."""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from fdi_health.clock import now
from fdi_health.credentials.refreshing_cache import MAX_READ_SECONDS, RefreshingCache
from fdi_health.credentials.secret_format import decode_secret, parse_json_object
from fdi_health.errors import CheckError
from schemas.settings_fields import NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fdi_health.clock import Deadline, Instant
    from fdi_health.secret_stores import SecretStore

_KEY = re.compile(rb"[\x21-\x2d\x2f-\x7e]{16,512}")
"""Printable ASCII without white space and dots: a text with dots may be a platform's JWT."""

_SINGLE_CALLER = "caller"
"""The name of the caller if the secret contains only a key."""

_UNKNOWN_KEY_INTERVAL_SECONDS = 30.0
"""How often an unknown key may cause a read of the secret. Otherwise guessing keys would cost us money."""

_REFRESH_SECONDS = 300.0
"""The age at which the keys are read again in the background, so that a removed key becomes invalid."""

_MAX_AGE_SECONDS = 600.0
"""The age at which no key is accepted until the secret has been read again."""

_FORM = (
    'must be one bare key, or JSON such as {"prometheus": "…", "grafana": "…"}: a name of letters, digits and _.- '
    "and a key of its own, 16 to 512 printable characters without dots and spaces; or "
    '{"key": "…", "remarks": true, "targets": ["emea"]} for a caller who may see the remarks of failed tasks, and asks '
    "some targets only"
)


class ApiCaller(NamedTuple):
    """A caller in the secret.

    Attributes:
        name: its name.
        key: its key.
        sees_remarks: whether it may see the remarks of failed tasks, which may hold customers' data.
        targets: the targets that it may ask and see, or None for all.

    """

    name: str
    key: bytes
    sees_remarks: bool = False
    targets: frozenset[str] | None = None

    def __repr__(self) -> str:
        return f"ApiCaller({self.name!r})"


class ApiKeys:
    """The keys in the secret of FDI_CALLERS.

    Args:
        store: where the secret is.
        key: which key of a JSON secret to use, or None.
        clock: reads both clocks.
        max_read_seconds: the time limit of reading the secret.

    """

    def __init__(
        self,
        store: SecretStore,
        key: str | None = None,
        clock: Callable[[], Instant] = now,
        max_read_seconds: float = MAX_READ_SECONDS,
    ) -> None:
        self._clock = clock
        self._cache: RefreshingCache[Sequence[ApiCaller]] = RefreshingCache(
            lambda call: parse_api_keys(store.read(call.deadline).data, key), clock, max_read_seconds
        )

    def find(self, presented: bytes, deadline: Deadline) -> ApiCaller | None:
        """Return the caller that has this key, or None.

        Raises:
            CheckError: `callers_unavailable`, if the secret cannot be read and so the key cannot be checked.

        """
        if not _KEY.fullmatch(presented):
            return None
        snapshot = self._cache.snapshot
        if snapshot is None or snapshot.began.seconds_until(self._clock()) >= _MAX_AGE_SECONDS:
            return _find(self._get(deadline, snapshot.generation if snapshot else 0), presented)
        caller = _find(snapshot.value, presented)
        age = self._cache.seconds_since_read()
        if caller is not None:
            if age >= _REFRESH_SECONDS:
                self._cache.refresh_in_background()
            return caller
        if age >= _UNKNOWN_KEY_INTERVAL_SECONDS or self._cache.is_being_read():
            return _find(self._get(deadline, snapshot.generation), presented)
        if self._cache.has_failed:
            raise _unavailable("the last attempt to read them again failed")
        return None

    def load(self, deadline: Deadline) -> int:
        """Read the keys and return how many there are; raises as `find` does."""
        return len(self._get(deadline))

    def _get(self, deadline: Deadline, after_generation: int = 0) -> Sequence[ApiCaller]:
        try:
            return self._cache.get(deadline, after_generation=after_generation).value
        except CheckError as error:
            raise error if error.code == "callers_unavailable" else _unavailable(error.message) from None


def parse_api_keys(secret: bytes, key: str | None) -> tuple[ApiCaller, ...]:
    """Parse a secret and return the callers in it.

    Args:
        secret: one bare key, or a JSON object name → key, or name → `{"key": …, "remarks": true}`.
        key: the key of a JSON object that contains one bare key or such an object; or None.

    Raises:
        CheckError: `callers_unavailable`. The message gives the number of the entry and no part of the secret.

    """
    try:
        text = decode_secret(secret)
        content: Any = text
        if key is not None or text[0] in '{["':
            document = parse_json_object(text)
            content = document if key is None else document.get(key)
    except CheckError as error:
        raise _unavailable(error.message) from None
    entries = content if isinstance(content, dict) else {_SINGLE_CALLER: content}
    callers: list[ApiCaller] = []
    for number, (name, value) in enumerate(entries.items(), 1):
        caller = _caller(name, value)
        if caller is None:
            raise _unavailable(f"entry {number} {_FORM}")
        if any(caller.key == other.key for other in callers):
            raise _unavailable(f"entry {number} has the key of an earlier entry; each caller needs its own key")
        callers.append(caller)
    if not callers:
        raise _unavailable(f"the secret contains none; it {_FORM}")
    return tuple(callers)


def _caller(name: str, value: Any) -> ApiCaller | None:
    """Return the caller of one entry, or None if the entry has a wrong form."""
    options = value if isinstance(value, dict) else {"key": value}
    key, remarks = options.get("key"), options.get("remarks", False)
    api_key = key.encode() if isinstance(key, str) else b""
    if not NAME.fullmatch(name) or not _KEY.fullmatch(api_key):
        return None
    if type(remarks) is not bool or not options.keys() <= {"key", "remarks", "targets"}:
        return None
    targets = options.get("targets")
    if targets is None and "targets" not in options:
        return ApiCaller(name, api_key, remarks)
    if not isinstance(targets, list) or not targets:
        return None
    if not all(isinstance(target, str) and NAME.fullmatch(target) for target in targets):
        return None
    return ApiCaller(name, api_key, remarks, frozenset(targets))


def _find(callers: Sequence[ApiCaller], presented: bytes) -> ApiCaller | None:
    # All keys are compared, each in constant time, so that the duration reveals nothing about them.
    found = None
    for caller in callers:
        if hmac.compare_digest(caller.key, presented):
            found = caller
    return found


def _unavailable(message: str) -> CheckError:
    step = "Check the secret that FDI_CALLERS names and its format. Allow this function to read it."
    return CheckError("callers_unavailable", f"the callers' keys: {message}", next_step=step)
