"""The Helm chart: what it renders is valid and agrees with the function; settings that contradict each other fail."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from fdi_health import __version__
from schemas.settings import SettingsSchema
from tests.deploy.programs import run
from tests.servers import ROOT
from tests.tools import tool

if TYPE_CHECKING:
    from pathlib import Path

CHART = ROOT / "deploy" / "helm" / "fdi-health"
NAME = "roma-fdi-health"
SETTINGS = {
    "FDI_REGION": "cn-north-4",
    "FDI_PROJECT_ID": "c53626012ba84727b938ca8bf03108ef",
    "FDI_INSTANCES": "payments=fae7ff6c-8e07-4cf8-9e67-589cab2f017c",
}
EVERYTHING: dict[str, Any] = {
    "settings": {**SETTINGS, "FDI_DEADLINE_SECONDS": "8.5"},
    "callers": {"secretName": "callers", "key": "callers.json"},
    "replicas": 2,
    "serviceMonitor": {
        "enabled": True,
        "labels": {"release": "prometheus"},
        "bearerToken": {"secretName": "scrape", "key": "key"},
    },
    "networkPolicy": {"enabled": True, "ingress": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]},
    "serviceAccount": {"name": "fdi-health", "automountToken": True},
    "podAnnotations": {"example.com/a": "b"},
    "nodeSelector": {"kubernetes.io/arch": "arm64"},
    "tolerations": [{"operator": "Exists"}],
    "imagePullSecrets": [{"name": "registry"}],
}
VERSIONS = ["1.25", "1.33"]
"""The oldest version of Kubernetes that the chart accepts, and a new one."""


def helm(*words: str) -> Any:
    return run(tool("helm", ROOT / "build" / "tools" / "helm"), *words)


def template(folder: Path, values: dict[str, Any], *words: str) -> Any:
    """Render the chart with some values."""
    (folder / "values.yaml").write_text(json.dumps(values))
    return helm("template", "roma", str(CHART), "--values", str(folder / "values.yaml"), *words)


@pytest.fixture
def rendered(tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    """Return kind → document, of the values in the fixture's parameter."""
    done = template(tmp_path, request.param)
    assert done.returncode == 0, done.stderr
    documents = {document["kind"]: document for document in yaml.safe_load_all(done.stdout)}
    assert {document["metadata"]["name"] for document in documents.values()} == {NAME}
    return documents


def container(rendered: dict[str, dict[str, Any]]) -> dict[str, Any]:
    (found,) = rendered["Deployment"]["spec"]["template"]["spec"]["containers"]
    return dict(found)


def variables(rendered: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container(rendered)["env"]}


with_settings = pytest.mark.parametrize("rendered", [{"settings": SETTINGS}], indirect=True, ids=["settings"])
with_everything = pytest.mark.parametrize("rendered", [EVERYTHING], indirect=True, ids=["everything"])


def test_chart__passes_lint() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


def test_chart__has_the_version_of_the_function() -> None:
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (about["version"], about["appVersion"]) == (__version__, __version__)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "rendered", [{"settings": SETTINGS}, EVERYTHING], indirect=True, ids=["settings", "everything"]
)
def test_documents__are_valid_in_each_kubernetes(rendered: dict[str, dict[str, Any]], version: str) -> None:
    import kubernetes_validate  # takes two seconds, in every process that collects tests

    for kind, document in rendered.items():
        if kind != "ServiceMonitor":  # the Prometheus Operator's own
            kubernetes_validate.validate(document, version, strict=True)


@with_settings
def test_settings_alone__need_a_deployment_and_a_service(rendered: dict[str, dict[str, Any]]) -> None:
    assert rendered.keys() == {"Deployment", "Service"}
    assert variables(rendered) == {"THREADS": "64", "FDI_TOKEN": "file:///run/secrets/roma/key.json", **SETTINGS}


