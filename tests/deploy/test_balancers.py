"""The balancers' recipes: HAProxy and Envoy run for real against a real function; the others' set-up is validated."""

from __future__ import annotations

import csv
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import certifi
import pytest
import requests
import yaml

from tests.conformance.platform import KEY, settings_for
from tests.servers import ROOT, free_port, functions_framework
from tests.tools import tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulator import Simulator

RECIPES = {
    name: yaml.safe_load((ROOT / "docs" / "integrations" / f"{name}.yaml").read_text())
    for name in ("haproxy", "envoy", "consul", "aws-alb")
}
SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
FLEETS = {
    # What the only instance plays → whether the recipe, and the one that pages for degraded, call it up.
    "healthy": (True, True),
    "no_tasks": (True, False),
    "doc_example": (False, False),
    "refuses_token": (False, False),
}


@pytest.fixture
def url(upstream: Simulator, tmp_path: Path) -> Iterator[str]:
    """Return the URL of a function with one instance, `orders`, that keeps no result."""
    home = tmp_path / "home"
    home.mkdir()
    settings = {**settings_for(upstream), "FDI_INSTANCES": "orders=id-orders", "FDI_CACHE_SECONDS": "0"}
    upstream.play("id-orders", "healthy")
    with functions_framework(settings, home) as (served, _):
        yield served


def wait_until(found: Callable[[], object], expected: object, seconds: float = 30.0) -> None:
    """Wait until something is as expected, and see that it stays so for two more rounds of checks."""
    end = time.monotonic() + seconds
    while (last := found()) != expected:
        assert time.monotonic() < end, last
        time.sleep(0.1)
    time.sleep(1.0)
    assert found() == expected


class _Program:
    """A balancer that runs until the test ends."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._log = (folder / "balancer.log").open("wb")
        self.process = subprocess.Popen(  # noqa: S603 -- a program that is being tested
            command, cwd=folder, stdout=self._log, stderr=self._log
        )

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()


# HAProxy.


def haproxy_backend(steps: str, address: str) -> str:
    """Return a recipe's backend for a server on loopback: without TLS, faster, all else as the page shows it."""
    text, count = re.subn(r"fdi-health\.example:443 check ssl .*", f"{address} check", steps)
    assert count == 1
    text, count = re.subn(r"inter 30s", "inter 200ms", text)
    assert count == 1
    return text.replace("KEY", KEY)


def haproxy_states(control: Path) -> dict[str, bool]:
    """Return for each backend whether its server is up, as HAProxy's own statistics say."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(os.fspath(control))
        connection.sendall(b"show stat\n")
        text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    rows = csv.DictReader(text.lstrip("# ").splitlines())
    return {row["pxname"]: row["status"].startswith("UP") for row in rows if row["svname"] == "fdi-health"}


def test_haproxy__with_the_recipe__follows_the_verdict(upstream: Simulator, url: str, tmp_path: Path) -> None:  # E08
    program = tool("haproxy", Path("/usr/sbin/haproxy"))
    address = url.removeprefix("http://")
    recipe = RECIPES["haproxy"]
    control = tmp_path / "control"
    default_check = f"backend default_check\n  option httpchk\n  server fdi-health {address} check inter 200ms\n"
    (tmp_path / "haproxy.cfg").write_text(
        f"global\n  stats socket {control}\ndefaults\n  mode http\n  timeout connect 5s\n  timeout server 15s\n"
        f"  timeout client 15s\n"
        f"{haproxy_backend(recipe['steps'], address)}\n{haproxy_backend(recipe['degraded']['steps'], address)}\n"
        f"{default_check}"
    )
    running = _Program([program, "-db", "-f", "haproxy.cfg"], tmp_path)
    try:
        deadline = time.monotonic() + 10
        while not control.exists():
            assert running.process.poll() is None, (tmp_path / "balancer.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for play in ("doc_example", "healthy", "no_tasks", "refuses_token", "healthy"):
            upstream.play("id-orders", play)
            up, up_for_degraded = FLEETS[play]
            # HAProxy's own default sends OPTIONS, which is 204: up for every fleet.
            expected = {"roma_pipelines": up, "roma_pipelines_degraded": up_for_degraded, "default_check": True}
            wait_until(lambda: haproxy_states(control), expected)
    finally:
        running.stop()


def test_haproxy__validates_the_recipe_of_the_page(tmp_path: Path) -> None:
    program = tool("haproxy", Path("/usr/sbin/haproxy"))
    recipe = RECIPES["haproxy"]
    text = (
        "defaults\n  mode http\n  timeout connect 5s\n  timeout server 15s\n  timeout client 15s\n"
        f"{recipe['steps']}\n{recipe['degraded']['steps']}\nfrontend any\n  bind 127.0.0.1:8080\n"
    )
    # HAProxy resolves the name and opens the file while it reads: this machine may have neither.
    text = text.replace("fdi-health.example:443", "127.0.0.1:443").replace(SYSTEM_AUTHORITIES, certifi.where())
    (tmp_path / "haproxy.cfg").write_text(text)
    checked = subprocess.run(  # noqa: S603 -- a program that is being tested
        [program, "-c", "-f", "haproxy.cfg"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


# Envoy.


def envoy_clusters() -> list[dict[str, Any]]:
    """Return the recipe's cluster, and the same with the health check that pages for degraded."""
    recipe = RECIPES["envoy"]
    clusters: list[dict[str, Any]] = []
    for name, check in (("roma_pipelines", None), ("roma_pipelines_degraded", recipe["degraded"]["steps"])):
        (cluster,) = yaml.safe_load(recipe["steps"])["clusters"]
        cluster["name"] = cluster["load_assignment"]["cluster_name"] = name
        if check is not None:
            cluster["health_checks"][0] |= yaml.safe_load(check)
        clusters.append(cluster)
    return clusters


