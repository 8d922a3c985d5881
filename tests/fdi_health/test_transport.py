"""HTTP that ends when it should, over connections that are kept, plain and TLS, and what its failures mean."""

from __future__ import annotations

import contextlib
import http.client
import inspect
import socket
import ssl
import threading
import time
import warnings
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests
import urllib3.exceptions

from fdi_health import connections
from fdi_health.deadline import Abort, Deadline
from fdi_health.errors import NEXT_STEPS, CheckError
from fdi_health.foreign_errors import meaning
from fdi_health.transport import CA_VARIABLES, Transport
from simulator import Simulator
from simulator.answers import raw_answer
from tests.conftest import PROJECT_ID, TOKEN
from tests.tunnel_proxy import TunnelProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import trustme

    from tests.conftest import Function

PATH = f"/v2/{PROJECT_ID}/fdi/instances/i/statistics/tasks"
HEADERS = {"X-Auth-Token": TOKEN}


@pytest.fixture
def transport(upstream: Simulator) -> Iterator[Transport]:
    opened = Transport.open(upstream.url, {}, 4)
    yield opened
    opened.close()


def code_of(transport: Transport, seconds: float = 2.0) -> str:
    with pytest.raises(CheckError) as caught:
        transport.get(PATH, HEADERS, Deadline.after(seconds), Abort())
    return caught.value.code


def test_get__sends_the_headers_and_brings_the_body(transport: Transport, upstream: Simulator) -> None:
    upstream.play("i", "healthy")
    reply = transport.get(PATH, HEADERS, Deadline.after(2), Abort())
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.body.startswith(b"{")
    (request,) = upstream.requests
    assert (request.header("Accept-Encoding"), request.header("X-Auth-Token")) == ("identity", TOKEN)


@pytest.mark.parametrize("name", ["silent", "silent_after_headers", "silent_mid_body", "drip_headers", "drip_body"])
def test_abort__frees_the_thread_at_once(transport: Transport, upstream: Simulator, name: str) -> None:
    upstream.play("i", name)
    abort = Abort()
    ended: list[str] = []

    def ask() -> None:
        try:
            transport.get(PATH, HEADERS, Deadline.after(30), abort)
        except CheckError as error:
            ended.append(error.code)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.2)
    began = time.monotonic()
    abort.fire()
    thread.join(5)

    assert time.monotonic() - began < 0.3
    assert ended == ["timeout"]


