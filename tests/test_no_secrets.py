"""The repository contains no secret. secretlint searches with its own rules and two of ours."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.servers import ROOT
from tests.tools import tool

if TYPE_CHECKING:
    from pathlib import Path

# Put together when they are needed, so that this file holds none itself.
PLANTED = {
    "an IAM token": ["X-Auth-Token: MII", "Gq9Zr4Wd2Lk8" * 8],
    "a JSON web token": ["eyJ", "hbGciOiJIUzI1NiJ9.eyJ", "zdWIiOiIxMjM0NTY3ODkwIn0.dBjftJeZ4CVP"],
    "a private key": [
        "-----BEGIN RSA PRIVATE ",
        "KEY-----\n",
        "MIIEpAIBAAKCAQEA1\n" * 8,
        "-----END RSA PRIVATE KEY-----",
    ],
    "an AWS access key": ["AWS_SECRET_ACCESS_KEY=", "wJalrXUtnFEMIK7MDENGbPxRfiCYzzQ3WqJ8Rt5K"],
    "a password in a URL": ["https://operator:", "Tr0ub4dor3xyz@roma.acme.com"],
}


def findings(folder: Path, files: list[str]) -> str:
    linter = tool("secretlint", ROOT / "node_modules" / ".bin" / "secretlint")
    command = [linter, "--format", "unix", "--secretlintrc", str(ROOT / ".secretlintrc.json"), *files]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603 -- the tool's own path
    assert done.returncode == (1 if done.stdout.strip() else 0), done.stderr
    return done.stdout


def test_repository__contains_no_secret() -> None:
    command = [tool("git"), "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 -- the tool's own path
    if listed.returncode:
        pytest.skip("no git checkout: what git knows is what is looked through")
    files = [name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]
    assert len(files) > 100
    assert findings(ROOT, files) == ""


@pytest.mark.parametrize("kind", PLANTED)
def test_planted_secret__is_found(tmp_path: Path, kind: str) -> None:
    (tmp_path / "planted.txt").write_text("".join(PLANTED[kind]) + "\n")
    assert "planted.txt" in findings(tmp_path, ["planted.txt"])
