"""The vendor's Identity and Access Management: users log in with a password and get a token that expires.

Source: the vendor's API reference, "Obtaining a User Token Through Password Authentication", as gathered in the
project's notes on the upstream. The texts of refusals are ours where those notes give none.
"""

from __future__ import annotations

import base64
import gzip
import json
import secrets
import time
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from simulator.documented_responses import DOC_PROJECT_ID, error_document
from simulator.responses import Response, body_response, drip, json_response, raw_response, response_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from simulator.request_parser import Request

PATH: Final = "/v3/auth/tokens"
LIFE_SECONDS: Final = 24 * 3600.0

State = Literal["enabled", "disabled", "locked", "protected"]

# A real token is a signed document in Base64, several kilobytes long.
_TOKEN_BYTES = 1500
_LOGINS_REMEMBERED = 1000


class User(NamedTuple):
    """An IAM user; `state` "protected" means login protection, which requires a second factor."""

    password: str
    domain_name: str = "Acme"
    state: State = "enabled"


def refusal(status: int, message: str, title: str) -> Response:
    """Return an error in IAM's format, which differs from the format of the other APIs."""
    return json_response({"error": {"code": status, "message": message, "title": title}}, status)


_AN_HOUR: Final = (("Retry-After", "3600"),)
_WRONG: Final = refusal(401, "The username or password is wrong.", "Unauthorized")
_TEXT_BY_STATE: Final[dict[str, str]] = {
    "disabled": "The user {name} is disabled.",
    "locked": "The account is locked.",
    "protected": "The user {name} must be verified with MFA.",
}


def _by_state(state: str, name: str) -> Response:
    return refusal(401, _TEXT_BY_STATE[state].format(name=name), "Unauthorized")


_SUBJECT_TOKEN: Final = ("X-Subject-Token", "MII-of-somebody")
_LOGIN_PAGE: Final = b"<html>please sign in</html>"
_SLOW_SECONDS: Final = 6.0
"""Longer than a client waits."""

FAULTS: Final[dict[str, Response]] = {
    "wrong_password": _WRONG,
    **{state: _by_state(state, "fdi-probe") for state in _TEXT_BY_STATE},
    "slow_refusal": _WRONG.after(_SLOW_SECONDS),
    "acl": refusal(403, "Access is blocked by the ACL.", "Forbidden"),
    "conflict": refusal(409, "Conflict occurred.", "Conflict"),
    "moved": json_response(error_document("IAM.0020", "The authentication is being moved to another region."), 410),
    "forbidden": refusal(403, "You are not authorized to perform the requested action.", "Forbidden"),
    "gateway_403": json_response(error_document("APIGW.0802", "The IP address is not allowed to access"), 403),
    "list_403": json_response([1], 403),
    "other_403": json_response({"reason": "no"}, 403),
    "malformed": refusal(400, "Request body is invalid.", "Bad Request"),
    "no_project": refusal(404, "Could not find project.", "Not Found"),
    "throttled": json_response(
        error_document("APIGW.0308", "The throttling threshold has been reached"), 429, headers=(("Retry-After", "1"),)
    ),
    "throttled_for_an_hour": json_response(
        error_document("APIGW.0308", "The throttling threshold has been reached"),
        429,
        headers=_AN_HOUR,
    ),
    "status_500": refusal(500, "An unexpected error prevented the server from fulfilling your request.", "Error"),
    "status_503": body_response(b"503 Service Unavailable\n", 503, "text/plain"),
    "status_503_for_an_hour": json_response({}, 503, headers=_AN_HOUR),
    "status_502": body_response(b"<html>502 Bad Gateway</html>", 502, "text/html"),
    "empty_401": body_response(b"", 401, content_type=None),
    **{
        f"html_{status}": body_response(_LOGIN_PAGE, status, "text/html")
        for status in (200, 201, 400, 401, 403, 404, 410)
    },
    "interim_only": raw_response(b"HTTP/1.1 103 Early Hints\r\n\r\n", "close"),
    "redirect": body_response(b"", 302, content_type=None, headers=(("Location", "http://127.0.0.1:9/"),)),
    "no_token": json_response({"token": {"expires_at": "2020-01-04T09:05:22.701000Z"}}, 201),
    "broken_token": json_response({"token": {}}, 201, headers=(("X-Subject-Token", "M\xc3\xa9"),)),
    "wrapped_token": json_response({"token": {}}, 201, headers=(("X-Subject-Token", "'MII-of-somebody'"),)),
    "encoded_201": body_response(
        gzip.compress(b'{"token": {}}'), 201, headers=(_SUBJECT_TOKEN, ("Content-Encoding", "gzip"))
    ),
    "no_document": body_response(b"<html>", 201, "text/html", headers=(_SUBJECT_TOKEN,)),
    "other_document": body_response(b"{}", 201, headers=(_SUBJECT_TOKEN,)),
    "too_large": body_response(b" " * (300 * 1024), 201, headers=(_SUBJECT_TOKEN,)),
    "list_document": body_response(b"[1]", 201, headers=(_SUBJECT_TOKEN,)),
    "silent": Response(end="hang"),
    "reset": Response(end="reset"),
    "drip": drip(response_bytes(201, b"{}"), 0.2),
    "cut_off": raw_response(b"HTTP/1.1 201 Created\r\nX-Subject-Token: MII", "close"),
}
"""Responses that IAM can play instead of its normal one, by name."""


