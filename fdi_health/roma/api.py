"""Sends GET requests to ROMA Connect's API, and maps every response that is not the expected document to an error."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypedDict, TypeVar
from urllib.parse import quote, urlencode

from fdi_health.errors import CheckError
from fdi_health.redaction import redact
from fdi_health.roma.access_key_errors import map_refused_key
from fdi_health.roma.error_responses import APP_STEP, ErrorResponse, is_html_page, map_error_response
from fdi_health.roma.rate_limit import stated_limit
from fdi_health.transport.client import MAX_STATISTICS_BYTES
from fdi_health.transport.retry import NotSentError, Retries, retry_after
from schemas import strict_json

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from contextlib import AbstractContextManager

    from fdi_health.clock import Deadline
    from fdi_health.models import Instance
    from fdi_health.transport.client import Response, Transport
    from fdi_health.transport.pacing import Pace

Document = TypeVar("Document")

Purpose: TypeAlias = Literal["verdict", "list", "log"]
"""What a response is for: it decides the verdict, or it lists tasks or says why one failed, to explain the verdict."""


class Authenticator(Protocol):
    """Authenticates requests to ROMA Connect: a token or an access key."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown: everything that this process has used lately, for redaction."""
        ...

    @property
    def signs(self) -> bool:
        """Whether it is an access key."""
        ...

    def headers(
        self, host: str, path: str, query: Sequence[tuple[str, str]], project_id: str, seconds: float
    ) -> dict[str, str]:
        """Return the headers that authenticate a GET.

        Args:
            host: the value of the header `Host`.
            path: the whole path of the URL.
            query: names and values, not encoded.
            project_id: the project that the request is about.
            seconds: the time, in seconds since the epoch.

        """
        ...

    def permit(
        self, instance_id: str, deadline: Deadline, purpose: Purpose = "verdict"
    ) -> AbstractContextManager[bool]:
        """Return a context that waits until a request may be sent. Its block sends it and raises CheckError.

        The context's value is whether the request may be sent twice, as a request on a kept connection may be.

        Args:
            instance_id: the instance that the request is about.
            deadline: when the response must be here.
            purpose: what the response is for. A refusal of what only explains a verdict must not stop the others.

        Raises:
            CheckError: `token_rejected` or `timeout`, on entering.

        """
        ...


