"""Several projects in one simulator: each has its own instances, and a token of IAM is for one project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from simulator import DOC_PROJECT_ID, Iam, Simulator, User
from tests.simulator.wire import TOKEN, statistics_path

if TYPE_CHECKING:
    from collections.abc import Iterator

ASIA = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(tokens=[TOKEN], iam=Iam({"probe": User("secret")})) as simulator:
        simulator.play("id-payments", "healthy")
        simulator.play("id-orders", "doc_example", project_id=ASIA)
        yield simulator


def get(sim: Simulator, path: str, token: str = TOKEN) -> requests.Response:
    return requests.get(sim.url + path, headers={"X-Auth-Token": token}, timeout=5)


def log_in(sim: Simulator, project_id: str) -> requests.Response:
    user = {"name": "probe", "password": "secret", "domain": {"name": "Acme"}}
    document: Any = {
        "auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"id": project_id}},
        }
    }
    return requests.post(f"{sim.url}/v3/auth/tokens", json=document, timeout=5)


@pytest.mark.parametrize(
    ("instance_id", "project_id", "status"),
    [
        ("id-payments", DOC_PROJECT_ID, 200),
        ("id-orders", ASIA, 200),
        ("id-payments", ASIA, 404),
        ("id-orders", DOC_PROJECT_ID, 404),
        ("id-orders", "nowhere", 400),
    ],
)
def test_statistics__of_an_instance__are_in_its_own_project(
    sim: Simulator, instance_id: str, project_id: str, status: int
) -> None:
    assert get(sim, statistics_path(instance_id, project_id)).status_code == status
    own = get(sim, f"/v1/{project_id}/roma/instances/{instance_id}/statistics").status_code == 200
    tasks = get(sim, f"/v2/{project_id}/fdi/instances/{instance_id}/task-monitors").status_code == 200
    assert (own, tasks) == (status == 200, status == 200)


@pytest.mark.parametrize(("project_id", "listed"), [(DOC_PROJECT_ID, ["id-payments"]), (ASIA, ["id-orders"])])
def test_list__of_a_project__has_its_own_instances(sim: Simulator, project_id: str, listed: list[str]) -> None:
    document = get(sim, f"/v3/{project_id}/roma/instances").json()
    assert [instance["id"] for instance in document["instances"]] == listed


def test_token__of_one_project__is_refused_in_another(sim: Simulator) -> None:
    response = log_in(sim, ASIA)
    assert response.json()["token"]["project"]["id"] == ASIA
    token = response.headers["X-Subject-Token"]
    assert get(sim, statistics_path("id-orders", ASIA), token).status_code == 200
    refused = get(sim, statistics_path("id-payments"), token)
    assert (refused.status_code, refused.json()["error_code"]) == (400, "FDI.3039")


def test_login__for_a_project_that_plays_nothing__is_refused(sim: Simulator) -> None:
    assert log_in(sim, "nowhere").status_code == 404


def test_instance__plays_in_another_project__and_is_not_in_the_first_one_any_more(sim: Simulator) -> None:
    sim.play("id-payments", "healthy", project_id=ASIA)
    assert get(sim, statistics_path("id-payments")).status_code == 404
    assert get(sim, statistics_path("id-payments", ASIA)).status_code == 200
