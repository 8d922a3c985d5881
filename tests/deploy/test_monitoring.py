"""The monitoring configurations, run by the real programs against a real function, healthy and failing."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
import yaml

from fdi_health.clock import format_timestamp
from fdi_health.formats import FORMATS
from simulator import Simulator
from tests.conformance.platform import KEY, settings_for
from tests.conftest import PROJECT_ID, TOKEN
from tests.deploy.programs import run, running
from tests.loopback_server import Quiet, address_of, serving
from tests.servers import ROOT, free_port, functions_framework
from tests.tools import tool

if TYPE_CHECKING:
    from collections.abc import Iterator

MONITORING = ROOT / "deploy" / "monitoring"
PLUGINS = Path("/usr/lib/nagios/plugins")
INTERVAL = "1s"
SECONDS_FOR_OTHERS = 3.0
"""In these an alert that should not fire would: an interval to scrape, one to evaluate, and 1 s for a rule's `for`."""


@pytest.fixture(scope="module")
def function_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a function with healthy, unhealthy, empty and unreachable instances."""
    with (
        Simulator(tokens=[TOKEN], project_id=PROJECT_ID) as simulator,
        functions_framework(settings_for(simulator), tmp_path_factory.mktemp("home")) as (url, _),
    ):
        yield url


def test_rules__pass_promtool(tmp_path: Path) -> None:
    promtool = tool("promtool")
    checked = run(promtool, "check", "rules", "rules.yml", cwd=MONITORING)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = run(promtool, "test", "rules", "rules_test.yml", cwd=MONITORING)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    for name in ("prometheus.yml", "rules.yml"):
        shutil.copy(MONITORING / name, tmp_path)
    (tmp_path / "fdi-health.key").write_text(KEY)
    configured = run(promtool, "check", "config", "prometheus.yml", cwd=tmp_path)
    assert configured.returncode == 0, configured.stdout + configured.stderr


def rules(kind: str, group: str | None = None) -> list[dict[str, Any]]:
    """Return the alerts or the records of rules.yml, of one group or of all."""
    groups = yaml.safe_load((MONITORING / "rules.yml").read_text())["groups"]
    return [rule for one in groups if group in (None, one["name"]) for rule in one["rules"] if kind in rule]


def test_rules__each_have_a_unit_test_and_use_existing_metrics(function_url: str) -> None:
    alerts = {rule["alert"]: rule["expr"] for rule in rules("alert")}
    records = {rule["record"]: rule["expr"] for rule in rules("record")}
    tests = (MONITORING / "rules_test.yml").read_text()
    # This function has no token of a known end, no mute and no targets, which have one more family each.
    scraped = requests.get(f"{function_url}/metrics", headers={"X-Api-Key": KEY}, timeout=10).text
    written = set(re.findall(r"^(fdi_\w+)", scraped, re.MULTILINE))
    written |= {"fdi_token_expiry_timestamp_seconds", "fdi_mute_until_timestamp_seconds", "fdi_target_status"}
    for name, expression in (alerts | records).items():
        assert re.search(rf"(alertname|expr): {name}\b", tests)
        labels = {"fdi_instance"}
        assert set(re.findall(r"\bfdi_\w+", expression)) - labels <= written


def test_rules__page_for_lost_rights_and_warn_for_other_warnings() -> None:  # G04
    severity = {rule["alert"]: rule["labels"]["severity"] for rule in rules("alert")}
    assert severity["FdiDegraded"] == "warning"
    assert severity["FdiRightsLost"] == severity["FdiBlackboxDegraded"] == "page"


def test_rules__each_link_to_a_heading_that_exists() -> None:
    for rule in rules("alert"):
        path, _, anchor = rule["annotations"]["runbook"].partition("#")
        headings = re.findall(r"^#+ (.*)$", (ROOT / path).read_text(), re.MULTILINE)
        slugs = {heading.lower().replace(" ", "-") for heading in headings}
        # The link to an instance's code: tests/test_verdicts_page.py compares the headings with the codes.
        assert anchor.replace('{{ or $labels.code "unknown" }}', "unknown") in slugs, rule["alert"]


def test_rules__for_instances__name_the_instance_and_the_status_page() -> None:
    of_instances = rules("alert", "fdi-health-instances")
    assert {"FdiInstanceUnhealthy", "FdiInstanceUnknown"} <= {rule["alert"] for rule in of_instances}
    for rule in of_instances:
        assert rule["annotations"]["status_page"] == "https://fdi-health.example/status"
        named = "fdi_instance" if rule["alert"] not in ("FdiAllInstancesUnknown", "FdiTargetWithoutList") else "target"
        assert f"$labels.{named}" in rule["annotations"]["summary"]


SCENARIOS: dict[str, tuple[str, dict[str, str]]] = {
    # What the instance plays, and the settings that differ.
    "broken": ("doc_example", {"ROMA_TOKEN": json.dumps({"token": TOKEN})}),
    "blind": ("refuses_token", {"ROMA_TOKEN": json.dumps({"token": TOKEN})}),
    "all blind": (
        "healthy",
        {"ROMA_TOKEN": json.dumps({"token": "MIIC-is-refused"}), "FDI_INSTANCES": "orders=id-orders,crm=id-crm"},
    ),
    # One is unhealthy and the other is unknown.
    "muted": (
        "doc_example",
        {
            "FDI_INSTANCES": "orders=id-muted,crm=id-hangs",
            "FDI_MUTE": f"*={format_timestamp(time.time() + 86400)}",
        },
    ),
    "rights lost, token expired": (
        "no_tasks",
        {"ROMA_TOKEN": json.dumps({"token": TOKEN, "expires_at": "2020-01-01T00:00:00Z"})},
    ),
    "rights lost": ("no_tasks", {}),
    "healthy": ("healthy", {}),
    "token expires soon": (
        "healthy",
        {
            "FDI_TOKEN_WARN_SECONDS": "86400",
            # More than the hour of FdiTokenExpiring.
            "ROMA_TOKEN": json.dumps({"token": TOKEN, "expires_at": format_timestamp(time.time() + 7200)}),
        },
    ),
    # Its own cache, 60 s at most, stands for one in between.
    "cached": ("healthy", {"FDI_CACHE_SECONDS": "60"}),
}
NEVER_HEALTHY = ("FdiInstanceNeverHealthy", "FdiNeverHealthy")
ALERTS = {
    # The job and the scenario → the alerts that must fire, and no others.
    # Alertmanager inhibits the alerts about "never healthy" where another one says why (test_alertmanager.py).
    ("fdi-health", "broken"): {"FdiInstanceUnhealthy", *NEVER_HEALTHY},
    ("fdi-health", "blind"): {"FdiInstanceUnknown", *NEVER_HEALTHY},
    ("fdi-health", "all blind"): {"FdiInstanceUnknown", "FdiAllInstancesUnknown", *NEVER_HEALTHY},
    ("fdi-health", "muted"): set(),
    ("fdi-health", "rights lost, token expired"): {"FdiDegraded", "FdiRightsLost", "FdiTokenExpiring"},  # G04
    ("fdi-health", "healthy"): set(),
    ("fdi-health", "token expires soon"): {"FdiDegraded"},  # G04
    ("without a key", "token expires soon"): {
        "FdiDegraded",
        "FdiRightsLost",  # G04: it cannot see the counts
        "FdiScrapeHasNoKey",
    },
    ("without a key", "broken"): {"FdiPipelinesBroken", "FdiNeverHealthy", "FdiScrapeHasNoKey"},
    ("without a key", "blind"): {"FdiProbeBlind", "FdiNeverHealthy", "FdiScrapeHasNoKey"},
    ("fdi-health", "cached"): {"FdiVerdictStale"},
    ("fdi-health", "down"): {"FdiTargetDown"},
    ("fdi-health", "another service"): {"FdiTargetDown"},
    ("fdi-health-blackbox", "healthy"): set(),
    ("fdi-health-blackbox", "rights lost"): set(),
    ("fdi-health-blackbox", "broken"): {"FdiBlackboxFailing"},
    ("fdi-health-blackbox-degraded", "healthy"): set(),
    ("fdi-health-blackbox-degraded", "rights lost"): {"FdiBlackboxDegraded"},  # G04
    ("fdi-health-blackbox-degraded", "blind"): {"FdiBlackboxDegraded"},
}


class Empty(Quiet, BaseHTTPRequestHandler):
    """Another service, which answers with nothing."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return the address of a running function for each scenario, and of two other targets."""
    with contextlib.ExitStack() as started, ThreadPoolExecutor(4) as starters:
        simulator = started.enter_context(Simulator(tokens=[TOKEN], project_id=PROJECT_ID))

        def start(scenario: str) -> str:
            play, changes = SCENARIOS[scenario]
            instance = f"id-{scenario.replace(' ', '-').replace(',', '')}"
            simulator.play(instance, play)
            simulator.play("id-hangs", "status_503")
            settings = settings_for(simulator) | {"FDI_INSTANCES": f"orders={instance}", **changes}
            url, _ = started.enter_context(functions_framework(settings, tmp_path_factory.mktemp("home")))
            return url.removeprefix("http://")

        found = dict(zip(SCENARIOS, starters.map(start, SCENARIOS), strict=True))
        server = started.enter_context(serving(Empty))
        yield found | {"another service": address_of(server), "down": f"127.0.0.1:{free_port()}"}


