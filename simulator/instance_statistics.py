"""GetInstanceConnectionStatistic: the statistics of a whole instance, its three kinds of tasks among them.

Source: the vendor's API reference, as gathered in the project's notes on the upstream.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from simulator.responses import json_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.responses import Response

STATES: Final = ("running", "abnormal", "terminated", "completed")
KINDS: Final = ("common", "cdc", "flow")


def task_count(statistics: Any, kind: str, state: str) -> int:
    """Return a count in a document of CountTasks, 0 for anything that is not a whole number from 0."""
    group = statistics.get(f"{kind}_task_details") if isinstance(statistics, dict) else None
    count = group.get(f"{state}_tasks_count") if isinstance(group, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else 0


def instance_statistics_response(
    statistics: Any, more: Mapping[str, int] | None = None, *, flow: Mapping[str, int] | None = None
) -> Response:
    """Return the statistics of an instance.

    Args:
        statistics: the document of CountTasks, with the counts of each kind; anything else has no tasks.
        more: kind → further completed tasks, which CountTasks does not show.
        flow: state → further flow tasks, which CountTasks does not show either, e.g. `{"abnormal": 2}`.

    Raises: ValueError for a state in `flow` that is not in `STATES`.
    """
    unknown = [state for state in flow or {} if state not in STATES]
    if unknown:
        raise ValueError(f"unknown state {unknown[0]!r}: there are {', '.join(STATES)}")
    counts: dict[str, int] = {}
    for kind in KINDS:
        states = {state: task_count(statistics, kind, state) for state in STATES}
        states["completed"] += (more or {}).get(kind, 0)
        if kind == "flow":
            states = {state: count + (flow or {}).get(state, 0) for state, count in states.items()}
        counts |= {f"{state}_{kind}_tasks_count": count for state, count in states.items()}
        counts[f"all_{kind}_tasks_count"] = sum(states.values())
    fdi = {
        **counts,
        "all_tasks_count": sum(counts[f"all_{kind}_tasks_count"] for kind in KINDS),
        "all_running_tasks_count": sum(counts[f"running_{kind}_tasks_count"] for kind in KINDS),
        "all_datasource_count": 4,
        "connect_count": 0,
    }
    return json_response({"fdi": fdi, "apic": {}, "mqs": {}, "link": {}})


def json_document(response: Response) -> Any:
    """Return the JSON in the body of a response, or None."""
    _, _, body = b"".join(data for _, data in response.steps).partition(b"\r\n\r\n")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
