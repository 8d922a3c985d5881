"""Connections through a proxy, made by the adapter of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ProxyError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from requests import PreparedRequest
    from urllib3 import HTTPConnectionPool
    from urllib3.poolmanager import PoolManager


def pool_through_proxy(
    endpoint: str,
    context: ssl.SSLContext | None,
    proxies: dict[str, str],
    pools: Mapping[str, type[HTTPConnectionPool]],
) -> HTTPConnectionPool:
    """Return a pool for one connection to the endpoint, through the proxy that the proxy variables name for it.

    Args:
        endpoint: the base URL.
        context: the TLS context.
        proxies: scheme → proxy URL.
        pools: scheme → the class of its pools.

    Raises:
        ProxyError: of urllib3, if requests does not accept the proxy's URL.

    """
    try:
        request = requests.Request("GET", endpoint).prepare()
        adapter = _ProxyAdapter(context, pools)
        pool: Any = adapter.get_connection_with_tls_context(request, verify=True, proxies=proxies)
    except requests.RequestException as error:
        raise ProxyError("the proxy's URL is not valid", error) from error
    return cast("HTTPConnectionPool", pool)


class _ProxyAdapter(HTTPAdapter):
    """The adapter of requests, which knows proxies and their passwords, with pools of one such connection.

    requests loads the CA bundle for each connection, which costs 30 ms of CPU every time. Here all share one context.
    """

    def __init__(self, context: ssl.SSLContext | None, pools: Mapping[str, type[HTTPConnectionPool]]) -> None:
        self._context, self._pools = context, pools
        super().__init__(pool_connections=1, pool_maxsize=1)

    def build_connection_pool_key_attributes(self, request: PreparedRequest, verify: Any, cert: Any = None) -> Any:
        """Put the shared context into the pool's key, in place of a CA bundle to load."""
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {"ssl_context": self._context}

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> PoolManager:
        """Use our connections through a proxy."""
        manager: PoolManager = super().proxy_manager_for(proxy, proxy_ssl_context=self._context, **proxy_kwargs)
        manager.pool_classes_by_scheme = dict(self._pools)
        return manager