@pytest.fixture(scope="module")
def prometheus_url(
    targets: dict[str, str], function_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Return the URL of a Prometheus with the configuration that is shipped, only faster and with our targets.

    One Prometheus watches all of them: after each start it needs 5 s to find its targets.
    """
    prometheus, exporter = tool("prometheus"), tool("prometheus-blackbox-exporter")
    folder, exporter_folder = tmp_path_factory.mktemp("prometheus"), tmp_path_factory.mktemp("exporter")
    exporter_port, port = free_port(), free_port()
    rules = re.sub(r"for: \d+m", "for: 1s", (MONITORING / "rules.yml").read_text())
    rules = rules.replace("[10m]", "[5s]").replace("[1h:1m]", "[1m:1s]")
    assert "> 180" in rules
    (folder / "rules.yml").write_text(rules.replace("> 180", "> 3"))  # the age of a stale verdict
    (folder / "fdi-health.key").write_text(KEY)
    configuration = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    del configuration["alerting"]  # an Alertmanager of somebody who runs the tests
    configuration["global"] = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), INTERVAL)
    scrapes = {scrape["job_name"]: scrape for scrape in configuration["scrape_configs"]}
    for job, scrape in scrapes.items():
        (shown,) = scrape["static_configs"][0]["targets"]
        watched = [targets[scenario] for of_job, scenario in ALERTS if of_job == job]
        if job == "fdi-health":
            scrape["scheme"] = "http"
        else:
            scrape["scrape_timeout"] = INTERVAL
            scrape["relabel_configs"][-1]["replacement"] = f"127.0.0.1:{exporter_port}"
            watched = [shown.replace("https://fdi-health.example", f"http://{target}") for target in watched]
        scrape["static_configs"] = [{"targets": watched}]
    plain = {name: value for name, value in scrapes["fdi-health"].items() if name != "authorization"} | {
        "job_name": "without a key",
        "static_configs": [{"targets": [targets[scenario] for job, scenario in ALERTS if job == "without a key"]}],
    }
    every_series = scrapes["fdi-health"] | {
        "job_name": "every series",
        "static_configs": [{"targets": [function_url.removeprefix("http://")]}],
    }
    configuration["scrape_configs"] += [plain, every_series]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    command = [prometheus, "--config.file=prometheus.yml", f"--web.listen-address=127.0.0.1:{port}"]
    command += ["--storage.tsdb.path=data", "--log.level=warn"]
    with (
        running(
            [
                exporter,
                f"--config.file={MONITORING / 'blackbox.yml'}",
                f"--web.listen-address=127.0.0.1:{exporter_port}",
            ],
            f"http://127.0.0.1:{exporter_port}/-/healthy",
            exporter_folder,
        ),
        running(command, f"http://127.0.0.1:{port}/-/ready", folder),
    ):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def firing(prometheus_url: str, targets: dict[str, str]) -> dict[tuple[str, str], set[str]]:
    """Return the alerts that fire for each job and scenario, some time after the last awaited one began to fire."""
    addresses = {address: scenario for scenario, address in targets.items()}

    def observe() -> dict[tuple[str, str], set[str]]:
        found: dict[tuple[str, str], set[str]] = {watched: set() for watched in ALERTS}
        alerts: list[dict[str, Any]] = requests.get(f"{prometheus_url}/api/v1/alerts", timeout=5).json()["data"][
            "alerts"
        ]
        for labels in (alert["labels"] for alert in alerts if alert["state"] == "firing"):
            # `absent` of FdiTargetDown has no instance: it fires until Prometheus has found its targets.
            address = labels.get("instance", "").removeprefix("http://").partition("/")[0]
            if address in addresses:
                found[labels["job"], addresses[address]].add(labels["alertname"])
        return found

    end = time.monotonic() + 30
    while not all(ALERTS[watched] <= found for watched, found in observe().items()) and time.monotonic() < end:
        time.sleep(0.2)
    time.sleep(SECONDS_FOR_OTHERS)
    return observe()


@pytest.mark.parametrize(("job", "scenario"), ALERTS)
def test_prometheus__for_each_job_and_scenario__fires_these_alerts_and_no_others(
    firing: dict[tuple[str, str], set[str]], job: str, scenario: str
) -> None:  # G04
    assert firing[job, scenario] == ALERTS[job, scenario]


def test_prometheus__scrapes_every_series(prometheus_url: str) -> None:
    parameters = {"query": 'fdi_abnormal_tasks_count{job="every series",fdi_instance="payments",group="common"}'}
    found: list[dict[str, Any]] = []
    end = time.monotonic() + 20
    while not found and time.monotonic() < end:
        answer = requests.get(f"{prometheus_url}/api/v1/query", params=parameters, timeout=5)
        found = answer.json()["data"]["result"]
        time.sleep(0.1)
    assert [series["value"][1] for series in found] == ["2"]


@pytest.mark.parametrize(
    ("query", "success"), [("instance=orders", 1), ("", 0), ("instance=crm", 0), ("instance=nope", 0)]
)
def test_blackbox_exporter__for_each_instance__reports_its_status(
    function_url: str, tmp_path: Path, query: str, success: int
) -> None:
    exporter = tool("prometheus-blackbox-exporter", Path("/usr/bin/prometheus-blackbox-exporter"))
    port = free_port()
    command = [exporter, f"--config.file={MONITORING / 'blackbox.yml'}", f"--web.listen-address=127.0.0.1:{port}"]
    probe = f"http://127.0.0.1:{port}/probe"
    with running(command, f"http://127.0.0.1:{port}/-/healthy", tmp_path):
        parameters = {"module": "fdi_health", "target": f"{function_url}/?{query}"}
        text = requests.get(probe, params=parameters, timeout=20).text
    assert f"\nprobe_success {success}\n" in text


@pytest.mark.parametrize("name", ["check_curl", "check_http"])
@pytest.mark.parametrize(
    ("query", "status", "status_for_degraded"),
    [
        ("instance=orders", 0, 0),
        ("instance=sandbox", 0, 2),  # G04
        ("instance=payments", 2, 2),
        ("instance=crm", 2, 2),
        ("instance=nope", 2, 2),
    ],
)
def test_nagios_plugin__for_each_instance__reports_its_status(
    function_url: str, name: str, query: str, status: int, status_for_degraded: int
) -> None:
    plugin = tool(name, PLUGINS / name)
    text = (MONITORING / "nagios-commands.cfg").read_text()
    lines = re.findall(rf"command_line\s+\$USER1\$/{name} (.*)", text)
    host, _, port = function_url.removeprefix("http://").partition(":")
    macros = {"$HOSTADDRESS$": host, "$HOSTNAME$": host, "$ARG1$": port, "$ARG2$": ""}
    for line, expected in zip(lines, (status, status_for_degraded), strict=True):
        for macro, value in macros.items():
            line = line.replace(macro, value)  # noqa: PLW2901 -- each macro in turn
        done = run(plugin, *shlex.split(line.replace("format=nagios", f"format=nagios&{query}")))
        assert done.returncode == expected, (line, done.stdout)


def test_formats__in_the_configurations__are_served() -> None:
    text = "".join(path.read_text() for path in MONITORING.iterdir() if path.is_file())
    assert set(re.findall(r"format=(\w+)", text)) <= FORMATS.keys()
