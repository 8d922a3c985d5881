"""The error class of fdi-health and its codes.

CheckError(code)
 ├─ of a result: the instance is unknown; the response is a verdict, by default with status 503
 │   ├─ token_unavailable      the secret could not be read, or holds neither key, credentials nor token
 │   ├─ token_rejected         the upstream refused the credentials: token or access key
 │   ├─ forbidden              the credentials are good, their user may not ask this
 │   ├─ instance_not_found     the upstream does not know the instance, or its list lacks instances that must be there
 │   ├─ instance_not_running   the instance exists and is not running
 │   ├─ tasks_missing          fewer tasks are visible than FDI_MIN_TASKS says
 │   ├─ bad_request            the upstream refuses the request as we make it
 │   ├─ api_not_found          the API is not known at the endpoint: wrong address or region
 │   ├─ blocked                a proxy, a web application firewall or an access rule refused the request
 │   ├─ throttled              the upstream is rate limiting, or the call rate allows no request before the deadline
 │   ├─ upstream_error         the upstream failed, or redirected the request to itself
 │   ├─ timeout                no complete response before the deadline
 │   ├─ unreachable            no connection: DNS, refused, reset, proxy
 │   ├─ tls_error              no trusted connection
 │   └─ invalid_response       the response is not a complete, valid statistics document
 └─ of a request: the response is application/problem+json
     ├─ malformed_query        400
     ├─ unauthorized           401  a caller's key is wrong, or missing where one is needed
     ├─ unknown_path           404
     ├─ unknown_instance       404
     ├─ method_not_allowed     405
     ├─ settings_invalid       500
     ├─ internal_error         500
     ├─ callers_unavailable    503  the callers' keys could not be read, so that none can be checked
     └─ overloaded             503

Programs branch on the code; people read the message and the next step. A message never contains a token, a secret, the
value of a setting, the text of another library's exception or text of ROMA Connect. Text of ROMA Connect is only in
`upstream_message`, redacted, and only callers who may see details see it.
"""

from __future__ import annotations

from typing import NamedTuple

from schemas.settings_fields import without_marker

NEXT_STEPS = {
    "token_unavailable": "Check that FDI_TOKEN points at an existing secret and that this function may read it.",
    "token_rejected": "Put an access key into the secret, or a fresh IAM token (tokens live 24 hours and die with a "
    "change of the user's password, keys or groups); check that user, project and region match.",
    "forbidden": "Grant the user roma:tasks:list and roma:tasks:get in this project.",
    "instance_not_found": "Compare the ID in FDI_INSTANCES, the project and the region with the console.",
    "instance_not_running": "Start the instance in the console, or take it out of FDI_INSTANCES.",
    "bad_request": "Check FDI_ENDPOINT and any proxy on the way; if it goes on, open a ticket with the request ID.",
    "api_not_found": "Check FDI_REGION or FDI_ENDPOINT, and that ROMA Connect is offered in that region.",
    "blocked": "Find the proxy, firewall or access rule that refuses the request, and let it allow this function.",
    "tasks_missing": "Compare with the number of tasks in the console: the user lost rights, an application is no "
    "longer shared with it, or tasks were deleted. Correct that, or lower the number in FDI_MIN_TASKS.",
    "throttled": "Use a separate IAM user for this function, or raise FDI_CACHE_SECONDS.",
    "upstream_error": "Look at the vendor's status page; if it goes on, open a ticket with the request ID.",
    "timeout": "Ask again; if it goes on, check the network path to the endpoint or raise FDI_DEADLINE_SECONDS.",
    "unreachable": "Check FDI_REGION or FDI_ENDPOINT, name resolution, proxy variables and outbound firewall rules.",
    "tls_error": "Check the CA bundle variables and whether something intercepts TLS on the way.",
    "invalid_response": "Check that FDI_ENDPOINT is ROMA Connect itself, not a login page or proxy; see upstream_code.",
}
"""ProbeResult code → what the person who was paged does next."""

