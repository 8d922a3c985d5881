"""Oracle Functions: the zip holds the function, and the platform's own library serves it over its socket."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.conformance.platform import Answer, PlatformSuite, Question, settings_for
from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator import Simulator
    from tests.conformance.platform import EntryPoint

FOLDER = ROOT / "deploy" / "oracle"


@pytest.fixture(scope="module")
def unzipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("oracle")
    program = [sys.executable, str(ROOT / "deploy" / "build.py"), "oracle", str(folder / "oracle.zip")]
    subprocess.run(program, check=True, timeout=60)  # noqa: S603 -- a program of ours
    with zipfile.ZipFile(folder / "oracle.zip") as archive:
        archive.extractall(folder / "function")
    return folder / "function"


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(self._path)


class Fn:
    """The function as the platform runs it: fdk, started as func.yaml and the Fn project's Python image say."""

    def __init__(self, unzipped: Path, settings: dict[str, str], folder: str) -> None:
        self.socket = f"{folder}/lsnr.sock"
        self.errors = Path(folder, "stderr")
        _, _, entrypoint = yaml.safe_load((FOLDER / "func.yaml").read_text())["entrypoint"].split()
        with self.errors.open("wb") as stderr:
            self.process = subprocess.Popen(  # noqa: S603 -- a pinned tool
                [str(Path(sys.executable).with_name("fdk")), "func.py", entrypoint],
                cwd=unzipped,
                env={
                    "PYTHONPATH": str(unzipped),
                    "FN_FORMAT": "http-stream",
                    "FN_LISTENER": f"unix:{self.socket}",
                    **settings,
                },
                stderr=stderr,
            )
        end = time.monotonic() + 20
        while not Path(self.socket).exists():
            assert self.process.poll() is None, self.errors.read_text()
            assert time.monotonic() < end, self.errors.read_text()
            time.sleep(0.02)

    def call(self, headers: dict[str, str], body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        """Send one call, as the platform's agent does."""
        connection = UnixConnection(self.socket)
        deadline = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()
        connection.request("POST", "/call", body, {"Fn-Call-Id": "01", "Fn-Deadline": deadline, **headers})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, content

    def ask(self, question: Question) -> Answer:
        """Send a request through a gateway, and return what the gateway would make of the response."""
        headers = {f"Fn-Http-H-{name}": value for name, value in question.headers.items()}
        headers |= {"Fn-Intent": "httprequest", "Fn-Http-Method": question.method}
        status, found, body = self.call({**headers, "Fn-Http-Request-Url": question.target}, question.body)
        assert status == 200
        fields = {name.removeprefix("fn-http-h-"): value for name, value in found.items() if "fn-http-h-" in name}
        if "content-type" in found:
            fields["content-type"] = found["content-type"]
        return Answer(int(found["fn-http-status"]), fields, body)


class TestGateway(PlatformSuite):
    """The suite through fdk, which gives every response a Content-Type, also one without a body."""

    not_ours = frozenset({"OPTIONS /", "OPTIONS with an origin"})

    @pytest.fixture(scope="class")
    @classmethod
    def fn(cls, upstream: Simulator, unzipped: Path) -> Iterator[Fn]:
        with tempfile.TemporaryDirectory() as folder:  # a short path: a socket's may have 107 bytes
            fn = Fn(unzipped, settings_for(upstream), folder)
            yield fn
            fn.process.terminate()
            fn.process.wait(10)

    @pytest.fixture(scope="class")
    @classmethod
    def entry_point(cls, fn: Fn) -> EntryPoint:
        return fn.ask

    def test_call__without_a_gateway__gets_the_verdict(self, fn: Fn) -> None:
        status, headers, body = fn.call({}, b'{"instance": "orders"}')
        assert (status, headers["content-type"]) == (200, "application/json")
        assert json.loads(body)["status"] == "healthy"

    def test_log__has_a_line_for_each_verdict_and_no_debug_lines(self, fn: Fn) -> None:
        before = len(fn.errors.read_text().splitlines())
        fn.ask(Question(target="/?instance=orders"))
        lines = fn.errors.read_text().splitlines()[before:]
        assert [json.loads(line)["status"] for line in lines] == ["healthy"]


def test_zip__has_what_fn_looks_for_at_its_root(unzipped: Path) -> None:
    at_root = {path.name for path in unzipped.iterdir() if path.is_file()}
    assert at_root == {"func.py", "func.yaml", "main.py", "requirements.txt"}
    found = {path.name for path in (unzipped / "handlers" / "triggers").glob("*.py")}
    assert "oracle_functions.py" in found
    assert not found & {"aws_lambda.py", "azure_functions.py", "functiongraph.py"}


def test_requirements__have_the_versions_of_the_root() -> None:
    pins = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)
    root: dict[str, Any] = dict(pins.findall((ROOT / "requirements.txt").read_text()))
    ours = dict(pins.findall((FOLDER / "requirements.txt").read_text()))
    assert {name: version for name, version in ours.items() if root.get(name, version) != version} == {}
    assert {"fdk", "marshmallow", "requests"} <= ours.keys()


def test_func_yaml__has_the_version_of_the_package() -> None:
    from fdi_health import __version__

    assert yaml.safe_load((FOLDER / "func.yaml").read_text())["version"] == __version__
