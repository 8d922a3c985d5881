"""What the tests of the AWS stores share: made-up credentials, and one moto server for each test process."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import requests

from tests.aws_stand_in import AwsStandIn
from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def aws_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let botocore find made-up credentials and nothing of this machine's."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "made-up")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "made-up")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(  # noqa: S603 -- the project's own tool
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        url = f"http://127.0.0.1:{port}"
        for _ in range(400):
            with contextlib.suppress(requests.ConnectionError):
                requests.get(f"{url}/moto-api/data.json", timeout=5)
                break
            time.sleep(0.05)
        yield url
        process.terminate()


@pytest.fixture
def moto_url(moto_server: str, aws_environment: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the address of an empty moto server that botocore uses."""
    requests.post(f"{moto_server}/moto-api/reset", timeout=5)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_server)
    return moto_server


@pytest.fixture
def aws_stand_in(aws_environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsStandIn]:
    """Run a stand-in that botocore uses."""
    with AwsStandIn() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        yield server
