"""What IAM's refusals, and what happens on the way to it, mean for the token; none of its words is kept.

Sources: the vendor's API reference of IAM, and its pages on locked users and login protection.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from fdi_health.errors import NEXT_STEPS, CheckError
from schemas import strict_json

if TYPE_CHECKING:
    from collections.abc import Collection

_ENDPOINT_STEP = "Check FDI_REGION or FDI_IAM_ENDPOINT, name resolution, proxy variables and outbound firewall rules."
LATE_STEP = "Ask again; if it goes on, check the network path to IAM."

ON_THE_WAY: dict[str, tuple[str, str]] = {
    "timeout": ("IAM did not answer before the deadline", LATE_STEP),
    "unreachable": ("there is no connection to IAM", _ENDPOINT_STEP),
    "tls_error": ("there is no trusted connection to IAM", "Check the CA bundle variables and FDI_IAM_ENDPOINT."),
    "blocked": (
        "a proxy on the way to IAM refused the request",
        "Check HTTPS_PROXY and the proxy's rules, or exempt IAM's host with NO_PROXY.",
    ),
    "throttled": (
        "IAM is rate limiting (HTTP 429)",
        "Give this function an IAM user of its own, or run fewer processes.",
    ),
    "invalid_response": ("another server answered at IAM's address", "Check FDI_IAM_ENDPOINT and proxy variables."),
    "upstream_error": ("IAM failed", "Look at the vendor's status page."),
}
"""Our code for what happened on the way → what it means for the token."""


def explain_failure(error: CheckError) -> tuple[str, str]:
    """Return message and next step for a login that got no usable response of IAM's.

    The cause is named where the transport knows it; its next step is better than the general one where it has its own.
    """
    message, next_step = ON_THE_WAY[error.code]
    if error.code in ("unreachable", "tls_error", "blocked"):
        message = f"{message}: {error.message}"
        if error.next_step not in (None, NEXT_STEPS[error.code]):
            next_step = str(error.next_step)
    return message, next_step


_MAX_TEXT_CHARACTERS = 512

_WRONG = (
    "IAM refused the user name, the password or the account name",
    (
        "Compare username, password and domain_name in the secret with IAM. It must be an IAM user: a HUAWEI ID and a "
        "federated user get no token by password."
    ),
)
_MOVED = (
    "IAM moves the authentication of this account to another region",
    "Set FDI_IAM_ENDPOINT to the IAM of the region that the vendor's notice names.",
)
_PROTECTED = (
    "the IAM user has login protection, which no program can pass",
    "Switch login protection off for this user, or give the function a user without it.",
)

_BY_CODE: dict[str, tuple[str, str]] = {"IAM.0020": _MOVED}
"""IAM's code → what it means with any status."""

_BY_STATUS: dict[int, tuple[str, str]] = {
    400: (
        "IAM says that the login request is not valid",
        "Check the secret's project_id or project_name, and FDI_PROJECT_ID.",
    ),
    401: _WRONG,
    403: (
        "IAM does not let this user log in here",
        "Allow the user programmatic access, and check IAM's access rules.",
    ),
    404: (
        "IAM answered 404: it does not know the project, or another server answered in its place",
        "Check FDI_PROJECT_ID, the secret's project_id or project_name, and FDI_IAM_ENDPOINT.",
    ),
    409: (
        "IAM reports a conflict for this login (HTTP 409)",
        "Check that nobody is changing the user, its account or the project in IAM; if it goes on, open a ticket.",
    ),
    410: _MOVED,
}

_IS = r"(?<![\w.-])(?:is|are|was|were|(?:has|have|had)(?: been)?)(?: \w+ly)?"
_END = r"(?![\w-]|\.\w)"
_SECOND_FACTOR = r"(?:mfa|totp|2fa|(?:multi|two|second)[ -]factor)(?: (?:authentication|verification|device|code))?"
_BY_PHRASE: tuple[tuple[str, tuple[str, str]], ...] = tuple(
    (phrase, meaning)
    for meaning, phrases in (
        (
            ("the IAM user is locked", "Wait 15 minutes, and find out who uses a wrong password."),
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
"""A phrase in IAM's own text of a 401 or 403 → what it means; its codes do not tell these apart.

Texts name the user, so single words say nothing: a user may be called `fdi-verify`, `locked-in` or `expired-bot`.
"""


class _Answer(NamedTuple):
    """IAM's own code and text, in lower case."""

    code: str
    text: str


def map_error_response(status: int, body: bytes, names: Collection[str] = ()) -> CheckError:
    """Return what a response of 3xx or 4xx, other than 429, means: `token_unavailable`, or `invalid_response`.

    A login page, a proxy or another service may answer with these statuses too; IAM says why in JSON. A 401 without a
    body counts as IAM's: it may have been one more wrong password.

    Args:
        status: of the response.
        body: of the response.
        names: of the user and its account, which IAM's text may contain.

    """
    answer = _own_words(body) or (_Answer("", "") if status == 401 and not body else None)
    if answer is None or not (status in _BY_STATUS or answer.code in _BY_CODE):
        return CheckError("invalid_response", "not IAM", upstream_status=status)
    meaning = _BY_CODE.get(answer.code)
    if meaning is None and status in (401, 403):
        meaning = _by_phrase(answer.text, names)
    message, next_step = meaning or _BY_STATUS[status]
    return CheckError("token_unavailable", message, next_step=next_step, upstream_status=status)


def _by_phrase(text: str, names: Collection[str]) -> tuple[str, str] | None:
    for name in map(str.casefold, names):
        # A user may even be called "is locked".
        if any(re.search(phrase, name) for phrase, _ in _BY_PHRASE):
            text = text.replace(name, "")
    return next((meaning for phrase, meaning in _BY_PHRASE if re.search(phrase, text)), None)


def _own_words(body: bytes) -> _Answer | None:
    """Return IAM's own code and text, or None where this is not a response of IAM."""
    try:
        document = strict_json.loads(body)
    except strict_json.InvalidJSON:
        return None
    if not isinstance(document, dict):
        return None
    error = document.get("error")
    if isinstance(error, dict):
        code = error.get("error_code", document.get("error_code", error.get("code")))
        return _answer(code, error.get("message", error.get("error_msg")))
    if "error_code" in document or "error_msg" in document:
        return _answer(document.get("error_code"), document.get("error_msg"))
    return None


def _answer(code: object, text: object) -> _Answer:
    # The phrases are looked for in every place, and IAM's own texts are short.
    return _Answer(str(code)[:_MAX_TEXT_CHARACTERS], str(text)[:_MAX_TEXT_CHARACTERS].casefold())
