"""Responses by status: redirects, errors without a code, throttling, and error texts that echo secrets or are huge."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from simulator.documented_responses import ERRORS, HEALTHY, REQUEST_ID, error_document, error_response
from simulator.responses import (
    Behaviour,
    LazyResponse,
    Response,
    body_response,
    head_bytes,
    json_response,
    raw_response,
    reason_phrase,
    redirect,
    response_bytes,
)

if TYPE_CHECKING:
    from simulator.request_parser import Request

# Another host to any client, with nobody listening: a client that follows takes its token there.
_ELSEWHERE = "http://127.0.0.2:1/x"
_TOO_LARGE_PAGE = b"<html><body><h1>400 Bad Request</h1>Request header or cookie too large</body></html>"
_MARKER_TEXT = 'FDI-OK "healthy":true \x1b[32mFDI-OK\x1b[0m \x00\x07\r\nFDI-OK\u202eKO-IDF\u2066'


def _plain(status: int) -> Response:
    return body_response(f"{status} {reason_phrase(status)}\n".encode(), status, content_type="text/plain")


def _html(status: int) -> Response:
    title = f"{status} {reason_phrase(status)}"
    page = f"<html>\n<head><title>{title}</title></head>\n<body><h1>{title}</h1></body>\n</html>\n"
    return body_response(page.encode(), status, content_type="text/html")


def _throttled(retry_after: str) -> Response:
    documented = ERRORS["APIG.0308"]
    return json_response(
        error_document("APIG.0308", documented.message), documented.status, headers=(("Retry-After", retry_after),)
    )


def _echo_token(request: Request) -> Response:
    return error_response("APIGW.0301", f"Incorrect IAM authentication information: token {request.token} not accepted")


def _error_msg_1mb() -> Response:
    return json_response(error_document("APIG.9999", "x" * 1_000_000), 500)


STATUS_FAULTS: dict[str, Behaviour] = {
    # C30: the token must not follow
    "redirect_301": redirect(301, _ELSEWHERE),
    "redirect_302": redirect(302, _ELSEWHERE),
    "redirect_303": redirect(303, _ELSEWHERE),
    "redirect_307": redirect(307, _ELSEWHERE),
    "redirect_308": redirect(308, _ELSEWHERE),
    "status_300": _plain(300),  # a redirect that says not where to
    "status_304": raw_response(head_bytes(304, (("ETag", '"1"'),))),  # to a request that had no condition
    # Statuses without an error code: the status alone has to do
    **{f"status_{status}": _plain(status) for status in (400, 401, 403, 404, 405, 408, 418, 429, 500, 503, 504, 599)},
    # D39, D40: something on the way refuses the request, and it is not ROMA Connect
    **{f"status_{status}": _plain(status) for status in (407, 421, 431, 451, 511)},
    **{f"html_{status}": _html(status) for status in (400, 401, 403, 404, 418)},
    "html_400_header_too_large": body_response(_TOO_LARGE_PAGE, 400, content_type="text/html"),
    "redirect_same_host": lambda request: redirect(302, f"http://{request.header('Host')}/login"),
    "redirect_relative": redirect(302, "/login"),
    "status_502": _html(502),  # the page a proxy makes when nobody stands behind it
    # Interim statuses
    "status_100_continue": raw_response(head_bytes(100) + response_bytes(200, json.dumps(HEALTHY).encode())),  # fine
    "status_101": raw_response(
        head_bytes(101, (("Connection", "Upgrade"), ("Upgrade", "websocket"))), "hang"
    ),  # HTTP ends here
    # C06: 429 with a Retry-After to sleep on for ever, or to stumble over
    "retry_after_1": _throttled("1"),
    "retry_after_3600": _throttled("3600"),
    "retry_after_9999999999": _throttled("9999999999"),
    "retry_after_5000_digits": _throttled("9" * 5000),
    "retry_after_negative": _throttled("-5"),
    "retry_after_word": _throttled("soon"),
    "retry_after_date_2099": _throttled("Wed, 21 Oct 2099 07:28:00 GMT"),
    "retry_after_date_past": _throttled("Wed, 21 Oct 2015 07:28:00 GMT"),
    # C31: key material in the error text
    "echoes_token": _echo_token,
    "echoes_access_key": error_response(
        "APIGW.0301", "Incorrect IAM authentication information: verify aksk signature fail, ak HPUAEXAMPLE not exist"
    ),
    # C26: the words that mean health, in every text of an error, with terminal, control and right-to-left characters
    "echoes_marker": json_response(
        {
            "error_code": f"FDI.9999 {_MARKER_TEXT}",
            "error_msg": _MARKER_TEXT,
            "request_id": _MARKER_TEXT,
            "healthy": True,
        },
        500,
    ),
    "error_msg_1mb": LazyResponse(_error_msg_1mb),  # valid JSON with a message of a megabyte
    "error_code_odd": json_response({"error_code": {"code": ["APIGW.0301"]}, "error_msg": ["no", 1]}, 500),
    "error_code_number": json_response({"error_code": 3081, "error_msg": 42, "request_id": REQUEST_ID}, 404),
    # Refused tokens, by their text; the first is refused however good the token is
    "refuses_token": Response(error_response("APIGW.0301").steps, token_checked=False),
    "token_expired_msg": error_response("APIG.0301", "token expires, expires_at: 2025-03-25T23:59:59.999000Z"),
    "decrypt_token_fail": error_response("APIG.0301", "decrypt token fail"),
}
