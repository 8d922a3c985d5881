"""What the bytes of a secret mean: a bare token, or JSON that holds one.

No message here holds any part of a secret, not even the name of a key that stands in it.
"""

from __future__ import annotations

import codecs
import re
from datetime import UTC, datetime
from typing import Any, NamedTuple

from fdi_health.errors import CheckError
from schemas import strict_json

LONGEST = 64 * 1024
"""The most bytes of a secret; more than any secrets manager keeps."""

_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
"""What can be sent as a header's value: printable ASCII (RFC 9110, 5.5, without the obsolete rest)."""

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class SecretToken(NamedTuple):
    """A token as a secret holds it; its repr hides the value.

    Attributes:
        value: fit for a header.
        expires_at: its end in seconds since the epoch, or None where the secret does not say.

    """

    value: str
    expires_at: float | None = None

    def __repr__(self) -> str:
        return f"SecretToken(expires_at={self.expires_at})"


def read_token(secret: bytes, key: str | None) -> SecretToken:
    """Return the token in a secret.

    Args:
        secret: a bare token; or a JSON object `{"token": …, "expires_at"?: …}` with the end as ISO 8601.
        key: which key of a JSON object holds the token (the fragment of the secret URL), or None.

    Raises:
        CheckError: `token_unavailable`, saying what is wrong with the secret's form.

    """
    text = _text(secret)
    if key is not None:
        return SecretToken(_header_value(_string_at(_object(text), key, "the key that FDI_TOKEN names")))
    if text[0] not in '{["':
        return SecretToken(_header_value(text))
    document = _object(text)
    if "token" not in document:
        raise _unavailable(
            'the secret is a JSON object without "token"',
            "Name the key that holds the token in FDI_TOKEN, e.g. …#token, or store the bare token.",
        )
    return SecretToken(_header_value(_string_at(document, "token", '"token"')), _expires_at(document.get("expires_at")))


def _text(secret: bytes) -> str:
    if len(secret) > LONGEST:
        raise _unavailable("the secret is longer than 64 KiB", "Store only the token in it.")
    if secret.startswith(_UTF_16):
        raise _unavailable("the secret is UTF-16, not UTF-8", "Store it again as UTF-8 text.")
    try:
        text = secret.decode("utf-8").strip().removeprefix("\ufeff").strip()
    except UnicodeDecodeError:
        raise _unavailable("the secret is not UTF-8 text", "Store it again as UTF-8 text.") from None
    if not text:
        raise _unavailable("the secret is empty", "Store the token in it.")
    return text


def _object(text: str) -> dict[str, Any]:
    try:
        document = strict_json.loads(text.encode("utf-8"))
    except strict_json.InvalidJSON as error:
        raise _unavailable(
            f"the secret looks like JSON and is not sound: {error}", "Store valid JSON or the bare token."
        ) from None
    if not isinstance(document, dict):
        raise _unavailable("the secret is JSON but no object", 'Store the bare token, or {"token": "…"}.')
    return document


def _string_at(document: dict[str, Any], key: str, name: str) -> str:
    value = document.get(key)
    if not isinstance(value, str) or not value.strip():
        raise _unavailable(f"the JSON secret has no text under {name}", "Check the key's name and its value.")
    return value.strip()


def _header_value(token: str) -> str:
    if not _HEADER_VALUE.fullmatch(token):
        raise _unavailable(
            "the token holds a character that no HTTP header may hold",
            "Store the token again: a line break or a special character got into it.",
        )
    return token


def _expires_at(value: Any) -> float | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        raise _unavailable(
            '"expires_at" of the JSON secret is no moment', "Write it as ISO 8601, e.g. 2026-11-25T16:00:00Z."
        ) from None


def _unavailable(message: str, next_step: str) -> CheckError:
    return CheckError("token_unavailable", message, next_step=next_step)
