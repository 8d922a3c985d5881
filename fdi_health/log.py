"""What is logged: one line of JSON for each verdict, problem and fault, never a key, a token or foreign text.

The fields are those that Cloud Logging (`severity`, `time`) and AWS Lambda's JSON log format (`level`, `timestamp`)
look for. A line is at most `MAX_LINE_BYTES` long, so that no platform splits it.
"""

from __future__ import annotations

import atexit
import json
import logging
import re
import time
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from fdi_health import __version__
from fdi_health.log_writer import LogWriter
from fdi_health.model import WORST_FIRST, total

if TYPE_CHECKING:
    from fdi_health.errors import CheckError
    from fdi_health.model import InstanceVerdict, Status, Verdict

MAX_LINE_BYTES = 8 * 1024
MAX_INSTANCES = 20
"""How many instances that are not healthy a line names."""

_LOG = logging.getLogger("fdi_health")

_LEVELS: dict[Status, int] = {
    "healthy": logging.INFO,
    "degraded": logging.WARNING,
    "unhealthy": logging.ERROR,
    "unknown": logging.ERROR,
}

_AWS_LEVELS = {"WARNING": "WARN"}
"""Python's name of a level → the one that Lambda's log filter knows."""

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}", re.ASCII)
"""W3C Trace Context, level 1; later versions may go on behind, which is not read."""

_CLOUD_TRACE = re.compile(r"([0-9a-fA-F]{32})(?:/([0-9]{1,20}))?(?:;o=[0-9])?", re.ASCII)
_MAX_CAUSES, _MAX_FRAMES = 5, 10
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
        request: the request that it answers.
        project: the Google Cloud project, in whose form the trace is named too; or None.

    """
    fields: dict[str, Any] = {
        "status": verdict.status,
        "healthy": verdict.healthy,
        "reason": verdict.reason,
        "instances_count": verdict.instances_count,
        "age_seconds": round(verdict.age_seconds, 1),
        "duration_seconds": round(verdict.duration_seconds, 3),
        "version": __version__,
        **{name: value for name, value in request._asdict().items() if value is not None},
    }
    if request.trace is not None and project:
        fields["logging.googleapis.com/trace"] = f"projects/{project}/traces/{request.trace}"
        fields["logging.googleapis.com/spanId"] = request.span
    details = verdict.details
    if details is not None:
        if details.token is not None:
            fields["credentials"] = {"kind": details.token.kind, "version": details.token.version}
        if details.warnings:
            fields["warnings"] = sorted({warning.code for warning in details.warnings})
        not_healthy = [part for part in details.instances if part.status != "healthy"]
        _add_instances(fields, sorted(not_healthy, key=lambda part: WORST_FIRST.index(part.status)))
        if details.is_fresh:
            _add_task_counts(fields, details.instances)
    _write(_LEVELS[verdict.status], f"{verdict.status}: {verdict.reason}", fields)


def _add_instances(fields: dict[str, Any], not_healthy: list[InstanceVerdict]) -> None:
    """Add as many of the instances that are not healthy as a line may name, and how many more there are."""
    shown = [_logged(part) for part in not_healthy[:MAX_INSTANCES]]
    while shown and not _fits({**fields, "instances": shown}):
        shown.pop()
    if shown:
        fields["instances"] = shown
    if len(not_healthy) > len(shown):
        fields["more_instances"] = len(not_healthy) - len(shown)


def _logged(part: InstanceVerdict) -> dict[str, Any]:
    found: dict[str, Any] = {"name": part.name, "status": part.status, "reason": part.reason}
    if part.error is not None:
        found |= {
            "code": part.error.code,
            "next_step": part.error.next_step,
            "upstream_status": part.error.upstream_status,
            "upstream_code": part.error.upstream_code,
            "request_id": part.error.request_id,
        }
    return {**found, "duration_seconds": round(part.duration_seconds, 3)}


def _add_task_counts(fields: dict[str, Any], instances: tuple[InstanceVerdict, ...]) -> None:
    """Add the counts of every instance that responded, over all groups; none if they make the line too long."""
    # One instance takes some 120 bytes: no need to write out what cannot fit.
    if len(instances) <= MAX_LINE_BYTES // 100:
        counts = {part.name: total(part)._asdict() for part in instances if part.error is None}
        if counts and _fits({**fields, "task_counts": counts}):
            fields["task_counts"] = counts


def _fits(fields: dict[str, Any]) -> bool:
    # Message, severity and times come on top; the message repeats the reason.
    return len(json.dumps(fields, separators=(",", ":"))) <= MAX_LINE_BYTES - 512


def log_problem(error: CheckError, status: int) -> None:
    """Write the line for a problem that is ours or our operator's; others are their callers'.

    Args:
        error: the problem.
        status: the HTTP status that it has; below 500 nothing is written.

    """
    if status >= 500:
        faults = [fault._asdict() for fault in error.faults[:MAX_INSTANCES]]
        fields = {"code": error.code, "next_step": error.next_step, "faults": faults}
        while faults and not _fits(fields):
            faults.pop()
        _write(logging.ERROR, f"{error.code}: {error.message}", fields)


def log_fault(error: BaseException) -> None:
    """Write one line for an unexpected exception: classes and places only, since its text may hold anything."""
    causes: list[dict[str, object]] = []
    cause: BaseException | None = error
    while cause is not None and len(causes) < _MAX_CAUSES:  # a chain may be a ring
        frames = traceback.extract_tb(cause.__traceback__)
        causes.append(
            {
                "exception": f"{type(cause).__module__}.{type(cause).__qualname__}",
                "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-_MAX_FRAMES:]],
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
    _LOG.handlers[:] = [_QueueHandler()]
    logging.getLogger("gunicorn.error").addFilter(_without_what_a_caller_sent)


def flush() -> None:
    """Wait a moment until the lines are written, e.g. because the platform freezes the process after a response."""
    _writer.flush()


def _without_what_a_caller_sent(record: logging.LogRecord) -> bool:
    """Cut a server's line about a request that it could not read: what it quotes may be a key with a slip in it."""
    if isinstance(record.msg, str) and record.msg.startswith("Invalid request from ip="):
        record.msg, record.args = record.msg.partition(": ")[0], ()
    return True


