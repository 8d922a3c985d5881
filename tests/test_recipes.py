"""Every recipe in docs/callers: its page is made from it, and what it looks for is there exactly when healthy."""

from __future__ import annotations

import json
import runpy
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from werkzeug import Request, Response
from werkzeug.test import Client, TestResponse

from handlers.process import Process
from handlers.routes import ROUTES
from handlers.wsgi import application
from tests.conformance.platform import KEY, settings_for
from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from simulator import Simulator

BUILDER = runpy.run_path(str(ROOT / "docs" / "build_callers.py"))
RECIPES: dict[str, dict[str, Any]] = BUILDER["recipes"]()
FIELDS = {"title", "summary", "request", "authentication", "matches", "steps", "limits", "advice", "sources"}

SITUATIONS: dict[str, dict[str, str]] = {
    "healthy": {"FDI_INSTANCES": "orders=id-orders"},
    "degraded": {"FDI_INSTANCES": "orders=id-orders,sandbox=id-sandbox"},
    "unhealthy": {"FDI_INSTANCES": "orders=id-orders,payments=id-payments"},
    "unknown": {"FDI_INSTANCES": "orders=id-orders,crm=id-crm"},
    "no token": {"FDI_INSTANCES": "orders=id-orders", "ROMA_TOKEN": ""},
    "broken settings": {"FDI_CACHE_SECONDS": "x"},
    "refused": {
        "FDI_INSTANCES": "orders=id-orders",
        "CALLERS": '{"other":"another-key-0123456789"}',
        "FDI_ANONYMOUS": "refuse",
    },
}


def ask(settings: Mapping[str, str], recipe: dict[str, Any]) -> TestResponse:
    """Send a recipe's request to a function with these settings."""
    request = recipe["request"]
    headers = {name: value.replace("KEY", KEY) for name, value in request.get("headers", {}).items()}
    if headers.get("Authorization", "").startswith("Basic"):
        headers["X-Api-Key"] = KEY  # a page can't show a Base64 of a key that it does not know
        del headers["Authorization"]
    process = Process(settings)
    try:
        body = request.get("body", "").encode()
        return Client(application(process)).open(request["path"], method=request["method"], headers=headers, data=body)
    finally:
        process.close()


def is_content(response: TestResponse, matches: dict[str, Any]) -> bool:
    """Decide as the caller does."""
    low, high = matches["status"]
    found: bool = low <= response.status_code <= high
    text = response.text
    if "keyword" in matches:
        head = response.data[: matches.get("first_bytes")].decode("utf-8", "ignore")
        forms = [head]
        if matches.get("reserialised") and response.is_json:
            forms = [json.dumps(response.get_json(), indent=4), json.dumps(response.get_json(), separators=(",", ":"))]
        assert len({matches["keyword"] in form for form in forms}) == 1
        found = found and matches["keyword"] in forms[0]
    if "json" in matches:
        document = response.get_json(silent=True) or {}
        found = found and all(bool(document.get(path) == value) for path, value in matches["json"].items())
    if "sample" in matches and found:
        read: Callable[[str], Any] = text_string_to_metric_families
        try:
            samples = {sample.name: sample.value for family in read(text) for sample in family.samples}
        except ValueError:  # which loses a scrape
            samples = {}
        found = bool(samples.get(matches["sample"]["name"]) == matches["sample"]["value"])
    return found


@pytest.fixture
def base(upstream: Simulator) -> dict[str, str]:
    return settings_for(upstream)


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("name", RECIPES)
def test_recipe__is_content_exactly_when_it_should_be(base: dict[str, str], name: str, situation: str) -> None:
    recipe = RECIPES[name]
    response = ask({**base, **SITUATIONS[situation]}, recipe)
    passes_on = {"healthy", "degraded"} | set(recipe.get("passes_on", []))
    if recipe["request"]["path"] == "/ready" and situation == "refused":
        passes_on.add("refused")  # its status is for everybody
    assert is_content(response, recipe["matches"]) is (situation in passes_on), response.text


FOREIGN = {
    "login page": Response("<html>please log in</html>", 200, content_type="text/html"),
    "redirect to a login page": Response("", 302, {"Location": "https://login.example/"}),
    "somebody else's health": Response('{"status":"healthy","healthy":true}', 200, content_type="application/json"),
    "maintenance page": Response("<html>back soon</html>", 503, content_type="text/html"),
}


@pytest.mark.parametrize("page", FOREIGN)
@pytest.mark.parametrize("name", RECIPES)
def test_recipe__is_not_content_with_somebody_elses_answer(name: str, page: str) -> None:
    recipe = RECIPES[name]
    if "status only" in " ".join(recipe["limits"]):
        # These can't do better, and their pages say so.
        assert recipe["matches"].keys() == {"status"}
        return
    assert recipe["matches"].keys() > {"status"}
    made = FOREIGN[page]
    response = TestResponse([made.data], made.status, made.headers, Request({"REQUEST_METHOD": "GET"}))
    assert not is_content(response, recipe["matches"])


@pytest.mark.parametrize("name", RECIPES)
def test_recipe__has_what_a_page_needs_and_no_secret(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.keys() - {"passes_on", "fails_on"} == FIELDS
    assert recipe["request"]["path"].partition("?")[0] in ROUTES
    assert recipe["request"]["method"] in ROUTES[recipe["request"]["path"].partition("?")[0]].methods
    assert set(recipe["matches"]) <= {"status", "keyword", "first_bytes", "json", "sample", "reserialised"}
    assert recipe["sources"]
    assert all(source.startswith("https://") for source in recipe["sources"])
    # A key never stands in a URL, where proxies and browsers write it down.
    assert "KEY" not in recipe["request"]["path"]


@pytest.mark.parametrize("place", BUILDER["pages"](), ids=lambda place: place.name)
def test_page__is_made_from_its_recipe(place: Any) -> None:
    assert place.read_text() == BUILDER["pages"]()[place], "run make docs"
    assert {path.stem for path in place.parent.glob("*.md")} == {*RECIPES, "README"}


@pytest.mark.parametrize("name", RECIPES)
def test_page__holds_its_keyword_as_it_is(name: str) -> None:
    keyword = RECIPES[name]["matches"].get("keyword", "")
    text = (ROOT / "docs" / "callers" / f"{name}.md").read_text()
    assert keyword in text
    assert "fdi-ok" not in text


def test_first_set__is_there() -> None:
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
