"""Logs one line of JSON for each verdict, problem and fault, never a key, a token or text of ROMA Connect.

The fields are those that Cloud Logging (`severity`, `time`) and AWS Lambda's JSON log format (`level`, `timestamp`)
look for. A line is at most `MAX_LINE_BYTES` long, so that no platform splits it.
"""

from __future__ import annotations

import atexit
import json
import logging
import time
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fdi_health import __version__
from fdi_health.log.writer import LogWriter
from fdi_health.models import WORST_FIRST, total

if TYPE_CHECKING:
    from fdi_health.errors import CheckError
    from fdi_health.log.request import Request
    from fdi_health.models import InstanceVerdict, Status, Verdict

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

_MAX_CAUSES, _MAX_FRAMES = 5, 10


def log_verdict(verdict: Verdict, request: Request, project: str | None = None) -> None:
    """Write the line for a verdict, with details: only the operator reads the log.

    Args:
        verdict: with details.
        request: the request that it is the response to.
        project: the Google Cloud project, to write the trace as Cloud Logging expects it; or None.

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
        for target in details.targets:
            if target.name is not None and target.error is not None:
                fields.setdefault("targets", {})[target.name] = target.error.code
        if details.warnings:
            fields["warnings"] = sorted({warning.code for warning in details.warnings})
        if verdict.status != "healthy":
            _add_instances(fields, details.instances)
        if details.is_fresh:
            _add_task_counts(fields, details.instances)
    _write(_LEVELS[verdict.status], f"{verdict.status}: {verdict.reason}", fields)


def _add_instances(fields: dict[str, Any], instances: tuple[InstanceVerdict, ...]) -> None:
    """Add as many of the instances that are not healthy as a line may name, and how many more there are."""
    not_healthy = [instance for status in WORST_FIRST[:-1] for instance in instances if instance.status == status]
    shown = [_logged(part) for part in not_healthy[:MAX_INSTANCES]]
    while shown and not _fits({**fields, "instances": shown}):
        shown.pop()
    fields["instances"] = shown
    if len(not_healthy) > len(shown):
        fields["more_instances"] = len(not_healthy) - len(shown)


def _logged(part: InstanceVerdict) -> dict[str, Any]:
    target = {} if part.target is None else {"target": part.target}
    found: dict[str, Any] = {**target, "name": part.name, "status": part.status, "reason": part.reason}
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
    """Add the counts of every instance that responded, summed over groups; none if the line gets too long."""
    # One instance takes some 120 bytes: no need to write out what cannot fit.
    if len(instances) <= MAX_LINE_BYTES // 100:
        counts = {part.label: total(part)._asdict() for part in instances if part.error is None}
        if counts and _fits({**fields, "task_counts": counts}):
            fields["task_counts"] = counts


def _fits(fields: dict[str, Any]) -> bool:
    # Message, severity and times come on top; the message repeats the reason.
    return len(json.dumps(fields, separators=(",", ":"))) <= MAX_LINE_BYTES - 512


def log_problem(error: CheckError, status: int) -> None:
    """Write the line for a problem with a status of 500 or more; the others are mistakes of callers.

    Args:
        error: the problem.
        status: its HTTP status.

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


def to_root_logger() -> None:
    """Hand the lines to the platform's own logging: Azure Functions takes a line's severity from there alone.

    Source: the vendor's Python developer guide ("Logging and monitoring").
    """
    _LOG.handlers[:] = [_RootHandler()]


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


class _RootHandler(logging.Handler):
    """Hands each line to the handlers of the root logger, as a record's message; to stderr if one of them fails."""

    def emit(self, record: logging.LogRecord) -> None:
        line = line_of(record)
        try:
            logging.getLogger().handle(logging.makeLogRecord({**vars(record), "msg": line, "args": ()}))
        except Exception:  # noqa: BLE001 -- a handler is the platform's or the operator's own code
            _writer.write(f"{line}\n".encode("ascii"))


def dropped_line(count: int) -> bytes:
    """Return the line that says how many lines were dropped."""
    message = f"{count} log lines were dropped: nobody read this log for a while"
    record = logging.makeLogRecord({"levelname": "WARNING", "created": time.time(), "msg": message})
    return f"{line_of(record)}\n".encode("ascii")


_writer = LogWriter(dropped_line)
atexit.register(_writer.flush)


def _write(level: int, message: str, fields: dict[str, Any]) -> None:
    # Not Logger.log, which walks the stack for the place of the call. Our lines show none, so records that a platform's
    # handlers get (`to_root_logger`) have none either.
    if _LOG.isEnabledFor(level):
        _LOG.handle(_LOG.makeRecord(_LOG.name, level, "", 0, "%s", (message,), None, extra={"fields": fields}))
