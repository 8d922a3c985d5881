"""`functiongraph://agency`: the IAM token that FunctionGraph issues for the agency of the function.

Source: the vendor's FunctionGraph developer guide. `getToken()` of the invocation's context returns a token that is
valid for 24 hours if the function has an agency.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdi_health.secret_stores import InvalidSecretUrl, Secret, build_error
from fdi_health.secret_stores.invocation import invocation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fdi_health.clock import Deadline
    from fdi_health.secret_stores import SecretUrl


class Agency:
    """The agency of the running function."""

    def read(self, deadline: Deadline) -> Secret:  # noqa: ARG002 -- the token is in memory
        """Return the agency's token; see `SecretStore.read`."""
        get_token = getattr(invocation.get(), "getToken", None)
        if get_token is None:
            raise build_error(
                "could not be read: functiongraph://agency works only in a FunctionGraph function",
                "Deploy this function there with functiongraph_handler, or set FDI_TOKEN to another secret URL.",
            )
        try:
            token = get_token()
        except Exception:  # noqa: BLE001 -- the platform may raise anything for a function without an agency
            token = None
        if not isinstance(token, str) or not token:
            raise build_error(
                "does not exist: the function has no agency",
                "Give the function an agency with a policy that allows roma:tasks:list and roma:tasks:get.",
            )
        return Secret(token.encode("utf-8", "surrogateescape"))


def open_store(url: SecretUrl, environ: Mapping[str, str]) -> Agency:  # noqa: ARG001 -- the signature of every store
    """Return the agency; raises InvalidSecretUrl."""
    if url.place != "agency" or url.query or url.key:
        raise InvalidSecretUrl("must be exactly functiongraph://agency")
    return Agency()
