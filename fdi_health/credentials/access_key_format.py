"""Parses the access key in a secret. No message contains any part of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from fdi_health.credentials.signer import AccessKey
from fdi_health.credentials.token_format import is_placeholder
from fdi_health.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Iterable

ACCESS_KEY_FORM = '{"access_key": "…", "secret_key": "…"}'
ACCESS_KEY_FIELDS = frozenset({"access_key", "secret_key", "security_token"})

_OTHER_NAMES = frozenset(
    [
        "ak",
        "sk",
        "accesskey",
        "secretkey",
        "accesskeyid",
        "secretaccesskey",
        "securitytoken",
        "access",
        "secret",
        "huaweicloudsdkak",
        "huaweicloudsdksk",
    ]
)
"""What other programs call the fields of an access key, in lower case and without `_` and `-`."""

_PLACEHOLDER = re.compile(r"[<{$%\[]|\.\.\.|\u2026")
_ACCESS_KEY_ID = re.compile("[A-Z0-9]{20}", re.ASCII)
"""An access key's ID as IAM makes it; its secret key has 40 characters."""

_KEY_PART = re.compile(r"[A-Za-z0-9._~+/=-]{1,16384}", re.ASCII)
"""The characters that parts of an access key consist of; all of them may stand in a header."""


class SecretAccessKey(NamedTuple):
    """An access key in a secret.

    Attributes:
        key: the access key.
        expires_at: when a temporary key expires, in seconds since the epoch, or None if the secret does not say.

    """

    key: AccessKey
    expires_at: float | None = None


def refuse_other_names(names: Iterable[str]) -> None:
    """Raise CheckError if a JSON object seems to contain an access key under other names than ours."""
    if any(name.replace("_", "").replace("-", "").casefold() in _OTHER_NAMES for name in names):
        raise _unavailable(
            'the secret contains an access key under other names than "access_key" and "secret_key"',
            f"Store {ACCESS_KEY_FORM}.",
        )


def parse_access_key(document: dict[str, Any], expires_at: float | None) -> SecretAccessKey:
    """Return the access key in a JSON object.

    Args:
        document: with one of `ACCESS_KEY_FIELDS`.
        expires_at: when a temporary key expires, in seconds since the epoch, or None.

    Raises:
        CheckError: `token_unavailable`, with the field at fault.

    """
    parts = {name: document.get(name) for name in ("access_key", "secret_key", "security_token")}
    if parts["security_token"] is None:
        del parts["security_token"]
    missing = [f'"{name}"' for name, value in parts.items() if not isinstance(value, str) or not value.strip()]
    if missing:
        raise _unavailable(
            f"the access key in the secret has no text under {' and '.join(missing)}",
            f'Store {ACCESS_KEY_FORM}, and for a temporary key its "security_token" too.',
        )
    texts = {name: str(value).strip() for name, value in parts.items()}
    for name, text in texts.items():
        if _PLACEHOLDER.match(text) or is_placeholder(text):
            raise _unavailable(
                f'the access key in the secret has a placeholder under "{name}", so it was not used',
                "Replace it by the text that IAM shows for the key.",
            )
        if not _KEY_PART.fullmatch(text):
            raise _unavailable(
                f'the access key in the secret has characters that no access key has under "{name}", so it was not '
                "used",
                "Store the text as IAM shows it, without quotes and spaces.",
            )
    if _ACCESS_KEY_ID.fullmatch(texts["secret_key"]) and not _ACCESS_KEY_ID.fullmatch(texts["access_key"]):
        raise _unavailable(
            '"access_key" and "secret_key" in the secret look swapped, so they were not used',
            'Store the ID, 20 capital letters and digits, under "access_key" and the longer text under "secret_key".',
        )
    return SecretAccessKey(AccessKey(**texts), expires_at)


def _unavailable(message: str, next_step: str) -> CheckError:
    return CheckError("token_unavailable", message, next_step=next_step)
