"""Which proxy leads to an endpoint, and whether it can be used, before anything is sent to it.

requests decides what the proxy variables mean. It is loaded only if there are some (docs/decisions/0007-cold-start.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from fdi_health.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Mapping

PROXY_STEP = (
    "Correct the proxy variables, e.g. HTTPS_PROXY=http://proxy.example:3128 (escape / # [ in a password, which may "
    "have only letters of Latin-1)."
)

_SUPPORTED_SCHEMES = ("http", "https")


def environment_proxies(endpoint: str) -> Mapping[str, str]:
    """Return scheme → proxy, as the process's environment says for an endpoint; the proxies may hold passwords."""
    from urllib.request import getproxies

    if not getproxies().keys() - {"no"}:
        return {}
    from requests.utils import get_environ_proxies

    proxies: Mapping[str, str] = get_environ_proxies(endpoint)
    return proxies


def proxy_for(endpoint: str, proxies: Mapping[str, str]) -> str | None:
    """Return the proxy for an endpoint, or None if there is none."""
    if not proxies:
        return None
    from requests.utils import select_proxy

    return select_proxy(endpoint, dict(proxies))


def proxy_url(proxy: str | None) -> str | None:
    """Return a proxy variable's value as a URL: one without a scheme is an HTTP proxy."""
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


def proxy_fault(url: str | None) -> CheckError | None:
    """Return why a proxy cannot be used, or None. The error contains no part of the URL, which may contain a password.

    Args:
        url: from `proxy_url`.

    """
    if url is None:
        return None
    scheme = url.partition("://")[0].strip().casefold()
    if scheme.startswith("socks"):
        return CheckError(
            "unreachable",
            "the proxy variables name a SOCKS proxy, which is not supported",
            next_step="Set HTTPS_PROXY to an HTTP proxy, e.g. http://proxy.example:3128, or exempt the endpoint's host "
            "with NO_PROXY.",
        )
    if scheme not in _SUPPORTED_SCHEMES:
        return CheckError(
            "unreachable", "the proxy variables name a kind of proxy that is not supported", next_step=PROXY_STEP
        )
    try:
        parts = urlsplit(url)
        parse_url(url)  # urllib3 reads it too, and more strictly
        # IDNA refuses empty and long labels, HTTP a password beyond Latin-1. `http:/host` becomes `http://http:/host`.
        (parts.hostname or "").encode("idna")
        unquote(parts.netloc.rpartition("@")[0]).encode("latin-1")
        has_host = bool(parts.hostname) and not parts.netloc.endswith(":")
        sound = has_host and parts.port != 0 and not any(character.isspace() for character in url)
    except (ValueError, LocationParseError):
        sound = False
    return None if sound else CheckError("unreachable", "the URL of the proxy is malformed", next_step=PROXY_STEP)