class Api:
    """ROMA Connect's API in one project.

    Args:
        transport: the endpoint.
        project_id: the project.
        retries: when to ask again.
        wall: returns seconds since the epoch, for signatures and for a Retry-After that is a date.
        pace: how many requests per second are sent, or None for no limit.

    Attributes:
        project_id: as given.

    """

    def __init__(
        self,
        transport: Transport,
        project_id: str,
        retries: Retries | None = None,
        wall: Callable[[], float] = time.time,
        pace: Pace | None = None,
    ) -> None:
        self._transport = transport
        self.project_id = project_id
        self._retries = retries or (Retries("ROMA Connect", on_hold=pace.pause) if pace else Retries("ROMA Connect"))
        # A hold of its own: a 429 to a request that only explains the verdict must not make an instance unknown.
        self._explaining = Retries("ROMA Connect")
        self._wall = wall
        self._pace = pace

    def get(
        self,
        path: str,
        instance: Instance,
        authenticator: Authenticator,
        deadline: Deadline,
        read: Callable[[Any], Document],
        *,
        query: Sequence[tuple[str, str]] = (),
        max_body_bytes: int = MAX_STATISTICS_BYTES,
        connection: str = "",
        purpose: Purpose = "verdict",
    ) -> Document:
        """Return the document at a path; what may go better the next time is tried again, see `Retries.run`.

        Args:
            path: the path below the endpoint, beginning with a slash.
            instance: the instance that the request is about.
            authenticator: the token or access key.
            deadline: when the response must be here.
            read: makes the result from the parsed JSON. It raises CheckError for a document of the wrong form.
            query: names and values, not encoded.
            max_body_bytes: the largest body.
            connection: which of the instance's kept connections to use; one for each kind of document that is compared
                with the last one.
            purpose: what the response is for. Unless the verdict depends on it, the request is sent once, and not while
                requests are held after a 429 or the pace leaves none. A 429 or a refusal holds only others of its kind.

        Raises:
            CheckError: any result code but `token_unavailable`.

        """
        target = f"{path}?{urlencode(query, quote_via=quote)}" if query else path

        def attempt() -> Document:
            with authenticator.permit(instance.instance_id, deadline, purpose) as may_repeat:
                self._wait_for_turn(deadline, is_verdict=purpose == "verdict")
                whole_path = f"{self._transport.path_prefix}{path}"
                headers = {
                    **authenticator.headers(self._transport.host, whole_path, query, self.project_id, self._wall()),
                    "Accept": "application/json",
                    "Cache-Control": "no-cache, no-store",
                    "User-Agent": "fdi-health",
                }
                response = self._transport.get(
                    target,
                    headers,
                    deadline,
                    instance_id=f"{instance.instance_id}{connection}",
                    new_connection=not may_repeat,
                    compare=purpose == "verdict",
                    max_body_bytes=max_body_bytes,
                )
                if response.status != 200:
                    failure = self._failure(response, authenticator)
                    if purpose == "verdict":
                        self._slow_down(failure)
                    raise failure
                return read(self._parse(response, authenticator))

        if purpose == "verdict":
            return self._retries.run(attempt, deadline)
        return self._explaining.try_once(attempt, deadline)

    def _wait_for_turn(self, deadline: Deadline, *, is_verdict: bool) -> None:
        """Wait until the pace allows a request; raise NotSentError if it must not be sent.

        This comes after the permit of the authenticator. Requests that wait for a new key to be proven would otherwise
        have their turns behind them, and all be sent at once when it is. A permit is held for a few turns only: at most
        two requests have one for an unproven key, and all others of that key wait for them.
        """
        if self._pace is not None:
            if is_verdict:
                self._pace.wait(deadline)
            elif not self._pace.take_if_free():
                raise NotSentError("throttled", "the pace leaves no request for an explanation")
        # After the wait, because a 429 may have come in that time.
        hold = self._retries.hold(deadline)
        if hold is None and not is_verdict:
            hold = self._explaining.hold(deadline)
        if hold is not None:
            raise hold

    def _slow_down(self, failure: CheckError) -> None:
        """Pace the requests if a response on which the verdict depends states a limit; others may have another one."""
        limit = stated_limit(failure.upstream_message) if failure.code == "throttled" else None
        if self._pace is not None and limit is not None:
            self._pace.slow_down(limit)

    def _parse(self, response: Response, authenticator: Authenticator) -> Any:
        # The beginning of a response that is too large may be a whole document, and its rest may contradict it.
        fault = None if response.complete else "the response is too large"
        if response.headers.get("Age", "0").strip() != "0":
            fault = "a cache answered, not ROMA Connect"
        if fault is None:
            try:
                return strict_json.loads(response.body)
            except strict_json.InvalidJSON as error:
                fault = f"the response is not valid JSON: {error}"
        if is_html_page(response.headers.get("Content-Type"), response.body):
            raise self._failure(response, authenticator)
        raise CheckError("invalid_response", fault, upstream_status=200)

    def _failure(self, response: Response, authenticator: Authenticator) -> CheckError:
        try:
            document = strict_json.loads(response.body)
        except strict_json.InvalidJSON:
            document = None
        words = redacted_fields(document, authenticator.secrets)
        failed = ErrorResponse(response.status, response.headers, response.body, document, self._transport.endpoint)
        mapped = map_error_response(failed, words["upstream_message"])
        if authenticator.signs and mapped.code == "token_rejected" and mapped.next_step != APP_STEP:
            mapped = map_refused_key(failed, words["upstream_message"], self._wall())
        return CheckError(
            mapped.code,
            mapped.message,
            next_step=mapped.next_step,
            upstream_status=response.status,
            retry_after=retry_after(response.headers, self._wall()),
            **words,
        )


class ErrorFields(TypedDict):
    """What ROMA Connect says of an error."""

    upstream_code: str | None
    upstream_message: str | None
    request_id: str | None


def redacted_fields(document: Any, secrets: Collection[str]) -> ErrorFields:
    """Return the upstream's code, message and request ID, safe to show to callers who may see details."""
    members = document if isinstance(document, dict) else {}
    return {
        "upstream_code": redact(members.get("error_code"), secrets, 64),
        "upstream_message": redact(members.get("error_msg"), secrets, 512),
        "request_id": redact(members.get("request_id"), secrets, 64),
    }
