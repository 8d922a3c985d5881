"""The simulator's tasks by name (ListMonitorInfos) and the logs of their runs (ListMonitorLog)."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import requests

from simulator import DOC_PROJECT_ID, MonitoredTask, Request, Response, Simulator, json_response, statistics_response
from simulator.documented_responses import task_counts
from tests.simulator.wire import INSTANCE, OTHER, TOKEN, statistics_path

DAY_MILLISECONDS = 24 * 3600 * 1000
LAST = 1764288000000
HOSTILE = "<b>\x1b[31m\r\n\u202e\ud800\x00' OR 1=1 --"


def tasks_path(instance_id: str = INSTANCE, project_id: str = DOC_PROJECT_ID) -> str:
    return f"/v2/{project_id}/fdi/instances/{instance_id}/task-monitors"


def logs_path(task_id: str, instance_id: str = INSTANCE, project_id: str = DOC_PROJECT_ID) -> str:
    return f"/v2/{project_id}/fdi/instances/{instance_id}/tasks/{task_id}/monitor-logs"


def get(simulator: Simulator, path: str, token: str | None = TOKEN, /, **query: str | int) -> requests.Response:
    headers = {} if token is None else {"X-Auth-Token": token}
    return requests.get(simulator.url + path, params=query, headers=headers, timeout=5)


def names(simulator: Simulator, **query: str | int) -> list[str]:
    """Return the names of the tasks on a page."""
    document = get(simulator, tasks_path(), **query).json()
    assert document["size"] == len(document["entities"])
    return [entity["task_name"] for entity in document["entities"]]


def runs(simulator: Simulator, task_id: str = "task-1", **query: str | int) -> list[dict[str, Any]]:
    """Return the runs on a page of a task's log."""
    document = get(simulator, logs_path(task_id), **query).json()
    assert document["size"] == len(document["entities"])
    return list(document["entities"])


def numbered(count: int) -> list[MonitoredTask]:
    return [MonitoredTask(task_id=f"id-{number}", task_name=f"task-{number}") for number in range(1, count + 1)]


