"""Which proxies are used, and what is said of those that can't be; over real connections."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdi_health.clock import Deadline
from fdi_health.errors import CheckError
from fdi_health.transport.client import Transport
from fdi_health.transport.exception_mapping import map_exception, may_have_been_sent
from fdi_health.transport.proxies import proxy_fault, proxy_url
from tests.certificates import issue, make_ca
from tests.servers import ROOT, free_port
from tests.tunnel_proxy import TunnelProxy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Function

ENDPOINT = "https://roma.example"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the environment have no proxy and exempt no host."""
    for name in ("no_proxy", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def requests_is_loaded(**variables: str) -> bool:
    program = (
        "import sys, main\nfrom fdi_health.transport.client import Transport\n"
        "Transport.open('https://roma.example', {}, 1).close()\nprint('requests' in sys.modules)"
    )
    command, environ = [sys.executable, "-c", program], {**os.environ, **variables}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=True)  # noqa: S603 -- our own program
    return done.stdout.strip() == "True"


def test_requests__only_exempt_hosts_are_configured__is_not_loaded() -> None:
    assert not requests_is_loaded(NO_PROXY="localhost")


def test_requests__proxy_is_configured__is_loaded() -> None:
    assert requests_is_loaded(HTTPS_PROXY="http://proxy.example:3128")


@pytest.mark.parametrize("url", ["http:/127.0.0.1:1", "http:127.0.0.1", "http://127.0.0.1:"])
def test_proxy__a_slash_or_the_port_is_missing__is_named_as_malformed(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", url)
    assert failure().message == "the URL of the proxy is malformed"


def test_proxy__requests_does_not_accept_it__was_certainly_not_sent_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    opened = Transport.open(ENDPOINT, {}, 1)
    opened._connections._proxies["https"] = "http://:3128"  # as a rule that `proxy_fault` does not know would leave it
    with pytest.raises(CheckError) as caught:
        opened.get("/", {}, Deadline.after(2))
    assert not may_have_been_sent(caught.value)
    assert "HTTPS_PROXY" in str(caught.value.next_step)


def failure(endpoint: str = ENDPOINT, context: ssl.SSLContext | None = None) -> CheckError:
    opened = Transport.open(endpoint, {}, 1, context)
    with pytest.raises(CheckError) as caught:
        opened.get("/", {"X-Auth-Token": "s3cr3t"}, Deadline.after(2))
    opened.close()
    return caught.value


@pytest.mark.parametrize("variable", ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy"])
@pytest.mark.parametrize("scheme", ["socks", "socks4", "socks4a", "socks5", "socks5h", "SOCKS5H", "Socks5"])
def test_socks_proxy__is_named_as_unsupported_and_gets_nothing(
    monkeypatch: pytest.MonkeyPatch, variable: str, scheme: str
) -> None:  # D47
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        monkeypatch.setenv(variable, f"{scheme}://user:pw@127.0.0.1:{listener.getsockname()[1]}")
        error = failure()
        with pytest.raises(TimeoutError):
            listener.accept()
    assert (error.code, error.message) == (
        "unreachable",
        "the proxy variables name a SOCKS proxy, which is not supported",
    )
    assert "HTTPS_PROXY" in str(error.next_step)


def test_socks_proxy__is_what_the_verdict_says(
    function: Callable[..., Function], monkeypatch: pytest.MonkeyPatch
) -> None:  # D47
    monkeypatch.setenv("ALL_PROXY", "socks5h://127.0.0.1:1")
    error = function("healthy", FDI_ENDPOINT=ENDPOINT).instance()["error"]
    assert error["code"] == "unreachable"
    assert "SOCKS" in error["message"]


def test_socks_proxy__for_another_host_is_not_minded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5h://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    shared = Transport.open(ENDPOINT, {}, 1)
    exempt = Transport.open(f"https://127.0.0.1:{free_port()}", {}, 1, shared.context)
    with pytest.raises(CheckError) as caught:
        exempt.get("/", {}, Deadline.after(2))
    assert caught.value.message == "the connection was refused"


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("ftp://127.0.0.1:1", "a kind of proxy that is not supported"),
        ("htps://127.0.0.1:1", "a kind of proxy that is not supported"),
        ("http://", "malformed"),
        ("http://:3128", "malformed"),
        ("http://127.0.0.1:99999", "malformed"),
        ("http://127.0.0.1:x", "malformed"),
        ("http://127.0.0.1:0", "malformed"),
        ("http://[::1", "malformed"),
        ("http://[v1.a]:9", "malformed"),
        ("http://[::1]x:9", "malformed"),
        ("http://a..b:3128", "malformed"),
        (f"http://{'a' * 70}:3128", "malformed"),
        ("http://exa%mple:9", "malformed"),
        ("http://u:p\u20ac@127.0.0.1:9", "malformed"),
        ("http://u:p%E2%82%AC@127.0.0.1:9", "malformed"),
        ("http://user:p/w@127.0.0.1:1", "malformed"),
        ("http://127.0.0.1 :1", "malformed"),
    ],
)
def test_proxy__that_cannot_be_used__is_named(monkeypatch: pytest.MonkeyPatch, proxy: str, words: str) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    error = failure()
    assert error.code == "unreachable"
    assert words in error.message
    assert str(error.next_step).startswith("Correct the proxy variables")


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (407, "blocked", "user name and a password (HTTP 407)"),
        (403, "blocked", "refused a connection to the server (HTTP 403)"),
        (302, "blocked", "refused a connection to the server (HTTP 302)"),
        (511, "blocked", "refused a connection to the server (HTTP 511)"),
        (502, "unreachable", "could not reach the server (HTTP 502)"),
        (503, "unreachable", "could not reach the server (HTTP 503)"),
    ],
)
def test_proxy__that_refuses_a_tunnel__is_named_with_its_status(
    monkeypatch: pytest.MonkeyPatch, status: int, code: str, words: str
) -> None:  # D39
    with TunnelProxy(refusal=status) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        error = failure()
    assert error.code == code
    assert words in error.message
    assert error.next_step


