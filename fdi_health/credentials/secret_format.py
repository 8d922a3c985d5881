"""Parses a secret: an access key, credentials that IAM exchanges for a token, or a token.

No message contains any part of a secret, not even the name of a key in it that is not one of ours.
"""

from __future__ import annotations

import codecs
from typing import Any, NamedTuple

from fdi_health.clock import parse_timestamp
from fdi_health.credentials.access_key_format import (
    ACCESS_KEY_FIELDS,
    ACCESS_KEY_FORM,
    SecretAccessKey,
    parse_access_key,
    refuse_other_names,
)
from fdi_health.credentials.token_format import find_format_error
from fdi_health.errors import CheckError
from fdi_health.secret_stores import MAX_SECRET_BYTES
from schemas import strict_json

_CREDENTIALS_FORM = '{"username": "…", "password": "…", "domain_name": "…"}'

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_FORMS = f'Store {ACCESS_KEY_FORM}, {_CREDENTIALS_FORM}, {{"token": "…"}}, or the bare token.'

_CREDENTIALS_FIELDS = frozenset({"username", "password", "domain_name"})


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
    if key in ACCESS_KEY_FIELDS | _CREDENTIALS_FIELDS:
        raise _unavailable(
            "the secret URL selects one part of an access key or of credentials",
            "Take the # and the name after it out of the secret URL: all parts are needed.",
        )
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
        *(["an access key"] if document.keys() & ACCESS_KEY_FIELDS else []),
        *(["a token"] if "token" in document else []),
        *(["credentials"] if "password" in document else []),
    ]
    if len(kinds) > 1:
        raise _unavailable(f"the secret contains both {' and '.join(kinds[:2])}", f"Keep one of the two. {_FORMS}")
    if document.keys() & ACCESS_KEY_FIELDS:
        return parse_access_key(document, _expires_at(document.get("expires_at")))
    if "token" in document:
        token = _checked_token(_string_at(document, "token", '"token"'))
        return SecretToken(token, _expires_at(document.get("expires_at")))
    if document.keys() & _CREDENTIALS_FIELDS:
        return _credentials(document)
    refuse_other_names(document)
    raise _unavailable(
        'the secret is a JSON object without "token", an access key or credentials',
        "If a key of it contains one of these, name that key in the secret URL, e.g. …#roma. " + _FORMS,
    )


def decode_secret(secret: bytes) -> str:
    """Return a secret as text, without outer white space and byte-order mark; raises CheckError."""
    if len(secret) > MAX_SECRET_BYTES:
        raise _unavailable(
            "the secret is longer than 64 KiB", "Store only the access key, the credentials or the token in it."
        )
    if secret.startswith(_UTF_16):
        raise _unavailable("the secret is UTF-16, not UTF-8", "Store it again as UTF-8 text.")
    try:
        text = secret.decode("utf-8").strip().removeprefix("\ufeff").strip()
    except UnicodeDecodeError:
        raise _unavailable("the secret is not UTF-8 text", "Store it again as UTF-8 text.") from None
    if not text:
        raise _unavailable("the secret is empty", f"Store the access key in it, e.g. {ACCESS_KEY_FORM}.")
    return text


def parse_json_object(text: str) -> dict[str, Any]:
    """Return the JSON object in a secret; raises CheckError."""
    try:
        document = strict_json.loads(text.encode())
    except strict_json.InvalidJSON as error:
        raise _unavailable(
            f"the secret is not valid JSON: {error}",
            f"Store valid JSON with straight double quotes and no comma before a brace, e.g. {ACCESS_KEY_FORM}.",
        ) from None
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
