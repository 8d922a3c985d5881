"""Makes the text of other programs safe to show: no secrets, no control characters, no marker, bounded length."""

from __future__ import annotations

import base64
import contextlib
import functools
import re
import threading
import unicodedata
from typing import TYPE_CHECKING, Any

from schemas.settings_fields import MARKER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

MAX_SECRETS = 16
"""How many secrets are remembered; tokens may be 20 kB long."""

_MAX_SEARCHES = 64
_MAX_INDEXES = 20
"""How many secrets are kept prepared: all 16 of a SecretHistory, and a few that calls in progress still know."""

_READ_CHARACTERS = 1024
"""How much of a text is searched; more than is ever shown."""

_WINDOW = 8
"""How many characters in a row of a secret give it away; an upstream may quote only part of one, in its own case."""

_PIECE, _STEP = 5, 4
"""Any `_WINDOW` characters of a secret hold a piece of 5 that begins at a multiple of 4: 8 >= 5 + 4 - 1."""

_SIGNATURE = re.compile("[0-9a-f]{8}(?: ?[0-9a-f]){56}", re.IGNORECASE)
"""A signature of a request, which would be valid for 15 minutes; it is not kept, so any number of its form goes."""

_CREDENTIALS = (
    # name = value, name: value, "name": "value", <name>value, or a name and a word with a digit or a sign
    r"(?P<label>(?<![\w.-])[\w.-]*(?:passw|passphrase|\bpass\b|pwd|secret|token|credential|authoriz|identified by"
    r"|(?:api|access|private|account|shared).?key|密码|口令|密钥|令牌)[\w.-]{0,32}[\"']?"
    r"(?:\s*(?:=|:|>|\bis\b)\s*|\s+(?=[\"'])|\s+(?=\S*[0-9!@#$%^&*]))"
    r"|--?(?:passw\w*|pass|pwd|token|secret)\s+|\b(?:ak|sk|sig|pw)\b[\"']?\s*[=:]\s*)"
    r"(?:\"(?:\\.|[^\"\\])*\"?|'(?:\\.|[^'\\])*'?|(?:bearer|basic)\s+\S+|[^\s<]+)"
    r"|\b(?:bearer|basic)\s+(?=\S*(?-i:[0-9A-Z=]))\S{6,}"
    # user:password@ in a URL
    r"|(?<=//)[^\s@]+@"
    # a private key, a JWT, the ID of an access key
    r"|-----BEGIN.*|\beyJ[\w.-]{8,}|\b(?:AKIA|ASIA|HPUA|HST)[A-Z0-9]{8,}"
    # a long text of letters and digits
    r"|(?<![A-Za-z0-9+=])(?=[A-Za-z+=]*[0-9])(?=[0-9+=]*[A-Za-z])[A-Za-z0-9+=]{20,}"
)
"""What looks like a credential in a free text. Better too much of it than too little. Compiling it at import would
delay a cold start; `re` keeps it."""

_ENCODED = re.compile("[A-Za-z0-9+/_-]{11,}={0,2}", re.ASCII)
"""What may be Base64 or hexadecimal of eight bytes or more."""

_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
"""Tokens are ASCII: the case of other letters does not matter."""


def redact(text: Any, secrets: str | Collection[str], length: int) -> str | None:
    """Return `text` without the secrets or any part of them, at most `length` characters long.

    Control, formatting, surrogate and unassigned characters go first, so that nothing hides in between, and white
    space becomes single spaces. Then parts of a secret become `[redacted]`, spaced out or not, also in Base64 or
    hexadecimal, and so do signatures.
    The healthy marker becomes `FDI_OK`, so that a keyword checker never finds the marker in an unhealthy response.

    Args:
        text: what another program sent, of any type.
        secrets: one secret or several, such as the token in use and earlier ones.
        length: the most characters to return.

    Returns:
        The text, or None if it is not a string or nothing is left of it.

    """
    if not isinstance(text, str):
        return None
    known = (secrets,) if isinstance(secrets, str) else tuple(secrets)
    printable = _ENCODED.sub(functools.partial(_without_encoded, known), _printable(text[:_READ_CHARACTERS]))
    shown = _SIGNATURE.sub("[redacted]", _replace_secrets(printable, known))
    return MARKER.sub("FDI_OK", shown)[:length].strip() or None


def redact_credentials(text: Any, secrets: str | Collection[str], length: int) -> str | None:
    """Return `text` redacted, see `redact`, and without anything that looks like a credential of somebody else."""
    if not isinstance(text, str):
        return None
    # NFKC makes full-width letters and signs the usual ones.
    printable = unicodedata.normalize("NFKC", _printable(text[:_READ_CHARACTERS]))
    shown = re.sub(_CREDENTIALS, lambda match: f"{match['label'] or ''}[redacted]", printable, flags=re.IGNORECASE)
    return redact(shown, secrets, length)


