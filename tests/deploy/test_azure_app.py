"""The zip for Azure Functions: its contents, and its functions run without the repository."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from handlers.triggers.azure_functions import METHODS
from tests.conformance.platform import settings_for
from tests.deploy.programs import unzip
from tests.servers import ROOT

if TYPE_CHECKING:
    from simulator import Simulator

# Stands in for the platform: it imports the app once, lists its functions and calls them.
HOST = """
import json, sys
sys.path.insert(0, sys.argv[1])
import azure.functions as func
import function_app
found = {f.get_function_name(): f for f in function_app.app.get_functions()}
about = {name: [json.loads(text) for text in f.get_raw_bindings()] for name, f in found.items()}
request = func.HttpRequest("GET", "https://app.example/", body=b"")
response = found["health"].get_user_function()(request)
if "scheduled" in found:
    found["scheduled"].get_user_function()(None)
heavy = {"flask", "functions_framework", "grpc", "botocore", "apig_wsgi", "click", "granian"} & set(sys.modules)
assert not heavy, heavy
print(json.dumps({"about": about, "status": response.status_code, "body": json.loads(response.get_body())}))
"""

RUNTIME = "azure-functions-runtime==1.3.0"
"""The platform's own worker, for Python 3.13 and later."""


def python_of_the_runtime() -> str | None:
    """Return a Python that is new enough for the platform's worker: this one, or one that pyenv has."""
    if sys.version_info >= (3, 13):
        return sys.executable
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    return next((str(found) for found in sorted(versions.glob("3.1[3-9].*/bin/python"))), None)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("package") / "azure.zip"
    build(target)
    return target


@pytest.fixture(scope="module")
def unzipped(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unzip(package, tmp_path_factory.mktemp("unzipped"))


def build(target: Path, platform: str = "azure") -> None:
    program = [sys.executable, str(ROOT / "deploy" / "build.py"), platform, str(target)]
    subprocess.run(program, check=True, timeout=60)  # noqa: S603 -- a program of ours


def run(unzipped: Path, settings: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(  # noqa: S603 -- a program of ours
        [sys.executable, "-c", HOST, str(unzipped)],
        env={"PYTHONDONTWRITEBYTECODE": "1", **settings},
        cwd=unzipped,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_zip__has_what_azure_looks_for_at_its_root(package: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        names = set(archive.namelist())
    at_root = {name for name in names if "/" not in name}
    assert at_root == {"function_app.py", "host.json", "main.py", "requirements.txt"}
    assert "handlers/triggers/azure_functions.py" in names
    assert not names & {"handlers/triggers/aws_lambda.py", "handlers/triggers/functiongraph.py"}
    assert not [name for name in names if name.endswith(".pyc")]


def test_zip__built_twice__is_the_same(package: Path, tmp_path: Path) -> None:
    build(tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == package.read_bytes()


def test_build__of_an_unknown_platform__says_which_there_are() -> None:
    program = [sys.executable, str(ROOT / "deploy" / "build.py"), "heroku"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 -- as above
    assert (done.returncode, done.stdout) == (2, "")
    assert "functiongraph|azure" in done.stderr


def test_requirements__have_the_versions_of_the_root() -> None:
    pins = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)
    root = dict(pins.findall((ROOT / "requirements.txt").read_text()))
    ours = dict(pins.findall((ROOT / "deploy" / "azure" / "requirements.txt").read_text()))
    assert {name: version for name, version in ours.items() if root.get(name, version) != version} == {}
    assert {"azure-functions", "azure-identity", "azure-keyvault-secrets", "marshmallow", "requests"} <= ours.keys()


def test_host_json__has_no_prefix_and_drops_no_log_line(unzipped: Path) -> None:
    host = json.loads((unzipped / "host.json").read_text())
    assert host["version"] == "2.0"
    assert host["extensions"]["http"]["routePrefix"] == ""
    assert "Trace" in host["logging"]["applicationInsights"]["samplingSettings"]["excludedTypes"].split(";")


def test_function_app__has_one_route_for_every_path_and_method(unzipped: Path, upstream: Simulator) -> None:
    found = run(unzipped, settings_for(upstream))

    assert list(found["about"]) == ["health"]
    (trigger,) = [part for part in found["about"]["health"] if part["type"] == "httpTrigger"]
    assert (trigger["route"], trigger["authLevel"]) == ("{*path}", "ANONYMOUS")
    assert set(trigger["methods"]) == set(METHODS)
    assert (found["status"], found["body"]["status"]) == (503, "unhealthy")


def test_function_app__with_a_schedule__has_a_timer_too(unzipped: Path, upstream: Simulator) -> None:
    found = run(unzipped, {**settings_for(upstream), "HEALTH_SCHEDULE": "0 */5 * * * *"})

    (trigger,) = found["about"]["scheduled"]
    assert (trigger["type"], trigger["schedule"]) == ("timerTrigger", "%HEALTH_SCHEDULE%")


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a Python with what Azure installs, and the platform's own worker."""
    folder, uv = tmp_path_factory.mktemp("runtime"), str(Path(sys.executable).with_name("uv"))
    python = str(folder / "bin" / "python")
    install = [uv, "pip", "install", "--quiet", "--python", python]
    requirements = str(ROOT / "deploy" / "azure" / "requirements.txt")
    for command in (
        [uv, "venv", "--quiet", "--python", str(python_of_the_runtime()), str(folder)],
        [*install, "--require-hashes", "-r", requirements],
        [*install, RUNTIME],
    ):
        subprocess.run(command, check=True, timeout=120)  # noqa: S603 -- a pinned tool
    return python


@pytest.mark.skipif(python_of_the_runtime() is None, reason="needs Python 3.13, which this machine does not have")
def test_function_app__in_the_platforms_worker__serves_verdicts(
    unzipped: Path, runtime: str, upstream: Simulator
) -> None:  # C64
    def asked(method: str, target: str) -> dict[str, Any]:
        return {"method": method, "url": f"https://app.example{target}", "headers": {}, "body": ""}

    done = subprocess.run(  # noqa: S603 -- a program of ours
        [runtime, str(ROOT / "tests" / "azure_host.py"), str(unzipped)],
        input=json.dumps([asked("GET", "/?instance=payments"), asked("HEAD", "/"), asked("GET", "/live")]),
        env={"PYTHONDONTWRITEBYTECODE": "1", **settings_for(upstream)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    verdict, head, live = json.loads(done.stdout)
    assert (verdict["status"], verdict["headers"]["FDI-Verdict"]) == (503, "unhealthy")
    assert verdict["headers"]["Content-Type"] == "application/json"
    assert json.loads(verdict["body"])["marker"] == "FDI-NOT-OK"
    assert (head["status"], head["body"]) == (503, "")
    assert (live["status"], live["body"]) == (200, '{"live":true}')
    assert [line.partition(" ")[0] for line in done.stderr.splitlines()] == ["ERROR", "ERROR"]
