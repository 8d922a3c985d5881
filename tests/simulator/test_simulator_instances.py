"""The simulator's list of instances (ListRomaInstancesV3)."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from simulator import DOC_PROJECT_ID, Simulator, json_response
from simulator.faults import UnknownBehaviourError
from tests.simulator.wire import INSTANCE, OTHER, TOKEN


def get(simulator: Simulator, token: str | None = TOKEN, project_id: str = DOC_PROJECT_ID, query: str = "") -> Any:
    headers = {} if token is None else {"X-Auth-Token": token}
    return requests.get(f"{simulator.url}/v3/{project_id}/roma/instances{query}", headers=headers, timeout=5)


def error_code(response: requests.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error_code"]


def test_list__has_every_instance_that_plays() -> None:
    with Simulator(tokens=[TOKEN]) as simulator:
        simulator.play("id-1", "healthy")
        assert get(simulator, query="?status=RUNNING").json() == {
            "total": 1,
            "size": 1,
            "instances": [
                {
                    "id": "id-1",
                    "name": "id-1",
                    "description": "",
                    "status": "RUNNING",
                    "enterprise_project_id": "0",
                }
            ],
        }


def test_list__changed_while_running__is_another_one(sim: Simulator) -> None:
    sim.instances.names[INSTANCE] = "Payments"
    sim.instances.states[OTHER] = "FROZEN"
    sim.play("id-new", "healthy")
    listed = [(entry["name"], entry["status"]) for entry in get(sim).json()["instances"]]
    assert listed == [("Payments", "RUNNING"), (OTHER, "FROZEN"), ("id-new", "RUNNING")]


def test_list__instance_removed__lacks_it_and_its_statistics(sim: Simulator) -> None:
    sim.remove(OTHER)
    assert [entry["id"] for entry in get(sim).json()["instances"]] == [INSTANCE]


def test_claim_total__lies_about_the_total_alone(sim: Simulator) -> None:
    sim.instances.claim_total(5)
    document = get(sim).json()
    assert (document["total"], document["size"], len(document["instances"])) == (5, 2, 2)
    sim.instances.claim_total(None)
    assert get(sim).json()["total"] == 2


@pytest.mark.parametrize("behaviour", ["status_500", json_response({}, 500), lambda request: json_response({}, 500)])
def test_fail__plays_a_behaviour_until_it_is_undone(sim: Simulator, behaviour: Any) -> None:
    sim.instances.fail(behaviour)
    assert get(sim).status_code == 500
    sim.instances.fail(None)
    assert get(sim).status_code == 200


def test_fail__unknown_behaviour__is_refused(sim: Simulator) -> None:
    with pytest.raises(UnknownBehaviourError):
        sim.instances.fail("dances")


def test_list__without_a_valid_token__is_refused(sim: Simulator) -> None:
    assert error_code(get(sim, None)) == (401, "APIGW.0301")
    assert error_code(get(sim, "another")) == (401, "APIGW.0301")


def test_list__of_another_project__is_refused(sim: Simulator) -> None:
    assert error_code(get(sim, project_id="other")) == (400, "FDI.3039")


def test_instance_list_requests__are_those_for_the_list(sim: Simulator) -> None:
    get(sim)
    requests.get(sim.url, timeout=5)
    assert [request.target for request in sim.instance_list_requests] == [f"/v3/{DOC_PROJECT_ID}/roma/instances"]