def _printable(text: str) -> str:
    spaced = re.sub(r"\s+", " ", text)
    return "".join(character for character in spaced if unicodedata.category(character)[0] != "C")


def _compact(text: str) -> str:
    return text.replace(" ", "").translate(_LOWER)


def _without_encoded(secrets: tuple[str, ...], match: re.Match[str]) -> str:
    """Return what matches, or `[redacted]` if it is Base64 or hexadecimal of something that holds part of a secret."""
    run = match[0]
    return "[redacted]" if any(_matches(_compact(text), secrets) for text in _decoded(run.rstrip("="))) else run


def _decoded(run: str) -> Iterator[str]:
    """Yield what a run of letters, digits and signs means in hexadecimal and in Base64; its rest may be cut off."""
    with contextlib.suppress(ValueError):
        yield bytes.fromhex(run[: len(run) // 2 * 2]).decode("latin-1")
    whole = run[: -1 if len(run) % 4 == 1 else None].translate({ord("-"): "+", ord("_"): "/"})
    yield base64.b64decode(whole + "=" * (-len(whole) % 4)).decode("latin-1")


def _replace_secrets(text: str, secrets: tuple[str, ...]) -> str:
    places = [place for place, character in enumerate(text) if character != " "]
    secret_places = {place for start, end in _matches(_compact(text), secrets) for place in _range(places, start, end)}
    kept: list[str] = []
    for place, character in enumerate(text):
        if place not in secret_places:
            kept.append(character)
        elif place - 1 not in secret_places:
            kept.append("[redacted]")
    return "".join(kept)


def _range(places: list[int], start: int, end: int) -> range:
    """Return the places in a text of a part of its compact form, the spaces in between included."""
    return range(places[start], places[end - 1] + 1)


def _matches(compact: str, secrets: tuple[str, ...]) -> set[tuple[int, int]]:
    """Return where parts of the secrets begin and end in a compact text."""
    indexes = [_index(secret) for secret in dict.fromkeys(secrets)]
    found = {
        (match.start(), match.start() + len(secret))
        for secret, _ in indexes
        if 0 < len(secret) < _WINDOW
        for match in re.finditer(f"(?={re.escape(secret)})", compact)
    }
    quoted = {compact[place : place + _PIECE] for place in range(len(compact) - _PIECE + 1)}
    pieces = {piece for _, known in indexes for piece in quoted & known}
    hits = [place for place in range(len(compact) - _PIECE + 1) if compact[place : place + _PIECE] in pieces]
    end = searches = 0
    for start in sorted({start for place in hits for start in range(max(0, place - _STEP + 1), place + 1)}):
        # One search for each quoted part, not for each of its windows: a text may quote a kilobyte.
        if end < start + _WINDOW <= len(compact):
            searches += 1
            if searches > _MAX_SEARCHES:
                # Made of many small parts of the secrets: looking each one up would take longer than a response may.
                return {(0, len(compact))}
            window = compact[start : start + _WINDOW]
            secret = next((secret for secret, _ in indexes if window in secret), None)
            if secret is not None:
                place = secret.find(window)
                end = start + _shared_length(compact[start:], secret[place : place + _READ_CHARACTERS])
                found.add((start, end))
    return found


def _shared_length(one: str, other: str) -> int:
    """Return how many characters two texts have in common at their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((count for count, (left, right) in pairs if left != right), min(len(one), len(other)))


@functools.lru_cache(maxsize=_MAX_INDEXES)
def _index(secret: str) -> tuple[str, frozenset[str]]:
    """Return a secret in its compact form, and the pieces of it to look for in a text; none of a short secret.

    One index for each secret, not for all together: a new token then costs the memory and the time of one index. A set
    of all windows of 16 long tokens would take 30 MB, and looking for each window of a text in all of them would take
    longer than a response may. Hits of the pieces are few, so only those are looked up.
    """
    compact = _compact(_printable(secret))
    starts = range(0, len(compact) - _PIECE + 1, _STEP) if len(compact) >= _WINDOW else ()
    return compact, frozenset(compact[start : start + _PIECE] for start in starts)


class SecretHistory:
    """The newest secrets of a process: an upstream may quote one that is no longer used. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, None] = {}

    def add(self, secret: str) -> None:
        """Remember a secret as the newest; beyond `MAX_SECRETS` the oldest is forgotten."""
        with self._lock:
            self._values.pop(secret, None)
            self._values[secret] = None
            if len(self._values) > MAX_SECRETS:
                del self._values[next(iter(self._values))]

    def values(self) -> tuple[str, ...]:
        """Return the secrets, the oldest first."""
        with self._lock:
            return tuple(self._values)
