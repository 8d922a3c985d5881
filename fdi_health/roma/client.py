"""Asks one instance for its task statistics (CountTasks)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from marshmallow import ValidationError

from fdi_health.errors import CheckError
from fdi_health.models import Statistics, TaskCounts
from fdi_health.redaction import redact
from fdi_health.roma.access_key_errors import map_refused_key
from fdi_health.roma.error_responses import ErrorResponse, is_html_page, map_error_response
from fdi_health.transport.retry import Retries, retry_after
from schemas import strict_json
from schemas.statistics import MAX_GROUP_NAME_LENGTH, OTHER_GROUPS, REQUIRED_GROUPS, StatisticsSchema

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from contextlib import AbstractContextManager

    from fdi_health.clock import Deadline
    from fdi_health.models import Instance
    from fdi_health.transport.client import Response, Transport


class Authenticator(Protocol):
    """Authenticates requests to ROMA Connect: a token or an access key."""

    @property
    def generation(self) -> int:
        """The number of its read in this process. Two reads that return the same secret differ in it."""
        ...

    @property
    def renewable(self) -> bool:
        """Whether IAM issued it for credentials, so that a new login gives another one."""
        ...

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown: everything that this process has used lately, for redaction."""
        ...

    @property
    def signs(self) -> bool:
        """Whether it is an access key."""
        ...

    def headers(self, host: str, path: str, project_id: str, seconds: float) -> dict[str, str]:
        """Return the headers that authenticate a GET.

        Args:
            host: the value of the header `Host`.
            path: the whole path of the URL.
            project_id: the project that the request is about.
            seconds: the time, in seconds since the epoch.

        """
        ...

    def permit(self, instance_id: str, deadline: Deadline) -> AbstractContextManager[None]:
        """Return a context that waits until a request may be sent. Its block sends it and raises CheckError.

        Raises:
            CheckError: `token_rejected` or `timeout`, on entering.

        """
        ...

    def is_same_secret(self, other: object) -> bool:
        """Whether another read returned the same token or access key."""
        ...


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

    def statistics(self, instance: Instance, authenticator: Authenticator, deadline: Deadline) -> Statistics:
        """Return the instance's valid statistics; what may go better the next time is tried again, see `Retries.run`.

        Raises:
            CheckError: any result code but `token_unavailable`.

        """

        def attempt() -> Statistics:
            with authenticator.permit(instance.instance_id, deadline):
                response = self._ask(instance, authenticator, deadline)
                if response.status != 200:
                    raise self._failure(response, authenticator)
                return self._read(response, authenticator)

        return self._retries.run(attempt, deadline)

    def _ask(self, instance: Instance, authenticator: Authenticator, deadline: Deadline) -> Response:
        path = f"/v2/{self._project_id}/fdi/instances/{instance.instance_id}/statistics/tasks"
        whole_path = f"{self._transport.path_prefix}{path}"
        headers = {
            **authenticator.headers(self._transport.host, whole_path, self._project_id, self._wall()),
            "Accept": "application/json",
            "Cache-Control": "no-cache, no-store",
            "User-Agent": "fdi-health",
        }
        return self._transport.get(path, headers, deadline, instance_id=instance.instance_id)

    def _read(self, response: Response, authenticator: Authenticator) -> Statistics:
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
                raise self._failure(response, authenticator)
            raise CheckError("invalid_response", fault, upstream_status=200)
        try:
            loaded = self._schema.load(document)
            _refuse_secret_in_names(loaded[OTHER_GROUPS], authenticator.secrets)
        except ValidationError as error:
            raise CheckError(
                "invalid_response",
                f"the response is not a valid statistics document ({_where(error.messages_dict)})",
                upstream_status=200,
                **_redacted_fields(document, authenticator.secrets),
            ) from None
        common, cdc = (TaskCounts(**loaded[name]) if name in loaded else None for name in REQUIRED_GROUPS)
        return Statistics(common, cdc, {name: TaskCounts(**counts) for name, counts in loaded[OTHER_GROUPS].items()})

    def _failure(self, response: Response, authenticator: Authenticator) -> CheckError:
        try:
            document = strict_json.loads(response.body)
        except strict_json.InvalidJSON:
            document = None
        words = _redacted_fields(document, authenticator.secrets)
        failed = ErrorResponse(response.status, response.headers, response.body, document, self._transport.endpoint)
        mapped = map_error_response(failed, words["upstream_message"])
        if authenticator.signs and mapped.code == "token_rejected":
            mapped = map_refused_key(failed, words["upstream_message"], self._wall())
        return CheckError(
            mapped.code,
            mapped.message,
            next_step=mapped.next_step,
            upstream_status=response.status,
            retry_after=retry_after(response.headers, self._wall()),
            **words,
        )


def _refuse_secret_in_names(names: Iterable[str], secrets: Collection[str]) -> None:
    """Raise ValidationError if a further group's name, which is shown, holds a part of a secret."""
    if any(redact(name, secrets, MAX_GROUP_NAME_LENGTH) != name for name in names):
        raise ValidationError({OTHER_GROUPS: ["the name of a further task group is not plain"]})


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


def _redacted_fields(document: Any, secrets: Collection[str]) -> _ErrorFields:
    """Return the upstream's code, message and request ID, safe to show to callers who may see details."""
    members = document if isinstance(document, dict) else {}
    return {
        "upstream_code": redact(members.get("error_code"), secrets, 64),
        "upstream_message": redact(members.get("error_msg"), secrets, 512),
        "request_id": redact(members.get("request_id"), secrets, 64),
    }
