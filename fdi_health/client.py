"""One instance, one answer: asks CountTasks, tries again where that can help, and says what came back."""

from __future__ import annotations

import random
import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from marshmallow import ValidationError

from fdi_health.errors import CheckError
from fdi_health.foreign_text import clean
from fdi_health.model import GROUPS, Statistics, TaskCounts
from fdi_health.upstream_errors import code_of, next_step_of
from schemas import strict_json
from schemas.statistics import StatisticsSchema

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from fdi_health.deadline import Abort, Deadline
    from fdi_health.model import Instance, Token
    from fdi_health.transport import Reply, Transport

ATTEMPTS = 3
"""The most requests for one finding."""

LONGEST_HOLD_SECONDS = 5.0
"""The longest that a throttled upstream is left alone; a Retry-After may ask for hours."""

_FIRST_WAIT_SECONDS = 0.1
_THROTTLED_SECONDS = 1.0
"""The vendor counts calls per user and second."""

_RETRIED_STATUSES = frozenset({502, 503, 504})
_RETRIED_CODES = frozenset({"unreachable", "invalid_response"})
"""What the transport raises when a connection failed or broke: another one may do better."""


class Wait(Protocol):
    """Waits some seconds, or less if it is ended early."""

    def __call__(self, seconds: float, /) -> object:
        """Wait `seconds`."""
        ...


class Client:
    """Asks for one instance's statistics.

    Args:
        transport: the endpoint.
        project_id: the project all instances are in.
        optional_groups: task groups that an answer may lack.
        wait: how to wait between two attempts.
        jitter: returns a random number from 0.0 to its argument.
        wall: returns seconds since the epoch, for a Retry-After that is a date.

    """

    def __init__(
        self,
        transport: Transport,
        project_id: str,
        optional_groups: Collection[str] = (),
        wait: Wait = time.sleep,
        jitter: Callable[[float], float] = lambda most: random.uniform(0, most),  # noqa: S311 -- spreads load, guards nothing
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._transport = transport
        self._project_id = project_id
        self._schema = StatisticsSchema(optional_groups=optional_groups)
        self._wait, self._jitter, self._wall = wait, jitter, wall
        self._held_until = float("-inf")

    def statistics(self, instance: Instance, token: Token, deadline: Deadline, abort: Abort) -> Statistics:
        """Return the instance's valid statistics.

        Connection errors, 429, 502, 503 and 504 are tried again, at most `ATTEMPTS` times in all, after a wait with
        full jitter or after what `Retry-After` says, and never when that would pass the deadline. Once the upstream
        has asked for fewer calls, it gets none from anybody until then, for `LONGEST_HOLD_SECONDS` at most.

        Raises:
            CheckError: any finding code but `token_unavailable`.

        """
        attempt = 0
        while True:
            attempt += 1
            self._respect_hold(deadline, abort)
            try:
                reply = self._ask(instance, token, deadline, abort)
            except CheckError as error:
                if error.code not in _RETRIED_CODES or error.upstream_status is not None:
                    raise
                failure = error
            else:
                if reply.status == 200:
                    return self._read(reply, token)
                failure = self._failure(reply, token)
                passing = failure.code == "upstream_error" and reply.status in _RETRIED_STATUSES
                if not passing and failure.code != "throttled":
                    raise failure
            seconds = self._seconds_to_wait(failure, attempt, deadline)
            if attempt == ATTEMPTS or seconds >= deadline.remaining() or abort.fired:
                raise failure
            self._wait(seconds)

    def _respect_hold(self, deadline: Deadline, abort: Abort) -> None:
        """Wait until the upstream may be called again, or raise `throttled` where that would be too late."""
        while (left := self._held_until - deadline.clock()) > 0:
            spare = deadline.remaining() - left
            if spare <= _FIRST_WAIT_SECONDS or abort.fired:
                message = "the upstream asked for fewer calls a moment ago and is left alone until then"
                raise CheckError("throttled", message, retry_after=left)
            # Not all at once when the hold ends: it was too many at once that brought it about.
            self._wait(left + self._jitter(min(_THROTTLED_SECONDS, spare / 2)))

    def _seconds_to_wait(self, failure: CheckError, attempt: int, deadline: Deadline) -> float:
        seconds = failure.retry_after
        if failure.code == "throttled":
            if seconds is None:
                seconds = _THROTTLED_SECONDS + self._jitter(_THROTTLED_SECONDS)
            hold = min(seconds, LONGEST_HOLD_SECONDS)
            self._held_until = max(self._held_until, deadline.clock() + hold)
            # A little later than the hold ends, and not all at once.
            return seconds + self._jitter(_FIRST_WAIT_SECONDS)
        if seconds is None:
            seconds = self._jitter(_FIRST_WAIT_SECONDS * 2 ** (attempt - 1))
        return seconds

    def _ask(self, instance: Instance, token: Token, deadline: Deadline, abort: Abort) -> Reply:
        path = f"/v2/{self._project_id}/fdi/instances/{instance.instance_id}/statistics/tasks"
        headers = {"X-Auth-Token": token.value, "Accept": "application/json", "User-Agent": "fdi-health"}
        return self._transport.get(path, headers, deadline, abort)

    def _read(self, reply: Reply, token: Token) -> Statistics:
        try:
            document = strict_json.loads(reply.body)
        except strict_json.InvalidJSON as error:
            raise CheckError("invalid_response", f"the answer is no sound JSON: {error}", upstream_status=200) from None
        try:
            loaded = self._schema.load(document)
        except ValidationError as error:
            raise CheckError(
                "invalid_response",
                f"the answer is no valid statistics document ({_where(error.messages_dict)})",
                upstream_status=200,
                **_own_words(document, token),
            ) from None
        groups = (loaded.get(f"{group}_task_details") for group in GROUPS)
        return Statistics(*(TaskCounts(**counts) if counts is not None else None for counts in groups))

    def _failure(self, reply: Reply, token: Token) -> CheckError:
        try:
            document = strict_json.loads(reply.body)
        except strict_json.InvalidJSON:
            document = None
        words = _own_words(document, token)
        raw_code = document.get("error_code") if isinstance(document, dict) else None
        code, message = code_of(reply.status, raw_code)
        return CheckError(
            code,
            message,
            next_step=next_step_of(raw_code, words["upstream_message"]),
            upstream_status=reply.status,
            retry_after=_retry_after(reply.headers, self._wall()),
            **words,
        )


def _where(messages: Mapping[str, Any]) -> str:
    """Name the first field at fault, by our schema's own names."""
    for name, inner in messages.items():
        if name == "_schema":
            return "not an object"
        if isinstance(inner, dict) and set(inner) != {"_schema"}:
            return f"{name}.{next(iter(inner))}"
        return name
    return "unreadable"  # pragma: no cover -- marshmallow never raises without a message


class _OwnWords(TypedDict):
    upstream_code: str | None
    upstream_message: str | None
    request_id: str | None


def _own_words(document: Any, token: Token) -> _OwnWords:
    """Return the upstream's code, message and request ID, safe to show to callers who may see details."""
    answer = document if isinstance(document, dict) else {}
    return {
        "upstream_code": clean(answer.get("error_code"), token.value, 64),
        "upstream_message": clean(answer.get("error_msg"), token.value, 512),
        "request_id": clean(answer.get("request_id"), token.value, 64),
    }


def _retry_after(headers: Mapping[str, str], wall_seconds: float) -> float | None:
    """Return the seconds that Retry-After asks for (RFC 9110, 10.2.3), None where it is absent or nonsense."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch("[0-9]+", text, re.ASCII):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - wall_seconds)
    except (ValueError, OverflowError):
        return None
