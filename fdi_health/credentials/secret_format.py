"""Parses a secret: an access key, credentials that IAM exchanges for a token, or a token.

No message contains any part of a secret, not even the name of a key in it that is not one of ours.
"""

from __future__ import annotations

import codecs
import re
from typing import Any, NamedTuple

from fdi_health.clock import parse_timestamp
from fdi_health.credentials.signer import AccessKey
from fdi_health.credentials.token_format import find_format_error, is_placeholder
from fdi_health.errors import CheckError
from fdi_health.secret_stores import MAX_SECRET_BYTES
from schemas import strict_json

_CREDENTIALS_FORM = '{"username": "…", "password": "…", "domain_name": "…"}'

_ACCESS_KEY_FORM = '{"access_key": "…", "secret_key": "…"}'
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_FORMS = f'Store {_ACCESS_KEY_FORM}, {_CREDENTIALS_FORM}, {{"token": "…"}}, or the bare token.'

_ACCESS_KEY_FIELDS = frozenset({"access_key", "secret_key", "security_token"})
_CREDENTIALS_FIELDS = frozenset({"username", "password", "domain_name"})

_OTHER_NAMES = frozenset(
    {"ak", "sk", "accesskey", "secretkey", "accesskeyid", "secretaccesskey", "securitytoken", "access", "secret"}
)
"""What other programs call the fields of an access key, in lower case and without `_` and `-`."""

_KEY_PART = re.compile(r"[A-Za-z0-9._~+/=-]{1,16384}", re.ASCII)
"""The characters that parts of an access key consist of; all of them may stand in a header."""


class SecretToken(NamedTuple):
    """A token in a secret; its repr hides the value.

    Attributes:
        value: a valid value of an HTTP header.
        expires_at: when it expires, in seconds since the epoch, or None if the secret does not say.

    """

    value: str
    expires_at: float | None = None

    def __repr__(self) -> str:
        return f"SecretToken(expires_at={self.expires_at})"


class SecretAccessKey(NamedTuple):
    """An access key in a secret.

    Attributes:
        key: the access key.
        expires_at: when a temporary key expires, in seconds since the epoch, or None if the secret does not say.

    """

    key: AccessKey
    expires_at: float | None = None


class Credentials(NamedTuple):
    """What IAM exchanges for a token; its repr hides everything. Only `iam_client` uses the password.

    Attributes:
        username: the name of an IAM user.
        password: the user's password.
        domain_name: the account that the user belongs to.
        project: the scope of the token, as `("id", …)` or `("name", …)`; None for the project of the settings.

    """

    username: str
    password: str
    domain_name: str
    project: tuple[str, str] | None = None

    def __repr__(self) -> str:
        return "Credentials()"


def parse_secret(secret: bytes, key: str | None) -> SecretAccessKey | SecretToken | Credentials:
    """Parse a secret.

    Args:
        secret: a JSON object `{"access_key", "secret_key", "security_token"?, "expires_at"?}` with an ISO 8601
            timestamp; `{"username", "password", "domain_name", "project_id"?, "project_name"?}`;
            `{"token", "expires_at"?}`; or a bare token.
        key: the key of a JSON object (the fragment of the secret URL) that contains such an object or a token; or None.

    Raises:
        CheckError: `token_unavailable`, with what is wrong with the secret's format.

    """
    text = decode_secret(secret)
    if key is None and (text[0] not in "{[" or text.startswith("{{")):
        return SecretToken(_checked_token(text))
    document = parse_json_object(text)
    if key is not None and key != "token":
        nested = document.get(key)
        if not isinstance(nested, dict):
            value = _string_at(document, key, "the key that the secret URL names")
            if not value.startswith("{"):
                return SecretToken(_checked_token(value))
            # Editors that support only text values store an object as text.
            nested = parse_json_object(value)
        document = nested
    elif key is not None:
        document = {name: document.get(name) for name in ("token", "expires_at")}
    kinds = [
        *(["an access key"] if document.keys() & _ACCESS_KEY_FIELDS else []),
        *(["a token"] if "token" in document else []),
        *(["credentials"] if "password" in document else []),
    ]
    if len(kinds) > 1:
        raise _unavailable(f"the secret contains both {' and '.join(kinds[:2])}", f"Keep one of the two. {_FORMS}")
    if document.keys() & _ACCESS_KEY_FIELDS:
        return _access_key(document)
    if "token" in document:
        token = _checked_token(_string_at(document, "token", '"token"'))
        return SecretToken(token, _expires_at(document.get("expires_at")))
    if document.keys() & _CREDENTIALS_FIELDS:
        return _credentials(document)
    if any(name.replace("_", "").replace("-", "").casefold() in _OTHER_NAMES for name in document):
        raise _unavailable(
            'the secret contains an access key under other names than "access_key" and "secret_key"',
            f"Store {_ACCESS_KEY_FORM}.",
        )
    raise _unavailable(
        'the secret is a JSON object without "token", an access key or credentials',
        "Name the key of the token in the secret URL, e.g. …#token. " + _FORMS,
    )


