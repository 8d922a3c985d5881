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
import urllib3.exceptions

from fdi_health.clock import Deadline
from fdi_health.errors import NEXT_STEPS, CheckError
from fdi_health.roma.error_responses import ErrorResponse
from fdi_health.transport import connections
from fdi_health.transport.client import Response, Transport, _Request
from fdi_health.transport.connect import Addresses
from fdi_health.transport.deadline_socket import DeadlineSocket, Exchange, bound_to
from fdi_health.transport.exception_mapping import map_exception
from fdi_health.transport.strict_response import _ResponseBuffer
from fdi_health.transport.tls import CA_VARIABLES, tls_context
from simulator import Simulator
from simulator.responses import body_response, raw_response
from tests.conftest import PROJECT_ID, TOKEN
from tests.machine import assert_within
from tests.tunnel_proxy import TunnelProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import trustme

    from simulator import Iam
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
        transport.get(PATH, HEADERS, Deadline.after(seconds), instance_id="i")
    return caught.value.code


def test_get__sends_the_headers_and_brings_the_body(transport: Transport, upstream: Simulator) -> None:
    upstream.play("i", "healthy")
    reply = transport.get(PATH, HEADERS, Deadline.after(2), instance_id="i")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.body.startswith(b"{")
    (request,) = upstream.requests
    assert (request.header("Accept-Encoding"), request.header("X-Auth-Token")) == ("identity", TOKEN)