_PIPELINES, _PLATFORM, _VENDOR = "the team of the integration tasks", "the team that runs fdi-health", "the vendor"
_NETWORK = "the team that runs the network and its proxies"
_ADMIN = "the administrator of the Huawei Cloud account"

OWNERS = {
    "unhealthy": _PIPELINES,
    "no_tasks_visible": f"{_ADMIN}, or {_PIPELINES}",
    "token_expires_soon": _PLATFORM,
    "muted": "the person who set FDI_MUTE",
    "muted_tasks": "the person who set FDI_MUTED_TASKS",
    "mute_unmatched": "the person who set FDI_MUTED_TASKS",
    "config_rejected": "the person who wrote the document of FDI_CONFIG",
    "discovery_stale": f"{_PLATFORM}, or {_VENDOR}",
    "instance_gone": f"{_ADMIN}, or {_PIPELINES}",
    "instance_skipped": _PIPELINES,
    "exclusion_unmatched": "the person who set FDI_INSTANCES",
    "token_unavailable": _PLATFORM,
    "token_rejected": _PLATFORM,
    "forbidden": _ADMIN,
    "instance_not_found": _PLATFORM,
    "instance_not_running": _PIPELINES,
    "bad_request": _PLATFORM,
    "api_not_found": _PLATFORM,
    "blocked": _PLATFORM,
    "tasks_missing": f"{_ADMIN}, or {_PIPELINES}",
    "throttled": _PLATFORM,
    "upstream_error": _VENDOR,
    "timeout": f"{_VENDOR}, or {_NETWORK}",
    "unreachable": _NETWORK,
    "tls_error": _NETWORK,
    "invalid_response": f"{_VENDOR}, or {_NETWORK}",
}
"""Status, warning or code → who can mend it."""


class Fault(NamedTuple):
    """One thing wrong with one setting; never its value.

    Attributes:
        variable: the environment variable.
        message: what is wrong, the form that is expected, an example.
        entry: the entry's number in a list, counted from 1, or None.

    """

    variable: str
    message: str
    entry: int | None = None


class CheckError(Exception):
    """Why an instance is unknown or a request failed; see the module docstring for the codes.

    It is both raised and kept as a value. Message, next step and faults never contain the marker FDI-OK, even if a name
    in them does: keyword checkers would take it for a healthy verdict.

    Attributes:
        code: one of the codes above.
        message: what happened, for people.
        next_step: what the person who was paged does next; by default that of the code.
        upstream_status: the HTTP status of the response, or None.
        upstream_code: the `error_code` in the response, redacted, or None.
        upstream_message: the `error_msg` in the response, redacted, at most 512 characters, or None.
        request_id: the server's ID of the request, redacted, or None.
        retry_after: seconds to wait before the next request, as the response says, or None.
        faults: what is wrong with the settings (`settings_invalid` only).

    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        next_step: str | None = None,
        upstream_status: int | None = None,
        upstream_code: str | None = None,
        upstream_message: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        faults: tuple[Fault, ...] = (),
    ) -> None:
        message = without_marker(message)
        super().__init__(message)
        self.code = code
        self.message = message
        self.next_step = without_marker(next_step) if next_step is not None else NEXT_STEPS.get(code)
        self.upstream_status = upstream_status
        self.upstream_code = upstream_code
        self.upstream_message = upstream_message
        self.request_id = request_id
        self.retry_after = retry_after
        self.faults = tuple(
            fault._replace(variable=without_marker(fault.variable), message=without_marker(fault.message))
            for fault in faults
        )

    def copy(self, *, message: str | None = None, next_step: str | None = None) -> CheckError:
        """Return the same error, without its traceback, with another message or next step."""
        copied = CheckError(self.code, self.message if message is None else message)
        changed = {} if next_step is None else {"next_step": without_marker(next_step)}
        copied.__dict__.update(self.__dict__, message=copied.message, **changed)
        return copied

    def __repr__(self) -> str:
        return f"CheckError({self.code!r}, {self.message!r})"
