"""The fields of a log line that describe the request: the caller, the trace and the platform's request ID."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}", re.ASCII)
"""W3C Trace Context, level 1; later versions may go on behind, which is not read."""

_CLOUD_TRACE = re.compile(r"([0-9a-fA-F]{32})(?:/([0-9]{1,20}))?(?:;o=[0-9])?", re.ASCII)
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}", re.ASCII)


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


def request_of(caller: str | None, headers: Mapping[str, str], context: Any) -> Request:
    """Return what is logged of a request.

    Args:
        caller: the caller's name, or None.
        headers: its headers, their names in lower case: `traceparent`, or else `x-cloud-trace-context`.
        context: the platform's own context of the invocation: Lambda's `aws_request_id`, FunctionGraph's
            `getRequestID()`.

    """
    match = _TRACEPARENT.fullmatch(headers.get("traceparent", "").strip())
    match = match or _CLOUD_TRACE.fullmatch(headers.get("x-cloud-trace-context", "").strip())
    trace, span = (match[1].lower(), match[2]) if match else (None, None)
    if span is not None and len(span) != 16:
        # Google's own header has it in decimal, its logs want it as everybody else's.
        span = f"{int(span) % 2**64:016x}"
    if trace is not None and not trace.strip("0"):
        trace = span = None
    return Request(caller, trace, span, _request_id(context))


def _request_id(context: Any) -> str | None:
    found = getattr(context, "aws_request_id", None)
    if found is None:
        try:
            found = context.getRequestID()
        except Exception:  # noqa: BLE001 -- no context at all, or a platform's own code
            return None
    return found if isinstance(found, str) and _REQUEST_ID.fullmatch(found) else None
