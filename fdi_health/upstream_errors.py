"""The upstream's `error_code` → our code; the code decides before the status does.

Sources: the vendor's API references of ROMA Connect (CountTasks and its sibling pages), API Gateway and IAM. A 404 is
no proof that an instance is missing (FDI.3081), a missing instance may come as a 500 (ROMA.00110002), and a token
fault as a 400 (ROMA.1002). A code that is not in the table falls back to the status.
"""

from __future__ import annotations

from typing import Any

_TOKEN = ("token_rejected", "the token was refused")
_FORBIDDEN = ("forbidden", "the token's user may not read the task statistics")
_NOT_FOUND = ("instance_not_found", "the instance does not exist")
_THROTTLED = ("throttled", "the upstream asks for fewer calls")
_BAD_REQUEST = ("bad_request", "the upstream refused the request")
_UPSTREAM = ("upstream_error", "the upstream failed")

_BY_ERROR_CODE: dict[str, tuple[str, str]] = {
    # Each gateway product answers with a family of its own and the same numbers.
    "APIG.0301": _TOKEN,
    "APIGW.0301": _TOKEN,
    "APIC.0301": _TOKEN,
    "APIG.0307": _TOKEN,  # "The token must be updated": what a change of groups does to every token of the account
    "APIGW.0307": _TOKEN,
    "APIC.0307": _TOKEN,
    "APIG.1002": _TOKEN,
    "APIC.7102": _TOKEN,
    "ROMA.1000": ("token_rejected", "the upstream saw no token"),
    "ROMA.1002": _TOKEN,
    "APIG.1005": _FORBIDDEN,
    "APIC.7106": _FORBIDDEN,
    "ROMA.1006": _FORBIDDEN,
    "APIC.7302": _NOT_FOUND,
    "ROMA.00110002": _NOT_FOUND,
    "ROMA.4001026": ("instance_not_running", "the instance is not running"),
    "APIG.0308": _THROTTLED,
    "APIGW.0308": _THROTTLED,
    "APIC.0308": _THROTTLED,
    "FDI.3002": ("bad_request", "the upstream calls the parameters invalid"),
    "FDI.3039": ("bad_request", "the project ID does not match"),
    "FDI.3081": ("upstream_error", "the upstream says that a task does not exist"),
    "FDI.9999": ("upstream_error", "the upstream reports a network error of its own"),
}

_BY_STATUS: dict[int, tuple[str, str]] = {
    401: _TOKEN,
    403: _FORBIDDEN,
    404: _NOT_FOUND,
    429: _THROTTLED,
}

_BY_CLASS: dict[int, tuple[str, str]] = {
    1: ("invalid_response", "the answer is no final one"),
    2: ("invalid_response", "the answer is no statistics document"),
    3: ("upstream_error", "the upstream redirects elsewhere; redirects are never followed"),
    4: _BAD_REQUEST,
    5: _UPSTREAM,
}

_NEXT_STEPS = {
    "FDI.3039": "Compare FDI_PROJECT_ID with the project that the instance is in.",
    "FDI.3081": "Ask again; if it goes on, open a ticket with the vendor and give the request ID.",
}


def code_of(status: int, error_code: Any) -> tuple[str, str]:
    """Return (our code, our message) for an answer that is not 200.

    Args:
        status: its HTTP status.
        error_code: its `error_code`, whatever type that has; None where it has none.

    """
    if isinstance(error_code, str) and error_code in _BY_ERROR_CODE:
        return _BY_ERROR_CODE[error_code]
    return _BY_STATUS.get(status) or _BY_CLASS.get(status // 100, _BY_CLASS[2])


def next_step_of(error_code: Any, error_msg: str | None) -> str | None:
    """Return a better next step than our code's own, where the upstream's words allow one."""
    if isinstance(error_code, str) and error_code in _NEXT_STEPS:
        return _NEXT_STEPS[error_code]
    words = (error_msg or "").casefold()
    if "token expires" in words:
        return "The token has expired: put a fresh one into the secret."
    if "decrypt token fail" in words:
        return "The token is cut off, expired, or from another region: put a fresh one into the secret."
    return None
