"""Asks one instance for its task statistics (CountTasks)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypedDict

from marshmallow import ValidationError

from fdi_health.errors import CheckError
from fdi_health.models import Statistics, TaskCounts
from fdi_health.redaction import redact
from fdi_health.roma.error_responses import ErrorResponse, is_html_page, map_error_response
from fdi_health.transport.retry import Retries, retry_after
from schemas import strict_json
from schemas.statistics import MAX_GROUP_NAME_LENGTH, OTHER_GROUPS, REQUIRED_GROUPS, StatisticsSchema

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from fdi_health.clock import Deadline
    from fdi_health.models import Instance, Token
    from fdi_health.transport.client import Response, Transport


class Client:
    """Asks for one instance's statistics.

    Args:
        transport: the endpoint.
        project_id: the project all instances are in.
        optional_groups: task groups that a response may lack.
        retries: when to ask again.
        wall: returns seconds since the epoch, for a Retry-After that is a date.

    """

    def __init__(
        self,
        transport: Transport,
        project_id: str,
        optional_groups: Collection[str] = (),
        retries: Retries | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._transport = transport
        self._project_id = project_id
        self._schema = StatisticsSchema(optional_groups=optional_groups)
        self._retries = retries or Retries("ROMA Connect")
        self._wall = wall

    def statistics(self, instance: Instance, token: Token, deadline: Deadline) -> Statistics:
        """Return the instance's valid statistics; what may go better the next time is tried again, see `Retries.run`.

        Raises:
            CheckError: any result code but `token_unavailable`.

        """

        def attempt() -> Statistics:
            response = self._ask(instance, token, deadline)
            if response.status != 200:
                raise self._failure(response, token)
            return self._read(response, token)

        return self._retries.run(attempt, deadline)

    def _ask(self, instance: Instance, token: Token, deadline: Deadline) -> Response:
        path = f"/v2/{self._project_id}/fdi/instances/{instance.instance_id}/statistics/tasks"
        headers = {
            "X-Auth-Token": token.value,
            "Accept": "application/json",
            "Cache-Control": "no-cache, no-store",
            "User-Agent": "fdi-health",
        }
        return self._transport.get(path, headers, deadline, instance_id=instance.instance_id)

    def _read(self, response: Response, token: Token) -> Statistics:
        document: Any = None
        # The beginning of a response that is too large may be a whole document, and its rest may contradict it.
        fault = None if response.complete else "the response is too large"
        if response.headers.get("Age", "0").strip() != "0":
            fault = "a cache answered, not ROMA Connect"
        if fault is None:
            try:
                document = strict_json.loads(response.body)
            except strict_json.InvalidJSON as error:
                fault = f"the response is not valid JSON: {error}"
        if fault is not None:
            if is_html_page(response.headers.get("Content-Type"), response.body):
                raise self._failure(response, token)
            raise CheckError("invalid_response", fault, upstream_status=200)
        try:
            loaded = self._schema.load(document)
            _refuse_token_in_names(loaded[OTHER_GROUPS], token)
        except ValidationError as error:
            raise CheckError(
                "invalid_response",
                f"the response is not a valid statistics document ({_where(error.messages_dict)})",
                upstream_status=200,
                **_redacted_fields(document, token),
            ) from None
        common, cdc = (TaskCounts(**loaded[name]) if name in loaded else None for name in REQUIRED_GROUPS)
        return Statistics(common, cdc, {name: TaskCounts(**counts) for name, counts in loaded[OTHER_GROUPS].items()})

    def _failure(self, response: Response, token: Token) -> CheckError:
        try:
            document = strict_json.loads(response.body)
        except strict_json.InvalidJSON:
            document = None
        words = _redacted_fields(document, token)
        failed = ErrorResponse(response.status, response.headers, response.body, document, self._transport.endpoint)
        mapped = map_error_response(failed, words["upstream_message"])
        return CheckError(
            mapped.code,
            mapped.message,
            next_step=mapped.next_step,
            upstream_status=response.status,
            retry_after=retry_after(response.headers, self._wall()),
            **words,
        )


def _refuse_token_in_names(names: Iterable[str], token: Token) -> None:
    """Raise ValidationError if a further group's name, which is shown, holds a part of the token."""
    if any(redact(name, _secrets(token), MAX_GROUP_NAME_LENGTH) != name for name in names):
        raise ValidationError({OTHER_GROUPS: ["the name of a further task group is not plain"]})


def _secrets(token: Token) -> tuple[str, ...]:
    return (token.value, *token.known_secrets)


def _where(messages: Mapping[str, Any]) -> str:
    """Name the first field at fault, by our schema's own names."""
    name, inner = next(iter(messages.items()))
    if name == "_schema":
        return "not an object"
    if isinstance(inner, dict):
        return f"{name}.{next(iter(inner))}"
    return name


class _ErrorFields(TypedDict):
    upstream_code: str | None
    upstream_message: str | None
    request_id: str | None


def _redacted_fields(document: Any, token: Token) -> _ErrorFields:
    """Return the upstream's code, message and request ID, safe to show to callers who may see details."""
    members = document if isinstance(document, dict) else {}
    secrets = _secrets(token)
    return {
        "upstream_code": redact(members.get("error_code"), secrets, 64),
        "upstream_message": redact(members.get("error_msg"), secrets, 512),
        "request_id": redact(members.get("request_id"), secrets, 64),
    }
