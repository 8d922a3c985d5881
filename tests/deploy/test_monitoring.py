"""The monitoring configurations, run by the real programs against a real function, healthy and failing."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import shutil
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
from tests.servers import ROOT, free_port, functions_framework
from tests.tools import tool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MONITORING = ROOT / "deploy" / "monitoring"
PLUGINS = Path("/usr/lib/nagios/plugins")
INTERVAL = "1s"
SECONDS_TO_FIRE = 8.0
"""After these an alert fires, or never: a few intervals for the first scrapes, and 1 s for each rule's `for`."""


def run(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 -- a program that is being tested
        command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


@contextlib.contextmanager
def running(command: Sequence[str], url: str, folder: Path) -> Iterator[None]:
    """Run a server until its URL answers."""
    with (folder / "program.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)  # noqa: S603 -- as above
    try:
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(requests.ConnectionError):
                requests.get(url, timeout=2)
                break
            assert process.poll() is None, (folder / "program.log").read_text()
            assert time.monotonic() < end
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(15)


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


def test_rules__each_have_a_unit_test_and_use_existing_metrics(function_url: str) -> None:
    rules = {
        rule["alert"]: rule["expr"]
        for group in yaml.safe_load((MONITORING / "rules.yml").read_text())["groups"]
        for rule in group["rules"]
    }
    tests = (MONITORING / "rules_test.yml").read_text()
    # With a token of a known end there is one more family, which this function does not have.
    scraped = requests.get(f"{function_url}/metrics", headers={"X-Api-Key": KEY}, timeout=10).text
    written = set(re.findall(r"^(fdi_\w+)", scraped, re.MULTILINE)) | {"fdi_token_expiry_timestamp_seconds"}
    for alert, expression in rules.items():
        assert f"alertname: {alert}" in tests
        labels = {"fdi_instance"}
        assert set(re.findall(r"\bfdi_\w+", expression)) - labels <= written


def test_rules__page_for_lost_rights_and_warn_for_other_warnings() -> None:  # G04
    groups = yaml.safe_load((MONITORING / "rules.yml").read_text())["groups"]
    severity = {rule["alert"]: rule["labels"]["severity"] for group in groups for rule in group["rules"]}
    assert severity["FdiDegraded"] == "warning"
    assert severity["FdiRightsLost"] == severity["FdiBlackboxDegraded"] == "page"


ALERTS = {
    # What the instance plays → the alerts that must fire.
    "doc_example": {"FdiPipelinesBroken", "FdiNeverHealthy"},
    "refuses_token": {"FdiProbeBlind", "FdiNeverHealthy"},
    "no_tasks": {"FdiDegraded", "FdiRightsLost", "FdiTokenExpiring"},  # G04
}


@pytest.mark.parametrize("play", ALERTS)
def test_prometheus__with_each_status__fires_the_alerts(upstream: Simulator, tmp_path: Path, play: str) -> None:
    prometheus = tool("prometheus")
    settings = settings_for(upstream)
    upstream.play("id-orders", play)
    settings |= {"FDI_INSTANCES": "orders=id-orders", "ROMA_TOKEN": f'{{"token":"{TOKEN}"}}'}
    if play == "no_tasks":
        settings["ROMA_TOKEN"] = json.dumps({"token": TOKEN, "expires_at": "2020-01-01T00:00:00Z"})
    home = tmp_path / "home"
    home.mkdir()
    with functions_framework(settings, home) as (url, _):
        firing = _firing(prometheus, url.removeprefix("http://"), tmp_path, ALERTS[play])
    assert firing == ALERTS[play]


def test_prometheus__with_a_target_that_is_down_or_stale__fires(tmp_path: Path) -> None:
    prometheus = tool("prometheus")
    firing = _firing(prometheus, f"127.0.0.1:{free_port()}", tmp_path, {"FdiTargetDown"})
    assert firing == {"FdiTargetDown"}


def test_prometheus__with_a_response_of_another_service__fires(tmp_path: Path) -> None:
    prometheus = tool("prometheus")

    class Empty(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Empty) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        firing = _firing(prometheus, f"127.0.0.1:{server.server_address[1]}", tmp_path, {"FdiTargetDown"})
        server.shutdown()
    assert firing == {"FdiTargetDown"}


@pytest.mark.parametrize(("key", "firing"), [(KEY, {"FdiDegraded"}), ("", {"FdiDegraded", "FdiRightsLost"})])
def test_prometheus__with_a_token_that_expires_soon__pages_only_where_it_cannot_see_the_counts(
    upstream: Simulator, tmp_path: Path, key: str, firing: set[str]
) -> None:  # G04
    prometheus = tool("prometheus")
    settings = settings_for(upstream) | {"FDI_INSTANCES": "orders=id-orders", "FDI_TOKEN_WARN_SECONDS": "86400"}
    expires_at = format_timestamp(time.time() + 7200)  # more than the hour of FdiTokenExpiring
    settings["ROMA_TOKEN"] = json.dumps({"token": TOKEN, "expires_at": expires_at})
    home = tmp_path / "home"
    home.mkdir()
    with functions_framework(settings, home) as (url, _):
        target = url.removeprefix("http://")
        found = _firing(prometheus, target, tmp_path, firing | {"nothing"}, key=key, seconds=SECONDS_TO_FIRE)
    assert found == firing


@pytest.mark.parametrize(
    ("job", "play", "firing"),
    [
        ("fdi-health-blackbox", "healthy", set()),
        ("fdi-health-blackbox", "no_tasks", set()),
        ("fdi-health-blackbox", "doc_example", {"FdiBlackboxFailing"}),
        ("fdi-health-blackbox-degraded", "healthy", set()),
        ("fdi-health-blackbox-degraded", "no_tasks", {"FdiBlackboxDegraded"}),  # G04
        ("fdi-health-blackbox-degraded", "refuses_token", {"FdiBlackboxDegraded"}),
    ],
)
def test_prometheus__with_the_blackbox_exporter_alone__pages_when_it_should(
    upstream: Simulator, tmp_path: Path, job: str, play: str, firing: set[str]
) -> None:
    prometheus = tool("prometheus")
    exporter = tool("prometheus-blackbox-exporter")
    settings = settings_for(upstream)
    upstream.play("id-orders", play)
    home, folder, port = tmp_path / "home", tmp_path / "exporter", free_port()
    home.mkdir()
    folder.mkdir()
    command = [exporter, f"--config.file={MONITORING / 'blackbox.yml'}", f"--web.listen-address=127.0.0.1:{port}"]
    with (
        functions_framework(settings | {"FDI_INSTANCES": "orders=id-orders"}, home) as (url, _),
        running(command, f"http://127.0.0.1:{port}/-/healthy", folder),
    ):
        exporter_address = f"127.0.0.1:{port}"
        found = _firing(
            prometheus,
            url,
            tmp_path,
            firing or {"nothing"},
            job=job,
            blackbox=exporter_address,
            seconds=SECONDS_TO_FIRE,
        )
    assert found == firing


def test_prometheus__with_a_verdict_from_a_cache__fires(upstream: Simulator, tmp_path: Path) -> None:
    prometheus = tool("prometheus")
    home = tmp_path / "home"
    home.mkdir()
    # Its own cache, 60 s at most, stands for one in between; the rule's patience is shortened to match.
    settings = settings_for(upstream) | {"FDI_INSTANCES": "orders=id-orders", "FDI_CACHE_SECONDS": "60"}
    with functions_framework(settings, home) as (url, _):
        target = url.removeprefix("http://")
        firing = _firing(prometheus, target, tmp_path, {"FdiVerdictStale"}, {"> 180": "> 3"})
    assert firing == {"FdiVerdictStale"}


def _firing(
    prometheus: str,
    target: str,
    folder: Path,
    awaited: set[str],
    changes: dict[str, str] | None = None,
    *,
    job: str = "fdi-health",
    key: str = KEY,
    blackbox: str | None = None,
    seconds: float = 30,
) -> set[str]:
    """Run Prometheus with the configuration that is shipped, only faster, and return the alerts that fire."""
    rules = re.sub(r"for: \d+m", "for: 1s", (MONITORING / "rules.yml").read_text()).replace("[10m]", "[5s]")
    for old, new in (changes or {}).items():
        assert old in rules
        rules = rules.replace(old, new)
    (folder / "rules.yml").write_text(rules)
    (folder / "fdi-health.key").write_text(key)
    configuration = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    configuration["global"] = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), INTERVAL)
    (scrape,) = (found for found in configuration["scrape_configs"] if found["job_name"] == job)
    configuration["scrape_configs"] = [scrape]
    (shown,) = scrape["static_configs"][0]["targets"]
    if blackbox is None:
        scrape["static_configs"] = [{"targets": [target]}]
        scrape["scheme"] = "http"
        if not key:
            del scrape["authorization"]
    else:
        scrape["static_configs"] = [{"targets": [shown.replace("https://fdi-health.example", target)]}]
        scrape["scrape_timeout"] = INTERVAL
        scrape["relabel_configs"][-1]["replacement"] = blackbox
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    port = free_port()
    command = [prometheus, "--config.file=prometheus.yml", f"--web.listen-address=127.0.0.1:{port}"]
    command += ["--storage.tsdb.path=data", "--log.level=warn"]
    api = f"http://127.0.0.1:{port}/api/v1/alerts"
    firing: set[str] = set()
    with running(command, api, folder):
        end = time.monotonic() + seconds
        while not awaited <= firing and time.monotonic() < end:
            time.sleep(0.5)
            alerts: list[dict[str, Any]] = requests.get(api, timeout=5).json()["data"]["alerts"]
            firing = {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}
    return firing


def test_prometheus__scrapes_every_series(function_url: str, tmp_path: Path) -> None:
    prometheus = tool("prometheus")
    folder = tmp_path / "prometheus"
    folder.mkdir()
    port = free_port()
    configuration = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [
            {
                "job_name": "fdi-health",
                "authorization": {"credentials": KEY},
                "static_configs": [{"targets": [function_url.removeprefix("http://")]}],
            }
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    command = [prometheus, "--config.file=prometheus.yml", f"--web.listen-address=127.0.0.1:{port}"]
    command += ["--storage.tsdb.path=data", "--log.level=warn"]
    query = f"http://127.0.0.1:{port}/api/v1/query"
    with running(command, query, folder):
        found: list[dict[str, Any]] = []
        end = time.monotonic() + 20
        while not found and time.monotonic() < end:
            time.sleep(0.5)
            parameters = {"query": 'fdi_abnormal_tasks_count{fdi_instance="payments",group="common"}'}
            found = requests.get(query, params=parameters, timeout=5).json()["data"]["result"]
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
    text = "".join(path.read_text() for path in MONITORING.iterdir())
    assert set(re.findall(r"format=(\w+)", text)) <= FORMATS.keys()
