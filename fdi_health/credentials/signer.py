"""Signs a request with an access key (AK/SK), in place of a token.

Source: the vendor's API Request Signing Guide, algorithm SDK-HMAC-SHA256. The server recomputes the signature, and
accepts a time that is at most 15 minutes away from its own.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ALGORITHM = "SDK-HMAC-SHA256"


class AccessKey(NamedTuple):
    """An access key of an IAM user or of an agency; its repr hides everything.

    Attributes:
        access_key: the key's ID (AK), which every request names.
        secret_key: what the signature is made with (SK); it is never sent.
        security_token: the token of a temporary key, sent with every request; None for a permanent key.

    """

    access_key: str
    secret_key: str
    security_token: str | None = None

    def __repr__(self) -> str:
        return "AccessKey()"


def sign(
    key: AccessKey,
    method: str,
    path: str,
    query: Sequence[tuple[str, str]],
    headers: Mapping[str, str],
    body: bytes,
    seconds: float,
) -> dict[str, str]:
    """Return the headers that authenticate a request: `Authorization`, `X-Sdk-Date`, and a temporary key's token.

    Args:
        key: the access key.
        method: the HTTP method.
        path: the whole path of the URL, percent-encoded or not.
        query: names and values, not encoded; empty for none.
        headers: the headers to sign, `Host` among them. They must be sent exactly so. Other headers may be sent too.
        body: the body, or `b""`.
        seconds: the time, in seconds since the epoch.

    """
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))
    added = {"X-Sdk-Date": date}
    if key.security_token is not None:
        added["X-Security-Token"] = key.security_token
    signed = sorted((name.lower(), value.strip()) for name, value in {**headers, **added}.items())
    names = ";".join(name for name, _ in signed)
    canonical_request = "\n".join(
        (
            method.upper(),
            _canonical_path(path),
            "&".join(f"{_encode(name)}={_encode(value)}" for name, value in sorted(query)),
            *(f"{name}:{value}" for name, value in signed),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        )
    )
    text = f"{_ALGORITHM}\n{date}\n{hashlib.sha256(canonical_request.encode()).hexdigest()}"
    signature = hmac.digest(key.secret_key.encode(), text.encode(), "sha256").hex()
    added["Authorization"] = f"{_ALGORITHM} Access={key.access_key}, SignedHeaders={names}, Signature={signature}"
    return added


def _canonical_path(path: str) -> str:
    encoded = quote(unquote(path), safe="/")
    return encoded if encoded.endswith("/") else f"{encoded}/"


def _encode(text: str) -> str:
    return quote(text, safe="")
