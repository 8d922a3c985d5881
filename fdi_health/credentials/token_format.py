"""Detects texts that are not tokens, so that they are not sent.

An IAM token is base64 of a signed binary document: it begins with `MI` and may be 20 kB long. Other regions and
partners issue shorter, opaque tokens. Any other text may be another kind of secret in a wrong format, such as encoded
credentials, and would reach ROMA Connect in X-Auth-Token. No message contains any part of the text.
"""

from __future__ import annotations

import base64
import codecs
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

MIN_TOKEN_CHARACTERS = 6
"""Shorter texts are placeholders or mistakes; the shortest tokens of IAM have 32 characters."""

_MAX_PLACEHOLDER_CHARACTERS = 64
_MIN_ASCII_BYTES = 6
_MIN_SEGMENT_BYTES = 12
"""If a text has several parts, one that decodes to fewer bytes may look like text by chance."""

_MIN_UTF_8_BYTES = 32
_MIN_TEXT_RUN_BYTES = 24
"""So many bytes of text in a row are rare in random bytes, and JSON credentials always have them."""

_BARE = 'Store the access key as JSON, {"access_key": "…", "secret_key": "…"}, or the bare token.'
_NOT_WRAPPED = f"Store it without this wrapping. {_BARE}"


class FormatError(NamedTuple):
    """Why a text is not accepted as a token.

    Attributes:
        description: follows "the secret", e.g. "is percent-encoded".
        next_step: what to store instead.

    """

    description: str
    next_step: str


_QUOTES = "\"'`\u00b4\u2018-\u201f\u00ab\u00bb\u2039\u203a\u300c-\u300f\uff02\uff07"
"""ASCII and typographic quotes, for a character class of a regular expression."""

_PATTERNS: tuple[tuple[str, str, str, bool], ...] = (
    (r"-----", "is a PEM block", "Store an IAM token or IAM credentials, not a key or a certificate.", False),
    (
        r"(?!\{\{)[{\[]",
        "is JSON text",
        "Store the JSON object as the whole secret, or name its key in the secret URL.",
        True,
    ),
    (rf"(?s:.*)[{_QUOTES}]", "has quotes around its text or inside it", f"Store it without quotes. {_BARE}", True),
    (r"(?s:.*)%[0-9a-f]{2}", "is percent-encoded", f"Store it decoded. {_BARE}", True),
    (r"<|\{|\$|%|(?s:.*)(?:\.\.\.|\u2026)", "is a placeholder", f"Replace the placeholder. {_BARE}", False),
    (r"[a-z][a-z0-9+.-]*://", "is a URL", _BARE, True),
    (r"(?-i:[~.]{0,2}/(?:[a-z0-9._-]+/)+[a-z0-9._-]+\Z)", "is a path", "Name the file in the secret URL.", False),
    (r"(?:bearer|basic|token|digest|negotiate)\s", "begins with an authentication scheme", _NOT_WRAPPED, True),
    (r"(?:[?-]\s*)?[\w.-]+\s*:", "has the form `name: value`", _NOT_WRAPPED, True),
    (r"(?:[a-z]+\s+)?[\w.-]+\s*=+\s*[^\s=]", "has the form NAME=value", _NOT_WRAPPED, True),
    (
        r"(?-i:(?:AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_|github_pat_|glpat-|hv[sb]\.|xox[abp]-|AIza|sk-|SG\.)",
        "is a key of another service",
        _BARE,
        False,
    ),
    (r"(?s:.*)\s", "contains white space", f"Store a token without spaces and line breaks. {_BARE}", True),
)
"""Pattern for the beginning of a text, description, next step, and whether the pattern needs a character that
`_TOKEN68` does not have: it is not tried if the text has none. The first match counts."""

_TOKEN68 = r"[A-Za-z0-9._~+/-]+={0,2}"
"""RFC 9110, section 11.2. Every known kind of token matches."""

_INVALID_CHARACTER = FormatError(
    "contains a character that no token has", f"Store it again without special characters. {_BARE}"
)
_CUT_OFF = FormatError("ends in `=` like a name without a value, or is cut off", f"Store the whole token. {_BARE}")
_ENCODED = FormatError("is encoded text (base64 or similar), such as JSON or credentials", f"Store it decoded. {_BARE}")
_PRIVATE_KEY = FormatError("is a private key", "Store an IAM token or IAM credentials, not a key.")
_PLACEHOLDER = FormatError("is a placeholder or too short", f"Replace the placeholder. {_BARE}")

_STANDARD_ALPHABET = str.maketrans("-_", "+/")

_PRIVATE_KEY_DER = rb"(?s)0(?:[\x02-\x7f]|\x81.|\x82..)\x02\x01[\x00\x01\x03][\x02\x040]"
"""A DER sequence that begins with a version (PKCS#1, PKCS#8, PKCS#12, SEC 1). A token begins with an object type."""

