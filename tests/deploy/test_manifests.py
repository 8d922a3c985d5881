"""The manifests of the container platforms say what the function and its pages say."""

from __future__ import annotations

import runpy
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from handlers.routes import ROUTES
from schemas.settings import SettingsSchema
from tests.servers import ROOT

if TYPE_CHECKING:
    from pathlib import Path

MANIFESTS = [ROOT / "deploy" / "cloud-run" / "service.yaml", ROOT / "deploy" / "knative" / "service.yaml"]
SETTINGS = {str(field.data_key): field for field in SettingsSchema().fields.values()}


def container(manifest: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a manifest's revision and its one container."""
    document = yaml.safe_load(manifest.read_text())
    revision: dict[str, Any] = document["spec"]["template"]["spec"]
    (found,) = revision["containers"]
    return revision, found


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.parent.name)
def test_manifest__sets_only_settings_that_exist(manifest: Path) -> None:
    _, found = container(manifest)
    variables = {entry["name"]: entry["value"] for entry in found["env"]}
    assert variables.keys() - {"THREADS", "GOOGLE_CLOUD_PROJECT"} <= SETTINGS.keys()
    for name in variables.keys() & SETTINGS.keys():
        SETTINGS[name].deserialize(variables[name])


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.parent.name)
def test_manifest__lets_in_what_the_process_takes_and_waits_longer_than_it(manifest: Path) -> None:
    revision, found = container(manifest)
    variables = {entry["name"]: entry["value"] for entry in found["env"]}
    assert revision["containerConcurrency"] == int(variables["THREADS"]) - 8
    assert revision["timeoutSeconds"] > float(variables.get("FDI_DEADLINE_SECONDS", "4"))


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.parent.name)
def test_manifest__probes_paths_that_exist_and_no_verdict(manifest: Path) -> None:
    _, found = container(manifest)
    probes = [found[kind] for kind in ("startupProbe", "livenessProbe", "readinessProbe") if kind in found]
    paths = [probe["httpGet"]["path"] for probe in probes]
    assert paths
    assert set(paths) <= ROUTES.keys() - {"/", "/health"}


def test_dockerfile__copies_what_runs_and_runs_as_nobody() -> None:
    text = (ROOT / "deploy" / "container" / "Dockerfile").read_text()
    for name in (
        "main.py",
        "handlers",
        "schemas",
        "fdi_health",
        "deploy/container/gunicorn.conf.py",
        "requirements.txt",
    ):
        assert f"COPY {name} " in text
        assert f"!{name}" in (ROOT / ".dockerignore").read_text()
        assert (ROOT / name).exists()
    assert "USER 65532:65532" in text
    assert "--require-hashes" in text


def test_gunicorn__waits_longer_than_any_deadline() -> None:
    config = runpy.run_path(str(ROOT / "deploy" / "container" / "gunicorn.conf.py"))
    longest = SETTINGS["FDI_DEADLINE_SECONDS"]
    assert longest.deserialize("60") == 60
    assert 60 < config["graceful_timeout"] <= config["timeout"]


@pytest.mark.parametrize(
    ("variables", "workers", "threads", "max_requests"),
    [
        ({}, 1, 64, 0),
        ({"WORKERS": "", "THREADS": "", "MAX_REQUESTS": "", "PORT": ""}, 1, 64, 0),
        ({"WORKERS": "2", "THREADS": "abc"}, 2, 64, 100_000),
        ({"WORKERS": "0", "THREADS": "8", "MAX_REQUESTS": "10"}, 1, 8, 10),
    ],
)
def test_gunicorn__starts_whatever_its_variables_are(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], workers: int, threads: int, max_requests: int
) -> None:
    for name in ("WORKERS", "THREADS", "MAX_REQUESTS", "PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    config = runpy.run_path(str(ROOT / "deploy" / "container" / "gunicorn.conf.py"))
    assert (config["workers"], config["threads"], config["max_requests"]) == (workers, threads, max_requests)
    assert config["bind"] == "0.0.0.0:8080"
