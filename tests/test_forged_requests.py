"""Server-side request forgery: no input of a caller or a name server sends our token to another host.

What an environment may name is in schemas/test_settings.py, redirects are in test_upstream_faults.py, proxies in
fdi_health/transport/test_client.py.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from fdi_health.transport import connect
from simulator import Simulator
from tests.conftest import CREDENTIALS, PASSWORD, PROJECT_ID, TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import trustme

    from tests.conftest import Function

ENDPOINT = "roma.eu-west-101.example"


class _Metadata:
    """A listener that answers in plain HTTP, as a cloud's metadata service does, and keeps what it was sent."""

    def __init__(self) -> None:
        self.seen = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                with caller, contextlib.suppress(OSError):
                    caller.settimeout(5)
                    self.seen += caller.recv(65536)
                    caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


@pytest.fixture
def metadata() -> Iterator[_Metadata]:
    listener = _Metadata()
    yield listener
    listener.close()


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return what makes every name that is no address lead to a port of this machine from now on."""
    real = socket.getaddrinfo

    def lead_to(there: int) -> None:
        def getaddrinfo(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
            return real("127.0.0.1", there, *args, **kwargs) if host == ENDPOINT else real(host, port, *args, **kwargs)

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return lead_to


def port_of(simulator: Simulator) -> int:
    return urlsplit(simulator.url).port or 0


def test_endpoint__resolving_to_a_metadata_service__gets_no_request(
    function: Callable[..., Function], resolve: Callable[[int], None], metadata: _Metadata, ca_file: str
) -> None:
    resolve(metadata.port)
    found = function("healthy", FDI_ENDPOINT=f"https://{ENDPOINT}", SSL_CERT_FILE=ca_file).instance()
    assert (found["status"], found["error"]["code"]) == ("unknown", "tls_error")
    assert metadata.seen.startswith(b"\x16\x03")  # a TLS greeting, and no more
    assert TOKEN.encode() not in metadata.seen


def test_iam_endpoint__resolving_to_a_metadata_service__gets_no_password(
    function: Callable[..., Function], resolve: Callable[[int], None], metadata: _Metadata, ca_file: str
) -> None:
    resolve(metadata.port)
    checked = function("healthy", ROMA_TOKEN=CREDENTIALS, FDI_IAM_ENDPOINT=f"https://{ENDPOINT}", SSL_CERT_FILE=ca_file)
    assert checked.instance()["status"] == "unknown"
    assert metadata.seen.startswith(b"\x16\x03")
    assert PASSWORD.encode() not in metadata.seen


def test_endpoint__resolving_to_another_server_later__gets_no_more_requests(
    function: Callable[..., Function],
    resolve: Callable[[int], None],
    authority: trustme.CA,
    ca_file: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connect, "MIN_ADDRESS_SECONDS", 0.0)
    with contextlib.ExitStack() as running:

        def over_tls(name: str) -> Simulator:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert(name).configure_cert(context)
            simulator = running.enter_context(Simulator(tokens=[TOKEN], project_id=PROJECT_ID, ssl_context=context))
            simulator.play("id-one", "healthy", "close")
            return simulator

        ours, elsewhere = over_tls(ENDPOINT), over_tls("elsewhere.example")
        checked = function("healthy", FDI_ENDPOINT=f"https://{ENDPOINT}", SSL_CERT_FILE=ca_file)
        resolve(port_of(ours))
        assert checked.instance()["status"] == "healthy"
        resolve(port_of(elsewhere))
        found = checked.instance()
        assert (found["status"], found["error"]["code"]) == ("unknown", "tls_error")
        assert not elsewhere.requests


@pytest.mark.parametrize(
    "instances", ["a=../../meta-data", "a=x/../y", "a=@169.254.169.254", "a=x?y", "a=x#y", "a=x%2fy", "a=x\\y", "a=.."]
)
def test_instance_id__that_would_change_the_path__is_an_invalid_setting(
    function: Callable[..., Function], instances: str
) -> None:
    assert function(FDI_INSTANCES=instances).get().status_code == 500


@pytest.mark.parametrize(("name", "status"), [("../x", 400), ("http://169.254.169.254/", 400), ("id-two", 404)])
def test_instance__not_configured__gets_no_request(
    function: Callable[..., Function], upstream: Simulator, name: str, status: int
) -> None:
    assert function("healthy").get(f"/?instance={name}").status_code == status
    assert not upstream.requests


@pytest.mark.parametrize("query", ["endpoint=http://169.254.169.254/", "project_id=x", "region=evil.example"])
def test_query__does_not_change_the_upstream_request(
    function: Callable[..., Function], upstream: Simulator, query: str
) -> None:
    assert function("healthy").get(f"/?{query}").status_code == 200
    (request,) = upstream.requests
    assert request.target == f"/v2/{PROJECT_ID}/fdi/instances/id-one/statistics/tasks"


@pytest.mark.parametrize("name", ["Host", "X-Forwarded-Host", "X-Auth-Token", "X-Original-URL", "Forwarded", "Via"])
def test_callers_header__is_not_sent_upstream(
    function: Callable[..., Function], upstream: Simulator, name: str
) -> None:
    assert function("healthy").get(headers={name: "evil.example"}).status_code == 200
    (request,) = upstream.requests
    assert "evil" not in f"{request.target}{request.headers}"