def line_of(record: logging.LogRecord) -> str:
    """Return a record of ours as one line of JSON."""
    severity = record.levelname
    timestamp = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    fields = {
        "severity": severity,
        "level": _AWS_LEVELS.get(severity, severity),
        "time": timestamp,
        "timestamp": timestamp,
        "message": record.getMessage(),
        **getattr(record, "fields", {}),
    }
    line = json.dumps(fields, separators=(",", ":"))
    if len(line) < MAX_LINE_BYTES:
        return line
    return json.dumps({**dict(list(fields.items())[:4]), "message": fields["message"][:1000], "is_cut": True})


class _QueueHandler(logging.Handler):
    """Hands lines to the writer's thread."""

    def emit(self, record: logging.LogRecord) -> None:
        _writer.write(f"{line_of(record)}\n".encode("ascii"))


def dropped_line(count: int) -> bytes:
    """Return the line that says how many lines nobody took."""
    message = f"{count} log lines were dropped: nobody read this log for a while"
    record = logging.makeLogRecord({"levelname": "WARNING", "created": time.time(), "msg": message})
    return f"{line_of(record)}\n".encode("ascii")


_writer = LogWriter(dropped_line)
atexit.register(_writer.flush)


def _write(level: int, message: str, fields: dict[str, Any]) -> None:
    _LOG.log(level, "%s", message, extra={"fields": fields})


def _request_id(context: Any) -> str | None:
    found = getattr(context, "aws_request_id", None)
    if found is None:
        try:
            found = context.getRequestID()
        except Exception:  # noqa: BLE001 -- no context at all, or a platform's own code
            return None
    return found if isinstance(found, str) and _REQUEST_ID.fullmatch(found) else None