def decode_secret(secret: bytes) -> str:
    """Return a secret as text, without outer white space and byte-order mark; raises CheckError."""
    if len(secret) > MAX_SECRET_BYTES:
        raise _unavailable("the secret is longer than 64 KiB", "Store only the token or the credentials in it.")
    if secret.startswith(_UTF_16):
        raise _unavailable("the secret is UTF-16, not UTF-8", "Store it again as UTF-8 text.")
    try:
        text = secret.decode("utf-8").strip().removeprefix("\ufeff").strip()
    except UnicodeDecodeError:
        raise _unavailable("the secret is not UTF-8 text", "Store it again as UTF-8 text.") from None
    if not text:
        raise _unavailable("the secret is empty", "Store the token or the credentials in it.")
    return text


def parse_json_object(text: str) -> dict[str, Any]:
    """Return the JSON object in a secret; raises CheckError."""
    try:
        document = strict_json.loads(text.encode())
    except strict_json.InvalidJSON as error:
        raise _unavailable(f"the secret is not valid JSON: {error}", "Store valid JSON.") from None
    if not isinstance(document, dict):
        raise _unavailable("the secret is JSON but not an object", _FORMS)
    return document


def _string_at(document: dict[str, Any], key: str, name: str) -> str:
    value = document.get(key)
    if not isinstance(value, str) or not value.strip():
        raise _unavailable(f"the JSON secret has no text under {name}", "Check the name of the key and its value.")
    return value.strip()


def _checked_token(text: str) -> str:
    error = find_format_error(text)
    if error is not None:
        raise _unavailable(f"the secret {error.description}, so it was not sent", error.next_step)
    return text


def _access_key(document: dict[str, Any]) -> SecretAccessKey:
    parts = {name: document.get(name) for name in ("access_key", "secret_key", "security_token")}
    if parts["security_token"] is None:
        del parts["security_token"]
    missing = [f'"{name}"' for name, value in parts.items() if not isinstance(value, str) or not value.strip()]
    if missing:
        raise _unavailable(
            f"the access key in the secret has no text under {' and '.join(missing)}",
            f'Store {_ACCESS_KEY_FORM}, and for a temporary key its "security_token" too.',
        )
    texts = {name: str(value).strip() for name, value in parts.items()}
    for name, text in texts.items():
        if not _KEY_PART.fullmatch(text) or is_placeholder(text):
            problem = "a placeholder" if _KEY_PART.fullmatch(text) else "characters that no access key has"
            raise _unavailable(
                f'the access key in the secret has {problem} under "{name}", so it was not used',
                "Store the text as IAM shows it, without quotes and spaces.",
            )
    return SecretAccessKey(AccessKey(**texts), _expires_at(document.get("expires_at")))


def _credentials(document: dict[str, Any]) -> Credentials:
    # A password may begin or end with a space, so nothing is stripped.
    parts = {name: document.get(name) for name in ("username", "password", "domain_name")}
    missing = [f'"{name}"' for name, value in parts.items() if not isinstance(value, str) or not value.strip()]
    if missing:
        raise _unavailable(
            f"the credentials in the secret have no text under {', '.join(missing)}",
            f"Store {_CREDENTIALS_FORM}: an IAM user, its password and the name of its account.",
        )
    scopes = [(name, document[f"project_{name}"]) for name in ("id", "name") if f"project_{name}" in document]
    if len(scopes) > 1 or not all(isinstance(value, str) and value.strip() for _, value in scopes):
        raise _unavailable(
            'the credentials in the secret have no text under "project_id" or "project_name", or have both',
            'Store one of them, e.g. "project_name": "cn-north-4", or none: FDI_PROJECT_ID is the default.',
        )
    return Credentials(
        str(parts["username"]), str(parts["password"]), str(parts["domain_name"]), scopes[0] if scopes else None
    )


def _expires_at(value: Any) -> float | None:
    if value is None:
        return None
    try:
        return parse_timestamp(value)
    except ValueError:
        raise _unavailable(
            '"expires_at" of the JSON secret is not a timestamp of the years 2000 to 2099',
            "Store it as ISO 8601, e.g. 2026-11-25T16:00:00Z.",
        ) from None


def _unavailable(message: str, next_step: str) -> CheckError:
    return CheckError("token_unavailable", message, next_step=next_step)
