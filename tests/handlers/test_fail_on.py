"""What fails a check over HTTP: `fail_on` decides status and marker, and no Accept header gets around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fdi_health.formats import FORMATS
from tests.faults import oracle

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator import Simulator
    from tests.conftest import Function


@pytest.mark.parametrize(
    ("plays", "fail_on", "status"),
    [
        (("doc_example", "refuses_token"), "unknown", 503),
        (("doc_example", "no_tasks"), "degraded", 503),
        (("refuses_token", "no_tasks"), "degraded", 503),
        (("doc_example", "no_tasks"), "unknown", 200),
        (("healthy", "no_tasks"), "unhealthy,unknown", 200),
    ],
)
def test_fail_on__looks_at_every_instance_asked(
    function: Callable[..., Function], plays: tuple[str, str], fail_on: str, status: int
) -> None:  # G01
    checked = function(*plays)
    assert checked.get(f"/?fail_on={fail_on}").status_code == status
    assert checked.client.post("/", json={"fail_on": fail_on}).status_code == status


def test_fail_on__instance_not_asked__has_no_effect(function: Callable[..., Function]) -> None:  # G01
    assert function("doc_example", "refuses_token").get("/?fail_on=unknown&instance=one").status_code == 200


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("fail_on", oracle.FAIL_ON)
@pytest.mark.parametrize("plays", [("healthy",), ("healthy", "no_tasks"), ("doc_example", "no_tasks"), ("status_500",)])
def test_marker__agrees_with_status_and_verdict_in_every_form(
    function: Callable[..., Function], plays: tuple[str, ...], fail_on: str, form: str
) -> None:  # G05
    response = function(*plays).get(f"/?fail_on={fail_on}&format={form}")

    statuses = [oracle.SOUND.get(play, "unknown") for play in plays]
    always_200 = FORMATS[form].status is not None
    assert response.headers["FDI-Verdict"] == oracle.fleet(statuses)
    assert response.status_code == (200 if always_200 else oracle.http_status(statuses, fail_on))
    if form not in ("prometheus", "openmetrics", "shields"):
        assert oracle.marker(statuses, fail_on) in response.text[:512]
        assert ("FDI-OK" in response.text) is (oracle.marker(statuses, fail_on) == "FDI-OK")
    else:
        assert "FDI-OK" not in response.text


def test_cached_result__another_fail_on__has_the_marker_of_its_request(
    function: Callable[..., Function], upstream: Simulator
) -> None:  # G05
    checked = function("no_tasks", FDI_CACHE_SECONDS="60")
    answers = [checked.get(f"/?fail_on={fail_on}") for fail_on in ("none", "degraded", "unhealthy", "healthy")]

    assert [(answer.status_code, answer.get_json()["marker"]) for answer in answers] == [
        (200, "FDI-OK"),
        (503, "FDI-NOT-OK"),
        (200, "FDI-OK"),
        (503, "FDI-NOT-OK"),
    ]
    assert len(upstream.requests) == 1


def test_further_group__is_unhealthy_and_shown(function: Callable[..., Function]) -> None:  # D59
    response = function("flow_abnormal").get()

    (instance,) = response.get_json()["instances"]
    assert (response.status_code, instance["status"]) == (503, "unhealthy")
    assert instance["other_task_details"]["flow_task_details"]["abnormal_tasks_count"] == 3
    assert response.get_json()["reason"] == "3 abnormal tasks in one"


def test_overloaded__response__has_retry_after(function: Callable[..., Function]) -> None:
    checked = function("healthy", THREADS="1")
    with checked.process.admission.check():
        for path in ("/", "/ready", "/metrics"):
            response = checked.get(path)
            assert (response.status_code, response.get_json()["code"]) == (503, "overloaded")
            assert response.headers["Retry-After"] == "1"
    assert "Retry-After" not in checked.get("/").headers


LISTS = [
    "application/openmetrics-text;version=1.0.0,*/*;q=0.1",
    "application/openmetrics-text, text/plain;version=0.0.4",
    "image/svg+xml,image/*",
    "image/svg+xml;q=0",
    "text/html,application/xhtml+xml,image/svg+xml;q=0.9",
]


@pytest.mark.parametrize("accept", LISTS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_accept_list__is_json_with_the_verdicts_status(
    function: Callable[..., Function], accept: str, method: str
) -> None:  # E05
    response = function("doc_example").client.open("/", method=method, headers={"Accept": accept})

    assert (response.status_code, response.content_type) == (503, "application/json")


def test_accept_in_two_headers__is_a_list(function: Callable[..., Function]) -> None:  # E05
    headers = [("Accept", "application/openmetrics-text"), ("Accept", "image/svg+xml")]
    response = function("doc_example").get(headers=headers)

    assert (response.status_code, response.content_type) == (503, "application/json")


def test_metrics__respect_a_weight_of_0(function: Callable[..., Function]) -> None:  # E05
    response = function("healthy").get("/metrics", headers={"Accept": "application/openmetrics-text;q=0,*/*"})

    assert response.content_type == FORMATS["prometheus"].media_type
