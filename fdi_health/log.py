"""What is written into the log: one line of JSON for each thing, never a key, a token or foreign text.

The fields are those that Cloud Logging and CloudWatch Logs look for: `severity`, `message`, `time`, names of a trace.
"""

from __future__ import annotations

import logging
import re
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from fdi_health.errors import CheckError
    from fdi_health.model import Status, Verdict

_LOG = logging.getLogger("fdi_health")

_LEVELS: dict[Status, int] = {
    "healthy": logging.INFO,
    "degraded": logging.WARNING,
    "unhealthy": logging.ERROR,
    "unknown": logging.ERROR,
}

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}", re.ASCII)
"""W3C Trace Context, level 1; later versions may go on behind, which is not read."""

_CLOUD_TRACE = re.compile(r"([0-9a-fA-F]{32})(?:/([0-9]{1,20}))?(?:;o=[0-9])?", re.ASCII)
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}", re.ASCII)


class Headers(Protocol):
    """A request's headers, whatever the case of their names."""

    def get(self, name: str, default: str, /) -> str:
        """Return a header's value."""
        ...


class Request(NamedTuple):
    """What a line says of the request that it is about.

    Attributes:
        caller: the caller's name in FDI_CALLERS, or None.
        trace: the trace it belongs to, 32 hexadecimal digits, or None.
        span: the span that called us, or None.
        request_id: the platform's own ID of it, or None.

    """

    caller: str | None = None
    trace: str | None = None
    span: str | None = None
    request_id: str | None = None


def request_of(caller: str | None, headers: Headers, context: Any) -> Request:
    """Return what is logged of a request.

    Args:
        caller: the caller's name, or None.
        headers: its headers, case-insensitive: `traceparent`, or else `X-Cloud-Trace-Context`.
        context: the platform's own context of the invocation: Lambda's `aws_request_id`, FunctionGraph's
            `getRequestID()`.

    """
    match = _TRACEPARENT.fullmatch(headers.get("traceparent", "").strip())
    match = match or _CLOUD_TRACE.fullmatch(headers.get("X-Cloud-Trace-Context", "").strip())
    trace, span = (match[1].lower(), match[2]) if match else (None, None)
    if span is not None and len(span) != 16:
        # Google's own header has it in decimal, its logs want it as everybody else's.
        span = f"{int(span) % 2**64:016x}"
    if trace is not None and not trace.strip("0"):
        trace = span = None
    return Request(caller, trace, span, _request_id(context))


def log_verdict(verdict: Verdict, request: Request, project: str | None = None) -> None:
    """Write the line for a verdict, with everything that was found: the log is the operator's.

    Args:
        verdict: with details.
        request: whose answer it is.
        project: the Google Cloud project, in whose form the trace is named too; or None.

    """
    parts = verdict.details.instances if verdict.details else ()
    fields: dict[str, Any] = {
        "status": verdict.status,
        "healthy": verdict.healthy,
        "reason": verdict.reason,
        "age_seconds": round(verdict.age_seconds, 1),
        "duration_seconds": round(verdict.duration_seconds, 3),
        "instances": [
            {
                "name": part.name,
                "status": part.status,
                "code": part.error.code if part.error else None,
                "duration_seconds": round(part.duration_seconds, 3),
            }
            for part in parts
        ],
        **{name: value for name, value in request._asdict().items() if value is not None},
    }
    if request.trace is not None and project:
        fields["logging.googleapis.com/trace"] = f"projects/{project}/traces/{request.trace}"
        fields["logging.googleapis.com/spanId"] = request.span
    _write(_LEVELS[verdict.status], f"{verdict.status}: {verdict.reason}", fields)


def log_problem(error: CheckError, status: int) -> None:
    """Write the line for a problem that is ours or our operator's; others are their callers'.

    Args:
        error: the problem.
        status: the HTTP status that it has; below 500 nothing is written.

    """
    if status >= 500:
        variables = list(dict.fromkeys(fault.variable for fault in error.faults))
        _write(logging.ERROR, f"{error.code}: {error.message}", {"code": error.code, "variables": variables})


def log_fault(error: BaseException) -> None:
    """Write one line for an unexpected exception: classes and places only, since its text may hold anything."""
    causes: list[dict[str, object]] = []
    cause: BaseException | None = error
    while cause is not None and len(causes) < 10:  # a chain may be a ring
        frames = traceback.extract_tb(cause.__traceback__)
        causes.append(
            {
                "exception": f"{type(cause).__module__}.{type(cause).__qualname__}",
                "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
            }
        )
        cause = cause.__cause__ or cause.__context__
    _write(logging.ERROR, "fdi-health itself failed", {"causes": causes})


def to_stderr() -> None:
    """Write the lines to where the platforms collect what a process writes, and nowhere else.

    Platforms that have set up logging would put text of their own around the JSON, or keep the message alone.
    """
    _LOG.setLevel(logging.INFO)
    _LOG.propagate = False
    _LOG.handlers[:] = [logging.StreamHandler()]
    _LOG.handlers[0].setFormatter(formatter())
    logging.getLogger("gunicorn.error").addFilter(_without_what_a_caller_sent)


def _without_what_a_caller_sent(record: logging.LogRecord) -> bool:
    """Cut a server's line about a request that it could not read: what it quotes may be a key with a slip in it."""
    if isinstance(record.msg, str) and record.msg.startswith("Invalid request from ip="):
        record.msg, record.args = record.msg.partition(": ")[0], ()
    return True


def formatter() -> logging.Formatter:
    """Return what makes a record one line of JSON."""
    from pythonjsonlogger.json import JsonFormatter  # not before there is somebody to write for

    return JsonFormatter("%(message)s", timestamp="time")


def _write(level: int, message: str, fields: dict[str, Any]) -> None:
    _LOG.log(level, message, extra={"severity": logging.getLevelName(level), **fields})


def _request_id(context: Any) -> str | None:
    found = getattr(context, "aws_request_id", None)
    if found is None:
        try:
            found = context.getRequestID()
        except Exception:  # noqa: BLE001 -- no context at all, or a platform's own code
            return None
    return found if isinstance(found, str) and _REQUEST_ID.fullmatch(found) else None
