"""What the gateway checks before any API sees a request: token or signature, and the limit per second."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from email.utils import formatdate
from typing import TYPE_CHECKING

from simulator.access_keys import AccessKeys, is_signed
from simulator.documented_responses import ERRORS, error_document, error_response
from simulator.responses import json_response

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from simulator.iam import Iam
    from simulator.request_parser import Request
    from simulator.responses import Response

_NO_TOKEN_MESSAGE = "Incorrect IAM authentication information: x-auth-token not found"  # noqa: S105 -- a message, no secret
_SECOND = 1.0


class Authentication:
    """Tokens, access keys and the limit per second. The attributes are those that `Simulator` documents."""

    def __init__(
        self,
        tokens: Iterable[str],
        restricted_tokens: Iterable[str],
        access_keys: Mapping[str, str] | AccessKeys | None,
        iam: Iam | None,
    ) -> None:
        self.tokens: set[str] = set(tokens)
        self.restricted_tokens: set[str] = set(restricted_tokens)
        self.access_keys = access_keys if isinstance(access_keys, AccessKeys) else AccessKeys(access_keys or {})
        self.iam = iam
        self.limit_per_second: int | None = None
        self._token_fault = "APIGW.0301"  # noqa: S105 -- an error code, no secret
        self._recent: defaultdict[str, deque[float]] = defaultdict(deque)

    @property
    def token_fault(self) -> str:
        """The error code that answers a refused token; setting a code that is not documented raises ValueError."""
        return self._token_fault

    @token_fault.setter
    def token_fault(self, code: str) -> None:
        if code not in ERRORS:
            raise ValueError(f"{code!r} is not a documented error code; there are {', '.join(ERRORS)}")
        self._token_fault = code

    def _refusal(self, request: Request) -> Response | None:
        """Return the response to a request without valid authentication or over its limit, None for any other."""
        return self._refusal_of_signed(request) if is_signed(request) else self._refusal_of_token(request.token)

    def _refusal_of_signed(self, request: Request) -> Response | None:
        why = self.access_keys.refuses(request)
        if why is not None:
            document = error_document(self._token_fault, f"Incorrect IAM authentication information: {why}")
            date = formatdate(self.access_keys.clock(), usegmt=True)
            return json_response(document, ERRORS[self._token_fault].status, headers=(("Date", date),))
        return self._over_limit(str(request.header("Authorization")).partition(",")[0])

    def _refusal_of_token(self, token: str | None) -> Response | None:
        if not token:
            if self._token_fault.startswith("ROMA."):
                return error_response("ROMA.1000")
            return error_response("APIGW.0301", _NO_TOKEN_MESSAGE)
        if token not in self.tokens and token not in self.restricted_tokens:
            why = self.iam.refuses(token) if self.iam is not None else ""
            if why is not None:
                return error_response(
                    self._token_fault, f"Incorrect IAM authentication information: {why}" if why else None
                )
        return self._over_limit(token)

    def _over_limit(self, user: str) -> Response | None:
        limit = self.limit_per_second
        if limit is not None:
            now = time.monotonic()
            recent = self._recent[user]
            while recent and recent[0] <= now - _SECOND:
                recent.popleft()
            if len(recent) >= limit:
                return error_response("APIG.0308", f"policy user over ratelimit, limit:{limit}, time:1 second")
            recent.append(now)
        return None
