"""Maps IAM's error responses, and errors on the way to IAM, to `token_unavailable`. No text of IAM is kept.

Sources: the vendor's API reference of IAM, and its pages on locked users and login protection.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from fdi_health.errors import NEXT_STEPS, CheckError
from schemas import strict_json

if TYPE_CHECKING:
    from collections.abc import Collection

LOGIN_ERRORS: dict[str, tuple[str, str]] = {
    "timeout": (
        "IAM did not answer before the deadline",
        "Try again. If it fails again, check the network path to IAM.",
    ),
    "unreachable": (
        "IAM is unreachable",
        "Check FDI_REGION or FDI_IAM_ENDPOINT, name resolution, proxy variables and outbound firewall rules.",
    ),
    "tls_error": ("the TLS connection to IAM is not trusted", "Check the CA bundle variables and FDI_IAM_ENDPOINT."),
    "blocked": (
        "a proxy on the way to IAM refused the request",
        "Check HTTPS_PROXY and the proxy's rules, or exempt IAM's host with NO_PROXY.",
    ),
    "throttled": (
        "IAM is rate limiting (HTTP 429)",
        "Use a separate IAM user for this function, or run fewer processes.",
    ),
    "invalid_response": ("another server answered at IAM's address", "Check FDI_IAM_ENDPOINT and proxy variables."),
    "upstream_error": ("IAM failed", "Look at the vendor's status page."),
}
"""Code of an error on the way to IAM → message and next step."""


def map_login_error(error: CheckError) -> CheckError:
    """Map an error of the transport, or an unusable response, to `token_unavailable`.

    The message names the cause if the transport knows it. The next step is the transport's own if it has a better one.
    """
    message, next_step = LOGIN_ERRORS[error.code]
    if error.code in ("unreachable", "tls_error", "blocked"):
        message = f"{message}: {error.message}"
        if error.next_step not in (None, NEXT_STEPS[error.code]):
            next_step = str(error.next_step)
    elif error.code == "upstream_error":
        message = f"{message} (HTTP {error.upstream_status})"
    return CheckError("token_unavailable", message, next_step=next_step, retry_after=error.retry_after)


_MAX_TEXT_CHARACTERS = 512

_WRONG = (
    "IAM refused the user name, the password or the account name",
    "Compare the secret's username, password and domain_name with IAM. A HUAWEI ID or a federated user cannot log in.",
)
_MOVED = (
    "IAM has moved the authentication of this account to another region",
    "Set FDI_IAM_ENDPOINT to the IAM of the region that the vendor's notice names.",
)
_PROTECTED = (
    "the IAM user has login protection, which requires a person",
    "Switch login protection off for this user, or give the function a user without it.",
)

_BY_CODE: dict[str, tuple[str, str]] = {"IAM.0020": _MOVED}
"""IAM's error code → message and next step, for any HTTP status."""

_BY_STATUS: dict[int, tuple[str, str]] = {
    400: (
        "IAM rejected the login request as invalid (HTTP 400)",
        "Check the secret's project_id or project_name, and FDI_PROJECT_ID.",
    ),
    401: _WRONG,
    403: (
        "IAM does not allow this user to log in (HTTP 403)",
        "Allow the user programmatic access, and check IAM's access rules.",
    ),
    404: (
        "IAM does not know the project, or another server answered in its place (HTTP 404)",
        "Check FDI_PROJECT_ID, the secret's project_id or project_name, and FDI_IAM_ENDPOINT.",
    ),
    409: (
        "IAM reports a conflict for this login (HTTP 409)",
        "Check that nobody is changing the user, its account or the project in IAM. If it continues, open a ticket.",
    ),
    410: _MOVED,
}

