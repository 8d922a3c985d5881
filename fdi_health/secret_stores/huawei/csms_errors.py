"""The errors of CSMS: error code, text or status → what the secret store says and what to do.

Source: the vendor's error codes of Data Encryption Workshop, and its page on errors of IAM authentication.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdi_health.secret_stores import build_error
from schemas import strict_json

if TYPE_CHECKING:
    from fdi_health.errors import CheckError
    from fdi_health.transport.client import Response

KEY_VARIABLES = ("HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK", "HUAWEICLOUD_SDK_SECURITY_TOKEN")
"""The variables of the vendor's SDK for an access key."""

_MISSING = ("does not exist", "Create it, or correct its name, region and project in the secret URL.")
_PENDING = ("is not in a state to be read", "Cancel its deletion, or name another secret in the secret URL.")
_FORBIDDEN = (
    "may not be read by this function",
    "Allow csms:secretVersion:get on this secret, and kms:dek:decrypt on the key that encrypts it.",
)
_REFUSED = (
    "could not be read: Huawei Cloud refuses this function's credentials",
    f"Check {KEY_VARIABLES[0]} and {KEY_VARIABLES[1]}, or the agency of the function.",
)
_WRONG_SIGNATURE = (
    f"could not be read: the signature with {KEY_VARIABLES[0]} is wrong",
    f"Set {KEY_VARIABLES[1]} to the secret key that belongs to it, and {KEY_VARIABLES[2]} for a temporary key only.",
)
_UNKNOWN_KEY = (
    f"could not be read: the access key in {KEY_VARIABLES[0]} does not exist or is disabled",
    "Enable the key in IAM, or set another one.",
)
_LOCKED_KEY = (
    f"could not be read: the access key in {KEY_VARIABLES[0]} is locked for some minutes",
    "Find the program that signs with a wrong secret key, and wait 5 minutes.",
)
_WRONG_CLOCK = (
    "could not be read: this machine's clock is wrong, so Huawei Cloud refuses its signatures",
    "Set this machine's clock, e.g. by NTP, then try again. A temporary key may also have expired.",
)
_THROTTLED = ("could not be read: CSMS is rate limiting", "Run fewer processes, or raise the quota.")
_FAILED = ("could not be read: CSMS failed", "Try again. If it fails again, look at the vendor's status page.")
FOREIGN = (
    "could not be read: another server answered in place of CSMS",
    "Check the region in the secret URL, and proxy variables.",
)
NO_CREDENTIALS = (
    "could not be read: there are no credentials for CSMS",
    f"Set {KEY_VARIABLES[0]} and {KEY_VARIABLES[1]}, or give the FunctionGraph function an agency.",
)
BY_TRANSPORT_CODE = {
    "timeout": ("could not be read before the deadline", "Check the network path to CSMS, then try again."),
    "tls_error": (
        "could not be read: the TLS connection to CSMS is not trusted",
        "Check the CA bundle variables and any proxy that intercepts TLS.",
    ),
    "blocked": ("could not be read: the proxy refused the request", "Check HTTPS_PROXY, or exempt CSMS with NO_PROXY."),
    "throttled": _THROTTLED,
    "upstream_error": _FAILED,
    "invalid_response": FOREIGN,
}
UNREACHABLE = ("could not be read: CSMS is unreachable", "Check the region in the secret URL and the network path.")
_BY_CODE = {
    **dict.fromkeys(("CSMS.0005", "CSMS.0106"), _MISSING),
    **dict.fromkeys(("CSMS.0103", "CSMS.0107"), _PENDING),
}
_BY_PHRASE = (
    ("signature expired", _WRONG_CLOCK),
    ("verify aksk signature fail", _WRONG_SIGNATURE),
    ("get secretkey failed", _UNKNOWN_KEY),
    ("reach the limit", _LOCKED_KEY),
)
"""A phrase in the text of a 401, in lower case → description and next step."""

_BY_STATUS = {401: _REFUSED, 403: _FORBIDDEN, 404: _MISSING}


def map_error(response: Response) -> CheckError:
    """Return the error of a response that is not 200."""
    try:
        document = strict_json.loads(response.body)
    except strict_json.InvalidJSON:
        document = None
    inner = document.get("error") if isinstance(document, dict) else None
    members = inner if isinstance(inner, dict) else document
    if not isinstance(members, dict) or "error_code" not in members:
        return build_error(*FOREIGN)
    text = str(members.get("error_msg")).casefold() if response.status == 401 else ""
    for phrase, explanation in _BY_PHRASE:
        if phrase in text:
            return build_error(*explanation)
    default = _BY_STATUS.get(response.status, ("could not be read: CSMS refused the request", "Check the secret URL."))
    return build_error(*_BY_CODE.get(str(members["error_code"]), default))