@pytest.mark.parametrize(
    "lines",
    [b"A: b\r\nFrom x", b" folded", b"A: b\r\nno colon", b"a b: c", b": nameless", b"Content-Length: 1 2"],
)
def test_header_block_that_python_reads_only_in_part__is_an_invalid_answer(
    transport: Transport, upstream: Simulator, lines: bytes
) -> None:
    upstream.play("i", raw_response(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\nContent-Length: 2\r\n\r\n{}"))
    assert code_of(transport) == "invalid_response"


def test_header_block__last_line_is_not_a_header__is_an_invalid_response(
    transport: Transport, upstream: Simulator
) -> None:
    # Python takes this one for the beginning of the body, and sees nothing wrong with that.
    upstream.play("i", raw_response(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nFrom x\r\n\r\n{}"))
    assert code_of(transport) == "invalid_response"


@pytest.mark.parametrize(
    ("proxies", "url"),
    [
        ({}, None),
        ({"https": "proxy:3128"}, "http://proxy:3128"),
        ({"https": "https://proxy:3128"}, "https://proxy:3128"),
        ({"http": "http://proxy:3128"}, None),
    ],
)
def test_proxy__may_be_written_without_a_scheme(proxies: dict[str, str], url: str | None) -> None:
    assert Transport("https://a.example", proxies=proxies).proxy == url


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
def test_encoding_that_is_none__is_fine(transport: Transport, upstream: Simulator, encoding: str) -> None:
    upstream.play("i", body_response(b"x", headers=(("Content-Encoding", encoding),)))
    assert transport.get(PATH, HEADERS, Deadline.after(2), instance_id="i").body == b"x"


def test_post__sends_its_body(transport: Transport, iam: Iam) -> None:
    transport.post("/v3/auth/tokens", {"A": "b"}, b'{"c": 1}', Deadline.after(2))
    (request,) = iam.logins
    assert (request.method, request.body, request.header("A")) == ("POST", b'{"c": 1}', "b")


def test_deadline__holds_on_a_kept_connection_too(transport: Transport, upstream: Simulator) -> None:
    upstream.play("i", "healthy", "silent")
    transport.get(PATH, HEADERS, Deadline.after(2), instance_id="i")
    began = time.monotonic()
    assert code_of(transport, 0.2) == "timeout"
    assert_within(began, 0.2 + 0.3)


@pytest.fixture
def unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no kept connection look dead before it is used."""
    monkeypatch.setattr("urllib3.connectionpool.is_connection_dropped", lambda _: False)


def test_answer_that_does_not_come_over_a_kept_connection__is_not_asked_for_again(
    transport: Transport, upstream: Simulator
) -> None:
    upstream.play("i", "healthy", "truncated", "healthy")
    transport.get(PATH, HEADERS, Deadline.after(2), instance_id="i")
    assert code_of(transport) == "invalid_response"
    assert len(upstream.requests) == 2


def test_ipv6_address__is_looked_up_without_its_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def getaddrinfo(host: str, *_: Any, **__: Any) -> Any:
        asked.append(host)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    for scheme in ("http", "https"):
        assert code_of(Transport.open(f"{scheme}://[::1]:9", {}, 1)) == "unreachable"
    assert asked == ["::1", "::1"]


def test_connection_that_replaces_an_idle_one__is_not_taken_for_a_kept_one(
    transport: Transport, upstream: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.play("i", "healthy", "reset")
    transport.get(PATH, HEADERS, Deadline.after(2), instance_id="i")
    monkeypatch.setattr(connections, "MAX_IDLE_SECONDS", 0.0)
    assert code_of(transport) == "unreachable"
    assert len(upstream.requests) == 2  # no second try


def test_endpoint__may_have_a_path(upstream: Simulator) -> None:
    opened = Transport.open(f"{upstream.url}/gateway", {}, 1)
    opened.get(PATH, HEADERS, Deadline.after(2), instance_id="i")
    opened.close()
    assert upstream.requests[0].target == f"/gateway{PATH}"


def test_built_in_ca_bundle__that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("certifi.where", lambda: str(tmp_path / "gone"))
    error = tls_context({})
    assert isinstance(error, CheckError)
    assert (error.code, error.message) == ("tls_error", "the built-in CA bundle could not be read")
    assert error.next_step == NEXT_STEPS["tls_error"]


def test_deadline__that_has_passed_is_a_timeout(transport: Transport, upstream: Simulator) -> None:
    upstream.play("i", "healthy")
    assert code_of(transport, 0.0) == "timeout"


def test_idle_connection__is_not_trusted_for_long(
    transport: Transport, upstream: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.play("i", "healthy")
    for idle_seconds in (connections.MAX_IDLE_SECONDS, 0.0, connections.MAX_IDLE_SECONDS):
        monkeypatch.setattr(connections, "MAX_IDLE_SECONDS", idle_seconds)
        transport.get(PATH, HEADERS, Deadline.after(2), instance_id="i")
    assert [request.connection for request in upstream.requests] in ([1, 2, 2], [0, 1, 1])


@pytest.mark.parametrize("name", ["status_101", "status_204", "status_304"])
def test_connection__is_not_kept_after_an_answer_without_a_body(
    transport: Transport, upstream: Simulator, name: str
) -> None:
    upstream.play("i", name, "healthy")
    transport.get(PATH, HEADERS, Deadline.after(2), instance_id="i")
    assert transport.get(PATH, HEADERS, Deadline.after(2), instance_id="i").status == 200
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
        assert opened.get(PATH, HEADERS, Deadline.after(1), instance_id="i").status == 200
        addresses.pop()
        opened.close()
        assert code_of(Transport.open(upstream.url, {}, 1), 0.3) == "timeout"
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
    assert [opened.get(PATH, HEADERS, Deadline.after(2), instance_id="i").status for _ in range(2)] == [200, 200]
    opened.close()
    assert len({request.connection for request in tls_upstream.requests}) == 1


@pytest.mark.parametrize("tls_upstream", [["other.example"]], indirect=True)
def test_certificate_for_another_name__is_a_tls_error(tls_upstream: Simulator, ca_file: str) -> None:
    with pytest.raises(CheckError, match="for another") as caught:
        Transport.open(tls_upstream.url, {"SSL_CERT_FILE": ca_file}, 1).get(
            PATH, {}, Deadline.after(2), instance_id="i"
        )
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
            opened.get(PATH, {}, Deadline.after(2), instance_id="i")
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
            opened.get(PATH, {}, Deadline.after(2), instance_id="i")
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
        Transport.open(tls_upstream.url, {}, 1).get(PATH, {}, Deadline.after(2), instance_id="i")
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
        assert_within(began, 0.3 + 0.3)


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


@pytest.mark.usefixtures("no_bypass")
def test_proxy__is_asked_for_a_tunnel_and_sees_nothing_else(
    tls_upstream: Simulator, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls_upstream.play("i", "healthy")
    with TunnelProxy() as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        opened = Transport.open(tls_upstream.url, {"SSL_CERT_FILE": ca_file}, 1)
        assert opened.get(PATH, HEADERS, Deadline.after(2), instance_id="i").status == 200
        opened.close()
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT {urlsplit(tls_upstream.url).netloc} HTTP/1.")
    assert TOKEN not in proxy.seen.decode("latin-1")
    assert len(proxy.seen) > 0


def test_proxy_over_tls__is_trusted_by_the_same_bundle(
    tls_upstream: Simulator, ca_file: str, tls_proxy: TunnelProxy
) -> None:
    tls_upstream.play("i", "healthy")
    opened = Transport.open(tls_upstream.url, {"SSL_CERT_FILE": ca_file}, 1)
    assert opened.get(PATH, HEADERS, Deadline.after(2), instance_id="i").status == 200
    opened.close()
    assert len(tls_proxy.heads) == 1


@pytest.mark.usefixtures("no_bypass")
@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_proxy__never_gets_plain_http(upstream: Simulator, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    upstream.play("i", "healthy")
    with TunnelProxy() as proxy:
        monkeypatch.setenv(variable, proxy.url)
        opened = Transport.open(upstream.url, {}, 1)
        assert opened.get(PATH, HEADERS, Deadline.after(2), instance_id="i").status == 200
        opened.close()
    assert (opened.proxy, proxy.heads) == (None, [])


@pytest.mark.usefixtures("no_bypass")
@pytest.mark.parametrize("proxy", ["http://", "socks5://127.0.0.1:1", "http://127.0.0.1:99999", "http://[::1"])
def test_proxy__that_is_nonsense_is_unreachable(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    assert code_of(Transport.open("https://localhost:1", {}, 1)) == "unreachable"


def test_meaning__is_found_wherever_the_cause_is_kept() -> None:
    wrapped = urllib3.exceptions.MaxRetryError(None, "/", ConnectionRefusedError())  # type: ignore[arg-type] # no pool
    assert map_exception(wrapped).message == "the connection was refused"
    outer = OSError(OSError(OSError("deep")))
    outer.__cause__ = socket.gaierror()
    assert map_exception(outer).message == "the host name could not be resolved"


def test_meaning__of_what_is_none_of_theirs_is_unreachable() -> None:
    assert map_exception(KeyError("x")).code == "unreachable"


def foreign_exceptions() -> list[type[BaseException]]:
    modules = (urllib3.exceptions, http.client)
    kinds = {kind for module in modules for _, kind in inspect.getmembers(module, inspect.isclass)}
    return sorted(
        (kind for kind in kinds if issubclass(kind, Exception) and not issubclass(kind, Warning)),
        key=lambda kind: (kind.__module__, kind.__qualname__),
    )


@pytest.mark.parametrize("kind", foreign_exceptions(), ids=lambda kind: f"{kind.__module__}.{kind.__qualname__}")
def test_every_foreign_exception__has_a_meaning_of_ours(kind: type[BaseException]) -> None:
    error = kind.__new__(kind)
    assert map_exception(error).code in NEXT_STEPS
    outer: Any = urllib3.exceptions.HTTPError("outer")
    outer.__cause__ = error
    assert (
        map_exception(outer).code == map_exception(error).code
        or map_exception(error).message == "no connection could be made"
    )


def test_meaning__finds_what_is_wrapped_and_minds_rings() -> None:
    inner = ConnectionRefusedError()
    inner.__context__ = outer = urllib3.exceptions.ProtocolError("x", inner)
    assert map_exception(outer).message == "the connection was refused"
    assert map_exception(RuntimeError("secret text")).message == "no connection could be made"


def test_repr__of_what_holds_foreign_text__shows_none_of_it() -> None:
    reply = Response(200, {"X-Subject-Token": TOKEN}, TOKEN.encode())
    kept = connections.PooledConnection(None, TOKEN.encode())  # type: ignore[arg-type] # the repr does not use it
    error = ErrorResponse(401, {"A": TOKEN}, TOKEN.encode(), None, TOKEN)
    request = _Request("GET", PATH, HEADERS, TOKEN.encode())
    assert [repr(thing) for thing in (request, reply, kept, error)] == [
        f"_Request(GET {PATH})",
        "Response(200)",
        "PooledConnection(last_used=0.0)",
        "ErrorResponse(401)",
    ]


def test_response_that_is_whole_after_the_deadline__is_a_timeout(
    transport: Transport, upstream: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.play("i", "healthy")
    exchange = transport._exchange

    def frozen(*arguments: Any) -> Response:
        reply = exchange(*arguments)
        time.sleep(0.3)  # as a platform does that stops the process between two instructions
        return reply

    monkeypatch.setattr(transport, "_exchange", frozen)
    assert code_of(transport, 0.2) == "timeout"


def test_response_buffer__closed_twice__tells_once_what_was_left() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        exchange = Exchange(Deadline.after(1), 100, Addresses())
        buffer = _ResponseBuffer(ours.makefile("rb", buffering=0), exchange)
        theirs.sendall(b"two")
        assert buffer.read(1) == b"t"
        buffer.close()
        buffer.close()
    assert exchange.surplus is True


def test_deadline_socket__longer_timeout_is_set__ends_at_the_deadline() -> None:
    ours, theirs = socket.socketpair()
    with DeadlineSocket(fileno=ours.detach()) as waiting, theirs:
        waiting.settimeout(30.0)
        began = time.monotonic()
        with bound_to(Exchange(Deadline.after(0.2), 100, Addresses())), pytest.raises(TimeoutError):
            waiting.recv(1)
        assert_within(began, 0.3)
