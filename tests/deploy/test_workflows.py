"""The workflows and settings for GitHub: they have the form that GitHub reads, and no known weakness."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers import ROOT

GITHUB = ROOT / ".github"
BIN = Path(sys.executable).parent


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- pinned tools
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", ["workflows/ci.yml", "workflows/release.yml"]),
        ("vendor.dependabot", ["dependabot.yml"]),
    ],
)
def test_files__have_the_form_that_github_reads(schema: str, files: list[str]) -> None:
    run(str(BIN / "check-jsonschema"), "--builtin-schema", schema, *(str(GITHUB / file) for file in files))


def test_workflows__have_no_weakness_that_zizmor_knows() -> None:
    assert "No findings to report" in run(str(BIN / "zizmor"), "--offline", "--persona=pedantic", str(GITHUB))


def test_ci__runs_everything_on_every_supported_python() -> None:
    job = workflow("ci.yml")["jobs"]["check"]
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    assert job["strategy"]["matrix"]["python"] == [oldest, "3.12", "3.13", "3.14"]


def test_release__runs_a_target_that_exists() -> None:
    steps = workflow("release.yml")["jobs"]["files"]["steps"]
    (target,) = (step["run"].removeprefix("make ") for step in steps if step.get("run", "").startswith("make "))
    assert f"\n{target}: " in (ROOT / "Makefile").read_text()


def test_issue_form__asks_for_what_is_needed() -> None:
    form = yaml.safe_load((GITHUB / "ISSUE_TEMPLATE" / "bug.yml").read_text())
    assert {part["id"] for part in form["body"] if "id" in part} == {"what", "doctor", "version"}


def workflow(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((GITHUB / "workflows" / name).read_text())
    return found
