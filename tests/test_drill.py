"""A drill: one thing of each kind breaks, and the response alone names the thing, who can mend it, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from simulator import MonitoredTask, json_response
from simulator.documented_responses import task_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from simulator import Simulator
    from tests.conftest import Function

KEY = "fedcba9876543210"


class Drill(NamedTuple):
    """What breaks, and what the response has to say.

    Attributes:
        play: what the instance `one` plays.
        names: texts that name the broken thing.
        owner: who can mend it.
        step: how the next step begins.
        settings: besides the usual ones.

    """

    play: Any
    names: tuple[str, ...]
    owner: str
    step: str
    settings: Mapping[str, str] = {}


PIPELINES, PLATFORM = "the team of the integration tasks", "the team that runs fdi-health"
ADMIN = "the administrator of the Huawei Cloud account"

DRILLS = {
    "a task fails": Drill(
        "doc_example",
        ("2 abnormal tasks in one", "nightly-export", "erp to warehouse", "Connection to ftp.acme.example timed out"),
        PIPELINES,
        "Open this instance in the ROMA Connect console",
    ),
    "a task is stopped": Drill(
        json_response({"common_task_details": task_counts(2, 0, 1, 0), "cdc_task_details": task_counts(0, 0, 0, 0)}),
        ("2 of at least 3 tasks running in one", "hourly-import is stopped"),
        PIPELINES,
        "Start the stopped tasks of this instance",
        {"FDI_MIN_RUNNING_TASKS": "one=3"},
    ),
    "the tasks are no longer shared": Drill(
        "no_tasks",
        ("one unknown (tasks_missing)", "0 of at least 1 tasks visible"),
        ADMIN,
        "Compare with the number of tasks in the console: the user lost rights",
        {"FDI_MIN_TASKS": "*=1"},
    ),
    "the token is refused": Drill(
        "refuses_token",
        ("one unknown (token_rejected)",),
        PLATFORM,
        "ROMA Connect accepts this token for other instances",
    ),
    "the secret is gone": Drill(
        "healthy", ("one unknown (token_unavailable)",), PLATFORM, "Store the access key in it", {"ROMA_TOKEN": ""}
    ),
    "a right is missing": Drill("error_APIG_1005", ("one unknown (forbidden)",), ADMIN, "Grant the user"),
    "the instance is deleted": Drill(
        "error_APIC_7302", ("one unknown (instance_not_found)",), PLATFORM, "Compare the ID in FDI_INSTANCES"
    ),
    "the instance is stopped": Drill(
        "error_ROMA_4001026", ("one unknown (instance_not_running)",), PIPELINES, "Start the instance"
    ),
    "the region is wrong": Drill(
        "error_APIG_0101", ("one unknown (api_not_found)",), PLATFORM, "Check FDI_REGION or FDI_ENDPOINT"
    ),
    "a firewall answers": Drill("html_403", ("one unknown (blocked)",), PLATFORM, "Check FDI_ENDPOINT, and ask"),
    "the vendor fails": Drill("status_500", ("one unknown (upstream_error)",), "the vendor", "Look at the vendor's"),
    "the vendor hangs": Drill(
        "silent", ("one unknown (timeout)",), "the vendor, or the team that runs the network", "Ask again"
    ),
    "the connection breaks": Drill(
        "reset", ("one unknown (unreachable)",), "the team that runs the network", "Check FDI_REGION or FDI_ENDPOINT"
    ),
    "the limit is reached": Drill("status_429", ("one unknown (throttled)",), PLATFORM, "Use a separate IAM user"),
    "a page comes in place of counts": Drill(
        "truncated_json", ("one unknown (invalid_response)",), "the vendor, or the team", "Check that FDI_ENDPOINT"
    ),
}


@pytest.mark.parametrize("drill", DRILLS.values(), ids=DRILLS)
def test_drill__one_thing_breaks__the_response_names_it_its_owner_and_the_next_step(
    upstream: Simulator, function: Callable[..., Function], drill: Drill
) -> None:
    upstream.monitors.put(
        "id-one",
        [
            MonitoredTask(task_id="t1", task_name="nightly-export", remarks="Connection to ftp.acme.example timed out"),
            MonitoredTask(task_id="t2", task_name="orders-sync"),
            MonitoredTask(task_id="t3", task_name="hourly-import", execute_status="CANCELLED", status=0),
        ],
    )
    keys = {"FDI_CALLERS": "env://CALLERS", "CALLERS": f'{{"oncall":{{"key":"{KEY}","remarks":true}}}}'}
    app = function(drill.play, "healthy", FDI_DEADLINE_SECONDS="1", **keys, **drill.settings)
    response = app.get("/?format=text", headers={"X-Api-Key": KEY})
    assert response.status_code == 503
    text = response.text
    for name in drill.names:
        assert name in text
    assert f"Who can mend it: {drill.owner}" in text
    assert f"-> {drill.step}" in text
