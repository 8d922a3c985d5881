"""Each recipe in docs/integrations: its page is generated from it, and its success condition holds when it should."""

from __future__ import annotations

import json
import re
import runpy
import time
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from werkzeug import Request, Response
from werkzeug.test import Client, TestResponse

from fdi_health.clock import format_timestamp
from handlers.application import Application
from handlers.routes import ROUTES
from handlers.triggers.wsgi import wsgi_application
from simulator import Simulator
from tests.conformance.platform import KEY, settings_for
from tests.conftest import PROJECT_ID, TOKEN
from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

BUILDER = runpy.run_path(str(ROOT / "docs" / "build_integrations.py"))
RECIPES: dict[str, dict[str, Any]] = BUILDER["recipes"]()
PAGES: dict[Path, str] = BUILDER["pages"]()
looks_for_marker: Callable[[dict[str, Any]], bool] = BUILDER["looks_for_marker"]
FIELDS = {
    "title",
    "summary",
    "request",
    "authentication",
    "matches",
    "steps",
    "degraded",
    "limits",
    "advice",
    "sources",
}
BALANCERS = {"aws-alb", "azure-front-door", "consul", "envoy", "haproxy"}
ALL_FAIL_ON = "fail_on=unhealthy,unknown,degraded"

SITUATIONS: dict[str, tuple[str, dict[str, str]]] = {
    # What it is called → the state that a recipe names, and the settings that bring it about.
    "healthy": ("healthy", {"FDI_INSTANCES": "orders=id-orders"}),
    "one instance without tasks": ("degraded", {"FDI_INSTANCES": "orders=id-orders,sandbox=id-sandbox"}),
    "rights lost: no tasks anywhere": ("degraded", {"FDI_INSTANCES": "sandbox=id-sandbox"}),
    "token expires soon": ("degraded", {"FDI_INSTANCES": "orders=id-orders", "ROMA_TOKEN": "EXPIRES"}),
    "unhealthy": ("unhealthy", {"FDI_INSTANCES": "orders=id-orders,payments=id-payments"}),
    "unknown": ("unknown", {"FDI_INSTANCES": "orders=id-orders,crm=id-crm"}),
    "no token": ("no credentials", {"FDI_INSTANCES": "orders=id-orders", "ROMA_TOKEN": ""}),
    "broken settings": ("broken settings", {"FDI_CACHE_SECONDS": "x"}),
    "caller refused": (
        "refused",
        {
            "FDI_INSTANCES": "orders=id-orders",
            "CALLERS": '{"other":"another-key-0123456789"}',
            "FDI_ANONYMOUS": "refuse",
        },
    ),
}
FLEETS = [name for name, (state, _) in SITUATIONS.items() if state in ("healthy", "degraded", "unhealthy", "unknown")]


def settings_of(base: Mapping[str, str], situation: str) -> dict[str, str]:
    """Return the settings of a situation; a token that ends soon ends soon after now."""
    settings = {**base, **SITUATIONS[situation][1]}
    if settings["ROMA_TOKEN"] == "EXPIRES":
        settings["ROMA_TOKEN"] = json.dumps({"token": TOKEN, "expires_at": format_timestamp(time.time() + 600)})
    return settings


def ask(settings: Mapping[str, str], request: dict[str, Any]) -> TestResponse:
    """Send a recipe's request to a function with these settings."""
    headers = {name: value.replace("KEY", KEY) for name, value in request.get("headers", {}).items()}
    if headers.get("Authorization", "").startswith("Basic"):
        headers["X-Api-Key"] = KEY  # a page can't show the Base64 of a key that it does not know
        del headers["Authorization"]
    process = Application(settings)
    try:
        body = request.get("body", "").encode()
        return Client(wsgi_application(process)).open(
            request["path"], method=request["method"], headers=headers, data=body
        )
    finally:
        process.close()


def get(settings: Mapping[str, str], path: str) -> TestResponse:
    """GET a path of a function with these settings."""
    return ask(settings, {"method": "GET", "path": path})


def succeeds(response: TestResponse, matches: dict[str, Any]) -> bool:
    """Decide as the caller does."""
    low, high = matches["status"]
    found: bool = low <= response.status_code <= high
    if "keyword" in matches:
        found = found and contains_keyword(response, matches)
    if "json" in matches:
        document = response.get_json(silent=True) or {}
        found = found and all(bool(document.get(path) == value) for path, value in matches["json"].items())
    if "header" in matches:
        found = found and matches["header"] in response.headers
    if "sample" in matches and found:
        found = has_sample(response.text, **matches["sample"])
    return found


def contains_keyword(response: TestResponse, matches: dict[str, Any]) -> bool:
    """Search as the caller does: perhaps in the first bytes only, perhaps in JSON that it wrote again."""
    forms = [response.data[: matches.get("first_bytes")].decode("utf-8", "ignore")]
    if matches.get("reserialised") and response.is_json:
        forms = [json.dumps(response.get_json(), indent=4), json.dumps(response.get_json(), separators=(",", ":"))]
    (found,) = {matches["keyword"] in form for form in forms}
    return found