@pytest.mark.parametrize(
    "lines",
    [b"A: b\r\nFrom x", b" folded", b"A: b\r\nno colon", b"a b: c", b": nameless", b"Content-Length: 1 2"],
)
def test_header_block_that_python_reads_only_in_part__is_an_invalid_answer(
    transport: Transport, upstream: Simulator, lines: bytes
) -> None:
    upstream.play("i", raw_answer(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\nContent-Length: 2\r\n\r\n{}"))
    assert code_of(transport) == "invalid_response"


def test_abort__before_the_start_ends_it_too(transport: Transport, upstream: Simulator) -> None:
    upstream.play("i", "silent")
    abort = Abort()
    abort.fire()
    with pytest.raises(CheckError) as caught:
        transport.get(PATH, HEADERS, Deadline.after(30), abort)
    assert caught.value.code == "timeout"


def test_deadline__that_has_passed_is_a_timeout(transport: Transport, upstream: Simulator) -> None:
    upstream.play("i", "healthy")
    assert code_of(transport, 0.0) == "timeout"


def test_idle_connection__is_not_trusted_for_long(
    transport: Transport, upstream: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.play("i", "healthy")
    for idle_seconds in (connections.IDLE_SECONDS, 0.0, connections.IDLE_SECONDS):
        monkeypatch.setattr(connections, "IDLE_SECONDS", idle_seconds)
        transport.get(PATH, HEADERS, Deadline.after(2), Abort())
    assert [request.connection for request in upstream.requests] in ([1, 2, 2], [0, 1, 1])


@pytest.mark.parametrize("name", ["status_101", "status_204", "status_304"])
def test_connection__is_not_kept_after_an_answer_without_a_body(
    transport: Transport, upstream: Simulator, name: str
) -> None:
    upstream.play("i", name, "healthy")
    transport.get(PATH, HEADERS, Deadline.after(2), Abort())
    assert transport.get(PATH, HEADERS, Deadline.after(2), Abort()).status == 200
    first, second = upstream.requests
    assert first.connection != second.connection


def test_connections_that_died_silently__are_replaced_all_at_once(
    function: Callable[..., Function], upstream: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:  # C79, where closing can't be seen before the next request is sent
    upstream.latency_seconds = 0.05
    checked = function("healthy", "healthy", "healthy", "healthy")
    assert checked.verdict()["healthy"] is True
    monkeypatch.setattr("urllib3.connectionpool.is_connection_dropped", lambda _: False)
    upstream.drop_idle_connections()
    assert checked.verdict()["healthy"] is True


def test_unresponsive_address__leaves_time_for_the_next(upstream: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    upstream.play("i", "healthy")
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        addresses = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", full.getsockname()),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", upstream.port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        opened = Transport.open(upstream.url, {}, 1)
        assert opened.get(PATH, HEADERS, Deadline.after(1), Abort()).status == 200
        addresses.pop()
        opened.close()
        assert code_of(opened, 0.3) == "timeout"
        for filler in fillers:
            filler.close()


def test_connection__that_is_refused_or_has_no_address_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert code_of(Transport.open(f"http://127.0.0.1:{port}", {}, 1)) == "unreachable"
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    assert code_of(Transport.open(f"http://127.0.0.1:{port}", {}, 1)) == "unreachable"


@pytest.mark.parametrize("variable", CA_VARIABLES)
def test_private_ca__is_trusted_where_the_environment_says_so(
    tls_upstream: Simulator, ca_file: str, variable: str
) -> None:
    tls_upstream.play("i", "healthy")
    opened = Transport.open(tls_upstream.url, {variable: ca_file}, 1)
    assert [opened.get(PATH, HEADERS, Deadline.after(2), Abort()).status for _ in range(2)] == [200, 200]
    opened.close()
    assert len({request.connection for request in tls_upstream.requests}) == 1


@pytest.mark.parametrize("name", ["silent", "drip_headers", "drip_body"])
def test_abort__works_over_tls(tls_upstream: Simulator, ca_file: str, name: str) -> None:
    tls_upstream.play("i", name)
    opened = Transport.open(tls_upstream.url, {"SSL_CERT_FILE": ca_file}, 1)
    abort = Abort()
    threading.Timer(0.3, abort.fire).start()
    began = time.monotonic()
    with pytest.raises(CheckError) as caught:
        opened.get(PATH, HEADERS, Deadline.after(30), abort)
    assert caught.value.code == "timeout"
    assert time.monotonic() - began < 0.3 + 0.3
    opened.close()


@pytest.mark.parametrize("tls_upstream", [["other.example"]], indirect=True)
def test_certificate_for_another_name__is_a_tls_error(tls_upstream: Simulator, ca_file: str) -> None:
    with pytest.raises(CheckError, match="for another") as caught:
        Transport.open(tls_upstream.url, {"SSL_CERT_FILE": ca_file}, 1).get(PATH, {}, Deadline.after(2), Abort())
    assert caught.value.code == "tls_error"


@pytest.mark.parametrize(
    ("not_before", "not_after", "message"),
    [(-20, -10, "has expired"), (10, 20, "is not valid yet")],
)
def test_certificate__out_of_its_time_is_a_tls_error(
    authority: trustme.CA, ca_file: str, not_before: int, not_after: int, message: str
) -> None:
    today = datetime.now(UTC)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(
        "127.0.0.1", not_before=today + timedelta(days=not_before), not_after=today + timedelta(days=not_after)
    ).configure_cert(context)
    with Simulator(tokens=[TOKEN], project_id=PROJECT_ID, ssl_context=context) as upstream:
        opened = Transport.open(upstream.url, {"SSL_CERT_FILE": ca_file}, 1)
        with pytest.raises(CheckError, match=message) as caught:
            opened.get(PATH, {}, Deadline.after(2), Abort())
    assert caught.value.code == "tls_error"


def test_server_that_speaks_only_old_tls__is_a_tls_error(authority: trustme.CA, ca_file: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def shake_hands() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                context.wrap_socket(connection, server_side=True)

        server = threading.Thread(target=shake_hands)
        server.start()
        opened = Transport.open(f"https://127.0.0.1:{listener.getsockname()[1]}", {"SSL_CERT_FILE": ca_file}, 1)
        with pytest.raises(CheckError, match="TLS version that is no longer safe") as caught:
            opened.get(PATH, {}, Deadline.after(2), Abort())
        server.join()
    assert caught.value.code == "tls_error"


def test_fleet_over_tls__shares_one_context_and_keeps_its_connections(
    function: Callable[..., Function], tls_upstream: Simulator, ca_file: str
) -> None:
    names = [f"i{number}" for number in range(8)]
    for name in names:
        tls_upstream.play(name, "healthy")
    tls_upstream.latency_seconds = 0.05
    checked = function(FDI_ENDPOINT=tls_upstream.url, FDI_INSTANCES=",".join(names), SSL_CERT_FILE=ca_file)

    assert [checked.get().status_code for _ in range(2)] == [200, 200]

    assert len({request.connection for request in tls_upstream.requests}) == 8


def test_unknown_ca__is_a_tls_error(tls_upstream: Simulator) -> None:
    with pytest.raises(CheckError, match="unknown CA") as caught:
        Transport.open(tls_upstream.url, {}, 1).get(PATH, {}, Deadline.after(2), Abort())
    assert caught.value.code == "tls_error"


@pytest.mark.parametrize(
    ("greeting", "code"), [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "tls_error"), (b"", "unreachable")]
)
def test_server_without_tls__is_named(greeting: bytes, code: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1)
                connection.sendall(greeting)

        greeter = threading.Thread(target=greet)
        greeter.start()
        assert code_of(Transport.open(f"https://127.0.0.1:{listener.getsockname()[1]}", {}, 1)) == code
        greeter.join()


def test_tls_handshake__that_hangs_ends_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        opened = Transport.open(f"https://127.0.0.1:{listener.getsockname()[1]}", {}, 1)
        began = time.monotonic()
        assert code_of(opened, 0.3) == "timeout"
        assert time.monotonic() - began < 0.3 + 0.3


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_ca_variable__that_points_nowhere_is_named(
    function: Callable[..., Function], tmp_path: Path, content: str | None
) -> None:  # C82
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)
    checked = function("healthy", FDI_ENDPOINT="https://127.0.0.1:1", REQUESTS_CA_BUNDLE=str(bundle))

    response = checked.get()

    error = response.get_json()["instances"][0]["error"]
    assert response.status_code == 503
    assert (error["code"], error["message"]) == (
        "tls_error",
        "the CA bundle that REQUESTS_CA_BUNDLE names could not be read",
    )
    assert "REQUESTS_CA_BUNDLE" in error["next_step"]
    assert str(tmp_path) not in response.text


def test_ca_variable__may_name_a_folder(tls_upstream: Simulator, tmp_path: Path) -> None:
    assert code_of(Transport.open(tls_upstream.url, {"REQUESTS_CA_BUNDLE": str(tmp_path)}, 1)) == "tls_error"


@pytest.fixture
def no_bypass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the environment exempt no host from its proxies."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_bypass")
def test_proxy__is_asked_for_a_tunnel_and_sees_nothing_else(
    tls_upstream: Simulator, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls_upstream.play("i", "healthy")
    with TunnelProxy() as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        opened = Transport.open(tls_upstream.url, {"SSL_CERT_FILE": ca_file}, 1)
        assert opened.get(PATH, HEADERS, Deadline.after(2), Abort()).status == 200
        opened.close()
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT {urlsplit(tls_upstream.url).netloc} HTTP/1.")
    assert TOKEN not in proxy.seen.decode("latin-1")
    assert len(proxy.seen) > 0


@pytest.mark.usefixtures("no_bypass")
@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_proxy__never_gets_plain_http(upstream: Simulator, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    upstream.play("i", "healthy")
    with TunnelProxy() as proxy:
        monkeypatch.setenv(variable, proxy.url)
        opened = Transport.open(upstream.url, {}, 1)
        assert opened.get(PATH, HEADERS, Deadline.after(2), Abort()).status == 200
        opened.close()
    assert (opened.proxy, proxy.heads) == (None, [])


@pytest.mark.usefixtures("no_bypass")
@pytest.mark.parametrize("proxy", ["http://", "socks5://127.0.0.1:1", "http://127.0.0.1:99999", "http://[::1"])
def test_proxy__that_is_nonsense_is_unreachable(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    assert code_of(Transport.open("https://localhost:1", {}, 1)) == "unreachable"


def foreign_exceptions() -> list[type[BaseException]]:
    modules = (requests.exceptions, urllib3.exceptions, http.client)
    kinds = {kind for module in modules for _, kind in inspect.getmembers(module, inspect.isclass)}
    return sorted(
        (kind for kind in kinds if issubclass(kind, Exception) and not issubclass(kind, Warning)),
        key=lambda kind: (kind.__module__, kind.__qualname__),
    )


@pytest.mark.parametrize("kind", foreign_exceptions(), ids=lambda kind: f"{kind.__module__}.{kind.__qualname__}")
def test_every_foreign_exception__has_a_meaning_of_ours(kind: type[BaseException]) -> None:
    error = kind.__new__(kind)
    assert meaning(error).code in NEXT_STEPS
    outer: Any = requests.exceptions.ConnectionError("outer")
    outer.__cause__ = error
    assert meaning(outer).code == meaning(error).code or meaning(error).message == "no connection could be made"


def test_meaning__finds_what_is_wrapped_and_minds_rings() -> None:
    inner = ConnectionRefusedError()
    inner.__context__ = outer = requests.exceptions.ConnectionError(urllib3.exceptions.ProtocolError("x", inner))
    assert meaning(outer).message == "the connection was refused"
    assert meaning(RuntimeError("secret text")).message == "no connection could be made"
