"""Errors as responses: application/problem+json (RFC 9457)."""

from __future__ import annotations

import json
from typing import Any

from fdi_health import log
from fdi_health.errors import CheckError
from handlers.authentication import CHALLENGE
from handlers.response import Response
from schemas.problem import ProblemSchema
from schemas.settings_fields import MARKER, without_marker

PROBLEMS = {
    "malformed_query": (400, "The query is malformed"),
    "unauthorized": (401, "A key is missing or wrong"),
    "unknown_path": (404, "There is nothing here"),
    "unknown_instance": (404, "An instance is not configured"),
    "method_not_allowed": (405, "This path does not take this method"),
    "settings_invalid": (500, "The settings are broken"),
    "internal_error": (500, "fdi-health itself failed"),
    "callers_unavailable": (503, "Keys can't be checked"),
    "overloaded": (503, "Too many checks are under way"),
}
"""Code → status and title."""

RETRY_AFTER_SECONDS = "1"
"""When a caller may retry after `overloaded`: checks end within seconds."""


def log_as_problem(error: Exception) -> CheckError:
    """Write the log line for what a request raised; return the error with a problem's code that the caller gets."""
    if isinstance(error, CheckError) and error.code in PROBLEMS:
        log.log_problem(error, PROBLEMS[error.code][0])
        return error
    log.log_fault(error)
    return CheckError("internal_error", "an unexpected fault; its place is in the function's log")


def problem_document(error: CheckError) -> dict[str, Any]:
    """Return the document for an error with a problem's code.

    Raises:
        ValueError: the marker FDI-OK is in it, which `CheckError` keeps out of every text; a fault of ours.

    """
    status, title = PROBLEMS[error.code]
    document: dict[str, Any] = ProblemSchema().dump(
        {
            "type": f"urn:fdi-health:problem:{error.code}",
            "title": title,
            "status": status,
            "code": error.code,
            "detail": f"{error.message}. {error.next_step}" if error.next_step else error.message,
            "faults": error.faults,
        }
    )
    if MARKER.search(json.dumps(document)):
        raise ValueError("a problem contains the marker of a healthy verdict")
    return document


def problem(error: CheckError) -> Response:
    """Return the response for an error with a problem's code."""
    document = problem_document(error)
    status = document["status"]
    response = json_response(document, status, "application/problem+json")
    if status == 401:
        response.headers["WWW-Authenticate"] = CHALLENGE
    if error.code == "overloaded":
        response.headers["Retry-After"] = RETRY_AFTER_SECONDS
    return response


def json_response(document: object, status: int, media_type: str = "application/json") -> Response:
    """Return a compact, all-ASCII JSON response that is not a verdict, and so never contains the marker."""
    body = without_marker(json.dumps(document, separators=(",", ":")))
    return Response(body.encode("ascii"), status, {"Content-Type": media_type})
