"""Well-framed 200 and 204 responses with a body that is not the expected statistics."""

from __future__ import annotations

import json

from simulator.documented_responses import DOC_EXAMPLE, HEALTHY, REQUEST_ID, task_counts
from simulator.responses import (
    Behaviour,
    LazyResponse,
    Response,
    body_response,
    head_bytes,
    json_response,
    raw_response,
)

_HEALTHY_TEXT = json.dumps(HEALTHY)
_HEALTHY_BODY = _HEALTHY_TEXT.encode()
_COMMON = HEALTHY["common_task_details"]
_CDC = HEALTHY["cdc_task_details"]
_HTML = b"<!DOCTYPE html><html><head><title>Maintenance</title></head><body><h1>maintenance</h1></body></html>"
_HTML_TYPE = "text/html; charset=utf-8"

# One shared chunk of JSON white space; big bodies repeat it instead of being held whole.
_CHUNK = b" " * (64 * 1024)
_HUGE_CHUNKS = 1024

# What stands in the place of the common abnormal_tasks_count of a healthy body, as JSON text.
COUNT_TEXTS = {
    "count_float": "0.9",  # C18: truncates to a healthy 0
    "count_float_integral": "2.0",  # C19
    "count_true": "true",  # C19: an int to isinstance
    "count_string_zero": '"0"',  # C19
    "count_string_two": '"2"',  # C19
    "count_negative": "-1",  # C19
    "count_null": "null",  # C19
    "count_too_big": str(10**12),  # one more than the API definition's maximum
    "count_2_63": str(2**63),  # C43: one more than a signed 64-bit integer holds
    "count_5000_digits": "9" * 5000,  # C43: Python refuses to turn more than 4300 digits into an int
    "count_nan": "NaN",  # C44: not JSON, though Python reads it
    "count_infinity": "Infinity",  # C44
    "count_minus_infinity": "-Infinity",  # C44: and it is not greater than zero
    "count_1e400": "1e400",  # C44: valid JSON that becomes an infinity
}


def _with_count(text: str) -> Response:
    return body_response(
        _HEALTHY_TEXT.replace('"abnormal_tasks_count": 0', f'"abnormal_tasks_count": {text}', 1).encode()
    )


def _with_note(note: bytes) -> Response:
    """Return a healthy body with one more member: a string of these bytes."""
    return body_response(_HEALTHY_BODY[:-1] + b', "note": "' + note + b'"}')


def _deep_nesting() -> Response:
    return body_response(b"[" * 100_000)


def _many_keys() -> Response:
    return json_response({**HEALTHY, **{f"member_{number}": number for number in range(20_000)}})


def _huge() -> Response:
    length = len(_CHUNK) * _HUGE_CHUNKS + len(_HEALTHY_BODY)
    head = head_bytes(200, (("Content-Type", "application/json"), ("Content-Length", str(length))))
    return Response(((0.0, head), *((0.0, _CHUNK),) * _HUGE_CHUNKS, (0.0, _HEALTHY_BODY)))


def _huge_chunked_endless() -> Response:
    head = head_bytes(200, (("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")))
    chunk = b"%x\r\n%b\r\n" % (len(_CHUNK), _CHUNK)
    return Response(((0.0, head), (0.0, chunk)), "hang", repeat_last=True)


