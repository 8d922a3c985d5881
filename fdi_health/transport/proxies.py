"""Whether a proxy can be used, before anything is sent to it."""

from __future__ import annotations

from urllib.parse import urlsplit

from fdi_health.errors import CheckError

PROXY_STEP = "Correct the proxy variables, e.g. HTTPS_PROXY=http://proxy.example:3128 (escape / # [ in a password)."

_SUPPORTED_SCHEMES = ("http", "https")


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
        sound = bool(parts.hostname) and parts.port != 0 and not any(character.isspace() for character in url)
    except ValueError:
        sound = False
    return None if sound else CheckError("unreachable", "the URL of the proxy is malformed", next_step=PROXY_STEP)
