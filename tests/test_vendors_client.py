"""The vendor's own client against the simulator: it checks our understanding of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ServiceResponseException
from huaweicloudsdkroma.v2 import (
    CountTasksRequest,
    ListMonitorInfosRequest,
    ListMonitorLogRequest,
    RomaClient,
    TaskMonitorDetailLog,
    TaskMonitorInfo,
    TaskMonitorLog,
)

from simulator import MonitoredTask, Simulator
from simulator.monitored_task import run_documents, task_document
from tests.conftest import PROJECT_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Function

ACCESS_KEY, SECRET_KEY = "HPUAEXAMPLE", "made-up"


@pytest.fixture
def roma() -> Iterator[Simulator]:
    with Simulator(tokens=[], project_id=PROJECT_ID, access_keys={ACCESS_KEY: SECRET_KEY}) as simulator:
        yield simulator


def client(
    roma: Simulator, access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY, project_id: str = PROJECT_ID
) -> Any:
    credentials = BasicCredentials(access_key, secret_key, project_id)
    return RomaClient.new_builder().with_credentials(credentials).with_endpoint(roma.url).build()


def refusal(caller: Any, instance_id: str = "id-one") -> Any:
    with pytest.raises(ServiceResponseException) as caught:
        caller.count_tasks(CountTasksRequest(instance_id=instance_id))
    return caught.value


def test_vendors_client__with_the_documented_example__reads_it(roma: Simulator) -> None:
    roma.play("id-one", "doc_example")

    answer = client(roma).count_tasks(CountTasksRequest(instance_id="id-one"))

    assert answer.to_json_object() == {
        "common_task_details": {
            "running_tasks_count": 2,
            "abnormal_tasks_count": 2,
            "terminated_tasks_count": 6,
            "completed_tasks_count": 8,
        },
        "cdc_task_details": {
            "running_tasks_count": 1,
            "abnormal_tasks_count": 0,
            "terminated_tasks_count": 6,
            "completed_tasks_count": 0,
        },
    }


def test_vendors_client__sends_the_same_request_as_we_do(
    roma: Simulator, function: Callable[..., Function], upstream: Simulator
) -> None:
    roma.play("id-one", "healthy")
    client(roma).count_tasks(CountTasksRequest(instance_id="id-one"))
    function("healthy").get()

    (theirs,), (ours,) = roma.requests, upstream.requests
    assert (theirs.method, theirs.target) == (ours.method, ours.target)


@pytest.mark.parametrize(
    ("play", "status", "code"),
    [
        ("error_FDI_3002", 400, "FDI.3002"),
        ("error_FDI_3081", 404, "FDI.3081"),
        ("error_FDI_9999", 500, "FDI.9999"),
    ],
)
def test_vendors_client__reads_our_error_bodies(roma: Simulator, play: str, status: int, code: str) -> None:
    roma.play("id-one", play)
    error = refusal(client(roma))
    assert (error.status_code, error.error_code) == (status, code)


def test_vendors_client__with_an_unknown_key_project_or_instance__is_refused(roma: Simulator) -> None:
    assert refusal(client(roma, access_key="another")).status_code == 401
    assert refusal(client(roma, project_id="another")).error_code == "FDI.3039"
    assert refusal(client(roma), instance_id="another").error_code == "APIC.7302"


def test_vendors_client__list_monitor_infos__finds_the_page_of_a_signed_query(roma: Simulator) -> None:
    names = ["a nightly export & é+", "another", "b nightly export & é+", "c nightly export & é+"]
    roma.monitors.put("id-one", [MonitoredTask(task_id=f"id of {name}", task_name=name) for name in names])
    asked = ListMonitorInfosRequest(
        "id-one", offset=2, limit=1, task_name="nightly export & é+", execute_status="ERROR"
    )

    answer = client(roma).list_monitor_infos(asked)

    (entity,) = answer.entities
    assert (answer.total, answer.size, entity.task_name) == (3, 1, names[2])


def test_vendors_client__list_monitor_log__finds_the_runs_of_a_signed_query(roma: Simulator) -> None:
    task = MonitoredTask(task_id="id-1", remarks="connection refused", runs=3)
    assert task.last_execute_time is not None
    roma.monitors.put("id-one", [task])
    asked = ListMonitorLogRequest("id-one", "id-1", 1, 1, task.last_execute_time - 1, task.last_execute_time)

    answer = client(roma).list_monitor_log(asked)

    (run,) = answer.entities
    assert (answer.total, answer.size, run.remarks) == (1, 1, "connection refused")
    assert [step.remarks for step in run.detail_logs] == ["ok", "connection refused"]


def test_vendors_models__have_the_fields_that_the_simulator_sends() -> None:
    task = MonitoredTask()
    (run,) = run_documents(task)
    assert set(task_document(task)) == set(TaskMonitorInfo.openapi_types)
    assert set(run) == set(TaskMonitorLog.openapi_types)
    assert [set(step) for step in run["detail_logs"]] == [set(TaskMonitorDetailLog.openapi_types)] * 2


def test_vendors_client__list_monitor_log__unknown_task_is_refused(roma: Simulator) -> None:
    roma.monitors.put("id-one", [])
    with pytest.raises(ServiceResponseException) as caught:
        client(roma).list_monitor_log(ListMonitorLogRequest("id-one", "id-1"))
    assert (caught.value.status_code, caught.value.error_code) == (404, "FDI.3081")


def test_vendors_client__list_monitor_infos__wrong_secret_key_is_refused(roma: Simulator) -> None:
    with pytest.raises(ServiceResponseException) as caught:
        client(roma, secret_key="another").list_monitor_infos(ListMonitorInfosRequest("id-one", limit=5))
    assert caught.value.status_code == 401
