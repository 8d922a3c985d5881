"""The zip for FunctionGraph: its contents, and its handler run without the repository."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.platform import Question, settings_for
from tests.conftest import TOKEN
from tests.deploy.programs import unzip
from tests.platform_events import answer_of, functiongraph
from tests.servers import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from simulator import Simulator

# Stands in for the runtime, which imports the handler once and calls it for each event.
RUNTIME = """
import json, sys
sys.path.insert(0, sys.argv[1])
import main
class Context:
    def getToken(self): return sys.argv[2]
    def getUserData(self, name): return json.loads(sys.argv[3]).get(name)
    def getRemainingTimeInMilliSeconds(self): return 5000
print(json.dumps([main.functiongraph_handler(event, Context()) for event in json.load(sys.stdin)]))
heavy = {"flask", "functions_framework", "grpc", "botocore", "apig_wsgi", "click"} & set(sys.modules)
assert not heavy, heavy
outside = [m.__file__ for m in sys.modules.values() if "site-packages" in (getattr(m, "__file__", "") or "")]
assert not outside, outside
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("package") / "functiongraph.zip"
    program = [sys.executable, str(ROOT / "deploy" / "build.py"), "functiongraph", str(target)]
    subprocess.run(program, check=True, timeout=120)  # noqa: S603 -- a program of ours
    return target


@pytest.fixture(scope="module")
def unzipped(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unzip(package, tmp_path_factory.mktemp("unzipped"))


def run(unzipped: Path, settings: dict[str, str], *events: Any) -> list[Any]:
    # -S: no site-packages, as in the runtime.
    python = sys._base_executable  # type: ignore[attr-defined] # typeshed has no such name
    done = subprocess.run(  # noqa: S603 -- a program of ours
        [python, "-S", "-c", RUNTIME, str(unzipped), TOKEN, json.dumps(settings)],
        input=json.dumps(events),
        env={"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    replies: list[Any] = json.loads(done.stdout)
    return replies


def test_zip__holds_only_pure_python(package: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        names = archive.namelist()
        modes = {entry.external_attr >> 16 for entry in archive.infolist()}
    assert modes == {0o100644}  # one user may unpack it and another one run it
    assert {"main.py", "handlers/triggers/functiongraph.py", "requests/__init__.py"} <= set(names)
    assert not [name for name in names if name.endswith((".so", ".pyd", ".pyc"))]
    assert not [
        name
        for name in names
        if name.startswith(("fdi_health/__main__", "fdi_health/cli", "handlers/container_server"))
    ]
    assert package.stat().st_size < 4 * 1024 * 1024


def test_functiongraph_requirements__have_the_versions_of_the_root() -> None:
    found = [
        dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / place).read_text(), re.MULTILINE))
        for place in ("deploy/functiongraph/requirements.txt", "requirements.txt")
    ]
    assert found[0]
    assert found[0].items() <= found[1].items()


def test_package__with_an_agency__uses_its_token(unzipped: Path, upstream: Simulator) -> None:
    settings = {**settings_for(upstream), "FDI_TOKEN": "functiongraph://agency"}
    events = [
        functiongraph(Question(target=target))
        for target in ("/?instance=orders", "/?instance=payments", "/openapi.json", "/status")
    ]
    *answers, timer = run(unzipped, settings, *events, {"trigger_type": "TIMER"})
    verdicts = [answer_of(answer).headers.get("fdi-verdict") for answer in answers]
    assert verdicts == ["healthy", "unhealthy", None, "unhealthy"]
    assert json.loads(answer_of(answers[2]).body)["openapi"] == "3.1.0"
    assert answer_of(answers[3]).body.startswith(b"<!doctype html>")
    assert timer["status"] == "unhealthy"


def test_package__without_settings__serves_live(unzipped: Path) -> None:
    live, verdict = run(unzipped, {}, *(functiongraph(Question(target=target)) for target in ("/live", "/")))
    assert (live["statusCode"], verdict["statusCode"]) == (200, 500)
