"""Which connections carry a second request, and what a response must look like to be believed."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from fdi_health.clock import Deadline
from fdi_health.errors import CheckError
from fdi_health.transport import connections, deadline_socket
from fdi_health.transport.client import MAX_IAM_BYTES, MAX_STATISTICS_BYTES, Transport
from fdi_health.transport.deadline_socket import MAX_HEAD_BYTES
from simulator.documented_responses import DOC_EXAMPLE, HEALTHY
from simulator.responses import Response as SimulatedResponse
from simulator.responses import body_response, head_bytes, raw_response, response_bytes
from tests.conftest import PROJECT_ID, TOKEN
from tests.machine import assert_within
from tests.tunnel_proxy import TunnelProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import trustme

    from simulator import Simulator
    from tests.conftest import Function

HEADERS = {"X-Auth-Token": TOKEN}
HEALTHY_RESPONSE = response_bytes(200, json.dumps(HEALTHY).encode())
UNHEALTHY_RESPONSE = response_bytes(200, json.dumps(DOC_EXAMPLE).encode())


def path(instance_id: str) -> str:
    return f"/v2/{PROJECT_ID}/fdi/instances/{instance_id}/statistics/tasks"


def get(transport: Transport, instance_id: str = "i", seconds: float = 2.0) -> int:
    return transport.get(path(instance_id), HEADERS, Deadline.after(seconds), instance_id=instance_id).status


def connections_used(upstream: Simulator) -> list[int]:
    """Return the connection of each request, counted from 0 in the order of their first use."""
    numbers = [request.connection for request in upstream.requests]
    order = list(dict.fromkeys(numbers))
    return [order.index(number) for number in numbers]


@pytest.fixture
def transport(upstream: Simulator) -> Iterator[Transport]:
    opened = Transport.open(upstream.url, {}, 4)
    yield opened
    opened.close()


def padded(document: object, size: int) -> bytes:
    """Return a healthy or unhealthy response of exactly so many bytes."""
    body = json.dumps(document).encode()
    head = len(response_bytes(200, body.ljust(size - 200)).removesuffix(body.ljust(size - 200)))
    return response_bytes(200, body.ljust(size - head))


STRAY = {
    "at once": ((0.0, HEALTHY_RESPONSE * 2),),
    "in a packet of its own": ((0.0, HEALTHY_RESPONSE), (0.0, HEALTHY_RESPONSE)),
    "20 ms later": ((0.0, HEALTHY_RESPONSE), (0.02, HEALTHY_RESPONSE)),
    "50 ms later": ((0.0, HEALTHY_RESPONSE), (0.05, HEALTHY_RESPONSE)),
    "150 ms later": ((0.0, HEALTHY_RESPONSE), (0.15, HEALTHY_RESPONSE)),
    "behind a 401": ((0.0, response_bytes(401, b"{}") + HEALTHY_RESPONSE),),
    "later behind a 401": ((0.0, response_bytes(401, b"{}")), (0.03, HEALTHY_RESPONSE)),
    "behind a 504": ((0.0, response_bytes(504, b"{}") + HEALTHY_RESPONSE),),
    "behind a 204": ((0.0, head_bytes(204) + HEALTHY_RESPONSE),),
    "behind 8 KiB": ((0.0, padded(HEALTHY, 8192) + HEALTHY_RESPONSE),),
    "half of one": ((0.0, HEALTHY_RESPONSE + HEALTHY_RESPONSE[:40]), (0.03, HEALTHY_RESPONSE[40:])),
}


@pytest.mark.parametrize("parallel", ["1", "64"])
@pytest.mark.parametrize("stray", sorted(STRAY))
def test_stray_response__never_becomes_another_instances(
    function: Callable[..., Function], upstream: Simulator, stray: str, parallel: str
) -> None:  # D01
    checked = function(SimulatedResponse(STRAY[stray]), "doc_example", FDI_MAX_PARALLEL=parallel)
    for pause in (0.0, 0.03, 0.06, 0.2):
        verdict = checked.verdict()
        assert (verdict["status"], verdict["instances"][1]["status"]) == ("unhealthy", "unhealthy")
        time.sleep(pause)


@pytest.mark.parametrize("stray", sorted(set(STRAY) - {"in a packet of its own"}))
def test_connection_with_a_stray_response__is_not_used_again(
    transport: Transport, upstream: Simulator, stray: str
) -> None:  # D01
    upstream.play("i", SimulatedResponse(STRAY[stray]), "healthy")
    get(transport)
    time.sleep(0.25)
    get(transport)
    assert connections_used(upstream) == [0, 1]


@pytest.mark.parametrize("stray", sorted(STRAY))
def test_stray_response__never_becomes_a_later_one_of_its_own_instance(
    function: Callable[..., Function], upstream: Simulator, stray: str
) -> None:  # D01, H04
    checked = function(SimulatedResponse(STRAY[stray]))
    checked.get()
    upstream.play("id-one", "doc_example")
    time.sleep(0.25)
    assert [checked.verdict()["status"] for _ in range(3)] == ["unhealthy"] * 3


RECORDS = {
    "one record": ((0.0, padded(DOC_EXAMPLE, 8192) + HEALTHY_RESPONSE),),
    "two records": ((0.0, padded(DOC_EXAMPLE, 8192)), (0.0, HEALTHY_RESPONSE)),
    "a short response in one record": ((0.0, UNHEALTHY_RESPONSE + HEALTHY_RESPONSE),),
    "16 KiB in one record": ((0.0, padded(DOC_EXAMPLE, 16384 - len(HEALTHY_RESPONSE)) + HEALTHY_RESPONSE),),
    "many records": tuple((0.0, part) for part in (UNHEALTHY_RESPONSE, HEALTHY_RESPONSE[:9], HEALTHY_RESPONSE[9:])),
}


@pytest.mark.parametrize("records", sorted(RECORDS))
def test_surplus_bytes_inside_tls__never_make_a_verdict_healthy(
    function: Callable[..., Function], tls_upstream: Simulator, ca_file: str, records: str
) -> None:  # H04
    checked = function(FDI_ENDPOINT=tls_upstream.url, FDI_INSTANCES="i", SSL_CERT_FILE=ca_file)
    tls_upstream.play("i", SimulatedResponse(RECORDS[records]))
    assert [checked.verdict()["status"] for _ in range(4)] == ["unhealthy"] * 4


@pytest.mark.parametrize("length", [8191, 8192, 8193, 16384])
def test_surplus_bytes_at_the_end_of_a_read__are_seen(
    transport: Transport, upstream: Simulator, length: int
) -> None:  # H04, at the sizes of the buffers
    upstream.play("i", raw_response(padded(DOC_EXAMPLE, length) + HEALTHY_RESPONSE), "healthy")
    get(transport)
    get(transport)
    assert connections_used(upstream) == [0, 1]


def test_connection__is_kept_for_the_instance_that_it_served(transport: Transport, upstream: Simulator) -> None:
    upstream.play("a", "healthy")
    upstream.play("b", "healthy")
    for instance_id in ("a", "b", "a", "b"):
        get(transport, instance_id)
    assert connections_used(upstream) == [0, 1, 0, 1]


@pytest.mark.parametrize("status", [201, 202, 204, 206, 304, 400, 401, 404, 429, 500, 503])
def test_connection__is_closed_after_any_status_but_200(transport: Transport, upstream: Simulator, status: int) -> None:
    upstream.play("i", body_response(b"{}", status), "healthy")
    get(transport)
    get(transport)
    assert connections_used(upstream) == [0, 1]


@pytest.mark.parametrize("size", [0, 1, 100, 1024, 4096])
def test_connection__is_kept_after_a_complete_chunked_response(
    transport: Transport, upstream: Simulator, size: int
) -> None:
    chunk = b"%x\r\n%b\r\n" % (size, b" " * size) if size else b""
    upstream.play("i", raw_response(head_bytes(200, (("Transfer-Encoding", "chunked"),)) + chunk + b"0\r\n\r\n"))
    get(transport)
    get(transport)
    assert connections_used(upstream) == [0, 0]


def test_connection__is_not_kept_after_a_response_that_is_too_large(transport: Transport, upstream: Simulator) -> None:
    upstream.play("i", body_response(b" " * (MAX_STATISTICS_BYTES + 1)), "healthy")
    get(transport)
    get(transport)
    assert connections_used(upstream) == [0, 1]


def test_kept_connections__are_at_most_so_many_and_the_oldest_is_closed(upstream: Simulator) -> None:
    opened = Transport.open(upstream.url, {}, 2)
    for instance_id in ("a", "b", "c"):
        upstream.play(instance_id, "healthy")
        get(opened, instance_id)
    for instance_id in ("c", "b", "a"):
        get(opened, instance_id)
    opened.close()
    assert connections_used(upstream) == [0, 1, 2, 2, 1, 3]


def test_two_requests_for_one_instance_at_once__keep_one_connection(transport: Transport) -> None:
    taken = [transport._connections.take("i") for _ in range(2)]
    for connection in taken:
        transport._connections.keep("i", connection, b"")
    assert transport._connections.take("i").pool is taken[1].pool
    assert transport._connections.take("i").pool not in [connection.pool for connection in taken]


def test_connection_of_a_request_that_ends_after_the_close__is_not_kept(
    transport: Transport, upstream: Simulator
) -> None:
    upstream.play("i", "healthy")
    upstream.latency_seconds = 0.2
    asking = threading.Thread(target=get, args=(transport,))
    asking.start()
    time.sleep(0.1)
    transport.close()
    asking.join()
    get(transport)
    assert connections_used(upstream) == [0, 1]


@pytest.mark.parametrize(("idle_seconds", "kept"), [(0.0, True), (29.9, True), (30.0, False), (-1.0, False)])
def test_idle_connection__is_trusted_for_half_a_minute(upstream: Simulator, idle_seconds: float, kept: bool) -> None:
    wall = 1000.0
    ours = connections.Connections(upstream.url, None, {}, 4, lambda: wall)
    first = ours.take("i")
    ours.keep("i", first, b"")
    wall += idle_seconds
    assert (ours.take("i").pool is first.pool) is kept
    ours.close()


SECOND = {
    "stray and real one at once": ((0.0, HEALTHY_RESPONSE + UNHEALTHY_RESPONSE),),
    "stray that says close": (
        (0.0, HEALTHY_RESPONSE.replace(b"Content-Length", b"Connection: close\r\nContent-Length") + UNHEALTHY_RESPONSE),
    ),
    "stray 401": ((0.0, response_bytes(401, b"{}") + UNHEALTHY_RESPONSE),),
    "stray 204": ((0.0, head_bytes(204) + UNHEALTHY_RESPONSE),),
    "stray and half of the real one": ((0.0, HEALTHY_RESPONSE + UNHEALTHY_RESPONSE[:30]),),
}


@pytest.mark.parametrize("pause", [0.0, 0.3])
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("second", sorted(SECOND))
def test_second_response_on_a_connection__with_a_stray_one_before_it__is_asked_for_again(
    function: Callable[..., Function],
    upstream: Simulator,
    tls_upstream: Simulator,
    ca_file: str,
    second: str,
    tls: bool,
    pause: float,
) -> None:  # D01, H04
    server = tls_upstream if tls else upstream
    checked = function(FDI_ENDPOINT=server.url, FDI_INSTANCES="i", SSL_CERT_FILE=ca_file)
    for _ in range(3):
        server.play("i", "doc_example", SimulatedResponse(SECOND[second]), "doc_example")
        assert checked.verdict()["status"] == "unhealthy"
        time.sleep(pause)
        assert checked.verdict()["status"] == "unhealthy"


def test_rate_limit_on_a_kept_connection__is_not_asked_for_again(transport: Transport, upstream: Simulator) -> None:
    upstream.play("i", "healthy", body_response(b"{}", 429), "healthy")
    get(transport)
    assert (get(transport), len(upstream.requests)) == (429, 2)


def test_response_that_differs_from_the_last_one_on_its_connection__is_asked_for_again(
    transport: Transport, upstream: Simulator
) -> None:  # H04
    upstream.play("i", "doc_example", "healthy", "doc_example")
    get(transport)
    reply = transport.get(path("i"), HEADERS, Deadline.after(2), instance_id="i")
    assert (json.loads(reply.body), connections_used(upstream)) == (DOC_EXAMPLE, [0, 0, 1])


@pytest.mark.usefixtures("unseen")
def test_kept_connection_that_died__is_replaced_at_once(transport: Transport, upstream: Simulator) -> None:  # C79
    upstream.play("i", "healthy")
    get(transport)
    upstream.drop_idle_connections()
    assert get(transport) == 200


def test_new_connection_that_dies__is_not_tried_again_at_once(transport: Transport, upstream: Simulator) -> None:
    upstream.play("i", "reset", "healthy")
    with pytest.raises(CheckError):
        get(transport)
    assert len(upstream.requests) == 1


@pytest.fixture
def unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no kept connection look dead before it is used."""
    monkeypatch.setattr("urllib3.connectionpool.is_connection_dropped", lambda _: False)


