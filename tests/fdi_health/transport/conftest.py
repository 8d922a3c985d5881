"""What several tests of the transport need."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from tests.tunnel_proxy import TunnelProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    import trustme


@pytest.fixture
def no_bypass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the environment exempt no host from its proxies."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def tls_proxy(no_bypass: None, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> Iterator[TunnelProxy]:
    """Return a running proxy that speaks TLS itself; HTTPS_PROXY names it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with TunnelProxy(context) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        yield proxy
