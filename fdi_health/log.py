"""What is written into the log: one line of JSON for each thing, never a key, a token or foreign text."""

from __future__ import annotations

import json
import logging
import traceback

_LOG = logging.getLogger("fdi_health")


def to_stderr() -> None:
    """Let the lines out where nobody has set up logging: the platforms collect what a process writes there."""
    _LOG.setLevel(logging.INFO)
    if not _LOG.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        _LOG.addHandler(handler)


def log_answer(status: str, caller: str) -> None:
    """Write one line for a verdict that a caller with a key was given.

    Args:
        status: the verdict's.
        caller: the caller's name in FDI_CALLERS.

    """
    _LOG.info(json.dumps({"severity": "INFO", "message": f"verdict {status}", "status": status, "caller": caller}))


def log_fault(error: BaseException) -> None:
    """Write one line for an unexpected exception: classes and places only, since its text may hold anything."""
    causes: list[dict[str, object]] = []
    cause: BaseException | None = error
    while cause is not None and len(causes) < 10:  # a chain may be a ring
        frames = traceback.extract_tb(cause.__traceback__)
        causes.append(
            {
                "exception": f"{type(cause).__module__}.{type(cause).__qualname__}",
                "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
            }
        )
        cause = cause.__cause__ or cause.__context__
    _LOG.error(json.dumps({"severity": "ERROR", "message": "fdi-health itself failed", "causes": causes}))