def test_connection_behind_an_https_proxy__is_not_kept(
    tls_upstream: Simulator, ca_file: str, tls_proxy: TunnelProxy
) -> None:
    tls_upstream.play("i", "healthy")
    opened = Transport.open(tls_upstream.url, {"SSL_CERT_FILE": ca_file}, 4)
    assert [get(opened), get(opened)] == [200, 200]
    opened.close()
    assert len(tls_proxy.heads) == 2


INTERIM = {
    "103": head_bytes(103, (("Link", "</style.css>; rel=preload"),)),
    "102": head_bytes(102),
    "100": head_bytes(100),
    "150": head_bytes(150),
    "several": head_bytes(100) + head_bytes(102) + head_bytes(103),
    "with a length": head_bytes(103, (("Content-Length", "9"),)),
    "saying close": head_bytes(103, (("Connection", "close"),)),
    "eight": head_bytes(103) * 8,
}


@pytest.mark.parametrize("interim", sorted(INTERIM))
@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_interim_responses__are_skipped(
    function: Callable[..., Function], interim: str, pause: float
) -> None:  # D06, D07
    checked = function(SimulatedResponse(((0.0, INTERIM[interim]), (pause, HEALTHY_RESPONSE))))
    assert [checked.verdict()["status"] for _ in range(2)] == ["healthy", "healthy"]


