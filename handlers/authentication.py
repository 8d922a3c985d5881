"""Identifies the caller by the key in the request, and says what the caller may see.

A key comes as X-Api-Key, as a Bearer token or as a Basic password (RFC 6750, RFC 7617), never in the URL, which proxies
and browsers write down.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from typing import TYPE_CHECKING, NamedTuple

from fdi_health.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fdi_health.clock import Deadline
    from fdi_health.service import Service
    from handlers.application import Application

CHALLENGE = 'Bearer realm="fdi-health", Basic realm="fdi-health", charset="UTF-8"'
"""The WWW-Authenticate of every 401."""

_JWT = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*){2}((\.[A-Za-z0-9_-]*){2})?", re.ASCII)
"""What a JWT looks like, signed or encrypted (RFC 7515 and 7516, compact serialisation); our keys have no dots."""


class Caller(NamedTuple):
    """A caller.

    Attributes:
        name: the name in FDI_CALLERS; None for an anonymous caller.
        sees_details: whether the caller may see more than the verdict.
        sees_remarks: whether the caller may also see the remarks of failed tasks.
        targets: the targets that the caller may ask and see, or None for all.

    """

    name: str | None
    sees_details: bool
    sees_remarks: bool = False
    targets: frozenset[str] | None = None


ANONYMOUS = Caller(None, sees_details=False)
"""The caller of an event that is not an HTTP request: its sender has no key."""


def identify(headers: Mapping[str, str], service: Service, deadline: Deadline) -> Caller:
    """Return the caller.

    Raises:
        CheckError: `unauthorized`, `callers_unavailable`.

    """
    key = presented_key(headers)
    if service.callers is None or key is None:
        if service.anonymous == "refuse":
            raise CheckError(
                "unauthorized", "a key is needed: as X-Api-Key, as a Bearer token or as the password of Basic"
            )
        return Caller(None, service.anonymous == "details")
    caller = service.callers.find(key, deadline)
    if caller is None:
        raise CheckError(
            "unauthorized", "this key is not in the secret that FDI_CALLERS names; send a valid key, or no key"
        )
    return Caller(caller.name, sees_details=True, sees_remarks=caller.sees_remarks, targets=caller.targets)


def identify_if_possible(
    headers: Mapping[str, str], application: Application, service: Service, deadline: Deadline
) -> Caller:
    """Return the caller, on a path that refuses none.

    One with a wrong key, or with a key that can't be checked now, sees no details.
    """
    # Reading the callers' keys may take as long as a check, and counts as one.
    may_wait = service.callers is not None and presented_key(headers) is not None
    try:
        with application.admission.check() if may_wait else contextlib.nullcontext():
            return identify(headers, service, deadline)
    except CheckError:
        return ANONYMOUS


def presented_key(headers: Mapping[str, str]) -> bytes | None:
    """Return the key in a request, b"" for one that cannot be valid; None if there is no key.

    A Bearer that looks like a JWT is the platform's own (schedulers, uptime checks), and other
    schemes are too.
    """
    key = headers.get("x-api-key")
    if key is not None:
        return _bytes(key)
    scheme, _, value = headers.get("authorization", "").strip().partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer":
        return None if _JWT.fullmatch(value) else _bytes(value)
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return None


def _bytes(text: str) -> bytes:
    return text.strip().encode(errors="surrogatepass")
