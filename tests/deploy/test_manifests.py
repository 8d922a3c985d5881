"""The manifests of the container platforms agree with the function and with their pages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from handlers.routes import ROUTES
from schemas.settings import SettingsSchema
from tests.servers import ROOT

if TYPE_CHECKING:
    from pathlib import Path

CLOUD_RUN = ROOT / "deploy" / "cloud-run" / "service.yaml"
KNATIVE = ROOT / "deploy" / "knative" / "service.yaml"
KUBERNETES = ROOT / "deploy" / "kubernetes" / "deployment.yaml"
MANIFESTS = [CLOUD_RUN, KNATIVE, KUBERNETES]
SETTINGS = {str(field.data_key): field for field in SettingsSchema().fields.values()}
PROBE_PATHS = {"startupProbe": "/live", "livenessProbe": "/live", "readinessProbe": "/ready"}


def name_of(path: Path) -> str:
    return path.parent.name


def container(manifest: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a manifest's pod and its one container."""
    document = next(yaml.safe_load_all(manifest.read_text()))
    pod: dict[str, Any] = document["spec"]["template"]["spec"]
    (found,) = pod["containers"]
    return pod, found


def variables_of(found: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in found["env"]}


def deadline_seconds(found: dict[str, Any]) -> float:
    return float(variables_of(found).get("FDI_DEADLINE_SECONDS", "4"))


@pytest.mark.parametrize("manifest", MANIFESTS, ids=name_of)
def test_manifest__sets_only_settings_that_exist(manifest: Path) -> None:
    _, found = container(manifest)
    variables = variables_of(found)
    assert variables.keys() - {"THREADS", "GOOGLE_CLOUD_PROJECT"} <= SETTINGS.keys()
    for name in variables.keys() & SETTINGS.keys():
        SETTINGS[name].deserialize(variables[name])


@pytest.mark.parametrize("manifest", [CLOUD_RUN, KNATIVE], ids=name_of)
def test_platform__has_the_process_concurrency_and_a_longer_timeout(manifest: Path) -> None:
    pod, found = container(manifest)
    assert pod["containerConcurrency"] == int(variables_of(found)["THREADS"]) - 8
    assert pod["timeoutSeconds"] > deadline_seconds(found)


@pytest.mark.parametrize("manifest", MANIFESTS, ids=name_of)
def test_probes__use_live_for_restarts_and_ready_for_traffic(manifest: Path) -> None:  # E34, G03
    _, found = container(manifest)
    paths = {kind: found[kind]["httpGet"]["path"] for kind in PROBE_PATHS if kind in found}
    assert paths == {kind: PROBE_PATHS[kind] for kind in paths}
    assert "livenessProbe" in paths
    assert set(paths.values()) <= ROUTES.keys()


@pytest.mark.parametrize("manifest", [KNATIVE, KUBERNETES], ids=name_of)
def test_readiness_probe__waits_longer_than_the_deadline(manifest: Path) -> None:  # E34, G03
    # /ready may read the secret and log in: a probe that gives up first would never see a 200 of a slow secret store.
    _, found = container(manifest)
    assert found["readinessProbe"]["timeoutSeconds"] > deadline_seconds(found)


@pytest.mark.parametrize("manifest", MANIFESTS, ids=name_of)
def test_probes__state_their_times(manifest: Path) -> None:
    # Kubernetes' default timeout of 1 second is shorter than a pause of a busy node.
    _, found = container(manifest)
    for kind in PROBE_PATHS.keys() & found.keys():
        assert {"periodSeconds", "timeoutSeconds", "failureThreshold"} <= found[kind].keys()
    assert found["livenessProbe"]["timeoutSeconds"] >= 3


@pytest.mark.parametrize("manifest", [KNATIVE, KUBERNETES], ids=name_of)
def test_manifest__disables_service_links(manifest: Path) -> None:  # E27
    pod, _ = container(manifest)
    assert pod["enableServiceLinks"] is False


def test_probes__on_the_integration_page__are_those_of_the_manifest() -> None:
    recipe = yaml.safe_load((ROOT / "docs" / "integrations" / "kubernetes-probes.yaml").read_text())
    shown = yaml.safe_load(recipe["steps"])["spec"]
    pod, found = container(KUBERNETES)
    assert shown["enableServiceLinks"] == pod["enableServiceLinks"]
    (shown_container,) = shown["containers"]
    for kind, path in PROBE_PATHS.items():
        assert shown_container[kind] == {**found[kind], "httpGet": {"path": path, "port": 8080}}


def test_kubernetes__gives_the_process_time_to_send_its_responses() -> None:
    longest = 60.0
    assert SETTINGS["FDI_DEADLINE_SECONDS"].deserialize(str(longest)) == longest
    pod, _ = container(KUBERNETES)
    # The container's server ends within a second after the deadline.
    assert pod["terminationGracePeriodSeconds"] > longest + 1


def test_kubernetes__routes_the_service_to_the_container() -> None:
    deployment, service = yaml.safe_load_all(KUBERNETES.read_text())
    _, found = container(KUBERNETES)
    assert service["spec"]["selector"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert [port["targetPort"] for port in service["spec"]["ports"]] == [port["name"] for port in found["ports"]]


def test_dockerfile__copies_the_product_code_and_runs_as_nobody() -> None:
    text = (ROOT / "deploy" / "container" / "Dockerfile").read_text()
    for name in (
        "main.py",
        "handlers",
        "schemas",
        "fdi_health",
        "deploy/container/serve",
        "deploy/container/requirements.txt",
    ):
        assert f"COPY {name} " in text
        assert f"!{name}" in (ROOT / ".dockerignore").read_text()
        assert (ROOT / name).exists()
    assert "USER 65532:65532" in text
    assert "--require-hashes" in text


def test_container_requirements__pin_the_tested_server_version() -> None:
    packages = {
        name: dict(re.findall(r"^([a-z0-9-]+)(?:\[[a-z,-]+\])?==(\S+)", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("deploy/container/requirements.txt", "requirements-dev.txt")
    }
    image, tests = packages.values()
    assert image.items() <= tests.items()
    assert "granian" in image
    assert not {"gunicorn", "flask", "functions-framework"} & image.keys()