_COMPRESSED = (
    b"\x1f\x8b\x08",
    b"PK\x03\x04",
    b"BZh",
    b"\xfd7zXZ",
    b"\x28\xb5\x2f\xfd",
    b"\x78\x01",
    b"\x78\x5e",
    b"\x78\x9c",
    b"\x78\xda",
)
"""How gzip, zip, bzip2, xz, zstd and zlib begin."""

_TEXT_RUN = rb"[\t\n\r\x20-\x7e]{%d}" % _MIN_TEXT_RUN_BYTES
_CREDENTIAL_WORDS = rb"(?i)password|user_?name|domain_name|\"token\"|secret_?key|access_?key"

_FILLER_WORDS = (
    "your|change|replace|insert|paste|put|enter|fill|here|place|holder|dummy|example|sample|todo|fixme|tbd|none|null"
    "|nil|undefined|unset|redacted|hidden|masked|foo|bar|baz|please|admin|x{3,}"
)
_PLAIN_WORDS = "token|secret|password|passwd|pass|pwd|value|key|credentials?|iam|auth|with|the|this|real|own|me|it|in"
_WORDS = rf"(?i)({_FILLER_WORDS})|({_PLAIN_WORDS})|([0-9]+)|."
"""Splits a text into words in one pass. One pattern over the whole text would try every way to divide it."""

_SAME_CHARACTER = r"([xX0._~-])\1*=*"


def find_format_error(text: str) -> FormatError | None:
    """Return why a text is not accepted as a token, or None.

    Limits: a password that consists of the characters of a token is accepted.
    """
    is_token68 = re.fullmatch(_TOKEN68, text) is not None
    for pattern, description, next_step, needs_other in _PATTERNS:
        # Compiled at the first use and cached by `re`: compiling all at import would delay a cold start.
        if not (needs_other and is_token68) and re.match(pattern, text, re.ASCII | re.IGNORECASE):
            return FormatError(description, next_step)
    if not is_token68:
        return _INVALID_CHARACTER
    if is_placeholder(text):
        return _PLACEHOLDER
    if _is_encoded_text(text):
        return _ENCODED
    beginning = re.sub("[.~=].*", "", text[:16])
    if re.match(_PRIVATE_KEY_DER, _decode_base64(beginning[: len(beginning) // 4 * 4])):
        return _PRIVATE_KEY
    return _CUT_OFF if text.endswith("=") and len(text) % 4 else None


def is_placeholder(text: str) -> bool:
    """Whether a text stands for a secret that somebody forgot to put in, or is too short for one."""
    if len(text) < MIN_TOKEN_CHARACTERS or re.fullmatch(_SAME_CHARACTER, text) or re.search("x{8}|X{8}", text[:64]):
        return True
    if len(text) > _MAX_PLACEHOLDER_CHARACTERS:
        return False
    parts = re.findall(_WORDS, re.sub(r"[._~+/=-]", "", text))
    if not all(filler or plain or digits for filler, plain, digits in parts):
        return False
    if any(filler for filler, _, _ in parts):
        return True
    words = [plain.lower() for _, plain, _ in parts if plain]
    # Only a number, only a word, or a word such as "password" with numbers.
    return len(parts) == 1 or (len(words) == 1 and words[0] in ("password", "passwd", "secret"))


def _is_encoded_text(text: str) -> bool:
    """Whether a common decoding gives text or compressed data, which no token does.

    A prefix such as `base64-` shifts the encoded text, so decoding starts at several offsets.
    """
    decodings: list[tuple[str, int, Callable[[str], bytes]]] = [
        (r"[0-9A-Fa-f]{32,}", 2, bytes.fromhex),
        (r"[A-Z2-7]{32,}", 8, base64.b32decode),
    ]
    if not re.fullmatch(r"MI[A-Za-z0-9+/_-]+={0,2}", text):
        # Otherwise it is a DER document. A token contains JSON, which decoding may reveal.
        decodings.append((r"[A-Za-z0-9+/_-]{8,}", 4, _decode_base64))
    for pattern, group, decode in decodings:
        for encoded in re.findall(pattern, text):
            for offset in range(group):
                end = offset + (len(encoded) - offset) // group * group
                # UTF-16 of ASCII text, which PowerShell writes, becomes ASCII.
                data = decode(encoded[offset:end]).replace(b"\0", b"")
                is_whole = len(encoded) >= len(text.rstrip("="))
                if offset == 0 and (is_whole or len(data) >= _MIN_SEGMENT_BYTES) and _is_text(data):
                    return True
                if data.startswith(_COMPRESSED) or re.search(_TEXT_RUN, data) or re.search(_CREDENTIAL_WORDS, data):
                    return True
    return False


def _decode_base64(text: str) -> bytes:
    return base64.b64decode(text.translate(_STANDARD_ALPHABET))


def _is_text(data: bytes) -> bool:
    """Whether bytes are text, perhaps cut off. Short data must be ASCII: random bytes may be UTF-8 by chance."""
    if len(data) < _MIN_ASCII_BYTES or (len(data) < _MIN_UTF_8_BYTES and not data.isascii()):
        return False
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\t\n\r" for character in text)
