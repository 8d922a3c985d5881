"""Events that are not HTTP requests, for example a schedule's: the anonymous verdict as a plain document.

An input that is a JSON object with nothing but our parameters steers the check, as a POST body does. Nothing here
raises an exception: platforms treat one as a reason to call again, and some show its text to the caller.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from marshmallow import ValidationError

from fdi_health.clock import Deadline
from fdi_health.errors import CheckError
from fdi_health.evaluation import hide_details
from fdi_health.invocation import invocation
from fdi_health.log import log_fault, log_problem, log_verdict
from fdi_health.log.request import request_of
from handlers.problems import PROBLEMS, problem_document
from handlers.request_parameters import malformed_query, seconds_within
from schemas import query as query_schema
from schemas import verdict as verdict_schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from handlers.application import Application


def verdict_document(
    application: Application, seconds_left: float | None, context: Any, event: Any = None
) -> dict[str, Any]:
    """Return the verdict as anonymous callers see it, or a problem; nothing of the event is in it.

    Args:
        application: the state of this application.
        seconds_left: until the platform ends us, or None where it does not say.
        context: the platform's own context of the invocation.
        event: as the platform gave it; its input may steer the check.

    """
    began = time.monotonic()
    before = invocation.set(context)
    try:
        service = application.service()
        query = _parameters(event)
        bounds = [service.deadline_seconds, query.deadline, seconds_within(seconds_left)]
        # From when we were called: opening the service has used up some of it.
        deadline = Deadline(began + min(bound for bound in bounds if bound))
        with application.admitted():
            verdict = service.check(service.select(query.instance), deadline)
        verdict = verdict._replace(fail_on=query.fail_on)
        document = verdict_schema.document(hide_details(verdict))
        log_verdict(verdict, request_of(None, {}, context), application.google_project)
    except Exception as error:  # noqa: BLE001 -- the one catch-all of this way in
        if not isinstance(error, CheckError) or error.code not in PROBLEMS:
            log_fault(error)
            error = CheckError("internal_error", "an unexpected fault; its place is in the function's log")
        else:
            log_problem(error, PROBLEMS[error.code][0])
        return problem_document(error)
    else:
        return document
    finally:
        invocation.reset(before)


def _parameters(event: Any) -> query_schema.Query:
    try:
        query = query_schema.load_input(_input(event))
    except ValidationError as error:
        raise malformed_query(error) from None
    if query.format not in (None, "json"):
        raise CheckError("malformed_query", "format must be json where the event is not an HTTP request")
    return query


def _input(event: Any) -> Any:
    """Return the part of an event that its sender chose: a schedule's constant input is the whole event.

    Source: the vendors' pages on EventBridge events (`detail`) and FunctionGraph's timer trigger (`user_event`).
    """
    if isinstance(event, dict):
        if "detail-type" in event:
            return event.get("detail")
        if "trigger_type" in event:
            return event.get("user_event")
    return event


def seconds_left(milliseconds: Callable[[], object] | None) -> float | None:
    """Return the seconds that a platform leaves us, as its context says it in milliseconds; None for nonsense."""
    try:
        left = milliseconds() if milliseconds is not None else None
        is_number = isinstance(left, int | float) and not isinstance(left, bool) and math.isfinite(left)
        return left / 1000 if is_number else None  # type: ignore[operator] # it is a number here
    except Exception:  # noqa: BLE001 -- a context is the platform's own code, or a stand-in of somebody's test
        return None