def test_interim_responses_before_an_unhealthy_one__do_not_hide_it(function: Callable[..., Function]) -> None:  # D06
    checked = function(raw_response(INTERIM["103"] + UNHEALTHY_RESPONSE))
    assert checked.verdict()["status"] == "unhealthy"


@pytest.mark.parametrize("status", [100, 103])
def test_interim_responses__are_bounded(
    function: Callable[..., Function], status: int
) -> None:  # D07: neither the number nor the bytes of interim responses are without end
    checked = function(raw_response(head_bytes(status) * 2000 + HEALTHY_RESPONSE))
    assert checked.instance()["error"]["code"] == "invalid_response"


def test_switching_protocols__is_not_an_interim_response(function: Callable[..., Function]) -> None:
    checked = function(raw_response(head_bytes(101) + HEALTHY_RESPONSE))
    assert checked.instance()["error"]["code"] == "invalid_response"


def test_408_on_a_kept_connection__is_retried_on_a_new_one(
    function: Callable[..., Function], upstream: Simulator
) -> None:  # D09
    timed_out = SimulatedResponse(((0.0, response_bytes(408, b"")),), end="close")
    checked = function(("healthy", timed_out, "healthy"))
    assert [checked.verdict()["status"] for _ in range(2)] == ["healthy", "healthy"]
    assert connections_used(upstream) == [0, 0, 1]


