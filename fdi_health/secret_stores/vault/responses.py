"""The meaning of Vault's responses: a document, or an error with its next step.

Vault's text contains names, so it is only searched for phrases. Sources: Vault's HTTP API, "Status codes"; the texts
were read from OpenBao 2.7 and from Vault's source.
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from fdi_health.errors import NEXT_STEPS, CheckError
from fdi_health.transport.retry import retry_after
from schemas import strict_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fdi_health.transport.client import Response

Explanation = tuple[str, str]
"""Description and next step, as for `build_error`."""

_TRANSPORT_ERRORS: dict[str, Explanation] = {
    "timeout": (
        "could not be read before the deadline",
        "Check the network path to Vault and the address in VAULT_ADDR, then try again.",
    ),
    "unreachable": (
        "could not be read: Vault is unreachable",
        "Check the address in VAULT_ADDR and the network path to Vault.",
    ),
    "blocked": (
        "could not be read: Vault is unreachable",
        "Check HTTPS_PROXY, or exempt Vault's host with NO_PROXY.",
    ),
    "tls_error": (
        "could not be read: there is no trusted TLS connection to Vault",
        "Set VAULT_CACERT to a PEM file with the CA of Vault's certificate, and check the host name in VAULT_ADDR.",
    ),
    "invalid_response": (
        "could not be read: the response of Vault is broken",
        "Check VAULT_ADDR, and proxies and load balancers on the way.",
    ),
}
"""The transport's code → description and next step."""

_NOT_VAULT: Explanation = (
    "could not be read: another server answered in place of Vault",
    "Check VAULT_ADDR (no /v1 and no /ui at its end), and proxies and login pages on the way.",
)
_REDIRECT: Explanation = (
    "could not be read: Vault redirects to another address, which is not followed",
    "Set VAULT_ADDR to the active node, or to a load balancer that leads there, with https:// and the right port.",
)
_NO_NAMESPACE: Explanation = (
    "could not be read: the Vault namespace does not exist",
    "Correct VAULT_NAMESPACE, or unset it.",
)
_SEALED: Explanation = ("could not be read: Vault is sealed (HTTP 503)", "Unseal it: vault operator unseal.")
_STANDBY: Explanation = (
    "could not be read: this Vault node is in standby, and no node is active",
    "Check the cluster with vault operator members, or set VAULT_ADDR to the active node.",
)
_THROTTLED: Explanation = (
    "could not be read: Vault is rate limiting (HTTP 429)",
    "Raise the rate limit quota of the mount or namespace.",
)
_BEHIND: Explanation = (
    "could not be read: this Vault node has not caught up with the active node (HTTP 412)",
    "Try again. If it fails again, set VAULT_ADDR to the active node, or check the replication.",
)


class Rule(NamedTuple):
    """The meaning of one kind of error response.

    Attributes:
        status: the HTTP status.
        phrase: what Vault's text must contain, since some statuses have several causes.
        explanation: description and next step.

    """

    status: int
    phrase: re.Pattern[str]
    explanation: Explanation


def rule(status: int, phrase: str, explanation: Explanation) -> Rule:
    """Return a rule for a status and a phrase."""
    return Rule(status, re.compile(phrase, re.IGNORECASE | re.DOTALL), explanation)


COMMON_RULES = (
    rule(404, "namespace not found", _NO_NAMESPACE),
    rule(412, "", _BEHIND),
    rule(429, "", _THROTTLED),
    rule(503, "sealed", _SEALED),
    rule(500, "standby|local node not active", _STANDBY),
    rule(503, "standby|local node not active", _STANDBY),
)
_RETRIED_STATUSES = frozenset({412, 502, 503, 504})
"""Another node, or the same one soon, may answer the same request."""


_BAD_TOKEN: Explanation = (
    (
        "could not be read: Vault refuses the token of this function's credentials: it is wrong, expired or revoked, "
        "or of another namespace"
    ),
    (
        "Create a new token, or log in with an AppRole or Kubernetes role, which gives a new one for every read; check "
        "VAULT_NAMESPACE."
    ),
)
_NO_MOUNT: Explanation = (
    "does not exist: Vault has no secrets engine at this mount",
    "Correct the mount, the first part of the secret URL, and VAULT_NAMESPACE.",
)
_IS_VERSION_2: Explanation = (
    "could not be read: its mount is KV version 2, and the secret URL says kv=1",
    "Remove ?kv=1 from the secret URL.",
)