def has_sample(text: str, name: str, value: float, labels: Mapping[str, str] | None = None) -> bool:
    """Return whether a scrape has a sample with this value."""
    read: Callable[[str], Any] = text_string_to_metric_families
    try:
        samples = [sample for family in read(text) for sample in family.samples]
    except ValueError:  # Prometheus drops such a scrape
        return False
    wanted = labels or {}
    return any(
        sample.name == name and sample.labels.items() >= wanted.items() and sample.value == value for sample in samples
    )


@pytest.fixture(scope="module")
def upstream() -> Iterator[Simulator]:
    """Return one simulator for all tests here; `base` says anew what its instances play."""
    with Simulator(tokens=[TOKEN], project_id=PROJECT_ID) as simulator:
        yield simulator


@pytest.fixture
def base(upstream: Simulator) -> dict[str, str]:
    return settings_for(upstream)


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("name", RECIPES)
def test_recipe__in_each_situation__succeeds_exactly_when_it_should(
    base: dict[str, str], name: str, situation: str
) -> None:  # E08
    recipe = RECIPES[name]
    response = ask(settings_of(base, situation), recipe["request"])
    expected = SITUATIONS[situation][0] in recipe.get("passes_on", ["healthy", "degraded"])
    assert succeeds(response, recipe["matches"]) is expected, response.text


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("name", RECIPES)
def test_degraded_url__in_each_situation__succeeds_only_when_healthy(
    base: dict[str, str], name: str, situation: str
) -> None:  # G04
    recipe = RECIPES[name]
    degraded = recipe["degraded"]
    response = ask(settings_of(base, situation), {**recipe["request"], "path": degraded["path"]})
    expected = SITUATIONS[situation][0] in degraded.get("passes_on", ["healthy"])
    assert succeeds(response, degraded["matches"]) is expected, response.text


@pytest.mark.parametrize("name", RECIPES)
def test_page__of_each_integration__shows_the_url_that_fails_when_degraded(name: str) -> None:  # G04
    page = (ROOT / "docs" / "integrations" / f"{name}.md").read_text()
    section = page.partition("## Page for degraded\n")[2].partition("\n## ")[0]
    assert ALL_FAIL_ON in section
    assert RECIPES[name]["degraded"]["path"] in section


# Keyword monitors and status monitors.

KEYWORD_RECIPES = [name for name, recipe in RECIPES.items() if looks_for_marker(recipe["matches"])]


@pytest.mark.parametrize("name", KEYWORD_RECIPES)
def test_keyword_monitor__in_each_recipe__uses_the_default_fail_on(name: str) -> None:  # G04
    recipe = RECIPES[name]
    assert "fail_on" not in recipe["request"]["path"]
    assert "fail_on" not in recipe["steps"]
    # The second monitor looks at the status, not for the marker.
    assert not looks_for_marker(recipe["degraded"]["matches"])
    assert "Do not set `fail_on`" in (ROOT / "docs" / "integrations" / f"{name}.md").read_text()


@pytest.mark.parametrize("situation", FLEETS)
def test_keyword_alone__with_the_default_fail_on__is_present_exactly_with_200(
    base: dict[str, str], situation: str
) -> None:
    response = get(settings_of(base, situation), "/")
    assert ("FDI-OK" in response.text) is (response.status_code == 200)


@pytest.mark.parametrize("fail_on", ["unhealthy", "unknown", "none", "degraded"])
@pytest.mark.parametrize("situation", ["unhealthy", "unknown"])
def test_keyword__with_a_narrower_fail_on__is_still_missing(
    base: dict[str, str], situation: str, fail_on: str
) -> None:  # G04: so a keyword monitor cannot tell the teams apart
    response = get(settings_of(base, situation), f"/?fail_on={fail_on}")
    assert "FDI-OK" not in response.text
    assert response.status_code == (503 if fail_on == situation else 200)


@pytest.mark.parametrize("situation", FLEETS)
def test_keyword_alone__with_degraded_in_fail_on__is_never_in_a_503(
    base: dict[str, str], situation: str
) -> None:  # G05
    response = get(settings_of(base, situation), f"/?{ALL_FAIL_ON}")
    assert ("FDI-OK" in response.text) is (response.status_code == 200)


TEAM_URLS = {
    # The URLs of the table in docs/integrations/README.md → the fleets that each answers 503 for.
    "/?instance=payments&fail_on=unhealthy": {"unhealthy in payments", "unhealthy in payments, unknown crm"},
    "/?instance=orders,crm&fail_on=unhealthy": {"unhealthy in orders"},
    "/?fail_on=unknown": {"unknown crm", "unhealthy in payments, unknown crm"},
    "/?fail_on=unknown,degraded": {"unknown crm", "unhealthy in payments, unknown crm", "no tasks in orders"},
}
TEAM_FLEETS: dict[str, dict[str, str]] = {
    "healthy": {},
    "unhealthy in payments": {"payments": "doc_example"},
    "unhealthy in orders": {"orders": "doc_example"},
    "unknown crm": {"crm": "refuses_token"},
    "unhealthy in payments, unknown crm": {"payments": "doc_example", "crm": "refuses_token"},
    "no tasks in orders": {"orders": "no_tasks"},
}


