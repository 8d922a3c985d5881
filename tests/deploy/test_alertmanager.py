"""The recipe for Alertmanager, run by the real program: what it sends to a stand-in for PagerDuty, and inhibits."""

from __future__ import annotations

import json
import queue
import time
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import requests
import yaml

from fdi_health.clock import format_timestamp
from tests.deploy.programs import run, running
from tests.loopback_server import Quiet, address_of, serving
from tests.servers import ROOT, free_port
from tests.tools import tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MONITORING = ROOT / "deploy" / "monitoring"
RECIPE = MONITORING / "alertmanager.yml"
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load((MONITORING / "rules.yml").read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
KEYS = {"pagerduty-pipelines": "a" * 32, "pagerduty-platform": "b" * 32}
TARGET = {"job": "fdi-health", "instance": "fdi:443"}


class Running(NamedTuple):
    """An Alertmanager, and what it has sent: path and body."""

    url: str
    sent: queue.Queue[tuple[str, dict[str, Any]]]

    def fire(self, *alerts: dict[str, str], ended: bool = False) -> None:
        """Report alerts as Prometheus does, with the labels and the text of their rules."""
        ends = {"endsAt": format_timestamp(time.time() - 1)} if ended else {}
        reported = []
        for labels in alerts:
            rule = RULES[labels["alertname"]]
            reported.append({"labels": rule["labels"] | labels, "annotations": rule["annotations"], **ends})
        requests.post(f"{self.url}/api/v2/alerts", json=reported, timeout=5).raise_for_status()

    def received(self, expected: int, seconds: float = 10.0) -> list[tuple[str, dict[str, Any]]]:
        """Return what arrives: the expected number, and what comes within a second after it."""
        arrived: list[tuple[str, dict[str, Any]]] = []
        end = time.monotonic() + seconds
        while (left := (1.0 if len(arrived) >= expected else end - time.monotonic())) > 0:
            try:
                arrived.append(self.sent.get(timeout=left))
            except queue.Empty:
                break
        return arrived


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[Running]:
    """Run the recipe, only faster, with keys of its own, and with stand-ins for PagerDuty and the tickets."""
    sent: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()

    class Receiver(Quiet, BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.put((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

    port = free_port()
    with serving(Receiver) as server:
        configuration = yaml.safe_load(RECIPE.read_text())
        configuration["global"] = {"pagerduty_url": f"http://{address_of(server)}/v2/enqueue"}
        configuration["route"] |= {"group_wait": "1s", "group_interval": "1s"}
        for receiver in configuration["receivers"]:
            for pager in receiver.get("pagerduty_configs", []):
                (tmp_path / "key").mkdir(exist_ok=True)
                path = tmp_path / "key" / receiver["name"]
                path.write_text(KEYS[receiver["name"]] + "\n")
                pager["routing_key_file"] = str(path)
            for webhook in receiver.get("webhook_configs", []):
                webhook["url"] = f"http://{address_of(server)}/tickets"
        (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump(configuration))
        command = [
            tool("prometheus-alertmanager"),
            "--config.file=alertmanager.yml",
            "--storage.path=data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ]
        with running(command, f"http://127.0.0.1:{port}/-/ready", tmp_path):
            yield Running(f"http://127.0.0.1:{port}", sent)


def test_recipe__passes_amtool() -> None:
    checked = run(tool("amtool"), "check-config", str(RECIPE))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_recipe__reads_its_secrets_from_files() -> None:
    receivers = yaml.safe_load(RECIPE.read_text())["receivers"]
    pagers = [pager for receiver in receivers for pager in receiver.get("pagerduty_configs", [])]
    assert len(pagers) == 2
    for pager in pagers:
        assert pager["routing_key_file"].startswith("/etc/alertmanager/")
        assert not {"routing_key", "service_key"} & pager.keys()


@pytest.mark.parametrize("alert", RULES)
def test_routes__send_each_alert_to_its_team_or_to_the_tickets(alert: str) -> None:
    labels = RULES[alert]["labels"]
    expected = "tickets" if labels["severity"] == "ticket" else f"pagerduty-{labels['team']}"
    options = [f"--config.file={RECIPE}", f"--verify.receivers={expected}"]
    written = [f"{name}={value}" for name, value in labels.items()]
    routed = run(tool("amtool"), "config", "routes", "test", *options, *written, f"alertname={alert}")
    assert routed.returncode == 0, routed.stdout + routed.stderr


def test_alerts_named_in_the_recipe__exist() -> None:
    inhibited = yaml.safe_load(RECIPE.read_text())["inhibit_rules"]
    for matcher in (text for rule in inhibited for side in ("source", "target") for text in rule[f"{side}_matchers"]):
        for name in matcher.partition('"')[2].rstrip('"').split("|"):
            assert name in RULES or name == "Fdi.+", name


def test_incident__keeps_its_deduplication_key__when_the_code_changes_and_when_it_ends(alertmanager: Running) -> None:
    unknown = {"alertname": "FdiInstanceUnknown", **TARGET, "fdi_instance": "crm", "status": "unknown"}
    other = unknown | {"fdi_instance": "orders", "code": "timeout"}
    alertmanager.fire(unknown | {"code": "timeout"}, other)
    events = [body for _, body in alertmanager.received(2)]
    assert [event["event_action"] for event in events] == ["trigger", "trigger"]
    assert {event["routing_key"] for event in events} == {KEYS["pagerduty-platform"]}
    assert {event["payload"]["severity"] for event in events} == {"critical"}
    assert {event["client_url"] for event in events} == {"https://fdi-health.example/status"}
    keys = {event["dedup_key"] for event in events}
    assert len(keys) == 2  # an incident per instance

    alertmanager.fire(unknown | {"code": "unreachable"})
    alertmanager.fire(unknown | {"code": "timeout"}, ended=True)
    # Two events if Alertmanager looked between the two reports.
    changed = [body for _, body in alertmanager.received(1)]
    assert {event["event_action"] for event in changed} == {"trigger"}
    (key,) = {event["dedup_key"] for event in changed}
    assert key in keys

    alertmanager.fire(unknown | {"code": "unreachable"}, ended=True)
    (ended,) = [body for _, body in alertmanager.received(1)]
    assert (ended["event_action"], ended["dedup_key"]) == ("resolve", key)


def test_severities__become_urgencies_and_tickets(alertmanager: Running) -> None:
    alertmanager.fire(
        {"alertname": "FdiInstanceUnhealthy", **TARGET, "fdi_instance": "payments", "status": "unhealthy"},
        {"alertname": "FdiTasksFell", **TARGET, "fdi_instance": "orders"},
        {"alertname": "FdiScrapeHasNoKey", **TARGET},
    )
    sent = alertmanager.received(3)
    pages = {body["payload"]["severity"]: body["routing_key"] for path, body in sent if path == "/v2/enqueue"}
    assert pages == {"critical": KEYS["pagerduty-pipelines"], "warning": KEYS["pagerduty-pipelines"]}
    assert [body["groupLabels"]["alertname"] for path, body in sent if path == "/tickets"] == ["FdiScrapeHasNoKey"]


def test_inhibition__leaves_the_alert_that_says_why(alertmanager: Running) -> None:
    def of(instance: str, alert: str, fdi_instance: str = "", target: str = "") -> dict[str, str]:
        named = {"alertname": alert, "job": "fdi-health", "instance": instance}
        return named | {name: value for name, value in (("fdi_instance", fdi_instance), ("target", target)) if value}

    alertmanager.fire(
        of("down", "FdiTargetDown"),
        of("down", "FdiInstanceUnhealthy", "payments"),
        of("down", "FdiInstanceUnknown", "crm"),
        of("down", "FdiNeverHealthy"),
        of("blind", "FdiAllInstancesUnknown"),
        of("blind", "FdiInstanceUnknown", "payments"),
        of("blind", "FdiInstanceUnknown", "crm"),
        of("blind", "FdiInstanceNeverHealthy", "crm"),
        of("blind", "FdiNeverHealthy"),
        of("broken", "FdiInstanceUnhealthy", "payments"),
        of("broken", "FdiInstanceNeverHealthy", "payments"),
        of("broken", "FdiInstanceNeverHealthy", "crm"),
        of("broken", "FdiRunningTasksFell", "payments"),
        of("broken", "FdiNeverHealthy"),
        of("no key", "FdiProbeBlind"),
        of("no key", "FdiNeverHealthy"),
        of("no rights", "FdiRightsLost", "payments"),
        of("no rights", "FdiDegraded"),
        of("no rights", "FdiTasksFell", "payments"),
        of("no rights", "FdiTasksFell", "crm"),
        of("alternating", "FdiNeverHealthy"),
        of("regions", "FdiAllInstancesUnknown", target="apac"),
        of("regions", "FdiInstanceUnknown", "payments", "apac"),
        of("regions", "FdiInstanceUnknown", "payments", "emea"),
        of("regions", "FdiTargetWithoutList", target="latam"),
        of("regions", "FdiNeverHealthy"),
    )
    expected = {
        ("down", "FdiTargetDown", ""),
        ("blind", "FdiAllInstancesUnknown", ""),
        ("broken", "FdiInstanceUnhealthy", "payments"),
        ("broken", "FdiInstanceNeverHealthy", "crm"),  # for example because its code changes
        ("no key", "FdiProbeBlind", ""),
        ("no rights", "FdiRightsLost", "payments"),
        ("no rights", "FdiTasksFell", "crm"),
        ("alternating", "FdiNeverHealthy", ""),
        ("regions", "FdiAllInstancesUnknown", ""),
        ("regions", "FdiInstanceUnknown", "payments"),
        ("regions", "FdiTargetWithoutList", ""),
    }
    sent = [body["payload"]["summary"].partition(":")[0] for _, body in alertmanager.received(len(expected))]
    assert sorted(sent) == sorted(alert for _, alert, _ in expected)
    alerts = requests.get(f"{alertmanager.url}/api/v2/alerts?inhibited=false", timeout=5).json()
    labels = [alert["labels"] for alert in alerts]
    assert {(found["instance"], found["alertname"], found.get("fdi_instance", "")) for found in labels} == expected
