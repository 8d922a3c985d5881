"""The expected response for a combination of faults, written independently of `fdi_health.evaluation`.

It knows which of the simulator's behaviours are sound documents and what those say, and nothing else: everything that
is not a sound document is unknown. The fleet is as bad as its worst instance (docs/contract.md).
"""

from __future__ import annotations

SOUND = {
    # Behaviour → what its document says. A document is a document, however oddly it is framed or how late it comes.
    **dict.fromkeys(
        (
            "healthy",
            "encoding_identity",
            "chunked_ok",
            "no_length_close",
            "extra_bytes_after_body",
            "http_1_0",
            "status_100_continue",
            "reset_idle",
            "close_idle",
            "crlf_in_header",
            "interim_102",
            "interim_103",
            "stray_later",
            "flow_zero",
        ),
        "healthy",
    ),
    **dict.fromkeys(
        (
            "doc_example",
            "cdc_abnormal",
            "bom",
            "extra_fields",
            # A further group is any other member with a name that ends in `_task_details`, or any other object with an
            # `abnormal_tasks_count`: its abnormal tasks count.
            "flow_abnormal",
            "unnamed_group_abnormal",
        ),
        "unhealthy",
    ),
    "no_tasks": "degraded",
}

PERHAPS_LATE = {"slow": "healthy", "slow_1500ms": "healthy"}
"""Sound, but so late that the deadline may come first."""

THROTTLING = ("retry_after_", "status_429", "error_APIG_0308")


def instance(behaviour: str) -> set[str]:
    """Return the statuses that an instance may have after a behaviour."""
    if behaviour in PERHAPS_LATE:
        return {PERHAPS_LATE[behaviour], "unknown"}
    return {SOUND.get(behaviour, "unknown")}


def fleet(statuses: list[str]) -> str:
    """Return the worst."""
    for status in ("unhealthy", "unknown", "degraded"):
        if status in statuses:
            return status
    return "healthy"


FAIL_ON = ("unhealthy,unknown", "unhealthy", "unknown", "degraded", "unhealthy,unknown,degraded", "healthy", "none")
"""Values of `fail_on`; the first is the default."""


def http_status(statuses: list[str], fail_on: str) -> int:
    """Return 503 if any instance asked has a listed status; `healthy` is the fire drill, always 503."""
    listed = fail_on.split(",")
    return 503 if "healthy" in listed or any(status in listed for status in statuses) else 200


def marker(statuses: list[str], fail_on: str) -> str:
    """Return FDI-OK exactly when the fleet is healthy or degraded and no instance has a listed status."""
    good = fleet(statuses) in ("healthy", "degraded") and http_status(statuses, fail_on) == 200
    return "FDI-OK" if good else "FDI-NOT-OK"


def leaves_a_hold(behaviour: str) -> bool:
    """Whether the upstream has asked for fewer calls, so that it is left alone for some seconds."""
    return behaviour.startswith(THROTTLING)