@pytest.mark.parametrize(("size", "complete"), [(MAX_STATISTICS_BYTES, True), (MAX_STATISTICS_BYTES + 1, False)])
def test_body__has_a_largest_size(transport: Transport, upstream: Simulator, size: int, complete: bool) -> None:
    upstream.play("i", body_response(b"x" * size))
    reply = transport.get(path("i"), HEADERS, Deadline.after(2), instance_id="i")
    assert (reply.complete, len(reply.body) >= MAX_STATISTICS_BYTES) == (complete, True)


def test_body_of_other_apis__may_be_larger(transport: Transport, upstream: Simulator) -> None:
    upstream.play("i", body_response(b"x" * MAX_IAM_BYTES))
    assert transport.get(path("i"), HEADERS, Deadline.after(2), max_body_bytes=MAX_IAM_BYTES).complete


CHUNKED = head_bytes(200, (("Transfer-Encoding", "chunked"),))
BODY = json.dumps(HEALTHY).encode()
BROKEN_FRAMING = {
    "negative size": CHUNKED + b"-1\r\n" + BODY + b"\r\n0\r\n\r\n",
    "size with a sign": CHUNKED + b"+%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    "size with an underscore": CHUNKED + b"0_%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    "size with a prefix": CHUNKED + b"0x%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    "no size": CHUNKED + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "endless size": CHUNKED + b"0" * 9000 + b"\r\n",
    "unknown coding": head_bytes(200, (("Transfer-Encoding", "xchunked"),)) + BODY,
    "two codings": head_bytes(200, (("Transfer-Encoding", "gzip, chunked"),)) + BODY,
}


