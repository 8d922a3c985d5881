"""Events that are not HTTP requests, for example a schedule's: the anonymous verdict as a plain document.

An input that is a JSON object with nothing but our parameters steers the check, as a POST body does. Nothing here
raises an exception: platforms treat one as a reason to call again, and some show its text to the caller.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from marshmallow import ValidationError

from fdi_health.errors import CheckError
from fdi_health.secret_stores.huawei.invocation import invocation
from handlers.authentication import ANONYMOUS
from handlers.checks import run_check
from handlers.problems import log_as_problem, problem_document
from handlers.request_parameters import malformed_query
from schemas import query as query_schema
from schemas import verdict as verdict_schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from handlers.application import Application
    from handlers.request_context import RequestContext

_INPUTS = {"detail-type": "detail", "trigger_type": "user_event", "triggerName": "payload", "TriggerName": "Message"}
"""A member that only a platform's own event has → the member that holds what its sender chose."""


def respond_to_event(context: RequestContext, application: Application, event: Any) -> dict[str, Any]:
    """Return the verdict as anonymous callers see it, or a problem; nothing of the event is in it.

    Args:
        context: the invocation.
        application: the state of this process.
        event: as the platform gave it; its input may steer the check.

    """
    before = invocation.set(context.invocation)
    try:
        return run_check(context, application, _query(event), verdict_schema.document, ANONYMOUS)[1]
    except Exception as error:  # noqa: BLE001 -- the one catch-all of this entry point
        return problem_document(log_as_problem(error))
    finally:
        invocation.reset(before)


def _query(event: Any) -> query_schema.Query:
    try:
        query = query_schema.load_input(_input(event))
    except ValidationError as error:
        raise malformed_query(error) from None
    if query.format not in (None, "json"):
        raise CheckError("malformed_query", "format must be json where the event is not an HTTP request")
    return query


def _input(event: Any) -> Any:
    """Return the part of an event that its sender chose: a schedule's constant input is the whole event.

    Source: the vendors' pages on EventBridge events (`detail`) and on the timer triggers of FunctionGraph
    (`user_event`), Alibaba (`payload`), Tencent (`Message`) and Yandex (`messages`).
    """
    if isinstance(event, dict):
        for mark, name in _INPUTS.items():
            if mark in event:
                return event.get(name)
        messages = event.get("messages")
        if isinstance(messages, list) and messages and isinstance(messages[0], dict):
            details = messages[0].get("details")
            return details.get("payload") if isinstance(details, dict) else None
    return event


def seconds_left(milliseconds: Callable[[], object] | None) -> float | None:
    """Return the seconds that a platform leaves us, as its context says it in milliseconds; None for nonsense."""
    try:
        left = milliseconds() if milliseconds is not None else None
        is_number = isinstance(left, int | float) and not isinstance(left, bool) and math.isfinite(left)
        return left / 1000 if is_number else None  # type: ignore[operator] # it is a number here
    except Exception:  # noqa: BLE001 -- a context is the platform's own code, or a stand-in of somebody's test
        return None