@with_settings
def test_deployment__agrees_with_the_plain_manifest(rendered: dict[str, dict[str, Any]]) -> None:
    plain = next(yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "deployment.yaml").read_text()))["spec"]
    pod, plain_pod = rendered["Deployment"]["spec"]["template"]["spec"], plain["template"]["spec"]
    (plain_container,) = plain_pod["containers"]
    for name in ("enableServiceLinks", "automountServiceAccountToken", "terminationGracePeriodSeconds"):
        assert pod[name] == plain_pod[name]
    for name in ("startupProbe", "livenessProbe", "readinessProbe", "resources", "ports"):
        assert container(rendered)[name] == plain_container[name]


@with_everything
def test_everything__has_every_document(rendered: dict[str, dict[str, Any]]) -> None:
    kinds = {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "ServiceMonitor"}
    assert rendered.keys() == kinds
    assert variables(rendered)["FDI_CALLERS"] == "file:///run/secrets/callers/callers.json"
    (endpoint,) = rendered["ServiceMonitor"]["spec"]["endpoints"]
    assert endpoint["authorization"]["credentials"] == {"name": "scrape", "key": "key"}
    assert rendered["ServiceMonitor"]["metadata"]["labels"]["release"] == "prometheus"


@with_everything
def test_selectors__of_every_document__find_the_pods(rendered: dict[str, dict[str, Any]]) -> None:
    labels = rendered["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    assert rendered["Deployment"]["spec"]["selector"]["matchLabels"].items() <= labels
    assert rendered["Service"]["spec"]["selector"].items() <= labels
    assert rendered["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"].items() <= labels
    assert rendered["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"].items() <= labels
    service = rendered["Service"]["metadata"]["labels"].items()
    assert rendered["ServiceMonitor"]["spec"]["selector"]["matchLabels"].items() <= service


@with_everything
def test_readiness_probe__waits_longer_than_the_deadline(rendered: dict[str, dict[str, Any]]) -> None:
    assert container(rendered)["readinessProbe"]["timeoutSeconds"] == 10  # of 8.5


@with_everything
def test_variables__are_settings_that_exist(rendered: dict[str, dict[str, Any]]) -> None:
    known = {str(field.data_key) for field in SettingsSchema().fields.values()}
    assert variables(rendered).keys() - {"THREADS"} <= known


@pytest.mark.parametrize(
    "rendered", [{"config": "targets: []\n", "settings": {"FDI_ANONYMOUS": "refuse"}}], indirect=True, ids=["config"]
)
def test_document_of_targets__takes_the_place_of_the_token(rendered: dict[str, dict[str, Any]]) -> None:
    assert rendered["ConfigMap"]["data"] == {"config.yaml": "targets: []\n"}
    assert variables(rendered) == {
        "THREADS": "64",
        "FDI_CONFIG": "file:///etc/fdi-health/config.yaml",
        "FDI_ANONYMOUS": "refuse",
    }
    mounts = {mount["name"] for mount in container(rendered)["volumeMounts"]}
    assert mounts == {"roma", "config"}  # its targets find their keys in the Secret


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"settings": {"FDI_TOKEN": "env://T"}}, "set either credentials.secretName or settings.FDI_TOKEN"),
        (
            {"credentials": {"secretName": "", "key": "k"}},
            "set credentials.secretName to the Secret with the access key",
        ),
        ({"settings": {"FDI_CACHE_SECONDS": 5}}, "FDI_CACHE_SECONDS"),
        ({"settings": {"THREADS": "5"}}, "THREADS"),
        ({"config": "targets: []", "settings": SETTINGS}, "leave out settings.FDI_REGION"),
        ({"settigns": {}}, "settigns"),
        ({"replicas": 0}, "replicas"),
    ],
)
def test_wrong_values__are_refused_by_name(tmp_path: Path, values: dict[str, Any], said: str) -> None:
    done = template(tmp_path, values)
    assert done.returncode != 0
    assert said in done.stderr
