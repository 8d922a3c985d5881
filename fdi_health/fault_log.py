"""One line in the log for a fault of ours."""

from __future__ import annotations

import json
import logging
import traceback

_LOG = logging.getLogger("fdi_health")


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
