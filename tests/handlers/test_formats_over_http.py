"""Each form for each verdict and each caller over HTTP, and the two paths that have a form of their own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from fdi_health.formats import FORMATS
from tests.handlers.test_authentication import CALLERS, KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Function

PLAYS = {"healthy": "healthy", "degraded": "no_tasks", "unhealthy": "doc_example", "unknown": "refuses_token"}


@pytest.fixture
def keyed(function: Callable[..., Function]) -> Callable[..., Function]:
    def make(*plays: str, **settings: str | None) -> Function:
        return function(
            *plays, **{"FDI_CALLERS": "env://CALLERS", "CALLERS": CALLERS, "FDI_ANONYMOUS": "verdict", **settings}
        )

    return make


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("status", PLAYS)
@pytest.mark.parametrize("rights", ["key", "anonymous", "refused"])
def test_every_form__for_every_verdict_and_caller(
    keyed: Callable[..., Function], name: str, status: str, rights: str
) -> None:  # C16, C54
    checked = keyed(PLAYS[status], FDI_ANONYMOUS="refuse" if rights == "refused" else "verdict")
    response = checked.get(f"/?format={name}", headers={"X-Api-Key": KEY} if rights == "key" else {})

    if rights == "refused":
        assert (response.status_code, response.content_type) == (401, "application/problem+json")
        return
    fails = status in ("unhealthy", "unknown")
    assert response.status_code == (503 if fails and FORMATS[name].status is None else 200)
    assert response.content_type == FORMATS[name].media_type
    assert response.headers["FDI-Verdict"] == status
    assert response.headers["Cache-Control"] == "no-store"
    assert ("FDI-OK" in response.text) is (not fails and name not in ("prometheus", "openmetrics", "shields"))
    names_the_instance = re.search(r"\bone\b", response.text) is not None
    says_no_name = name == "shields" or (name == "badge" and status == "healthy")
    assert names_the_instance is (rights == "key" and not says_no_name)


@pytest.mark.parametrize("name", FORMATS)
def test_head__is_get_without_a_body(keyed: Callable[..., Function], name: str) -> None:  # C52
    checked = keyed("doc_example")
    get, head = checked.get(f"/?format={name}"), checked.client.head(f"/?format={name}")
    assert (head.status_code, head.content_type, head.data) == (get.status_code, get.content_type, b"")


@pytest.mark.parametrize("status", PLAYS)
def test_metrics__are_200_for_any_verdict(keyed: Callable[..., Function], status: str) -> None:  # C54
    response = keyed(PLAYS[status]).get("/metrics")
    assert response.status_code == 200
    assert response.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert f'fdi_verdict{{fdi_verdict="{status}"}} 1\n' in response.text
    assert "fdi_instance=" not in response.text


def test_metrics__are_openmetrics_for_a_scraper_that_asks(keyed: Callable[..., Function]) -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    response = keyed("healthy").get("/metrics", headers={"Accept": accept, "Authorization": f"Bearer {KEY}"})
    assert response.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert response.text.endswith("# EOF\n")
    assert 'fdi_running_tasks_count{fdi_instance="one",group="common"} 2\n' in response.text


def test_metrics__of_broken_settings_are_500(keyed: Callable[..., Function]) -> None:
    response = keyed("healthy", FDI_CACHE_SECONDS="x").get("/metrics")
    assert (response.status_code, response.get_json()["code"]) == (500, "settings_invalid")


def test_badge__is_200_for_any_verdict_and_tells_them_apart(keyed: Callable[..., Function]) -> None:  # C55
    responses = {status: keyed(play).get("/badge.svg") for status, play in PLAYS.items()}
    assert {response.status_code for response in responses.values()} == {200}
    assert {response.content_type for response in responses.values()} == {"image/svg+xml"}
    assert {response.headers["Cache-Control"] for response in responses.values()} == {"no-store"}
    assert len({response.headers["ETag"] for response in responses.values()}) == 4
    assert all(f">{status}</text>" in response.text for status, response in responses.items())


def test_badge__of_broken_settings_is_unknown(keyed: Callable[..., Function]) -> None:
    response = keyed("healthy", FDI_CACHE_SECONDS="x").get("/badge.svg")
    assert (response.status_code, response.content_type) == (200, "image/svg+xml")
    assert response.headers["FDI-Verdict"] == "unknown"
    assert "FDI-NOT-OK unknown: settings_invalid" in response.text


def test_badge__anonymous_refuse__is_401(keyed: Callable[..., Function]) -> None:
    assert keyed("healthy", FDI_ANONYMOUS="refuse").get("/badge.svg").status_code == 401


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/metrics?format=openmetrics", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("/metrics?format=prometheus", "text/plain; version=0.0.4; charset=utf-8"),
        ("/badge.svg?format=badge", "image/svg+xml"),
        ("/metrics?format=json", None),
        ("/badge.svg?format=text", None),
        ("/metrics?format=bogus", None),
    ],
)
def test_path_with_a_form__takes_no_other(keyed: Callable[..., Function], path: str, media_type: str | None) -> None:
    response = keyed("healthy").get(path)
    assert response.status_code == (400 if media_type is None else 200)
    assert response.content_type == (media_type or "application/problem+json")


@pytest.mark.parametrize("path", ["/metrics", "/badge.svg"])
def test_path_with_a_form__takes_the_parameters_too(keyed: Callable[..., Function], path: str) -> None:
    checked = keyed("healthy", "doc_example")
    assert checked.get(f"{path}?instance=one").headers["FDI-Verdict"] == "healthy"
    assert checked.get(f"{path}?instance=nope").status_code == 404
    assert checked.get(f"{path}?instance=").status_code == 400
    assert checked.client.post(path).status_code == 405


@pytest.mark.parametrize(
    ("accept", "name"),
    [("application/health+json", "health"), ("text/plain", "text"), ("image/svg+xml", "badge"), ("text/html", "json")],
)
def test_accept__chooses_the_form(keyed: Callable[..., Function], accept: str, name: str) -> None:  # C56
    response = keyed("doc_example").get("/", headers={"Accept": accept})
    assert response.content_type == FORMATS[name].media_type
    assert response.status_code == (FORMATS[name].status or 503)
