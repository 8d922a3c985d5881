"""Where secrets are kept: one module per secrets manager, chosen by the scheme of a secret URL.

A store is stateless: every read asks anew, so a rotated secret is seen. A new one is one file here, one line in
`_MODULES` and one run of the conformance suite. Its module has a function `open_store(url, environ) -> SecretStore`,
which connects to nothing. It is imported only when its scheme is used.
"""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING, NamedTuple, Protocol

from fdi_health.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fdi_health.clock import Deadline

_MODULES = {
    "awssecretsmanager": "fdi_health.secret_stores.aws_secrets_manager",
    "env": "fdi_health.secret_stores.environment",
    "file": "fdi_health.secret_stores.file",
    "functiongraph": "fdi_health.secret_stores.functiongraph_agency",
    "gcpsecretmanager": "fdi_health.secret_stores.gcp_secret_manager",
}
"""URL scheme → module."""

MAX_SECRET_BYTES = 64 * 1024
"""The most bytes of a secret; more than any secrets manager keeps."""


class Secret(NamedTuple):
    """A secret as it was read; its repr hides the bytes.

    Attributes:
        data: the bytes.
        version: which version of the secret they are, in the secrets manager's own words, or None where it has none.

    """

    data: bytes
    version: str | None = None

    def __repr__(self) -> str:
        return f"Secret(version={self.version!r})"


class SecretStore(Protocol):
    """One secret in one secrets manager."""

    def read(self, deadline: Deadline) -> Secret:
        """Return the secret as it is now.

        Raises:
            CheckError: `token_unavailable`, at the deadline at the latest where the vendor's library allows it; the
                message says what is wrong (missing, forbidden, disabled, …) and holds no byte of the secret.

        """
        ...


class SecretUrl(NamedTuple):
    """A secret URL taken apart; `place` is everything between `://` and the query, its case kept.

    Python's own reader lowercases host names, which would change `env://NAME`, and fails on the colons of an ARN.

    Attributes:
        scheme: names the store.
        place: where in it the secret is.
        query: the text behind `?`, or "".
        key: the fragment: which key of a JSON secret holds the token, or None.

    """

    scheme: str
    place: str
    query: str
    key: str | None


class InvalidSecretUrl(ValueError):  # noqa: N818 -- it names the thing refused
    """A secret URL that no store can be opened from; the text says the expected form and never the value."""


def parse_secret_url(text: str) -> SecretUrl:
    """Take a secret URL apart.

    Raises:
        InvalidSecretUrl: it is none, or of no known scheme.

    """
    match = re.fullmatch(r"([a-z]+)://([^?#\s]*)(?:\?([^#\s]*))?(?:#([^\s]+))?", text)
    if match is None or match[1] not in _MODULES:
        schemes = ", ".join(f"{scheme}://" for scheme in _MODULES)
        raise InvalidSecretUrl(f"must be a secret URL with one of {schemes}, e.g. file:///run/secrets/roma")
    return SecretUrl(match[1], match[2], match[3] or "", match[4])


def open_store(url: SecretUrl, environ: Mapping[str, str]) -> SecretStore:
    """Return the store that a secret URL names; connects to nothing yet.

    Args:
        url: from `parse`.
        environ: the process's environment, looked up again at every read.

    Raises:
        InvalidSecretUrl: the URL has not the form that its store needs.

    """
    store: SecretStore = importlib.import_module(_MODULES[url.scheme]).open_store(url, environ)
    return store


def unavailable(state: str, next_step: str) -> CheckError:
    """Return the error of a store that could not give its secret.

    Args:
        state: goes on after "the secret"; ours, and without any of the secret's bytes or names.
        next_step: what the person who was paged does.

    """
    return CheckError("token_unavailable", f"the secret {state}", next_step=next_step)


def fault_of(
    error: BaseException, faults: Mapping[str, tuple[str, str]], otherwise: tuple[str, str], *more_names: str
) -> CheckError:
    """Return what a vendor's exception means, by the driver's table; none of its text is kept.

    Args:
        error: the exception.
        faults: name → state and next step, as for `unavailable`. Names, because importing the vendor's classes would
            import its library.
        otherwise: the same for what the table does not name.
        more_names: names to look up before those of the exception's class and its bases, such as an error code.

    """
    names = (*more_names, *(kind.__name__ for kind in type(error).__mro__))
    return unavailable(*next((faults[name] for name in names if name in faults), otherwise))
