"""The Grafana dashboard: a real Prometheus that has scraped a real function answers every query in it."""

from __future__ import annotations

import json
import re
import runpy
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests
import yaml

from fdi_health.clock import format_timestamp
from simulator import Simulator
from tests.conformance.platform import KEY, settings_for
from tests.conftest import PROJECT_ID, TOKEN
from tests.deploy.programs import running
from tests.servers import ROOT, free_port, functions_framework
from tests.tools import tool

if TYPE_CHECKING:
    from collections.abc import Iterator

MONITORING = ROOT / "deploy" / "monitoring"
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "grafana-dashboard.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
QUERIES = {
    f"{panel['title']} {target['refId']}": (panel, target["expr"]) for panel in PANELS for target in panel["targets"]
}
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
STATUSES = {"payments": "unhealthy", "orders": "healthy", "crm": "unknown", "sandbox": "degraded", "muted": "degraded"}

# Query → why it has no data for this fleet. There is none today.
EMPTY: dict[str, str] = {}
# Metric → why no panel shows it. There is none today.
NOT_SHOWN: dict[str, str] = {}


@pytest.fixture(scope="module")
def prometheus_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a Prometheus that has scraped a fleet with each status, a mute, and a token with an end."""
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    ends = format_timestamp(time.time() + 7200)
    with Simulator(tokens=[TOKEN], project_id=PROJECT_ID) as simulator:
        settings = settings_for(simulator)
        simulator.play("id-muted", "doc_example")
        settings |= {
            "FDI_INSTANCES": f"{settings['FDI_INSTANCES']},muted=id-muted",
            "FDI_MUTE": f"muted={ends}",
            "ROMA_TOKEN": json.dumps({"token": TOKEN, "expires_at": ends}),
        }
        with functions_framework(settings, tmp_path_factory.mktemp("home")) as (function_url, _):
            scrape = {
                "job_name": "fdi-health",
                "scrape_interval": "1s",
                "authorization": {"credentials": KEY},
                "static_configs": [{"targets": [function_url.removeprefix("http://")]}],
            }
            (folder / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": [scrape]}))
            command = [tool("prometheus"), "--config.file=prometheus.yml", f"--web.listen-address=127.0.0.1:{port}"]
            url = f"http://127.0.0.1:{port}"
            with running([*command, "--storage.tsdb.path=data"], f"{url}/-/ready", folder):
                end = time.monotonic() + 30
                while not ask(url, "fdi_build_info") and time.monotonic() < end:
                    time.sleep(0.2)
                yield url


def ask(url: str, query: str) -> list[dict[str, Any]]:
    """Return the series that answer a query. A query that Prometheus cannot parse raises."""
    response = requests.get(f"{url}/api/v1/query", params={"query": query}, timeout=5)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["data"]["result"]
    return found


def filled_in(query: str, **chosen: str) -> str:
    """Return a query as Grafana sends it: with the variables, by default all jobs and instances."""
    values = {"job": ".*", "fdi_instance": ".*", "minimum": "1"} | chosen
    query = re.sub(r"\$(\w+)", lambda found: values[found[1]], query)
    assert "$" not in query
    return query


def test_dashboard__is_what_the_builder_writes() -> None:
    builder = runpy.run_path(str(MONITORING / "build_dashboard.py"))
    assert (MONITORING / "grafana-dashboard.json").read_text() == builder["text"]()


def test_dashboard__names_no_data_source_of_ours() -> None:
    assert DASHBOARD["uid"] == "fdi-health"
    assert "id" not in DASHBOARD
    used = {panel["datasource"]["uid"] for panel in PANELS}
    used |= {variable["datasource"]["uid"] for variable in VARIABLES.values() if "datasource" in variable}
    assert used == {"${datasource}"}
    assert {"datasource", "job", "fdi_instance"} <= VARIABLES.keys()


def test_panels__lie_beside_each_other() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    fields = [
        (column, row)
        for place in (panel["gridPos"] for panel in PANELS)
        for column in range(place["x"], place["x"] + place["w"])
        for row in range(place["y"], place["y"] + place["h"])
    ]
    assert len(fields) == len(set(fields))
    assert max(column for column, _ in fields) == 23


@pytest.mark.parametrize("name", QUERIES)
def test_query__has_data(prometheus_url: str, name: str) -> None:
    panel, query = QUERIES[name]
    found = ask(prometheus_url, filled_in(query))
    assert bool(found) is (name not in EMPTY)
    # The columns that a table shows, and the labels in a legend, exist.
    shown = set(re.findall(r"{{(\w+)}}", next(t["legendFormat"] for t in panel["targets"] if t["expr"] == query)))
    for transformation in panel.get("transformations", []):
        shown |= set(transformation["options"]["include"]["names"]) - {"Value"}
    # Only with FDI_CONFIG, which this function does not have, do series have a target.
    assert all(shown - {"target"} <= series["metric"].keys() for series in found)


def test_queries_of_variables__find_the_job_and_the_instances(prometheus_url: str) -> None:
    for name, expected in (("job", {"fdi-health"}), ("fdi_instance", set(STATUSES))):
        matched = re.fullmatch(r"label_values\((.*), (\w+)\)", VARIABLES[name]["definition"])
        assert matched is not None
        found = ask(prometheus_url, filled_in(matched[1]))
        assert {series["metric"][matched[2]] for series in found} == expected


def test_status_queries__have_the_number_whose_colour_is_right(prometheus_url: str) -> None:
    mappings = {
        value: (found["text"], found["color"])
        for panel in PANELS
        if panel["title"] == "Instances over time"
        for mapping in panel["fieldConfig"]["defaults"]["mappings"]
        for value, found in mapping["options"].items()
    }
    assert mappings["healthy"] == ("healthy", "green")
    _, fleet = QUERIES["Fleet status A"]
    (series,) = ask(prometheus_url, filled_in(fleet))
    assert mappings[series["value"][1]] == ("unhealthy", "red")
    _, instances = QUERIES["Instances over time A"]
    found = ask(prometheus_url, filled_in(instances))
    assert {series["metric"]["fdi_instance"]: mappings[series["value"][1]][0] for series in found} == STATUSES
    (orders,) = ask(prometheus_url, filled_in(instances, fdi_instance="orders"))
    assert orders["metric"]["fdi_instance"] == "orders"


def test_metrics__are_each_shown_by_a_panel(prometheus_url: str) -> None:
    names = {series["metric"]["__name__"] for series in ask(prometheus_url, '{__name__=~"fdi_.+"}')}
    contract = (ROOT / "docs" / "contract.md").read_text().partition("\n## Metrics\n")[2].partition("\n## ")[0]
    names |= set(re.findall(r"`(fdi_\w+)", contract))
    shown = {name for _, query in QUERIES.values() for name in re.findall(r"\bfdi_\w+", query)}
    assert names - shown == NOT_SHOWN.keys()
    assert len(names) == 17
