"""Maps the `error_code` in a response of ROMA Connect to an error, with any HTTP status.

Sources: the vendor's API references of ROMA Connect (CountTasks and its sibling pages) and three of API Gateway.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class MappedError(NamedTuple):
    """The error that a response is mapped to.

    Attributes:
        code: the result code.
        message: what happened.
        next_step: what the person on call does, or None for that of the code.

    """

    code: str
    message: str
    next_step: str | None = None


_TICKET = "Open a ticket with the vendor and give the request ID."
ADDRESS_STEP = "Check FDI_REGION or FDI_ENDPOINT: the address is wrong, or ROMA Connect is not offered in that region."
TOKEN = MappedError("token_rejected", "the credentials were refused")
_NO_TOKEN = MappedError(
    "token_rejected",
    "ROMA Connect saw no token",
    "Check that no proxy on the way removes the header X-Auth-Token.",
)
FORBIDDEN = MappedError("forbidden", "the user may not read the task statistics")
NOT_FOUND = MappedError("instance_not_found", "ROMA Connect does not know the instance")
THROTTLED = MappedError("throttled", "ROMA Connect is rate limiting")
_GATEWAY_FAULT = MappedError("upstream_error", "ROMA Connect's gateway has a fault of its own", _TICKET)
_NOT_READY = MappedError(
    "upstream_error",
    "ROMA Connect's gateway is not ready",
    "Ask again in a minute; if it goes on, open a ticket with the vendor and give the request ID.",
)

_BY_GATEWAY_NUMBER: dict[str, MappedError] = {
    "0101": MappedError("api_not_found", "ROMA Connect's gateway does not know the API", ADDRESS_STEP),
    **dict.fromkeys(("0103", "0104", "0105", "0106"), _GATEWAY_FAULT),
    "0301": TOKEN,
    "0302": MappedError(
        "blocked",
        "an access rule forbids the IAM user to call this API",
        "Ask the account's administrator to allow this IAM user in the API's access rules (allow or deny list).",
    ),
    "0306": MappedError(
        "blocked",
        "an access rule of ROMA Connect's gateway denied the request",
        "Check the gateway's access rules: they must allow this function's outbound IP address and its user.",
    ),
    "0307": MappedError(
        "token_rejected",
        "ROMA Connect wants a new token, since rights in the account changed",
        "Put a fresh token into the secret: changed rights end every earlier token of the account.",
    ),
    "0308": THROTTLED,
    "0309": MappedError(
        "forbidden",
        "the account's quota of API calls is used up",
        "Ask the account's administrator to raise the quota of API calls.",
    ),
    "0310": MappedError(
        "forbidden",
        "the project is not available: it is frozen or in arrears",
        "Ask the account's administrator to pay what is due or to have the project unfrozen.",
    ),
    "0311": MappedError("upstream_error", "the gateway's authentication failed by a fault of its own", _TICKET),
    **dict.fromkeys(("0606", "0607", "0801"), _NOT_READY),
    "0802": MappedError(
        "blocked",
        "the IAM user is not allowed in this region",
        "Check FDI_REGION or FDI_ENDPOINT, or ask the account's administrator to allow the user in this region.",
    ),
    "1002": TOKEN,
    "1005": FORBIDDEN,
    "7102": TOKEN,
    "7106": FORBIDDEN,
    "7302": NOT_FOUND,
}
"""The number of a gateway's code → error; the gateway products APIG, APIGW and APIC share the numbers."""

_BY_CODE: dict[str, MappedError] = {
    "ROMA.1000": _NO_TOKEN,
    "ROMA.1002": TOKEN,
    "ROMA.1006": FORBIDDEN,
    "ROMA.00110002": NOT_FOUND,
    "ROMA.4001026": MappedError("instance_not_running", "the instance is not running"),
    "FDI.3002": MappedError(
        "bad_request",
        "ROMA Connect calls a parameter of the request invalid",
        "Compare the instance's ID in FDI_INSTANCES with the console; upstream_message may name the parameter.",
    ),
    "FDI.3039": MappedError(
        "bad_request",
        "the project ID does not match the instance or the token",
        "Check FDI_PROJECT_ID: it must be the project that the instance and the token belong to.",
    ),
    "FDI.3081": MappedError(
        "upstream_error",
        "ROMA Connect says that a task does not exist",
        "Ask again; if it goes on, open a ticket with the vendor and give the request ID.",
    ),
    "FDI.9999": MappedError("upstream_error", "ROMA Connect reports a network error of its own"),
}

_GATEWAY_CODE = re.compile(r"(?:APIG|APIGW|APIC)\.([0-9]{4})")


def gateway_number(error_code: str) -> str | None:
    """Return the number of a code of the gateway, or None for another code."""
    match = _GATEWAY_CODE.fullmatch(error_code)
    return match[1] if match else None


def map_error_code(error_code: str) -> MappedError | None:
    """Return the error of a code, or None if the code is not in the tables."""
    number = gateway_number(error_code)
    return _BY_CODE.get(error_code) if number is None else _BY_GATEWAY_NUMBER.get(number)
