"""Secret stores: one module per secrets manager, selected by the scheme of a secret URL.

To add a store: write a module with a function `open_store(url, environ) -> SecretStore`, which opens no connection; add
a line to `_MODULES`; run the suite in tests/conformance/secret_store.py on it. Only the module of a used scheme is
imported.
"""

from __future__ import annotations

import importlib
import re
from abc import abstractmethod
from typing import TYPE_CHECKING, NamedTuple, Protocol

from fdi_health.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fdi_health.clock import Deadline

_MODULES = {
    "awsparamstore": "fdi_health.secret_stores.aws.parameter_store",
    "awssecretsmanager": "fdi_health.secret_stores.aws.secrets_manager",
    "azurekeyvault": "fdi_health.secret_stores.azure.key_vault",
    "env": "fdi_health.secret_stores.environment",
    "file": "fdi_health.secret_stores.file",
    "functiongraph": "fdi_health.secret_stores.huawei.agency",
    "gcpsecretmanager": "fdi_health.secret_stores.google.secret_manager",
    "hashivault": "fdi_health.secret_stores.vault.key_value",
    "huaweicsms": "fdi_health.secret_stores.huawei.csms",
}
"""URL scheme → module."""

MAX_SECRET_BYTES = 64 * 1024
"""More than any secrets manager stores."""


class Secret(NamedTuple):
    """A secret that was read; its repr hides the bytes.

    Attributes:
        data: the bytes of the secret.
        version: the secrets manager's name for this version of the secret, or None if it has no versions.
        of_agency: whether the platform issued it for the agency of the running function.

    """

    data: bytes
    version: str | None = None
    of_agency: bool = False

    def __repr__(self) -> str:
        return f"Secret(version={self.version!r})"


class SecretStore(Protocol):
    """One secret in one secrets manager. A store has this one method, and keeps nothing of what it read."""

    @abstractmethod
    def read(self, deadline: Deadline) -> Secret:
        """Read the current version of the secret; called for every refresh, so that a rotated secret is found.

        The message must not contain sensitive information: no byte of the secret, no name from the secret URL, and no
        text of the secrets manager.

        Raises:
            CheckError: `token_unavailable`, before the deadline if the vendor's library allows that. The message says
                why the secret cannot be read (missing, forbidden, disabled, …), the next step what to do.

        """


class SecretUrl(NamedTuple):
    """A parsed secret URL.

    `urllib.parse` is not used: it changes `env://NAME` to lower case and fails on the colons of an ARN.

    Attributes:
        scheme: the name of the store.
        place: the text between `://` and the query: the location of the secret in the store.
        query: the text after `?`, or "".
        key: the fragment: the key of the token or credentials in a JSON secret, or None.

    """

    scheme: str
    place: str
    query: str
    key: str | None


class InvalidSecretUrl(ValueError):  # noqa: N818 -- named after the thing that is invalid
    """A secret URL that names no store. The message says the expected form and never the value."""


def parse_secret_url(text: str) -> SecretUrl:
    """Parse a secret URL.

    Raises:
        InvalidSecretUrl: it is malformed or its scheme is unknown.

    """
    match = re.fullmatch(r"([a-z]+)://([^?#\s]*)(?:\?([^#\s]*))?(?:#([^\s]+))?", text)
    if match is None or match[1] not in _MODULES:
        schemes = ", ".join(f"{scheme}://" for scheme in _MODULES)
        raise InvalidSecretUrl(f"must be a secret URL with one of {schemes}, e.g. file:///run/secrets/roma")
    return SecretUrl(match[1], match[2], match[3] or "", match[4])


def open_store(url: SecretUrl, environ: Mapping[str, str]) -> SecretStore:
    """Return the store that a secret URL names, without connecting to it.

    Args:
        url: from `parse_secret_url`.
        environ: the process's environment, which is used again at every read.

    Raises:
        InvalidSecretUrl: the URL does not have the form that its store needs.

    """
    store: SecretStore = importlib.import_module(_MODULES[url.scheme]).open_store(url, environ)
    return store


def build_error(description: str, next_step: str) -> CheckError:
    """Return the error of a store that cannot read its secret.

    Args:
        description: follows "the secret". It must not contain sensitive information; see `SecretStore.read`.
        next_step: an imperative.

    """
    return CheckError("token_unavailable", f"the secret {description}", next_step=next_step)


def build_missing_library_error(extra: str) -> CheckError:
    """Return the error of a store that lacks the libraries of an extra of this project."""
    return build_error(
        f"could not be read: the libraries of the extra {extra!r} are not installed",
        f"Install them: pip install '.[{extra}]' in a clone, or the wheel with [{extra}] after its name.",
    )


def map_vendor_error(
    error: BaseException, table: Mapping[str, tuple[str, str]], default: tuple[str, str], *names: str
) -> CheckError:
    """Map an exception of a vendor's library by the table of its store. None of its text is kept.

    Args:
        error: the exception.
        table: name → description and next step, as for `build_error`. These are names, because importing the vendor's
            classes would import its library.
        default: the same for an exception that is not in the table.
        names: names to look up before those of the exception's class and its bases, such as an error code.

    """
    all_names = (*names, *(cls.__name__ for cls in type(error).__mro__))
    return build_error(*next((table[name] for name in all_names if name in table), default))
