"""What IAM's refusals, and what happens on the way to it, mean for the token; none of its words is kept.

Source: the vendor's API reference of IAM, and its pages on locked users and login protection.
"""

from __future__ import annotations

from fdi_health.errors import CheckError
from schemas import strict_json

_ENDPOINT_STEP = "Check FDI_REGION or FDI_IAM_ENDPOINT, name resolution, proxy variables and outbound firewall rules."
_REST_STEP = "This process tries the same credentials again after 1 minute, then 2, 4, … 15; new ones at once."
LATE_STEP = "Ask again; if it goes on, check the network path to IAM."

ON_THE_WAY: dict[str, tuple[str, str]] = {
    "timeout": ("IAM did not answer before the deadline", LATE_STEP),
    "unreachable": ("there is no connection to IAM", _ENDPOINT_STEP),
    "tls_error": ("there is no trusted connection to IAM", "Check the CA bundle variables and FDI_IAM_ENDPOINT."),
    "blocked": (
        "a proxy on the way to IAM refused the request",
        "Check HTTPS_PROXY and the proxy's rules, or exempt IAM's host with NO_PROXY.",
    ),
    "throttled": ("IAM asks for fewer calls", "Give this function an IAM user of its own, or run fewer processes."),
    "invalid_response": ("what answered at IAM's address is not IAM", "Check FDI_IAM_ENDPOINT and proxy variables."),
    "upstream_error": ("IAM failed", "Look at the vendor's status page."),
}
"""Our code for what happened on the way → what it means for the token."""

_REFUSED_WORDS: dict[str, tuple[str, str]] = {
    "locked": ("the IAM user is locked", "Wait 15 minutes, and find out who uses a wrong password."),
    "mfa": (
        "the IAM user has login protection, which no program can pass",
        "Switch login protection off for this user, or give the function a user without it.",
    ),
    "verif": (
        "the IAM user has login protection, which no program can pass",
        "Switch login protection off for this user, or give the function a user without it.",
    ),
    "disabled": ("the IAM user is disabled", "Enable the user in IAM."),
    "expired": ("the IAM user's password has expired", "Set a new password and store it in the secret."),
}
"""A word in IAM's own message for a 401 → what it means; its codes do not tell these apart."""

_WRONG = (
    "IAM refused the user name, the password or the account name",
    (
        "Compare username, password and domain_name in the secret with IAM. It must be an IAM user: a HUAWEI ID and a "
        "federated user get no token by password."
    ),
)
_BY_STATUS: dict[int, tuple[str, str]] = {
    400: ("IAM calls the login malformed", "Check the secret's project_id or project_name, and FDI_PROJECT_ID."),
    403: (
        "IAM does not let this user log in here",
        "Allow the user programmatic access, and check IAM's access rules.",
    ),
    404: (
        "IAM does not know the project, or is not what answered",
        "Check FDI_PROJECT_ID, the secret's project_id or project_name, and FDI_IAM_ENDPOINT.",
    ),
}


def refusal_of(status: int, body: bytes) -> CheckError:
    """Return what an answer of 3xx or 4xx, other than 429, means: `token_unavailable`, or `invalid_response`.

    A login page, a proxy or another service may answer with these statuses too; IAM says why in JSON. A 401 counts as a
    refusal in any form: it may have been one more wrong password.
    """
    words = _own_words(body) or ("" if status == 401 else None)
    if words is None or status not in (400, 401, 403, 404):
        return CheckError("invalid_response", "not IAM", upstream_status=status)
    meaning = _BY_STATUS.get(status)
    if meaning is None or status == 403:
        meaning = next((found for word, found in _REFUSED_WORDS.items() if word in words), meaning or _WRONG)
    message, next_step = meaning
    if status in (401, 403):
        next_step = f"{next_step} {_REST_STEP}"
    return CheckError("token_unavailable", message, next_step=next_step, upstream_status=status)


def _own_words(body: bytes) -> str | None:
    """Return IAM's own message in lower case, to look for words in, or None where this is no answer of IAM's."""
    try:
        document = strict_json.loads(body)
    except strict_json.InvalidJSON:
        return None
    if not isinstance(document, dict):
        return None
    error = document.get("error")
    if isinstance(error, dict):
        return str(error.get("message")).casefold()
    if "error_code" in document or "error_msg" in document:
        return str(document.get("error_msg")).casefold()
    return None
