"""FDI_FLOW_TASKS=check: the flow tasks, which CountTasks leaves out, count like those of any other group."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from simulator import Response, error_response, json_response
from simulator.documented_responses import HEALTHY, task_counts
from simulator.instance_statistics import instance_statistics_response
from tests.machine import assert_within

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator import Simulator
    from tests.conftest import Function


@pytest.fixture
def checking(function: Callable[..., Function]) -> Callable[..., Function]:
    return lambda *plays, **settings: function(*plays, FDI_FLOW_TASKS="check", **settings)


def test_flow_tasks__abnormal__are_unhealthy_and_shown(upstream: Simulator, checking: Callable[..., Function]) -> None:
    upstream.instance_statistics["id-one"] = instance_statistics_response(HEALTHY, flow={"running": 1, "abnormal": 3})
    document = checking("healthy").verdict("/?explain=none")
    (instance,) = document["instances"]
    assert (document["status"], instance["reason"]) == ("unhealthy", "3 abnormal flow tasks")
    assert instance["other_task_details"] == {"flow_task_details": task_counts(1, 3, 0, 0)}
    assert document["totals"]["abnormal_tasks_count"] == 3


def test_flow_tasks__none_abnormal__are_healthy(upstream: Simulator, checking: Callable[..., Function]) -> None:
    upstream.instance_statistics["id-one"] = instance_statistics_response(HEALTHY, flow={"running": 1})
    assert checking("healthy").verdict()["status"] == "healthy"


def test_flow_tasks__not_asked_for__cost_no_request(upstream: Simulator, function: Callable[..., Function]) -> None:
    assert function("healthy", FDI_FLOW_TASKS="off").verdict()["status"] == "healthy"
    assert len(upstream.requests) == 1


def test_flow_tasks__in_the_answer_of_count_tasks__are_not_asked_for_again(
    upstream: Simulator, checking: Callable[..., Function]
) -> None:
    document = checking(json_response({**HEALTHY, "flow_task_details": task_counts(0, 1, 0, 0)})).verdict(
        "/?explain=none"
    )
    assert document["status"] == "unhealthy"
    assert len(upstream.requests) == 1


def damaged(change: Any) -> dict[str, Any]:
    names = [f"{state}_flow_tasks_count" for state in ("running", "abnormal", "terminated", "completed")]
    return {"fdi": {**dict.fromkeys(names, 0), "abnormal_flow_tasks_count": change}}


@pytest.mark.parametrize(
    "document",
    [{}, [], None, {"fdi": None}, {"fdi": {}}, {"fdi": []}, *map(damaged, (None, True, "0", 0.0, -1, 10**12, [0]))],
)
def test_flow_tasks__answer_is_not_valid__are_unknown(
    upstream: Simulator, checking: Callable[..., Function], document: Any
) -> None:
    upstream.instance_statistics["id-one"] = json_response(document)
    instance = checking("healthy").instance()
    assert (instance["status"], instance["error"]["code"]) == ("unknown", "invalid_response")
    assert "FDI_FLOW_TASKS" in instance["error"]["message"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (error_response("FDI.9999"), "upstream_error"),
        (error_response("APIG.1005"), "forbidden"),
        (Response(end="hang"), "timeout"),
    ],
)
def test_flow_tasks__request_fails__are_unknown_within_the_deadline(
    upstream: Simulator, checking: Callable[..., Function], answer: Response, code: str
) -> None:
    upstream.instance_statistics["id-one"] = answer
    began = time.monotonic()
    instance = checking("healthy", FDI_DEADLINE_SECONDS="1").instance()
    assert_within(began, 1 + 0.3)
    assert (instance["status"], instance["error"]["code"]) == ("unknown", code)


def test_flow_tasks__asked_repeatedly__use_kept_connections(
    upstream: Simulator, checking: Callable[..., Function]
) -> None:
    upstream.instance_statistics["id-one"] = instance_statistics_response(HEALTHY, flow={"running": 1})
    app = checking("healthy")
    assert [app.verdict()["status"] for _ in range(3)] == ["healthy"] * 3
    assert len(upstream.requests) == 6
    assert {request.connection for request in upstream.requests} == {1, 2}


def test_flow_tasks__answer_that_names_an_error__are_unknown(
    upstream: Simulator, checking: Callable[..., Function]
) -> None:
    upstream.instance_statistics["id-one"] = json_response({"error_code": "ROMA.9999", **damaged(0)})
    assert checking("healthy").instance()["error"]["code"] == "invalid_response"


@pytest.mark.parametrize("name", ["flow", "flow_task_details"])
@pytest.mark.parametrize("anonymous", ["verdict", "details"])
def test_flow_tasks__further_group_has_their_name__count_as_it_says(
    upstream: Simulator, checking: Callable[..., Function], name: str, anonymous: str
) -> None:  # D59
    upstream.instance_statistics["id-one"] = instance_statistics_response(HEALTHY, flow={"running": 1})
    answer = json_response({**HEALTHY, name: task_counts(0, 3, 0, 0)})
    response = checking(answer, FDI_ANONYMOUS=anonymous).get("/?explain=none")
    assert (response.status_code, response.headers["FDI-Verdict"]) == (503, "unhealthy")
