"""Says why ROMA Connect refused a signed request. Its text decides, since all causes have one code.

Source: the vendor's page on errors of IAM authentication at its API gateway (APIG.0301 and its kind).
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from fdi_health.clock import format_timestamp
from fdi_health.roma.error_codes import MappedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fdi_health.roma.error_responses import ErrorResponse

MAX_CLOCK_DIFFERENCE_SECONDS = 900.0
"""How far the time of a signature may be from the server's own."""

_CODE = "token_rejected"
_REFUSED = MappedError(
    _CODE,
    "the access key was refused",
    "Compare access_key and secret_key in the secret with the user's access keys in IAM. Check that the key, "
    "FDI_PROJECT_ID and the region belong together.",
)
_NOT_OF_VENDOR = _REFUSED._replace(
    next_step="Check the access key in the secret; if it is right, look for a proxy or login page on the way: the "
    "response is not ROMA Connect's own."
)
_NOT_SEEN = MappedError(
    _CODE,
    "ROMA Connect saw no signature",
    "Check that no proxy on the way removes the headers Authorization and X-Sdk-Date.",
)
_BY_PHRASE: tuple[tuple[str, MappedError], ...] = (
    (
        "reach the limit",
        MappedError(
            _CODE,
            "the access key is locked for some minutes after too many refused requests",
            "Find the program that signs with a wrong secret_key; the lock ends 5 minutes after its last request.",
        ),
    ),
    (
        "get secretkey failed",
        MappedError(
            _CODE,
            "the access key does not exist or is disabled",
            "Enable the key in IAM, or create another one and put it into the secret.",
        ),
    ),
    (
        "verify aksk signature fail",
        MappedError(
            _CODE,
            "the signature is wrong",
            "Put the secret_key that belongs to this access_key into the secret. If it is right, look for a proxy on "
            "the way that changes the path or the header Host.",
        ),
    ),
    ("x-auth-token not found", _NOT_SEEN),
    ("no token is available", _NOT_SEEN),
)
"""A phrase in the vendor's text, in lower case → the error."""

_EXPIRED = "signature expired"


def map_refused_key(response: ErrorResponse, error_msg: str | None, seconds: float) -> MappedError:
    """Map the refusal of a signed request.

    Args:
        response: the response.
        error_msg: its `error_msg`, redacted.
        seconds: our own time, in seconds since the epoch.

    """
    words = (error_msg or "").casefold()
    if _EXPIRED in words:
        return _map_expired(response.headers, seconds)
    found = next((found for phrase, found in _BY_PHRASE if phrase in words), None)
    return found or (_REFUSED if response.is_of_vendor() else _NOT_OF_VENDOR)


def _map_expired(headers: Mapping[str, str], seconds: float) -> MappedError:
    ours = format_timestamp(seconds)
    try:
        server_seconds = parsedate_to_datetime(headers.get("Date", "")).timestamp()
    except (ValueError, OverflowError):
        return MappedError(
            _CODE,
            f"the signature has expired; this machine's clock says {ours}",
            "Compare this machine's clock with the time, e.g. by NTP. If it is right and the key is temporary, store a "
            "new one.",
        )
    theirs = format_timestamp(server_seconds)
    if abs(server_seconds - seconds) < MAX_CLOCK_DIFFERENCE_SECONDS:
        return MappedError(
            _CODE,
            f"the signature has expired although the clocks agree (ours {ours}, the server's {theirs})",
            "A temporary key has expired: store a new one in the secret, or a permanent access key.",
        )
    return MappedError(
        _CODE,
        f"this machine's clock is wrong: it says {ours}, the server's says {theirs}",
        "Set this machine's clock, e.g. by NTP. A signature may be at most 15 minutes away from the server's time.",
    )
