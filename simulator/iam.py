"""The vendor's Identity and Access Management: users log in with a password and get a token that ends.

Source: the vendor's API reference, "Obtaining a User Token Through Password Authentication", as gathered in the
project's notes on the upstream. The texts of refusals are ours but for the words that those notes give.
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

from simulator.documented import DOC_PROJECT_ID, error_document
from simulator.responses import Answer, body_answer, drip, json_answer, raw_answer, response_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from simulator.received import Request

PATH: Final = "/v3/auth/tokens"
LIFE_SECONDS: Final = 24 * 3600.0

State = Literal["enabled", "disabled", "locked", "protected"]

# A real token is a signed document in Base64, several kilobytes long.
_TOKEN_BYTES = 1500
_LOGINS_REMEMBERED = 1000


class User(NamedTuple):
    """An IAM user; `state` "protected" stands for login protection, which asks for a second factor."""

    password: str
    domain_name: str = "Acme"
    state: State = "enabled"


def refusal(status: int, message: str, title: str) -> Answer:
    """Return an error in the form of this API, which is not that of the others."""
    return json_answer({"error": {"code": status, "message": message, "title": title}}, status)


_AN_HOUR: Final = (("Retry-After", "3600"),)
_WRONG: Final = refusal(401, "The username or password is wrong.", "Unauthorized")
_TEXT_BY_STATE: Final[dict[str, str]] = {
    "disabled": "The user {name} is disabled.",
    "locked": "The account is locked.",
    "protected": "The user {name} must be verified with MFA.",
}


def _by_state(state: str, name: str) -> Answer:
    return refusal(401, _TEXT_BY_STATE[state].format(name=name), "Unauthorized")


_SOMEBODY: Final = ("X-Subject-Token", "MII-of-somebody")
_LOGIN_PAGE: Final = b"<html>please sign in</html>"
_SLOW_SECONDS: Final = 6.0
"""More than a client waits."""

FAULTS: Final[dict[str, Answer]] = {
    "wrong_password": _WRONG,
    **{state: _by_state(state, "fdi-probe") for state in _TEXT_BY_STATE},
    "slow_refusal": _WRONG.after(_SLOW_SECONDS),
    "acl": refusal(403, "Access is blocked by the ACL.", "Forbidden"),
    "conflict": refusal(409, "Conflict occurred.", "Conflict"),
    "moved": json_answer(error_document("IAM.0020", "The authentication is being moved to another region."), 410),
    "forbidden": refusal(403, "You are not authorized to perform the requested action.", "Forbidden"),
    "gateway_403": json_answer(error_document("APIGW.0802", "The IP address is not allowed to access"), 403),
    "list_403": json_answer([1], 403),
    "other_403": json_answer({"reason": "no"}, 403),
    "malformed": refusal(400, "Request body is invalid.", "Bad Request"),
    "no_project": refusal(404, "Could not find project.", "Not Found"),
    "throttled": json_answer(
        error_document("APIGW.0308", "The throttling threshold has been reached"), 429, headers=(("Retry-After", "1"),)
    ),
    "throttled_for_an_hour": json_answer(
        error_document("APIGW.0308", "The throttling threshold has been reached"),
        429,
        headers=_AN_HOUR,
    ),
    "status_500": refusal(500, "An unexpected error prevented the server from fulfilling your request.", "Error"),
    "status_503": body_answer(b"503 Service Unavailable\n", 503, "text/plain"),
    "status_503_for_an_hour": json_answer({}, 503, headers=_AN_HOUR),
    "status_502": body_answer(b"<html>502 Bad Gateway</html>", 502, "text/html"),
    "empty_401": body_answer(b"", 401, content_type=None),
    **{
        f"html_{status}": body_answer(_LOGIN_PAGE, status, "text/html")
        for status in (200, 201, 400, 401, 403, 404, 410)
    },
    "interim_only": raw_answer(b"HTTP/1.1 103 Early Hints\r\n\r\n", "close"),
    "redirect": body_answer(b"", 302, content_type=None, headers=(("Location", "http://127.0.0.1:9/"),)),
    "no_token": json_answer({"token": {"expires_at": "2020-01-04T09:05:22.701000Z"}}, 201),
    "broken_token": json_answer({"token": {}}, 201, headers=(("X-Subject-Token", "M\xc3\xa9"),)),
    "wrapped_token": json_answer({"token": {}}, 201, headers=(("X-Subject-Token", "'MII-of-somebody'"),)),
    "encoded_201": body_answer(gzip.compress(b'{"token": {}}'), 201, headers=(_SOMEBODY, ("Content-Encoding", "gzip"))),
    "no_document": body_answer(b"<html>", 201, "text/html", headers=(_SOMEBODY,)),
    "other_document": body_answer(b"{}", 201, headers=(_SOMEBODY,)),
    "too_large": body_answer(b" " * (300 * 1024), 201, headers=(_SOMEBODY,)),
    "list_document": body_answer(b"[1]", 201, headers=(_SOMEBODY,)),
    "silent": Answer(end="hang"),
    "reset": Answer(end="reset"),
    "drip": drip(response_bytes(201, b"{}"), 0.2),
    "cut_off": raw_answer(b"HTTP/1.1 201 Created\r\nX-Subject-Token: MII", "close"),
}
"""What IAM can play besides its own answer, by name."""


class Iam:
    """Users, their tokens and their logins; used by the simulator's thread, changed by the test's.

    Args:
        users: name → user.
        life_seconds: how long a token lives.
        clock: returns seconds since the epoch; IAM's own idea of the time.
        project_id, project_name: what a token can be asked for.
        tells: what an answer says of its token besides its user and project.

    Attributes:
        logins: the requests for a token, the newest last.
        issued: every token given out, and when it ends.

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
        self._script: deque[str] = deque()
        self._last: str | None = None

    def play(self, *names: str, for_ever: bool = False) -> None:
        """Answer the next logins with faults, one each, the last one for ever if asked; none ends that.

        Raises: ValueError for a name that is not in `FAULTS`.
        """
        unknown = [name for name in names if name not in FAULTS]
        if unknown:
            raise ValueError(f"unknown behaviour {unknown[0]!r}: there are {', '.join(FAULTS)}")
        self._script = deque(names)
        self._last = names[-1] if names and for_ever else None

    def revoke(self, token: str | None = None) -> None:
        """Let a token die at once, as a change of the user's password or rights does; all of them without one."""
        for dead in [token] if token else list(self.issued):
            self.issued.pop(dead, None)

    def refuses(self, token: str) -> str | None:
        """Return why a token is no good, or None for a live one."""
        ends = self.issued.get(token)
        if ends is None:
            return "decrypt token fail"
        if self.clock() >= ends:
            return f"token expires, expires_at: {_moment(ends)}"
        return None

    def answer(self, request: Request) -> Answer:
        """Return the answer to a request for a token."""
        self.logins.append(request)
        if self._script:
            return FAULTS[self._script.popleft()]
        if self._last:
            return FAULTS[self._last]
        return self._log_in(request)

    def _log_in(self, request: Request) -> Answer:
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
        if project not in ({"id": self.project_id}, {"name": self.project_name}):
            return FAULTS["no_project"]
        return self._issue(name, domain, catalog="nocatalog=true" not in request.target)

    def _issue(self, name: str, domain: str, *, catalog: bool) -> Answer:
        token = "MII" + base64.b64encode(secrets.token_bytes(_TOKEN_BYTES)).decode().replace("/", "-")
        issued_at = self.clock()
        self.issued[token] = issued_at + self.life_seconds
        times = {"expires_at": _moment(self.issued[token]), "issued_at": _moment(issued_at)}
        about: dict[str, Any] = {
            **{name: moment for name, moment in times.items() if name in self.tells},
            "methods": ["password"],
            "project": {"id": self.project_id, "name": self.project_name, "domain": {"name": domain}},
            "user": {"name": name, "domain": {"name": domain}},
        }
        if catalog:
            about["catalog"] = [{"name": f"service-{number}", "endpoints": []} for number in range(200)]
        return json_answer({"token": about}, 201, headers=(("X-Subject-Token", token),))


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
