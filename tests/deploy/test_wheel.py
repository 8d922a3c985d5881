"""The wheel, installed in an empty environment: its size, its commands, and the demo without a clone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import venv
import zipfile
from email import message_from_string
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from tests.servers import ROOT, clean_environ, free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_MEGABYTES = 15
"""The largest site-packages of the smallest installation."""

TOOLS = ("pip", "setuptools", "pkg_resources", "_distutils_hack")
"""What a new environment has by itself."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the built wheel."""
    folder = tmp_path_factory.mktemp("dist")
    program = Path(sys.executable).parent / "hatchling"
    command = [str(program), "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)  # noqa: S603 -- a pinned tool
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an environment that has the wheel, and the pinned versions of what it needs."""
    folder = tmp_path_factory.mktemp("env")
    venv.create(folder, with_pip=True)
    pins = folder / "pins.txt"
    pins.write_text("\n".join(re.findall(r"^[\w.-]+==[^ ;\\]+", (ROOT / "requirements.txt").read_text(), re.MULTILINE)))
    python = str(folder / "bin" / "python")
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", str(pins), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 -- our own wheel
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Return a folder of somebody else, who has modules with names like ours."""
    for name in ("main", "handlers", "schemas", "simulator", "fdi_health"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a module of somebody else')\n")
    return tmp_path


def metadata(wheel: Path) -> dict[str, list[str]]:
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        message = message_from_string(archive.read(path).decode())
    return {name: message.get_all(name, []) for name in ("Provides-Extra", "Requires-Dist", "Version")}


def test_wheel__holds_the_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"fdi_health", "handlers", "main.py", "schemas", "simulator"}
    assert not [name for name in names if "__pycache__" in name or "/tests/" in name]


def test_wheel__has_an_extra_for_each_platform(wheel: Path) -> None:
    found = metadata(wheel)
    assert {"aws", "gcp", "azure", "vault", "server", "all"} <= set(found["Provides-Extra"])
    always = {re.split(r"[^\w-]", line)[0] for line in found["Requires-Dist"] if "extra ==" not in line}
    assert always == {"certifi", "click", "jinja2", "marshmallow", "pyyaml", "requests", "urllib3"}


def test_smallest_installation__is_small(environment: Path) -> None:
    (packages,) = environment.glob("lib/python*/site-packages")
    sizes = [
        path.stat().st_size
        for top in packages.iterdir()
        if not top.name.startswith(TOOLS)
        for path in ([top] if top.is_file() else top.rglob("*"))
        if path.is_file()
    ]
    assert sum(sizes) <= MAX_MEGABYTES * 1_000_000


@pytest.fixture
def demo(environment: Path, elsewhere: Path, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Return the demo's URL, and what it printed first."""
    port = free_port()
    process = subprocess.Popen(  # noqa: S603 -- a program of ours
        [environment / "bin" / "fdi-health", "demo"],
        cwd=elsewhere,
        env=clean_environ({"PORT": str(port)}, tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Ctrl-C"):
                break
        yield f"http://127.0.0.1:{port}", "".join(lines)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(15)
        if process.stdout is not None:
            process.stdout.close()


def test_demo__from_the_wheel__prints_the_first_verdict_and_serves(demo: tuple[str, str]) -> None:
    url, printed = demo
    assert "GET /  ->  503  FDI-Verdict: unhealthy" in printed
    assert "orders-sync, failed at" in printed
    assert requests.get(f"{url}/?instance=orders", timeout=5).headers["FDI-Verdict"] == "healthy"
    assert requests.get(f"{url}/status", timeout=5).status_code == 200


def run(environment: Path, folder: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [str(environment / "bin" / "fdi-health"), *words]
    environ = clean_environ(settings, folder)
    return subprocess.run(  # noqa: S603 -- a program of ours
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def test_commands__are_those_of_the_documents(environment: Path, elsewhere: Path) -> None:
    found = run(environment, elsewhere, "--help")
    assert found.returncode == 0
    assert found.stdout.startswith("Usage: fdi-health ")
    commands = set(re.findall(r"^  (\w+)  ", found.stdout.partition("Commands:")[2], re.MULTILINE))
    assert commands == {"check", "doctor", "serve", "simulate", "demo"}


def test_serve__without_its_extra__says_how_to_get_it(environment: Path, elsewhere: Path) -> None:
    found = run(environment, elsewhere, "serve")
    assert (found.returncode, found.stdout) == (3, "")
    assert found.stderr == (
        "granian is not installed: pip install '.[server]' in a clone, or the wheel with [server] after its name\n"
    )


@pytest.mark.parametrize(
    ("url", "extra"),
    [
        ("awssecretsmanager://arn:aws:secretsmanager:eu-west-1:123456789012:secret:roma-AbCdEf", "aws"),
        ("gcpsecretmanager://projects/acme/secrets/roma/versions/latest", "gcp"),
        ("azurekeyvault://acme/roma", "azure"),
        ("hashivault://secret/roma", "vault"),
    ],
)
def test_secret_of_a_store__without_its_extra__says_how_to_get_it(
    environment: Path, elsewhere: Path, url: str, extra: str
) -> None:
    settings = {
        "FDI_REGION": "cn-north-4",
        "FDI_PROJECT_ID": "c53626012ba84727b938ca8bf03108ef",
        "FDI_INSTANCES": "payments=fae7ff6c-8e07-4cf8-9e67-589cab2f017c",
        "FDI_TOKEN": url,
    }
    found = run(environment, elsewhere, "check", "--format", "json", **settings)
    error = json.loads(found.stdout)["instances"][0]["error"]
    assert error["code"] == "token_unavailable"
    assert f"'.[{extra}]'" in error["message"] + error["next_step"]


def test_serve__from_a_clone__serves_until_sigterm(tmp_path: Path) -> None:
    port = free_port()
    environ = clean_environ({"PORT": str(port)}, tmp_path)
    with subprocess.Popen([sys.executable, "-m", "fdi_health", "serve"], cwd=ROOT, env=environ) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}", process)
            assert requests.get(f"http://127.0.0.1:{port}/live", timeout=5).status_code == 200
        finally:
            process.terminate()
        assert process.wait(10) == 0


def test_simulate__passes_its_options_on(environment: Path, elsewhere: Path) -> None:
    found = run(environment, elsewhere, "simulate", "--list", "--help")
    assert found.stdout.startswith("usage: simulator ")
    assert os.linesep in found.stdout