@pytest.mark.parametrize("framing", sorted(BROKEN_FRAMING))
def test_framing_that_two_readers_could_read_differently__is_an_invalid_response(
    function: Callable[..., Function], framing: str
) -> None:
    checked = function(raw_response(BROKEN_FRAMING[framing], "close"))
    assert checked.instance()["error"]["code"] == "invalid_response"


@pytest.mark.parametrize("size", [b"%X", b"000%x", b"%x;a=b", b"%x ;a"])
def test_chunk_size__in_any_valid_form__is_read(function: Callable[..., Function], size: bytes) -> None:
    chunk = size % len(BODY) + b"\r\n" + BODY + b"\r\n0\r\n\r\n"
    assert function(raw_response(CHUNKED + chunk)).verdict()["status"] == "healthy"


TOO_LARGE = {
    "padding": body_response(BODY.ljust(17_000)),
    "padding and a contradiction": body_response(BODY.ljust(17_000) + b'{"error_code":"FDI.9999"}'),
    "no length": raw_response(head_bytes(200) + BODY.ljust(17_000) + json.dumps(DOC_EXAMPLE).encode(), "close"),
    "chunks of one byte": raw_response(
        CHUNKED + b"".join(b"1\r\n%c\r\n" % byte for byte in BODY.ljust(15_000)) + b"0\r\n\r\n"
    ),
}


@pytest.mark.parametrize("name", sorted(TOO_LARGE))
def test_valid_document_at_the_beginning_of_a_response_that_is_too_large__is_not_believed(
    function: Callable[..., Function], name: str
) -> None:
    error = function(TOO_LARGE[name]).instance()["error"]
    assert (error["code"], error["message"]) == ("invalid_response", "the response is too large")


def test_html_page_that_is_too_large__is_named_as_a_page(function: Callable[..., Function]) -> None:
    page = body_response(b"<!doctype html>".ljust(300_000), content_type="text/html")
    assert function(page).instance()["error"]["code"] == "blocked"