class Iam:
    """Users, their tokens and their logins. The simulator's thread reads them; the test's thread changes them.

    Args:
        users: name → user.
        life_seconds: how long a token lives.
        clock: returns seconds since the epoch; IAM's own clock.
        project_id, project_name: what a token can be asked for.
        tells: the times that a response gives for its token.

    Attributes:
        logins: the requests for a token, the newest last.
        issued: every token issued → when it expires.
        issued_for: every token issued → the ID of its project.
        other_project_ids: further projects that a token can be asked for, by ID.

    """

    def __init__(
        self,
        users: dict[str, User],
        *,
        life_seconds: float = LIFE_SECONDS,
        clock: Callable[[], float] = time.time,
        project_id: str = DOC_PROJECT_ID,
        project_name: str = "cn-north-4",
        tells: Collection[str] = ("expires_at", "issued_at"),
    ) -> None:
        self.users = dict(users)
        self.life_seconds = life_seconds
        self.clock = clock
        self.project_id, self.project_name = project_id, project_name
        self.tells = tells
        self.logins: deque[Request] = deque(maxlen=_LOGINS_REMEMBERED)
        self.issued: dict[str, float] = {}
        self.issued_for: dict[str, str] = {}
        self.other_project_ids: set[str] = set()
        self._script: deque[str] = deque()
        self._last: str | None = None

    def play(self, *names: str, for_ever: bool = False) -> None:
        """Play faults to the next logins, one each, the last one for ever if `for_ever`; no name stops that.

        Raises: ValueError for a name that is not in `FAULTS`.
        """
        unknown = [name for name in names if name not in FAULTS]
        if unknown:
            raise ValueError(f"unknown behaviour {unknown[0]!r}: there are {', '.join(FAULTS)}")
        self._script = deque(names)
        self._last = names[-1] if names and for_ever else None

    def revoke(self, token: str | None = None) -> None:
        """Revoke a token, as a change of the user's password or rights does; without an argument, all tokens."""
        for dead in [token] if token else list(self.issued):
            self.issued.pop(dead, None)

    def refuses(self, token: str) -> str | None:
        """Return why a token is refused, or None for a valid one."""
        ends = self.issued.get(token)
        if ends is None:
            return "decrypt token fail"
        if self.clock() >= ends:
            return f"token expires, expires_at: {_timestamp(ends)}"
        return None

    def respond(self, request: Request) -> Response:
        """Return the response to a request for a token."""
        self.logins.append(request)
        if self._script:
            return FAULTS[self._script.popleft()]
        if self._last:
            return FAULTS[self._last]
        return self._log_in(request)

    def _log_in(self, request: Request) -> Response:
        if request.method != "POST":
            return refusal(405, "Method not allowed.", "Method Not Allowed")
        try:
            identity = json.loads(request.body)["auth"]["identity"]
            asked = identity["password"]["user"]
            name, password, domain = asked["name"], asked["password"], asked["domain"]["name"]
            project = json.loads(request.body)["auth"]["scope"]["project"]
            methods = identity["methods"]
        except (ValueError, KeyError, TypeError):
            return FAULTS["malformed"]
        user = self.users.get(name) if isinstance(name, str) else None
        if methods != ["password"] or user is None or (password, domain) != (user.password, user.domain_name):
            return _WRONG
        if user.state != "enabled":
            return _by_state(user.state, name)
        ids = [known for known in (self.project_id, *self.other_project_ids) if project == {"id": known}]
        if not ids and project != {"name": self.project_name}:
            return FAULTS["no_project"]
        project_id = ids[0] if ids else self.project_id
        return self._issue(name, domain, project_id, catalog="nocatalog=true" not in request.target)

    def _issue(self, name: str, domain: str, project_id: str, *, catalog: bool) -> Response:
        token = "MII" + base64.b64encode(secrets.token_bytes(_TOKEN_BYTES)).decode().replace("/", "-")
        issued_at = self.clock()
        self.issued[token] = issued_at + self.life_seconds
        self.issued_for[token] = project_id
        times = {"expires_at": _timestamp(self.issued[token]), "issued_at": _timestamp(issued_at)}
        about: dict[str, Any] = {
            **{name: timestamp for name, timestamp in times.items() if name in self.tells},
            "methods": ["password"],
            "project": {"id": project_id, "name": self.project_name, "domain": {"name": domain}},
            "user": {"name": name, "domain": {"name": domain}},
        }
        if catalog:
            about["catalog"] = [{"name": f"service-{number}", "endpoints": []} for number in range(200)]
        return json_response({"token": about}, 201, headers=(("X-Subject-Token", token),))


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
