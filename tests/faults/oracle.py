"""What the answer to a combination of faults must be, written without a look at `fdi_health.verdict`.

It knows which of the simulator's behaviours are sound documents and what those say, and nothing else: everything that
is not a sound document is unknown. The fleet is judged from CONTRACT.md's sentence about the worst of its instances.
"""

from __future__ import annotations

SOUND = {
    # Behaviour → what its document says. A document is a document, however oddly it is framed or how late it comes.
    **dict.fromkeys(
        (
            "healthy",
            "encoding_identity",
            "chunked_ok",
            "chunked_and_length",
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
        ),
        "healthy",
    ),
    **dict.fromkeys(("doc_example", "cdc_abnormal", "bom", "extra_fields"), "unhealthy"),
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


def leaves_a_hold(behaviour: str) -> bool:
    """Whether the upstream has asked for fewer calls, so that it is left alone for some seconds."""
    return behaviour.startswith(THROTTLING)
