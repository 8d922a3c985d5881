"""Requests that servers and frameworks would route themselves: the requested path alone decides."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from werkzeug.test import run_wsgi_app

from handlers.application import Application
from handlers.triggers.wsgi import wsgi_application
from tests.conformance.platform import Question, environ_of, settings_for
from tests.conftest import PROJECT_ID, TOKEN
from tests.servers import ROOT, clean_environ, container_server, functions_framework

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from simulator import Simulator

SERVERS = {"functions-framework": functions_framework, "container": container_server}


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """Return settings that are valid and lead to nobody: the paths asked for here are not the verdict's."""
    return {
        "FDI_ENDPOINT": "http://127.0.0.1:9",
        "FDI_PROJECT_ID": PROJECT_ID,
        "FDI_INSTANCES": "orders=id-orders",
        "FDI_TOKEN": "env://ROMA_TOKEN",
        "ROMA_TOKEN": TOKEN,
    }


@pytest.fixture(scope="module", params=sorted(SERVERS))
def url(
    request: pytest.FixtureRequest, settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    with SERVERS[request.param](settings, tmp_path_factory.mktemp("home")) as (served, _):
        yield served


def exchange(url: str, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes and return status, headers and body of what comes back."""
    address = urlsplit(url).hostname or "", urlsplit(url).port or 0
    with socket.create_connection(address, 10) as caller:
        caller.sendall(sent)
        response = http.client.HTTPResponse(caller)
        response.begin()
        body = response.read()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, body


def get(url: str, target: str, *headers: str) -> tuple[int, dict[str, str], bytes]:
    lines = [f"GET {target} HTTP/1.1", *(headers or ("Host: x",)), "Connection: close", "", ""]
    return exchange(url, "\r\n".join(lines).encode("latin-1"))


@pytest.mark.parametrize("target", ["http://h", "http://h/", "http://h?x=1", "/?x=1", "//", "/."])
def test_empty_path__is_served_without_a_redirect(url: str, target: str) -> None:  # E11
    status, headers, body = get(url, target)

    assert "location" not in headers
    # No server listens at the endpoint, so every verdict is unknown. A path of dots is not ours.
    assert (status, headers.get("fdi-verdict")) == ((404, None) if target == "/." else (503, "unknown"))
    assert json.loads(body)["status"] in ("unknown", 404)


@pytest.mark.parametrize(
    "target", ["/robots.txt", "/favicon.ico", "/static/x.css", "/static/../main.py", "http://h/nope"]
)
def test_unknown_path__is_our_404_problem(url: str, target: str) -> None:  # E12, E18
    status, headers, body = get(url, target)

    assert (status, headers["content-type"]) == (404, "application/problem+json")
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
    assert json.loads(body)["code"] == "unknown_path"


@pytest.mark.parametrize(
    "headers",
    [
        ["Host: a..b"],
        [f"Host: {'a' * 80}.example"],
        ["Host: x", "Connection: Upgrade", "Upgrade: websocket"],
        ["Host: x", "X-Forwarded-Host: a..b", "X-Forwarded-Prefix: /live"],
    ],
)
def test_unusual_header__does_not_change_the_response(url: str, headers: list[str]) -> None:
    status, _, body = get(url, "/live", *headers)

    assert (status, body) == (200, b'{"live":true}')


@pytest.mark.parametrize("name", ["SCRIPT_NAME", "PATH_INFO", "Script-Name", "script_name", "Path-Info"])
@pytest.mark.parametrize("value", ["/live", "/", "/li", "/nope", "%2Flive", "*"])
def test_header_with_a_path__does_not_change_the_route(url: str, name: str, value: str) -> None:  # H11
    assert get(url, "/live", "Host: x", f"{name}: {value}")[2] == b'{"live":true}'

    status, headers, body = get(url, "/nope", "Host: x", f"{name}: {value}")
    assert (status, headers["content-type"]) == (404, "application/problem+json")
    assert json.loads(body)["code"] == "unknown_path"


@pytest.mark.parametrize(
    ("script_name", "path_info", "asked"),
    [
        ("/live", "", "/live"),
        ("/live", "/", "/live/"),
        ("/li", "ve", "/live"),
        ("/nope", "/live", "/nope/live"),
        ("%2Flive", "", "/live"),
        ("/caf%C3%A9", "", "/café"),
    ],
)
def test_path__cut_by_a_trusted_header__is_restored(
    upstream: Simulator, script_name: str, path_info: str, asked: str
) -> None:  # H11
    # What gunicorn, started by somebody's own command, makes of a SCRIPT_NAME header from this machine.
    process = Application(settings_for(upstream))
    cut = environ_of(Question()) | {
        "SCRIPT_NAME": script_name,
        "PATH_INFO": path_info,
        "HTTP_SCRIPT_NAME": script_name,
    }
    found, wanted = (
        run_wsgi_app(wsgi_application(process), environ, buffered=True)
        for environ in (cut, environ_of(Question(target=asked)))
    )
    assert (found[1], b"".join(found[0])) == (wanted[1], b"".join(wanted[0]))
    process.close()


def test_mounted_application__serves_its_mount_point(upstream: Simulator, tmp_path: Path) -> None:  # E11
    with functions_framework({**settings_for(upstream), "SCRIPT_NAME": "/fdi"}, tmp_path) as (url, _):
        status, headers, _ = get(url, "/fdi?instance=orders")
        assert (status, headers["fdi-verdict"]) == (200, "healthy")
        assert get(url, "/fdi/live")[2] == b'{"live":true}'


@pytest.mark.parametrize("value", ["", " ", "many", "0"])
def test_threads__not_a_number__use_the_default(settings: dict[str, str], tmp_path: Path, value: str) -> None:  # E30
    empty = {"THREADS": value, "PORT": "", "HOST": "", "WORKERS": "", "CLOUD_RUN_TIMEOUT_SECONDS": " "}
    with functions_framework({**settings, **empty}, tmp_path) as (url, _):
        assert get(url, "/live")[0] == 200


def _printed_by(script: str, folder: Path) -> str:
    """Run a script that can import ours, with a home of its own, and return what it prints."""
    run = subprocess.run(  # noqa: S603 -- our own program
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=clean_environ({"PYTHONPATH": str(ROOT)}, folder),
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
    )
    return run.stdout


def _framework_answer(source: str, target: str, path: str, folder: Path) -> Any:
    """Return (status, text) of functions-framework's application for somebody's source file that uses ours."""
    (folder / "theirs.py").write_text(source)
    script = (
        "import json, sys, functions_framework\n"
        f"client = functions_framework.create_app({target!r}, {str(folder / 'theirs.py')!r}).test_client()\n"
        f"found = client.get({path!r})\n"
        "print(json.dumps([found.status_code, found.text]))\n"
    )
    return json.loads(_printed_by(script, folder))


def test_wrapper_of_health__with_functools_wraps__is_called(tmp_path: Path) -> None:
    guard = (
        "import functools, main\n"
        "@functools.wraps(main.health)\n"
        "def health(request):\n"
        "    return ('kept out', 403) if request.path != '/live' else main.health(request)\n"
        "other = main.health\n"
    )
    assert _framework_answer(guard, "health", "/", tmp_path) == [403, "kept out"]
    assert _framework_answer(guard, "health", "/live", tmp_path) == [200, '{"live":true}']
    assert _framework_answer(guard, "other", "/live", tmp_path) == [200, '{"live":true}']


def test_wrapper_of_health__that_takes_its_name__is_called(tmp_path: Path) -> None:
    guard = (
        "import functools, main\n"
        "ours = main.health\n"
        "@functools.wraps(ours)\n"
        "def guarded(request):\n"
        "    return ('kept out', 403)\n"
        "main.health = health = guarded\n"
    )
    assert _framework_answer(guard, "health", "/live", tmp_path) == [403, "kept out"]
    assert _framework_answer(guard, "ours", "/live", tmp_path) == [200, '{"live":true}']


def test_wrapper_of_health__head__has_no_body(tmp_path: Path) -> None:
    wrapper = "import main\ndef health(request):\n    return main.health(request)\n"
    (tmp_path / "theirs.py").write_text(wrapper)
    script = (
        "import functions_framework\n"
        f"client = functions_framework.create_app('health', {str(tmp_path / 'theirs.py')!r}).test_client()\n"
        "found = client.head('/live')\n"
        "print(found.status_code, found.data, found.headers['Content-Length'])\n"
    )
    assert _printed_by(script, tmp_path) == "200 b'' 13\n"
