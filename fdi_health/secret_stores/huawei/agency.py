"""`functiongraph://agency`: what FunctionGraph issues for the agency of the function: an IAM token or a temporary key.

Source: the vendor's FunctionGraph developer guide. If the function has an agency, `getToken()` of the invocation's
context returns a token that is valid for 24 hours, and `getSecurityAccessKey()`, `getSecuritySecretKey()` and
`getSecurityToken()` return a temporary access key. The key is used where the context has no token.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fdi_health.secret_stores import InvalidSecretUrl, Secret, build_error
from fdi_health.secret_stores.huawei.invocation import invocation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fdi_health.clock import Deadline
    from fdi_health.secret_stores import SecretUrl


class Agency:
    """The agency of the running function."""

    def read(self, deadline: Deadline) -> Secret:  # noqa: ARG002 -- it is in memory
        """Return the agency's token or temporary key; see `SecretStore.read`."""
        context = invocation.get()
        if not hasattr(context, "getToken") and not hasattr(context, "getSecurityAccessKey"):
            raise build_error(
                "could not be read: functiongraph://agency works only in a FunctionGraph function",
                "Deploy this function there with functiongraph_handler, or set FDI_TOKEN to another secret URL.",
            )
        token = call_context("getToken")
        if token is not None:
            return Secret(token.encode("utf-8", "surrogateescape"), of_agency=True)
        key = find_temporary_key()
        if key is None:
            raise build_error(
                "does not exist: the function has no agency",
                "Give the function an agency with a policy that allows roma:tasks:list and roma:tasks:get.",
            )
        return Secret(json.dumps(key).encode(), of_agency=True)


def find_temporary_key() -> dict[str, str] | None:
    """Return the agency's temporary access key, with the names that a secret has, or None."""
    names = {"access_key": "AccessKey", "secret_key": "SecretKey", "security_token": "Token"}
    found = {field: call_context(f"getSecurity{name}") for field, name in names.items()}
    key = {field: text for field, text in found.items() if text is not None}
    return key if len(key) == len(names) else None


def call_context(name: str) -> str | None:
    """Return the text that a function of the current invocation's context returns, or None."""
    try:
        text = getattr(invocation.get(), name)()
    except Exception:  # noqa: BLE001 -- the platform may raise anything for a function without an agency
        return None
    return text if isinstance(text, str) and text else None


def open_store(url: SecretUrl, environ: Mapping[str, str]) -> Agency:  # noqa: ARG001 -- the signature of every store
    """Return the agency; raises InvalidSecretUrl."""
    if url.place != "agency" or url.query or url.key:
        raise InvalidSecretUrl("must be exactly functiongraph://agency")
    return Agency()
