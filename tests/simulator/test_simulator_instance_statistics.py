"""The simulator's statistics of a whole instance."""

from __future__ import annotations

import pytest

from simulator import HEALTHY
from simulator.instance_statistics import instance_statistics_response, json_document


def test_instance_statistics__with_flow__counts_flow_tasks_by_state() -> None:
    without = json_document(instance_statistics_response(HEALTHY))["fdi"]
    counts = json_document(instance_statistics_response(HEALTHY, {"flow": 4}, flow={"running": 1, "abnormal": 2}))[
        "fdi"
    ]
    assert {name: count for name, count in counts.items() if count != without[name]} == {
        "running_flow_tasks_count": 1,
        "abnormal_flow_tasks_count": 2,
        "completed_flow_tasks_count": 4,
        "all_flow_tasks_count": 7,
        "all_tasks_count": without["all_tasks_count"] + 7,
        "all_running_tasks_count": without["all_running_tasks_count"] + 1,
    }


def test_instance_statistics__with_an_unknown_flow_state__raises() -> None:
    with pytest.raises(ValueError, match="unknown state 'failed': there are running, abnormal"):
        instance_statistics_response(HEALTHY, flow={"failed": 1})