_IS = r"(?<![\w.-])(?:is|are|was|were|(?:has|have|had)(?: been)?)(?: \w+ly)?"
_END = r"(?![\w-]|\.\w)"
_SECOND_FACTOR = r"(?:mfa|totp|2fa|(?:multi|two|second)[ -]factor)(?: (?:authentication|verification|device|code))?"
_BY_PHRASE: tuple[tuple[str, tuple[str, str]], ...] = tuple(
    (phrase, explanation)
    for explanation, phrases in (
        (
            ("the IAM user is locked", "Wait 15 minutes. Find the client that uses a wrong password."),
            (rf"{_IS} locked{_END}", rf"^(?:user|account) locked{_END}"),
        ),
        (
            ("the IAM user is disabled", "Enable the user in IAM."),
            (rf"{_IS} (?:disabled|deactivated){_END}", rf"{_IS} not enabled{_END}"),
        ),
        (
            ("the IAM user's password has expired", "Set a new password and store it in the secret."),
            (
                rf"\bpassword{_END}.*{_IS} expired{_END}",
                r"\bpassword must be (?:changed|reset)\b",
                rf"\b(?:change|reset) (?:your|the) password{_END}",
            ),
        ),
        (
            _PROTECTED,
            (
                r"\blogin protect",
                r"\bmust be verified\b",
                rf"\b(?:with|by|using) {_SECOND_FACTOR}{_END}",
                rf"\b{_SECOND_FACTOR} (?:is|must be) (?:required|needed|verified)\b",
                rf"\brequires? (?:an? )?{_SECOND_FACTOR}{_END}",
                rf"\b(?:verification code|identity verification){_END}",
            ),
        ),
        (
            (
                "IAM's access control does not allow a login from this network address",
                "Allow the address of this function in the access control of IAM's security settings.",
            ),
            (rf"\bby (?:the |an )?acl{_END}", r"\baccess control list\b", r"\bip address\b.* (?:is|are) not allowed\b"),
        ),
    )
    for phrase in phrases
)
"""Phrase in the text of a 401 or 403 → message and next step. IAM's codes do not distinguish these cases.

The text may contain the user's name, so single words are not enough: a user may be called `locked-in`.
"""


class _IamError(NamedTuple):
    """IAM's error code, and its text in lower case."""

    code: str
    text: str


def map_error_response(status: int, body: bytes, names: Collection[str] = ()) -> CheckError:
    """Map a 3xx or 4xx response, except 429, to `token_unavailable`, or to `invalid_response` if it is not IAM's.

    A login page, a proxy or another service may use these statuses too; IAM's responses are JSON. A 401 without a body
    counts as IAM's, since it may have been one more wrong password.

    Args:
        status: the HTTP status.
        body: the response body.
        names: of the user and its account, which IAM's text may contain.

    """
    error = _parse_error(body) or (_IamError("", "") if status == 401 and not body else None)
    if error is None or not (status in _BY_STATUS or error.code in _BY_CODE):
        return CheckError("invalid_response", "not IAM", upstream_status=status)
    explanation = _BY_CODE.get(error.code)
    if explanation is None and status in (401, 403):
        explanation = _find_phrase(error.text, names)
    message, next_step = explanation or _BY_STATUS[status]
    return CheckError("token_unavailable", message, next_step=next_step, upstream_status=status)


def _find_phrase(text: str, names: Collection[str]) -> tuple[str, str] | None:
    for name in map(str.casefold, names):
        # A user may even be called "is locked".
        if any(re.search(phrase, name) for phrase, _ in _BY_PHRASE):
            text = text.replace(name, "")
    return next((explanation for phrase, explanation in _BY_PHRASE if re.search(phrase, text)), None)


def _parse_error(body: bytes) -> _IamError | None:
    """Return IAM's error code and text, or None if this is not a response of IAM."""
    try:
        document = strict_json.loads(body)
    except strict_json.InvalidJSON:
        return None
    if not isinstance(document, dict):
        return None
    error = document.get("error")
    if isinstance(error, dict):
        code = error.get("error_code", document.get("error_code", error.get("code")))
        text = error.get("message", error.get("error_msg"))
    elif "error_code" in document or "error_msg" in document:
        code, text = document.get("error_code"), document.get("error_msg")
    else:
        return None
    # The search for phrases is slow in long texts, and IAM's own texts are short.
    return _IamError(str(code)[:_MAX_TEXT_CHARACTERS], str(text)[:_MAX_TEXT_CHARACTERS].casefold())