def test_envoy__with_the_recipe__follows_the_verdict(upstream: Simulator, url: str, tmp_path: Path) -> None:  # E08
    program = tool("envoy", ROOT / "build" / "tools" / "envoy")
    host, _, port = url.removeprefix("http://").partition(":")
    admin = free_port()
    clusters = envoy_clusters()
    for cluster in clusters:
        del cluster["transport_socket"]  # no TLS on loopback
        ((endpoint,),) = (place["lb_endpoints"] for place in cluster["load_assignment"]["endpoints"])
        endpoint["endpoint"]["address"]["socket_address"] = {"address": host, "port_value": int(port)}
        (check,) = cluster["health_checks"]
        check["interval"] = check["no_traffic_interval"] = "0.2s"
        for header in check["http_health_check"]["request_headers_to_add"]:
            header["header"]["value"] = header["header"]["value"].replace("KEY", KEY)
    bootstrap = {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin}}},
        "static_resources": {"clusters": clusters},
    }
    (tmp_path / "envoy.yaml").write_text(yaml.safe_dump(bootstrap))

    def states() -> dict[str, bool]:
        try:
            found = requests.get(f"http://127.0.0.1:{admin}/clusters?format=json", timeout=5).json()
        except requests.ConnectionError:
            return {}
        return {
            cluster["name"]: not host_status["health_status"].get("failed_active_health_check", False)
            for cluster in found["cluster_statuses"]
            for host_status in cluster["host_statuses"]
        }

    running = _Program([program, "-c", "envoy.yaml", "--concurrency", "1", "--disable-hot-restart"], tmp_path)
    try:
        for play in ("doc_example", "healthy", "no_tasks", "refuses_token", "healthy"):
            upstream.play("id-orders", play)
            assert running.process.poll() is None, (tmp_path / "balancer.log").read_text()
            up, up_for_degraded = FLEETS[play]
            wait_until(states, {"roma_pipelines": up, "roma_pipelines_degraded": up_for_degraded})
    finally:
        running.stop()


def test_envoy__validates_the_recipe_of_the_page(tmp_path: Path) -> None:
    program = tool("envoy", ROOT / "build" / "tools" / "envoy")
    text = yaml.safe_dump({"static_resources": {"clusters": envoy_clusters()}})
    # Envoy opens the file while it reads.
    (tmp_path / "envoy.yaml").write_text(text.replace(SYSTEM_AUTHORITIES, certifi.where()))
    checked = subprocess.run(  # noqa: S603 -- a program that is being tested
        [program, "--mode", "validate", "-c", "envoy.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_envoy_recipe__has_the_marker_in_hexadecimal() -> None:
    (check,) = envoy_clusters()[0]["health_checks"]
    ((digits,),) = (payload.values() for payload in check["http_health_check"]["receive"])
    assert bytes.fromhex(str(digits)) == b"FDI-OK"


# Consul and AWS: no program to run, so their set-up is held to what their documents say.


@pytest.mark.parametrize("part", ["recipe", "degraded"])
def test_consul_recipe__sends_get_to_the_recommended_url(part: str) -> None:  # E08
    recipe = RECIPES["consul"]
    steps, path = (
        (recipe["steps"], recipe["request"]["path"])
        if part == "recipe"
        else (recipe["degraded"]["steps"], recipe["degraded"]["path"])
    )
    check = json.loads(steps)["check"]
    assert check["http"] == f"https://fdi-health.example{path}"
    assert check["method"] == "GET"
    # A redirect to a login page must not be followed to its 200.
    assert check["disable_redirects"] is True
    assert float(check["timeout"].removesuffix("s")) > 4


@pytest.mark.parametrize("part", ["recipe", "degraded"])
def test_target_group_recipe__is_valid_and_requires_200(tmp_path: Path, part: str) -> None:  # E08
    recipe = RECIPES["aws-alb"]
    steps, path = (
        (recipe["steps"], recipe["request"]["path"])
        if part == "recipe"
        else (recipe["degraded"]["steps"], recipe["degraded"]["path"])
    )
    (group,) = yaml.safe_load(steps)["Resources"].values()
    assert group["Properties"]["HealthCheckPath"] == path
    # 204 would let OPTIONS pass, 302 a login page.
    assert group["Properties"]["Matcher"] == {"HttpCode": "200"}
    assert group["Properties"]["HealthCheckTimeoutSeconds"] > 4
    (tmp_path / "template.yaml").write_text(steps)
    linter = Path(sys.executable).parent / "cfn-lint"
    command = [str(linter), "--regions", "eu-west-1", "--", str(tmp_path / "template.yaml")]
    linted = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603 -- as above
    assert linted.returncode == 0, linted.stdout