def _read_rules(policy_path: str, hint: str) -> tuple[Rule, ...]:
    """Return what error responses to a read mean.

    Args:
        policy_path: the path in the policy that allows the read.
        hint: about the KV version.

    """
    forbidden = (
        "may not be read by this function",
        (
            f'Give its token or role this policy: path "{policy_path}" {{ capabilities = ["read"] }}. Or correct the '
            "mount and the path in the secret URL (MOUNT/PATH without data/): Vault says the same of a path that no "
            f"policy names. {hint}"
        ),
    )
    missing = (
        "does not exist",
        f"Create it, or correct the mount and the path in the secret URL (MOUNT/PATH without data/). {hint}",
    )
    return (
        # For a token without the right, Vault puts these words into a list of errors: "1 error occurred: …".
        rule(403, r'invalid token|bad token|^\[\["permission denied"\]', _BAD_TOKEN),
        rule(403, "", forbidden),
        rule(404, "no handler for route|unsupported path", _NO_MOUNT),
        rule(404, "versioned K/V", _IS_VERSION_2),
        rule(404, "", missing),
    )


READ_RULES = {
    "1": _read_rules("MOUNT/PATH", "Without ?kv=1 in the secret URL it is read as KV version 2."),
    "2": _read_rules("MOUNT/data/PATH", "If the mount is KV version 1, add ?kv=1 to the secret URL."),
}
"""KV version → what error responses to a read mean."""


def _error(explanation: Explanation, code: str = "token_unavailable", seconds: float | None = None) -> CheckError:
    """Return an error with its final text. Its code says whether `Retries` sends the request again."""
    return CheckError(code, f"the secret {explanation[0]}", next_step=explanation[1], retry_after=seconds)


def map_transport_error(error: CheckError) -> CheckError:
    """Return the same error in the words of this store, with the cause that the transport knows."""
    description, next_step = _TRANSPORT_ERRORS[error.code]
    if error.code in ("unreachable", "tls_error", "blocked"):
        description = f"{description}: {error.message}"
    # The transport's own steps for TLS name other variables.
    if error.code != "tls_error" and error.next_step not in (None, NEXT_STEPS[error.code]):
        next_step = str(error.next_step)
    return _error((description, next_step), error.code)


def parse_response(response: Response, rules: Sequence[Rule]) -> dict[str, Any]:
    """Return the document of a success or of a deleted version; raises CheckError with its final text."""
    status = response.status
    try:
        document = strict_json.loads(response.body)
    except strict_json.InvalidJSON:
        document = None
    if not isinstance(document, dict) or not document.keys() & {"auth", "data", "errors"}:
        raise _map_foreign_response(response)
    if status == 200 or (status == 404 and isinstance(document.get("data"), dict)):
        return document
    # Vault's text contains names, so it is only searched.
    text = json.dumps([document.get("errors"), document.get("warnings")])
    for rule_status, phrase, explanation in rules:
        if status == rule_status and phrase.search(text):
            may_pass = status in _RETRIED_STATUSES and explanation is not _SEALED
            code = "throttled" if status == 429 else "unreachable" if may_pass else "token_unavailable"
            raise _error(explanation, code, retry_after(response.headers, time.time()))
    raise _map_status(status)


def _map_foreign_response(response: Response) -> CheckError:
    """Return the error of a response that has not the form of Vault's."""
    status = response.status
    if 300 <= status < 400:
        return _error(_REDIRECT)
    if status == 200 and not response.complete and response.body.startswith(b"{"):
        return _error(("is longer than 64 KiB", "Store only the token or the credentials in it."))
    if status == 429:
        return _error(_THROTTLED, "throttled", retry_after(response.headers, time.time()))
    return _map_status(status) if status >= 500 else _error(_NOT_VAULT)


def _map_status(status: int) -> CheckError:
    if status >= 500:
        code = "unreachable" if status in _RETRIED_STATUSES else "token_unavailable"
        explanation = (
            f"could not be read: Vault, or a load balancer in front of it, failed (HTTP {status})",
            "Check Vault's log and the load balancer.",
        )
        return _error(explanation, code)
    return _error(
        (f"could not be read: Vault refused the request (HTTP {status})", "Check VAULT_ADDR and Vault's audit log.")
    )