@pytest.mark.parametrize("status", [200, 404])
def test_too_large_body__comes_incomplete(transport: Transport, upstream: Simulator, status: int) -> None:
    upstream.play("i", body_response(b"<html>".ljust(300_000), status))
    reply = transport.get(path("i"), HEADERS, Deadline.after(2), instance_id="i")
    assert (reply.status, reply.complete, reply.body[:6]) == (status, False, b"<html>")


def test_framing__is_counted_too(transport: Transport, upstream: Simulator) -> None:  # H01
    chunks = b"1;" + b"x" * 1000 + b"\r\n \r\n"
    upstream.play("i", raw_response(head_bytes(200, (("Transfer-Encoding", "chunked"),)) + chunks * 60 + b"0\r\n\r\n"))
    assert not transport.get(path("i"), HEADERS, Deadline.after(2), instance_id="i").complete


def test_large_response__others_are_being_decoded__waits_until_the_deadline_at_most(
    transport: Transport, upstream: Simulator
) -> None:  # H01
    upstream.play("i", body_response(b" " * MAX_STATISTICS_BYTES), "healthy")
    for _ in range(deadline_socket.MAX_DECODING):
        deadline_socket._decoding.places.acquire()
    began = time.monotonic()
    try:
        with pytest.raises(CheckError) as caught:
            get(transport, seconds=0.3)
        assert_within(began, 0.3 + 0.3)
        assert caught.value.code == "timeout"
        assert get(transport) == 200  # a small one does not wait
    finally:
        deadline_socket._decoding.places.release(deadline_socket.MAX_DECODING)


@pytest.mark.parametrize("name", ["X-Long", "\tfolded"])
def test_head__has_a_largest_size(transport: Transport, upstream: Simulator, name: str) -> None:  # H01
    head = head_bytes(200, (("A", "b"), (name, "x" * 9000), (name, "x" * 9000), (name, "x" * 9000)))
    assert MAX_HEAD_BYTES > len(head) > MAX_HEAD_BYTES - 6000
    long = head_bytes(200, (("A", "b"), *[(name, "x" * 9000)] * 5))
    upstream.play("i", raw_response(long + b"{}"))
    with pytest.raises(CheckError) as caught:
        get(transport)
    assert caught.value.code == "invalid_response"


@pytest.mark.parametrize("name", ["drip_headers", "drip_body", "silent", "silent_mid_body"])
def test_dripping_server_behind_an_https_proxy__ends_at_the_deadline(
    tls_upstream: Simulator, authority: trustme.CA, ca_file: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    tls_upstream.play("i", name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    with TunnelProxy(context) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        opened = Transport.open(tls_upstream.url, {"SSL_CERT_FILE": ca_file}, 4)
        began = time.monotonic()
        with pytest.raises(CheckError) as caught:
            get(opened, seconds=0.7)
        opened.close()
    assert caught.value.code == "timeout"
    assert_within(began, 0.7 + 0.3)


def test_request__is_sent_without_delay(
    transport: Transport, upstream: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: list[Any] = []
    real = socket.socket.setsockopt

    def setsockopt(sock: socket.socket, *option: Any) -> None:
        options.append(option)
        real(sock, *option)

    monkeypatch.setattr("fdi_health.transport.deadline_socket.DeadlineSocket.setsockopt", setsockopt, raising=False)
    upstream.play("i", "healthy")
    get(transport)
    assert options == [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 2_00 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}990\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ],
    ids=["status line", "chunk without its end", "length and chunks"],
)
def test_framing__that_is_not_exact__is_an_invalid_response(
    transport: Transport, upstream: Simulator, answer: bytes
) -> None:  # C47
    upstream.play("i", raw_response(answer))
    with pytest.raises(CheckError) as caught:
        get(transport)
    assert caught.value.code == "invalid_response"