def test_proxy__that_asks_iam_for_a_password__is_named(
    function: Callable[..., Function], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = '{"username":"u","password":"made-up-pw","domain_name":"d"}'
    with TunnelProxy(refusal=407) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        error = function("healthy", FDI_IAM_ENDPOINT="https://iam.example", ROMA_TOKEN=secret).instance()["error"]
    assert error["code"] == "token_unavailable"
    assert error["message"].partition(" failed: ")[2].startswith("a proxy on the way to IAM refused the request: ")


def test_proxy__that_is_gone__is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{free_port()}")
    error = failure()
    assert error.code == "unreachable"
    assert error.message == "the proxy did not let the request through"
    assert "HTTPS_PROXY" in str(error.next_step)


def test_proxy__with_a_certificate_that_is_not_trusted__is_a_tls_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    context = issue(make_ca(), hosts=["127.0.0.1"]).server_context(tmp_path)
    with TunnelProxy(context) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        error = failure()
    assert (error.code, error.message) == ("tls_error", "the proxy's certificate comes from an unknown CA")


def test_proxy__that_speaks_no_tls__is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        proxy = threading.Thread(target=refuse)
        proxy.start()
        monkeypatch.setenv("https_proxy", f"https://127.0.0.1:{listener.getsockname()[1]}")
        error = failure()
        proxy.join()
    assert (error.code, error.message) == ("tls_error", "the proxy does not speak TLS there")
    assert "write http:// in HTTPS_PROXY" in str(error.next_step)


@pytest.mark.parametrize("text", ["Tunnel connection failed: 99", "Tunnel connection failed: x", "Tunnel"])
def test_text__that_only_looks_like_a_refused_tunnel__is_none(text: str) -> None:
    assert map_exception(OSError(text)).code == "unreachable"


def test_text__of_a_server__is_not_taken_for_a_refused_tunnel() -> None:
    assert map_exception(ssl.SSLError("Tunnel connection failed: 407")).code == "tls_error"


@given(st.text(max_size=40))
def test_any_proxy__has_no_fault_or_one_without_its_text(text: str) -> None:
    fault = proxy_fault(proxy_url(f"http://user:s3cr3t@{text}"))
    assert fault is None or (fault.code == "unreachable" and fault.next_step)
    assert "s3cr3t" not in f"{fault!r} {fault and fault.next_step}"


def test_no_proxy__has_no_fault() -> None:
    assert proxy_fault(proxy_url(None)) is None