@pytest.mark.parametrize("fleet", TEAM_FLEETS)
@pytest.mark.parametrize("path", TEAM_URLS)
def test_status_monitor__of_each_team__fails_for_its_own_faults_only(
    upstream: Simulator, base: dict[str, str], path: str, fleet: str
) -> None:  # G01, G04
    for instance in ("payments", "orders", "crm"):
        upstream.play(f"id-{instance}", TEAM_FLEETS[fleet].get(instance, "healthy"))
    settings = {**base, "FDI_INSTANCES": "payments=id-payments,orders=id-orders,crm=id-crm"}
    assert get(settings, path).status_code == (503 if fleet in TEAM_URLS[path] else 200)


def test_teams__in_the_index__are_the_tested_ones() -> None:
    index = (ROOT / "docs" / "integrations" / "README.md").read_text()
    section = index.partition("## Teams\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(/\?\S+)`", section)) == TEAM_URLS.keys()


# Balancers.


@pytest.mark.parametrize("situation", FLEETS)
def test_options__with_each_status__is_204(base: dict[str, str], situation: str) -> None:  # E08
    for path in ("/", "/health"):
        assert ask(settings_of(base, situation), {"method": "OPTIONS", "path": path}).status_code == 204


def test_balancer_pages__recommend_get() -> None:  # E08
    assert {name for name, recipe in RECIPES.items() if recipe.get("balancer")} == BALANCERS
    for name in BALANCERS:
        assert RECIPES[name]["request"]["method"] == "GET"
        page = (ROOT / "docs" / "integrations" / f"{name}.md").read_text()
        assert "Use GET. OPTIONS is answered with 204" in page
        assert "check `GET /ready`" in page


# Responses of others.

FOREIGN = {
    "login page": Response("<html>please log in</html>", 200, content_type="text/html"),
    "redirect to a login page": Response("", 302, {"Location": "https://login.example/"}),
    "somebody else's health": Response('{"status":"healthy","healthy":true}', 200, content_type="application/json"),
    "maintenance page": Response("<html>back soon</html>", 503, content_type="text/html"),
}


@pytest.mark.parametrize("page", FOREIGN)
@pytest.mark.parametrize("name", RECIPES)
def test_recipe__with_a_response_of_another_service__does_not_succeed(name: str, page: str) -> None:
    recipe = RECIPES[name]
    if "status only" in " ".join(recipe["limits"]):
        # These callers can't look at the body, and their pages say so.
        assert recipe["matches"].keys() == {"status"}
        return
    assert recipe["matches"].keys() > {"status"}
    made = FOREIGN[page]
    response = TestResponse([made.data], made.status, made.headers, Request({"REQUEST_METHOD": "GET"}))
    assert not succeeds(response, recipe["matches"])


# Recipes and pages.


@pytest.mark.parametrize("name", RECIPES)
def test_recipe__has_every_field_and_no_secret(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.keys() - {"passes_on", "fails_on", "teams", "balancer"} == FIELDS
    for path in (recipe["request"]["path"], recipe["degraded"]["path"]):
        route = ROUTES[path.partition("?")[0]]
        assert recipe["request"]["method"] in route.methods
        # A key is never part of a URL, where proxies and browsers store it.
        assert "KEY" not in path
    for matches in (recipe["matches"], recipe["degraded"]["matches"]):
        assert matches.keys() <= {"status", "keyword", "first_bytes", "json", "sample", "header", "reserialised"}
    assert recipe["sources"]
    assert all(source.startswith("https://") for source in recipe["sources"])


@pytest.mark.parametrize("place", PAGES, ids=lambda place: place.name)
def test_page__is_generated_from_its_recipe(place: Path) -> None:
    assert place.read_text() == PAGES[place], "run make docs"
    assert {path.stem for path in place.parent.glob("*.md")} == {*RECIPES, "README"}


@pytest.mark.parametrize("name", RECIPES)
def test_page__shows_its_keyword_in_the_right_case(name: str) -> None:
    keyword = RECIPES[name]["matches"].get("keyword", "")
    text = (ROOT / "docs" / "integrations" / f"{name}.md").read_text()
    assert keyword in text
    assert "fdi-ok" not in text


def test_index__names_the_success_condition_of_each_integration() -> None:
    index = (ROOT / "docs" / "integrations" / "README.md").read_text()
    for name, recipe in RECIPES.items():
        (row,) = (line for line in index.splitlines() if f"]({name}.md)" in line and line.startswith("| ["))
        assert BUILDER["success_condition"](recipe["matches"]) in row
        assert ALL_FAIL_ON in row or name == "prometheus"


def test_recipes__of_the_first_release__exist() -> None:
    wanted = {
        "route-53",
        "google-uptime-checks",
        "google-cloud-scheduler",
        "eventbridge-api-destinations",
        "uptimerobot",
        "better-stack",
        "pingdom",
        "uptime-kuma",
        "gatus",
        "kubernetes-probes",
        "prometheus",
        "blackbox-exporter",
        "nagios",
        "healthchecks-io",
        "webhooks",
    }
    assert wanted <= RECIPES.keys()