def error_code(response: requests.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error_code"]


def test_list_tasks__task_put__has_the_documented_fields(sim: Simulator) -> None:
    sim.monitors.put(INSTANCE, [MonitoredTask(task_id="id-1", task_name="orders-sync", position="WRITER")])
    assert get(sim, tasks_path()).json() == {
        "total": 1,
        "size": 1,
        "entities": [
            {
                "task_id": "id-1",
                "task_name": "orders-sync",
                "task_type": "TIMING",
                "status": 1,
                "last_execute_time": LAST,
                "use_quartz_cron": False,
                "cron": None,
                "period": "DAY",
                "dispatch_interval": 1,
                "position": "WRITER",
                "execute_status": "ERROR",
                "source_app_id": "source-app",
                "source_app_name": "erp",
                "source_instance_id": "source-instance",
                "target_app_id": "target-app",
                "target_app_name": "warehouse",
                "target_instance_id": "target-instance",
                "ext_type": None,
                "enterprise_project_id": "0",
                "task_tag": "",
            }
        ],
    }


def test_list_tasks__second_put__replaces_the_first(sim: Simulator) -> None:
    sim.monitors.put(INSTANCE, numbered(3))
    sim.monitors.put(INSTANCE, [])
    assert names(sim) == []


def test_list_tasks__no_limit__returns_ten(sim: Simulator) -> None:
    sim.monitors.put(INSTANCE, numbered(12))
    document = get(sim, tasks_path()).json()
    assert (document["total"], document["size"], len(document["entities"])) == (12, 10, 10)


def test_list_tasks__limit_above_999__returns_999(sim: Simulator) -> None:
    sim.monitors.put(INSTANCE, numbered(1001))
    assert len(names(sim, limit=5000)) == 999


@pytest.mark.parametrize(
    ("offset", "expected"),
    [(0, ["task-1", "task-2"]), (1, ["task-1", "task-2"]), (2, ["task-2", "task-3"]), (5, ["task-5"]), (6, [])],
)
def test_list_tasks__offset__is_the_number_of_the_first_entry(sim: Simulator, offset: int, expected: list[str]) -> None:
    sim.monitors.put(INSTANCE, numbered(5))
    assert names(sim, offset=offset, limit=2) == expected


@pytest.mark.parametrize(
    ("offset", "expected"),
    [(0, ["task-1", "task-2"]), (1, ["task-1", "task-2"]), (2, ["task-3", "task-4"]), (3, ["task-5"]), (4, [])],
)
def test_list_tasks__offset_is_page__is_the_number_of_the_page(
    sim: Simulator, offset: int, expected: list[str]
) -> None:
    sim.monitors.offset_is_page = True
    sim.monitors.put(INSTANCE, numbered(5))
    assert names(sim, offset=offset, limit=2) == expected


def test_list_tasks__filters__count_in_total(sim: Simulator) -> None:
    sim.monitors.put(
        INSTANCE,
        [
            MonitoredTask(task_name="daily orders & co"),
            MonitoredTask(task_name="Orders"),
            MonitoredTask(task_name="orders", execute_status="SUCCESS"),
        ],
    )
    assert names(sim, task_name="orders") == ["daily orders & co", "orders"]
    assert names(sim, task_name="s & c") == ["daily orders & co"]
    assert names(sim, execute_status="ERROR") == ["daily orders & co", "Orders"]
    assert names(sim, execute_status="", task_name="") == ["daily orders & co", "Orders", "orders"]
    assert get(sim, tasks_path(), execute_status="SUCCESS", task_name="orders").json()["total"] == 1


@pytest.mark.parametrize(
    "query",
    [
        {"offset": "-1"},
        {"offset": "one"},
        {"limit": "0"},
        {"limit": "1" * 16},
        {"limit": "\u0661"},
        {"execute_status": "error"},
    ],
)
def test_list_tasks__invalid_parameter__is_refused(sim: Simulator, query: dict[str, str]) -> None:
    assert error_code(get(sim, tasks_path(), **query)) == (400, "FDI.3002")


def test_list_tasks__nothing_put__agrees_with_the_statistics(sim: Simulator) -> None:
    document = {"common_task_details": task_counts(1, 2, 1, 0), "cdc_task_details": task_counts(0, 1, 0, 2)}
    sim.play(INSTANCE, statistics_response(document))
    entities = get(sim, tasks_path(), limit=999).json()["entities"]
    assert [(entity["task_name"], entity["execute_status"], entity["status"]) for entity in entities] == [
        ("common-task-1", "ERROR", 1),
        ("common-task-2", "ERROR", 1),
        ("cdc-task-1", "ERROR", 1),
        ("common-task-3", "RUNNING", 1),
        ("common-task-4", "CANCELLED", 0),
        ("cdc-task-2", "SUCCESS", 1),
        ("cdc-task-3", "SUCCESS", 1),
    ]
    assert {(entity["ext_type"], entity["task_type"]) for entity in entities} == {(None, "TIMING"), ("CDC", "REALTIME")}
    assert len({entity["task_id"] for entity in entities}) == len(entities)


def test_list_tasks__nothing_put__uses_the_statistics_played_last(sim: Simulator) -> None:
    sim.play(INSTANCE, "healthy", "status_503", "doc_example")
    assert names(sim, execute_status="ERROR") == ["common-task-1", "common-task-2"]
    requests.get(sim.url + statistics_path(), headers={"X-Auth-Token": TOKEN}, timeout=5)
    assert names(sim, execute_status="ERROR") == ["common-task-1", "common-task-2"]


def test_list_tasks__very_many_abnormal__makes_up_1000(sim: Simulator) -> None:
    document = {"common_task_details": task_counts(0, 990, 0, 0), "cdc_task_details": task_counts(0, 10**12, 0, 0)}
    sim.play(INSTANCE, statistics_response(document))
    assert get(sim, tasks_path(), execute_status="ERROR").json()["total"] == 1000


@pytest.mark.parametrize(
    "document",
    [[], {"common_task_details": []}, {"common_task_details": task_counts(True, "2", -1, 1.5)}],  # type: ignore[arg-type] # wrong counts are the fault
)
def test_list_tasks__statistics_without_valid_counts__is_empty(sim: Simulator, document: object) -> None:
    sim.play(INSTANCE, statistics_response(document))
    assert names(sim) == []


@pytest.mark.parametrize("behaviour", ["silent", "deep_json", "echoes_token"])
def test_list_tasks__instance_plays_a_fault__is_empty(sim: Simulator, behaviour: str) -> None:
    sim.play(INSTANCE, Response(((0.0, b"\r\n\r\n" + b"[" * 100_000),)) if behaviour == "deep_json" else behaviour)
    assert names(sim) == []


def test_list_runs__task_put__has_the_documented_fields(sim: Simulator) -> None:
    sim.monitors.put(INSTANCE, [MonitoredTask(remarks="connection refused", dirty_data_count=3, run_seconds=1.5)])
    step = {
        "id": "task-1-run-1-apireader",
        "stage": "apireader",
        "status": 103,
        "position": "READER",
        "position_status": "RUNTIME_ERR",
        "dirty_data_count": 3,
        "data_count": 0,
        "data_size": 0.0,
        "data_size_unit": "KB",
        "spend_time": 1500,
        "remarks": "connection refused",
        "step_begin_time": LAST,
        "step_end_time": LAST + 1500,
    }
    assert get(sim, logs_path("task-1")).json() == {
        "total": 1,
        "size": 1,
        "entities": [
            {
                "id": "task-1-run-1",
                "start_time": LAST,
                "dispatch_time": LAST,
                "end_time": LAST + 1500,
                "execute_status": "ERROR",
                "position": "READER",
                "position_status": "RUNTIME_ERR",
                "status": 103,
                "dirty_data_count": 3,
                "data_count": 0,
                "data_size": 0.0,
                "data_size_unit": "KB",
                "spend_time": 1500,
                "read_spend_time": 1500,
                "write_spend_time": 0,
                "remarks": "connection refused",
                "detail_logs": [
                    {
                        **step,
                        "id": "task-1-run-1-adapter",
                        "stage": "adapter",
                        "status": 900,
                        "position": "ADAPTER",
                        "position_status": "NODE_END",
                        "dirty_data_count": 0,
                        "spend_time": 0,
                        "remarks": "ok",
                        "step_end_time": LAST,
                    },
                    step,
                ],
            }
        ],
    }


def test_list_runs__several_runs__are_newest_first_and_a_day_apart(sim: Simulator) -> None:
    sim.monitors.put(INSTANCE, [MonitoredTask(runs=3, remarks="connection refused")])
    assert [(run["id"], run["start_time"], run["execute_status"], run["remarks"]) for run in runs(sim)] == [
        ("task-1-run-3", LAST, "ERROR", "connection refused"),
        ("task-1-run-2", LAST - DAY_MILLISECONDS, "SUCCESS", "ok"),
        ("task-1-run-1", LAST - 2 * DAY_MILLISECONDS, "SUCCESS", "ok"),
    ]
    assert [run["id"] for run in runs(sim, limit=1, offset=1)] == ["task-1-run-3"]
    assert [run["id"] for run in runs(sim, limit=1, offset=2)] == ["task-1-run-2"]
    assert [run["id"] for run in runs(sim, begin_time=LAST)] == ["task-1-run-3"]
    assert [run["id"] for run in runs(sim, end_time=LAST - 1)] == ["task-1-run-2", "task-1-run-1"]
    assert runs(sim, begin_time=LAST + 1) == []
    assert error_code(get(sim, logs_path("task-1"), begin_time="yesterday")) == (400, "FDI.3002")


def test_list_runs__task_never_ran__is_empty(sim: Simulator) -> None:
    sim.monitors.put(INSTANCE, [MonitoredTask(last_execute_time=None, execute_status="UNSTARTED")])
    assert runs(sim) == []


def test_list_runs__unknown_task__is_404(sim: Simulator) -> None:
    assert error_code(get(sim, logs_path("task-1"))) == (404, "FDI.3081")


def test_list_runs__made_up_task__has_a_log(sim: Simulator) -> None:
    (task,) = get(sim, tasks_path(), task_name="common-task-1", execute_status="ERROR").json()["entities"]
    (run,) = runs(sim, task["task_id"])
    assert (run["execute_status"], run["start_time"]) == ("ERROR", task["last_execute_time"])


@pytest.mark.parametrize("text", [HOSTILE, "x" * 1024 * 1024], ids=["hostile", "1 MB"])
def test_any_text__in_every_field__is_sent_unchanged(sim: Simulator, text: str) -> None:
    fields = [
        field.name for field in dataclasses.fields(MonitoredTask) if "str" in field.type and field.name != "task_id"
    ]
    sim.monitors.put(INSTANCE, [MonitoredTask(**dict.fromkeys(fields, text))])  # type: ignore[arg-type] # only fields of text
    (task,) = json.loads(get(sim, tasks_path()).content)["entities"]
    (run,) = json.loads(get(sim, logs_path("task-1")).content)["entities"]
    assert {task["task_name"], task["source_app_name"], run["remarks"], run["detail_logs"][-1]["remarks"]} == {text}


def test_task_id__with_reserved_characters__is_found(sim: Simulator) -> None:
    sim.monitors.put(INSTANCE, [MonitoredTask(task_id="a/b?c")])
    assert [run["id"] for run in runs(sim, "a%2Fb%3Fc")] == ["a/b?c-run-1"]


@pytest.mark.parametrize("path", [tasks_path(), logs_path("task-1")], ids=["tasks", "logs"])
class TestBothApis:
    def test_token__missing_or_unknown__is_refused(self, sim: Simulator, path: str) -> None:
        sim.monitors.fail(INSTANCE, "healthy")
        sim.monitors.fail_logs(INSTANCE, "healthy")
        assert [error_code(get(sim, path, token)) for token in (None, "another")] == [(401, "APIGW.0301")] * 2

    def test_limit_per_second__covers_them(self, sim: Simulator, path: str) -> None:
        sim.monitors.put(INSTANCE, numbered(1))
        sim.limit_per_second = 1
        get(sim, path)
        assert error_code(get(sim, path)) == (429, "APIG.0308")

    def test_another_project__is_refused(self, sim: Simulator, path: str) -> None:
        assert error_code(get(sim, path.replace(DOC_PROJECT_ID, "another"))) == (400, "FDI.3039")

    def test_unknown_instance__is_refused(self, sim: Simulator, path: str) -> None:
        assert error_code(get(sim, path.replace(INSTANCE, "another"))) == (404, "APIC.7302")

    def test_requests__are_recorded_apart_from_those_for_statistics(self, sim: Simulator, path: str) -> None:
        get(sim, path, limit=7)
        assert sim.requests_for(INSTANCE) == []
        assert sim.monitor_requests_for(INSTANCE) == sim.requests
        assert [(request.instance_id, request.target) for request in sim.requests] == [(None, f"{path}?limit=7")]
        assert sim.monitor_requests_for(OTHER) == []


def test_restricted_token__sees_no_task(sim: Simulator) -> None:
    sim.restricted_tokens.add("restricted")
    sim.monitors.put(INSTANCE, numbered(1))
    empty = {"total": 0, "size": 0, "entities": []}
    assert get(sim, tasks_path(), "restricted").json() == empty
    assert get(sim, tasks_path(OTHER), "restricted").json() == empty
    assert error_code(get(sim, logs_path("id-1"), "restricted")) == (404, "FDI.3081")


def test_fail__behaviour__is_played_until_undone(sim: Simulator) -> None:
    def targets(request: Request) -> Response:
        return json_response({"target": request.target})

    sim.monitors.put(INSTANCE, numbered(1))
    sim.monitors.fail(INSTANCE, "error_APIG_1005")
    assert [error_code(get(sim, tasks_path())) for _ in range(2)] == [(403, "APIG.1005")] * 2
    assert len(runs(sim, "id-1")) == 1
    sim.monitors.fail(INSTANCE, targets)
    assert get(sim, tasks_path()).json() == {"target": tasks_path()}
    sim.monitors.fail(INSTANCE, json_response([]))
    assert get(sim, tasks_path()).json() == []
    sim.monitors.fail(INSTANCE, None)
    assert names(sim) == ["task-1"]


def test_fail_logs__behaviour__is_played_until_undone(sim: Simulator) -> None:
    sim.monitors.put(INSTANCE, numbered(1))
    sim.monitors.fail_logs(INSTANCE, "status_503")
    assert get(sim, logs_path("id-1")).status_code == 503
    assert names(sim) == ["task-1"]
    sim.monitors.fail_logs(INSTANCE, None)
    assert len(runs(sim, "id-1")) == 1


def test_fail__unknown_behaviour__suggests_similar_names(sim: Simulator) -> None:
    with pytest.raises(ValueError, match=r"unknown behaviour 'healhty': did you mean healthy"):
        sim.monitors.fail(INSTANCE, "healhty")
    with pytest.raises(ValueError, match="unknown behaviour"):
        sim.monitors.fail_logs(INSTANCE, "healhty")
