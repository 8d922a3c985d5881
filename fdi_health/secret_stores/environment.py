"""`env://NAME`: a secret in an environment variable."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from fdi_health.secret_stores import InvalidSecretUrl, Secret, build_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fdi_health.clock import Deadline
    from fdi_health.secret_stores import SecretUrl


class EnvironmentVariable(NamedTuple):
    """The variable `name` of `environ`."""

    name: str
    environ: Mapping[str, str]

    def __repr__(self) -> str:
        return f"EnvironmentVariable(name={self.name!r})"

    def read(self, deadline: Deadline) -> Secret:  # noqa: ARG002 -- reading memory needs no deadline
        """Return the variable's bytes; see `SecretStore.read`."""
        value = self.environ.get(self.name)
        if value is None:
            raise build_error(
                "does not exist: the environment variable that the secret URL names is not set",
                "Set the variable where the function is deployed, or correct its name in the secret URL.",
            )
        return Secret(value.encode("utf-8", "surrogateescape"))


def open_store(url: SecretUrl, environ: Mapping[str, str]) -> EnvironmentVariable:
    """Return the variable that the URL names; raises InvalidSecretUrl."""
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", url.place, re.ASCII) or url.query:
        raise InvalidSecretUrl("must be env://NAME with the name of an environment variable, e.g. env://ROMA_TOKEN")
    return EnvironmentVariable(url.place, environ)
