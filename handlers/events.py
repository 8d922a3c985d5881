"""Events that are no HTTP request, a schedule's say: the anonymous verdict as a plain document, never an exception.

Platforms treat an exception as a reason to call again, and some show its text to whoever called.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from fdi_health.deadline import Deadline
from fdi_health.errors import CheckError
from fdi_health.invocation import invocation
from fdi_health.log import log_fault, log_problem, log_verdict, request_of
from fdi_health.verdict import hide_details
from handlers.asked import seconds_within
from handlers.problems import PROBLEMS, problem_document
from schemas import verdict as verdict_schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from handlers.process import Process


def verdict_document(process: Process, seconds_left: float | None, context: Any) -> dict[str, Any]:
    """Return the verdict over all instances as anybody may see it, or a problem; nothing of the event is in it.

    Args:
        process: the state of this process.
        seconds_left: until the platform ends us, or None where it does not say.
        context: the platform's own context of the invocation.

    """
    began = time.monotonic()
    before = invocation.set(context)
    try:
        service = process.service()
        bound = seconds_within(seconds_left)
        # From when we were called: opening the service has used up some of it.
        deadline = Deadline(began + min(service.deadline_seconds, bound or service.deadline_seconds))
        with process.admitted():
            verdict = service.check(service.select(None), deadline)
        document = verdict_schema.document(hide_details(verdict))
        log_verdict(verdict, request_of(None, {}, context), process.google_project)
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


def seconds_left(milliseconds: Callable[[], object] | None) -> float | None:
    """Return the seconds that a platform leaves us, as its context says it in milliseconds; None for nonsense."""
    try:
        left = milliseconds() if milliseconds is not None else None
        is_number = isinstance(left, int | float) and not isinstance(left, bool) and math.isfinite(left)
        return left / 1000 if is_number else None  # type: ignore[operator] # it is a number here
    except Exception:  # noqa: BLE001 -- a context is the platform's own code, or a stand-in of somebody's test
        return None
