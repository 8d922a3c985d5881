"""The container without a container engine: the files that the Dockerfile copies, run by its own command lines."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests

from tests.conformance.platform import settings_for
from tests.machine import assert_within
from tests.servers import ROOT, clean_environ, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from simulator import Simulator

DOCKERFILE = (ROOT / "deploy" / "container" / "Dockerfile").read_text().replace("\\\n", " ")
VARIABLES = dict(entry.split("=", 1) for entry in re.findall(r"^ENV (.*)$", DOCKERFILE, re.MULTILINE)[0].split())
HAS_IPV6 = Path("/proc/net/if_inet6").exists() and "lo" in Path("/proc/net/if_inet6").read_text()
NO_IPV6 = (
    "import socket\n"
    "class Socket(socket.socket):\n"
    "    def __init__(self, family=-1, *args, **kwargs):\n"
    "        if family == socket.AF_INET6:\n"
    "            raise OSError(97, 'Address family not supported by protocol')\n"
    "        super().__init__(family, *args, **kwargs)\n"
    "socket.socket = Socket\n"
)
"""A sitecustomize that plays a kernel without IPv6."""


def words_of(instruction: str) -> list[str]:
    """Return the command line that the Dockerfile gives to an instruction."""
    ((text),) = re.findall(rf"^{instruction}(\[.*\])$", DOCKERFILE, re.MULTILINE)
    words: list[str] = json.loads(text)
    return words


SERVE = words_of("CMD ")
CHECK = words_of(r"HEALTHCHECK .*?CMD ")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Return a folder that holds what the Dockerfile copies into the image."""
    folder = tmp_path / "srv"
    folder.mkdir()
    for source, target in re.findall(
        r"^COPY ([^-\s]\S*) (\S+)$", DOCKERFILE.partition("WORKDIR /srv")[2], re.MULTILINE
    ):
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, folder / target)
        else:
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, folder / target)
    return folder


def environ_of(settings: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return the image's environment, with this Python in place of the image's."""
    image_variables = VARIABLES | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return {**clean_environ(image_variables, home), **settings}


@contextlib.contextmanager
def container(image: Path, settings: Mapping[str, str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the image's command until it answers on 127.0.0.1."""
    with (image.parent / "server.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 -- what the Dockerfile runs
            SERVE, cwd=image, env=environ_of(settings, image.parent), stdout=log, stderr=log
        )
    try:
        end = time.monotonic() + 15
        while True:
            with contextlib.suppress(requests.RequestException):
                requests.get(f"http://127.0.0.1:{port}/live", timeout=1)
                break
            assert process.poll() is None, (image.parent / "server.log").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait(15)


def check(image: Path, settings: Mapping[str, str]) -> int:
    """Run the image's health check and return its exit status."""
    done = subprocess.run(  # noqa: S603 -- what the Dockerfile runs
        CHECK, cwd=image, env=environ_of(settings, image.parent), capture_output=True, timeout=20, check=False
    )
    return done.returncode


def is_free(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return True
    return False


def needs_port_8080() -> None:
    if not is_free(8080):
        pytest.skip("port 8080 is in use on this machine")


@contextlib.contextmanager
def proxy_that_refuses() -> Iterator[str]:
    """Yield the URL of a proxy that takes connections and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_health_check__with_a_proxy_in_the_environment__bypasses_it(
    upstream: Simulator, image: Path, name: str
) -> None:  # E29
    port = free_port()
    settings = {**settings_for(upstream), "PORT": str(port)}
    with container(image, settings, port), proxy_that_refuses() as proxy:
        assert check(image, {**settings, name: proxy, "no_proxy": "", "NO_PROXY": ""}) == 0


@pytest.mark.parametrize("empty", ["", " "])
def test_container__with_empty_variables__uses_the_defaults(
    upstream: Simulator, image: Path, empty: str
) -> None:  # E29, E30
    needs_port_8080()
    settings = {
        **settings_for(upstream),
        "PORT": empty,
        "THREADS": empty,
        "WORKERS": empty,
        "FDI_DEADLINE_SECONDS": empty,
    }
    with container(image, settings, 8080):
        assert check(image, {**settings, "HTTP_PROXY": "http://127.0.0.1:1"}) == 0
        assert requests.get("http://127.0.0.1:8080/?instance=orders", timeout=10).status_code == 200


def test_container__without_port__uses_the_default_of_the_image(upstream: Simulator, image: Path) -> None:  # E29
    needs_port_8080()
    settings = settings_for(upstream)
    with container(image, settings, 8080):
        assert check(image, settings) == 0


def test_health_check__without_a_server__fails(image: Path) -> None:
    assert check(image, {"PORT": str(free_port())}) != 0


def test_health_check__of_a_silent_server__fails_in_time(image: Path) -> None:
    with proxy_that_refuses() as silent:
        began = time.monotonic()
        assert check(image, {"PORT": str(urlsplit(silent).port)}) != 0
        # Docker waits 3 seconds.
        assert_within(began, 3 + 1)


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]"])
def test_container__serves_ipv4_and_ipv6(upstream: Simulator, image: Path, address: str) -> None:  # E28
    if not HAS_IPV6 and ":" in address:
        pytest.skip("this machine has no IPv6")
    port = free_port()
    settings = {**settings_for(upstream), "PORT": str(port)}
    with container(image, settings, port):
        answer = requests.get(f"http://{address}:{port}/?instance=orders", timeout=10)
        assert (answer.status_code, answer.headers["FDI-Verdict"]) == (200, "healthy")


def test_container__in_a_kernel_without_ipv6__serves_ipv4(
    upstream: Simulator, image: Path, tmp_path: Path
) -> None:  # E28
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NO_IPV6)
    port = free_port()
    settings = {**settings_for(upstream), "PORT": str(port), "PYTHONPATH": str(tmp_path / "site")}
    with container(image, settings, port):
        assert requests.get(f"http://127.0.0.1:{port}/live", timeout=10).status_code == 200
        with pytest.raises(OSError, match=r"refused|not available|not supported|assign"):
            socket.create_connection(("::1", port), 2)


def test_container__where_ipv6_sockets_do_not_serve_ipv4__serves_ipv4(
    upstream: Simulator, image: Path, tmp_path: Path
) -> None:  # E28
    if not HAS_IPV6:
        pytest.skip("this machine has no IPv6")
    # As with net.ipv6.bindv6only=1: every new IPv6 socket begins with IPV6_V6ONLY set.
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import socket\n"
        "class Socket(socket.socket):\n"
        "    def __init__(self, family=-1, type=-1, proto=-1, fileno=None):\n"
        "        super().__init__(family, type, proto, fileno)\n"
        "        if family == socket.AF_INET6 and fileno is None:\n"
        "            self.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)\n"
        "socket.socket = Socket\n"
    )
    port = free_port()
    settings = {**settings_for(upstream), "PORT": str(port), "PYTHONPATH": str(tmp_path / "site")}
    with container(image, settings, port):
        assert requests.get(f"http://127.0.0.1:{port}/live", timeout=10).status_code == 200
        # granian listens on one address: one that serves IPv6 alone would lose the health check.
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("::1", port), 2)
