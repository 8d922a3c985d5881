"""One check from admission to the log line, for HTTP requests and for other events alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from fdi_health import log
from fdi_health.evaluation import hide_details
from fdi_health.log.request import request_of
from handlers import authentication, request_parameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from fdi_health.models import Verdict
    from handlers.application import Application
    from handlers.authentication import Caller
    from handlers.request_context import RequestContext
    from schemas.query import Query

Rendered = TypeVar("Rendered")


def run_check(
    context: RequestContext,
    application: Application,
    query: Query,
    render: Callable[[Verdict], Rendered],
    caller: Caller | None = None,
    *,
    names_tasks: bool = True,
) -> tuple[Verdict, Rendered]:
    """Check the instances asked for; return the verdict, details included, and what the caller may see of it.

    Names of tasks are in the second only: the first one goes to the log.

    Args:
        context: the request.
        application: the state of this process.
        query: the parameters.
        render: validates a verdict and makes the response of it.
        caller: the caller; None to identify it by the headers.
        names_tasks: whether the response has a place for the names of tasks.

    Raises:
        CheckError: `settings_invalid`, `overloaded`, `unauthorized`, `callers_unavailable`, `unknown_instance`.
        ValidationError: the verdict contradicts itself. It is a fault of ours, so the log has no line for a verdict.

    """
    service = application.service()
    deadline = request_parameters.deadline(context, service.deadline_seconds, query.deadline)
    with application.admission.check():
        caller = caller or authentication.identify(context.headers, service, deadline)
        selected = service.select(query.instance, query.target, deadline, caller.targets)
        verdict = service.check(selected, deadline)
        # Requests share results, and each request chooses which statuses fail.
        verdict = verdict._replace(fail_on=query.fail_on)
        shown = hide_details(verdict)
        if caller.sees_details:
            count = query.explain if names_tasks else 0
            shown = service.name_tasks(verdict, count, deadline, remarks=caller.sees_remarks)
        with application.rendering:
            rendered = render(shown)
    about = request_of(caller.name, context.headers, context.invocation)
    log.log_verdict(verdict, about, application.google_project)
    return verdict, rendered
