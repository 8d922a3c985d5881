"""The demo of compose.yaml, without Docker: its files, its ports, and its function and simulator as it starts them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import requests
import yaml

from tests.deploy.programs import run
from tests.servers import ROOT, container_server, free_port
from tests.tools import tool

if TYPE_CHECKING:
    from pathlib import Path

MONITORING = ROOT / "deploy" / "monitoring"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
SCRAPE: dict[str, Any] = yaml.safe_load((MONITORING / "prometheus-demo.yml").read_text())["scrape_configs"][0]
MOUNTS = {
    target: (service, ROOT / source)
    for service, about in SERVICES.items()
    for source, target, mode in (mount.split(":") for mount in about.get("volumes", []))
    if mode == "ro"
}


def test_mounts__exist_and_are_read_only() -> None:
    assert len(MOUNTS) == sum(len(about.get("volumes", [])) for about in SERVICES.values()) == 6
    for target, (_, source) in MOUNTS.items():
        assert source.exists(), target


def test_images__have_a_version_and_ports_are_on_loopback() -> None:
    dockerfile = (ROOT / "deploy" / "container" / "Dockerfile").read_text()
    assert SERVICES["fdi-health"]["build"]["dockerfile"] == "deploy/container/Dockerfile"
    assert f"FROM {SERVICES['simulator']['image']}\n" in dockerfile
    for name, about in SERVICES.items():
        assert ("build" in about) or re.search(r":v?\d+\.\d+", about["image"]), name
        for port in about.get("ports", []):
            assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port), port
    assert SERVICES["fdi-health"]["ports"] == ["127.0.0.1:8080:8080"]
    assert "\nEXPOSE 8080\n" in dockerfile


def test_files__name_the_same_services_and_folders() -> None:
    assert SCRAPE["static_configs"] == [{"targets": ["fdi-health:8080"]}]
    (source,) = yaml.safe_load((MONITORING / "grafana" / "datasource.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert SERVICES["prometheus"]["ports"] == ["127.0.0.1:9090:9090"]
    (provider,) = yaml.safe_load((MONITORING / "grafana" / "dashboards.yaml").read_text())["providers"]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert MOUNTS[home] == ("grafana", MONITORING / "grafana-dashboard.json")
    assert home.rpartition("/")[0] == provider["options"]["path"]


def test_prometheus_configuration__passes_promtool(tmp_path: Path) -> None:
    for target, (service, source) in MOUNTS.items():
        if service == "prometheus":
            shutil.copy(source, tmp_path / target.removeprefix("/etc/prometheus/"))
    checked = run(tool("promtool"), "check", "config", "prometheus.yml", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_function_and_simulator__with_their_commands_and_settings__give_these_statuses(tmp_path: Path) -> None:
    settings = {
        name: value.replace("${FDI_MUTE:-}", "") for name, value in SERVICES["fdi-health"]["environment"].items()
    }
    upstream = settings["FDI_ENDPOINT"]
    port = free_port()
    python, *arguments = SERVICES["simulator"]["command"]
    assert python == "python"
    assert f"--port={upstream.rpartition(':')[2]}" in arguments
    command = [f"--port={port}" if argument.startswith("--port=") else argument for argument in arguments]
    # -S: without any package, as in the image.
    process = subprocess.Popen([sys.executable, "-S", *command], cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603 -- the demo's own command
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"simulator listening on http://127.0.0.1:{port}\n"
        with container_server(settings | {"FDI_ENDPOINT": f"http://127.0.0.1:{port}"}, tmp_path) as (url, _):
            headers = {"Authorization": f"Bearer {SCRAPE['authorization']['credentials']}"}
            metrics = requests.get(f"{url}/metrics", headers=headers, timeout=10).text
    finally:
        process.terminate()
        process.communicate(timeout=15)
    found = dict(re.findall(r'fdi_instance_status{fdi_instance="(\w+)",status="(\w+)"} 1', metrics))
    assert found == {"payments": "unhealthy", "orders": "healthy", "crm": "unknown", "sandbox": "degraded"}
