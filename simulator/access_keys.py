"""Access keys (AK/SK): verifies the signature of a request, its time, and locks a key after five failures.

Source: the vendor's API Request Signing Guide and its page on errors of IAM authentication, as gathered in the
project's notes on the upstream. Which failures count towards the lock is not documented; here all of one key do.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qsl, quote, unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from simulator.request_parser import Request

MAX_DIFFERENCE_SECONDS: Final = 900.0
MAX_FAILURES: Final = 5
LOCK_SECONDS: Final = 300.0

WRONG_SIGNATURE: Final = "verify aksk signature fail"
UNKNOWN_KEY: Final = "Get secretKey failed"
EXPIRED: Final = "calc ak sk signature fail:signature expired"
LOCKED: Final = "AK access failed to reach the limit,forbidden"

_AUTHORIZATION = re.compile(
    r"SDK-HMAC-SHA256 Access=(?P<key>[^,\s]+), *SignedHeaders=(?P<names>[^,\s]+), *"
    r"Signature=(?P<signature>[0-9a-f]{64})"
)


class SecretKey(NamedTuple):
    """What IAM knows of an access key.

    Attributes:
        value: the secret key.
        security_token: the token that a temporary key must come with, or None for a permanent key.
        expires_at: when a temporary key expires, in seconds since the epoch, or None.
        enabled: whether the key may be used.

    """

    value: str
    security_token: str | None = None
    expires_at: float | None = None
    enabled: bool = True


class AccessKeys:
    """The access keys of a project. The simulator's thread reads them; the test's thread changes them.

    Args:
        keys: the key's ID → the secret key.
        clock: returns seconds since the epoch; the server's own clock.

    Attributes:
        keys: as given; may be changed.
        failures: the key's ID → refused requests since the last accepted one.

    """

    def __init__(self, keys: Mapping[str, str | SecretKey], clock: Callable[[], float] = time.time) -> None:
        self.keys = {name: key if isinstance(key, SecretKey) else SecretKey(key) for name, key in keys.items()}
        self.clock = clock
        self.failures: dict[str, int] = {}
        self._locked_until: dict[str, float] = {}

    def lock(self, name: str) -> None:
        """Lock a key for five minutes, as failures of another program do."""
        self._locked_until[name] = self.clock() + LOCK_SECONDS
        self.failures[name] = 0

    def refuses(self, request: Request) -> str | None:
        """Return why a signed request is refused, or None for a valid signature."""
        match = _AUTHORIZATION.fullmatch(request.header("Authorization") or "")
        if match is None:
            return WRONG_SIGNATURE
        name, now = match["key"], self.clock()
        if self._locked_until.get(name, 0.0) > now:
            return LOCKED
        why = self._fault(request, match, now)
        if why is None:
            self.failures[name] = 0
            return None
        self.failures[name] = self.failures.get(name, 0) + 1
        if self.failures[name] >= MAX_FAILURES:
            self.lock(name)
        return why

    def _fault(self, request: Request, match: re.Match[str], now: float) -> str | None:
        key = self.keys.get(match["key"])
        if key is None or not key.enabled:
            return UNKNOWN_KEY
        try:
            sent = (
                datetime.strptime(request.header("X-Sdk-Date") or "", "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
            )
        except ValueError:
            return WRONG_SIGNATURE
        if abs(sent - now) > MAX_DIFFERENCE_SECONDS or (key.expires_at is not None and key.expires_at <= now):
            return EXPIRED
        names = match["names"].split(";")
        if "x-sdk-date" not in names or request.header("X-Security-Token") != key.security_token:
            return WRONG_SIGNATURE
        expected = _signature(request, names, key.value)
        return None if hmac.compare_digest(expected, match["signature"]) else WRONG_SIGNATURE


def is_signed(request: Request) -> bool:
    """Whether a request has a signature in place of a token."""
    return (request.header("Authorization") or "").startswith("SDK-HMAC-SHA256")


def _signature(request: Request, names: list[str], secret_key: str) -> str:
    path, _, query = request.target.partition("?")
    uri = "/".join(quote(part, safe="~") for part in unquote(path).split("/"))
    pairs = sorted(parse_qsl(query, keep_blank_values=True))
    lines = [
        request.method,
        uri if uri.endswith("/") else uri + "/",
        "&".join("=".join(quote(part, safe="~") for part in pair) for pair in pairs),
        *(f"{name}:{(request.header(name) or '').strip()}" for name in names),
        "",
        ";".join(names),
        hashlib.sha256(request.body).hexdigest(),
    ]
    hashed = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    text = "\n".join(("SDK-HMAC-SHA256", request.header("X-Sdk-Date") or "", hashed))
    return hmac.new(secret_key.encode(), text.encode(), hashlib.sha256).hexdigest()
