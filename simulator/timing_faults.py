"""Responses that are correct but late, or stop half-way: slow, dripping, silent, reset, closed, cut short."""

from __future__ import annotations

import json

from simulator.documented_responses import HEALTHY
from simulator.responses import Response, drip, head_bytes, raw_response, response_bytes, statistics_response

_BODY = json.dumps(HEALTHY).encode()
_HEAD = head_bytes(200, (("Content-Type", "application/json"), ("Content-Length", str(len(_BODY)))))
_HALF_BODY = _BODY[: len(_BODY) // 2]

# The head alone lasts more than 20 s at a byte per 100 ms.
_LONG_HEAD = response_bytes(200, _BODY, headers=(("X-Filler", "f" * 130),))
# Spaces before the JSON are valid JSON; they make the body last 60 s at a byte per 200 ms.
_PADDED_BODY = _BODY.rjust(300)
_PADDED_HEAD = head_bytes(200, (("Content-Type", "application/json"), ("Content-Length", str(len(_PADDED_BODY)))))

# Time for what was sent to arrive before a RST that would overtake it on some systems.
_ARRIVAL_SECONDS = 0.01


def _then_reset(data: bytes) -> Response:
    return Response(((0.0, data), (_ARRIVAL_SECONDS, b"")), "reset")


TIMING_FAULTS = {
    "slow": statistics_response(HEALTHY, wait_seconds=0.3),  # late, within any sensible deadline
    "slow_1500ms": statistics_response(HEALTHY, wait_seconds=1.5),  # C07: late enough that a second try has little left
    "drip_headers": drip(_LONG_HEAD, 0.1),  # C02: the head outlives a limit on each receive
    "drip_body": drip(_PADDED_BODY, 0.2, at_once=_PADDED_HEAD),  # C01: so does the body, for 60 s
    "silent": Response(end="hang"),  # C05, C28: accepted, read, never answered
    "silent_after_headers": raw_response(_HEAD, "hang"),  # C01: a promising start and no body
    "silent_mid_body": raw_response(_HEAD + _HALF_BODY, "hang"),  # C01: half a body, then silence
    "reset": Response(end="reset"),  # RST before any byte
    "reset_mid_headers": _then_reset(_HEAD[: len(_HEAD) // 2]),  # RST within the head
    "reset_mid_body": _then_reset(_HEAD + _HALF_BODY),  # RST within the body
    "reset_idle": raw_response(
        _HEAD + _BODY, "reset"
    ),  # C79: a whole keep-alive response, then RST on the idle connection
    "close": Response(end="close"),  # FIN before any byte
    "close_idle": raw_response(
        _HEAD + _BODY, "close"
    ),  # C79: as reset_idle with FIN, and no Connection: close announced
    # C25: the JSON is whole and healthy, but 100 bytes were promised that never come
    "truncated": raw_response(
        head_bytes(200, (("Content-Type", "application/json"), ("Content-Length", str(len(_BODY) + 100)))) + _BODY,
        "close",
    ),
    # C25: framing and length are right, the JSON itself stops half-way
    "truncated_json": raw_response(response_bytes(200, _HALF_BODY)),
}