CONTENT_FAULTS: dict[str, Behaviour] = {
    **{name: _with_count(text) for name, text in COUNT_TEXTS.items()},
    # Case C20: something is not there
    "missing_abnormal": json_response(
        {
            "common_task_details": {key: _COMMON[key] for key in _COMMON if key != "abnormal_tasks_count"},
            "cdc_task_details": _CDC,
        }
    ),
    "missing_group_cdc": json_response({"common_task_details": _COMMON}),
    "missing_group_common": json_response({"cdc_task_details": _CDC}),
    "group_null": json_response({"common_task_details": None, "cdc_task_details": _CDC}),
    "empty_object": json_response({}),
    "array": json_response([]),
    "json_null": json_response(None),
    "json_string": json_response("healthy"),
    # Two values for one key, the healthy one last, which is the one most parsers keep
    "duplicate_count_key": body_response(
        _HEALTHY_TEXT.replace('{"running', '{"abnormal_tasks_count": 2, "running', 1).encode()
    ),
    "duplicate_group_key": body_response(
        f'{{"common_task_details": {json.dumps(task_counts(2, 2, 6, 8))}, {_HEALTHY_TEXT[1:]}'.encode()
    ),
    # C22: nothing at all
    "status_204": raw_response(head_bytes(204)),
    "empty_200": body_response(b""),
    # C23: somebody else's page
    "html_200": body_response(_HTML, content_type=_HTML_TYPE),
    "html_labelled_json": body_response(_HTML),
    "html_after_bom": body_response(b"\xef\xbb\xbf\r\n <HTML><body>maintenance</body></HTML>", content_type=None),
    "text_200": body_response(b"OK", content_type="text/plain"),
    # C24: an error that calls itself a success
    "error_body_200": json_response({"error_code": "APIG.9999", "error_msg": "System error", "request_id": REQUEST_ID}),
    # C77, C78: odd but fine
    "bom": body_response(b"\xef\xbb\xbf" + json.dumps(DOC_EXAMPLE).encode()),
    "extra_fields": json_response(
        {
            "common_task_details": {**DOC_EXAMPLE["common_task_details"], "paused_tasks_count": 4, "detail": {"a": []}},
            "cdc_task_details": DOC_EXAMPLE["cdc_task_details"],
            "stream": {"running_tasks_count": 1, "details": [{"abnormal_tasks_count": 1}]},
            "collected_at": "2025-03-26T00:00:00Z",
        }
    ),
    # D59: further task groups beside the two that are documented
    "flow_abnormal": json_response({**HEALTHY, "flow_task_details": task_counts(1, 3, 0, 0)}),
    "flow_zero": json_response({**HEALTHY, "flow_task_details": task_counts(0, 0, 0, 0)}),
    "flow_damaged": json_response(
        {**HEALTHY, "flow_task_details": {**task_counts(1, 0, 0, 0), "abnormal_tasks_count": "3"}}
    ),
    "flow_incomplete": json_response({**HEALTHY, "flow_task_details": {"running_tasks_count": 1}}),
    "flow_null": json_response({**HEALTHY, "flow_task_details": None}),
    "flow_list": json_response({**HEALTHY, "flow_task_details": [task_counts(1, 0, 0, 0)]}),
    "flow_only": json_response({"flow_task_details": task_counts(1, 0, 0, 0)}),
    "flow_twice": json_response(
        {**HEALTHY, "flow_task_details": task_counts(1, 0, 0, 0), "flow": task_counts(0, 3, 0, 0)}
    ),
    "unnamed_group_abnormal": json_response({**HEALTHY, "orchestration": task_counts(1, 3, 0, 0)}),
    "unnamed_group_damaged": json_response({**HEALTHY, "orchestration": {"abnormal_tasks_count": 0}}),
    "too_many_groups": json_response({**HEALTHY, **{f"g{n}_task_details": task_counts(1, 0, 0, 0) for n in range(17)}}),
    "marker_in_group_name": json_response({**HEALTHY, "fdi-ok_task_details": task_counts(1, 0, 0, 0)}),
    # Text that is not UTF-8, or cannot become UTF-8 again
    "utf16": body_response(_HEALTHY_TEXT.encode("utf-16")),  # json.loads reads it, which is more than the label says
    "invalid_utf8": _with_note(b"caf\xe9 \xff\xfe"),  # healthy but for bytes no UTF-8 decoder takes
    "lone_surrogate": _with_note(b"\\ud800"),  # decodes to a string that cannot be encoded
    # Too much: built when played
    "deep_nesting": LazyResponse(_deep_nesting),  # C45: RecursionError, or worse
    "many_keys": LazyResponse(_many_keys),  # H01: 20,000 members, a healthy document among them
    "huge": LazyResponse(_huge),  # 64 MiB of white space, then a healthy document
    "huge_chunked_endless": LazyResponse(_huge_chunked_endless),  # white space for as long as the client reads
}
