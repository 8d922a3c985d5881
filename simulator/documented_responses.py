"""What the vendor documents: statistics documents, and the error codes with their status and message.

Source: the API reference and error-code pages of ROMA Connect, as gathered in the project's notes on the upstream.
The notes give no text for a code if its message is marked "our words".
"""

from __future__ import annotations

from typing import Final, NamedTuple

from simulator.responses import Response, json_response, statistics_response

DOC_PROJECT_ID: Final = "c53626012ba84727b938ca8bf03108ef"
DOC_INSTANCE_ID: Final = "fae7ff6c-8e07-4cf8-9e67-589cab2f017c"

# A gateway puts the id of the request into its errors; this one is made up.
REQUEST_ID: Final = "7d1f0c5be2a94386b1c0de55a1e4f00d"


def task_counts(running: int, abnormal: int, terminated: int, completed: int) -> dict[str, int]:
    """Return one group of counts under the documented names, in the documented order."""
    return {
        "running_tasks_count": running,
        "abnormal_tasks_count": abnormal,
        "terminated_tasks_count": terminated,
        "completed_tasks_count": completed,
    }


# The documented example: two abnormal common tasks, so unhealthy.
DOC_EXAMPLE: Final = {"common_task_details": task_counts(2, 2, 6, 8), "cdc_task_details": task_counts(1, 0, 6, 0)}
HEALTHY: Final = {"common_task_details": task_counts(2, 0, 6, 8), "cdc_task_details": task_counts(1, 0, 6, 0)}
CDC_ABNORMAL: Final = {"common_task_details": task_counts(2, 0, 6, 8), "cdc_task_details": task_counts(1, 3, 6, 0)}
# The response of an instance without tasks, and presumably the response to a user who may see no task.
NO_TASKS: Final = {"common_task_details": task_counts(0, 0, 0, 0), "cdc_task_details": task_counts(0, 0, 0, 0)}


class DocumentedError(NamedTuple):
    """The HTTP status and message that come with an error code."""

    status: int
    message: str


ERRORS: Final = {
    # The gateway.
    "APIG.0101": DocumentedError(404, "The API does not exist or has not been published in the environment"),
    "APIGW.0101": DocumentedError(404, "The API is not known."),  # our words, down to APIC.0802
    "APIC.0101": DocumentedError(404, "The API is not known."),
    "APIG.0103": DocumentedError(404, "No backend is configured."),
    "APIG.0201": DocumentedError(504, "The backend took too long."),
    "APIGW.0302": DocumentedError(403, "The user may not call the API."),
    "APIG.0303": DocumentedError(401, "The app's key is wrong."),
    "APIG.0306": DocumentedError(403, "The access is denied."),
    "APIG.0309": DocumentedError(403, "No quota is left."),
    "APIG.0310": DocumentedError(403, "The project cannot be used."),
    "APIG.0311": DocumentedError(401, "The gateway could not authenticate the request."),
    "APIG.0606": DocumentedError(503, "The gateway starts."),
    "APIC.0802": DocumentedError(403, "The user may not use the region."),
    "APIG.0301": DocumentedError(401, "Incorrect IAM authentication information: decrypt token fail"),
    "APIG.0307": DocumentedError(401, "The token must be updated."),
    "APIG.0308": DocumentedError(429, "policy user over ratelimit, limit:60, time:1 second"),
    "APIG.1002": DocumentedError(401, "Incorrect token or token resolution failed"),
    "APIG.1005": DocumentedError(403, "No permissions to request this method"),
    "APIGW.0301": DocumentedError(401, "Incorrect IAM authentication information: decrypt token fail"),
    "APIC.0301": DocumentedError(401, "Incorrect IAM authentication information: decrypt token fail"),
    "APIC.7102": DocumentedError(401, "Incorrect token or token resolution failed"),  # our words
    "APIC.7106": DocumentedError(403, "No permissions to request this method"),  # our words
    "APIC.7302": DocumentedError(404, "The instance does not exist"),  # our words
    # FDI itself.
    "FDI.3002": DocumentedError(400, "Invalid parameters."),  # our words
    "FDI.3039": DocumentedError(400, "The project ID does not match."),  # our words
    "FDI.3081": DocumentedError(404, "The task does not exist."),
    "FDI.9999": DocumentedError(500, "Network error."),
    # ROMA's shared resources: token and permission faults come with 400, a missing instance with 500.
    "ROMA.1000": DocumentedError(400, "No token is available in the request."),
    "ROMA.1002": DocumentedError(400, "Incorrect token in the request."),
    "ROMA.1006": DocumentedError(400, "You do not have the permissions required to perform this operation."),
    "ROMA.4001026": DocumentedError(400, "The instance is not running."),  # our words
    "ROMA.00110002": DocumentedError(500, "The instance does not exist."),  # our words
}


def error_document(code: str, message: str) -> dict[str, str]:
    """Return an error body; those of the gateway (APIG, APIGW, APIC) also carry a request_id."""
    document = {"error_code": code, "error_msg": message}
    if code.startswith("API"):
        document["request_id"] = REQUEST_ID
    return document


def error_response(code: str, message: str | None = None) -> Response:
    """Return the response that comes with a documented code, with another message if given.

    Raises: KeyError for a code that is not in ERRORS.
    """
    documented = ERRORS[code]
    return json_response(error_document(code, message or documented.message), documented.status)


DOCUMENTED = {
    "doc_example": statistics_response(DOC_EXAMPLE),  # unhealthy: 2 abnormal common tasks
    "healthy": statistics_response(HEALTHY),  # tasks, none of them abnormal
    "no_tasks": statistics_response(NO_TASKS),  # eight zeros
    "cdc_abnormal": statistics_response(CDC_ABNORMAL),  # the abnormal tasks are in the second group only
    # error_APIG_0301, error_FDI_3081, …: every documented code with its own status and message
    **{f"error_{code.replace('.', '_')}": error_response(code) for code in ERRORS},
}
