"""`hashivault://MOUNT/PATH`: a secret in a key/value engine of HashiCorp Vault or OpenBao.

Sources: Vault's HTTP API, "KV Secrets Engine" versions 1 and 2. The two have different paths. Version 2 is assumed
unless the URL says `?kv=1`, so that a read is one request and a policy for one path is enough. Asking Vault for the
version would take one more request and one more right.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from json import dumps
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from fdi_health.errors import CheckError
from fdi_health.secret_stores import (
    MAX_SECRET_BYTES,
    InvalidSecretUrl,
    Secret,
    build_error,
    build_missing_library_error,
)
from fdi_health.secret_stores.vault.login import find_endpoint, find_setting, is_header_value, log_in
from fdi_health.secret_stores.vault.responses import COMMON_RULES, READ_RULES, map_transport_error, parse_response
from fdi_health.transport.client import Transport
from fdi_health.transport.retry import ATTEMPTS, Retries
from fdi_health.transport.tls import CA_VARIABLES, tls_context

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fdi_health.clock import Deadline
    from fdi_health.secret_stores import SecretUrl
    from fdi_health.secret_stores.vault.responses import Explanation, Rule
    from fdi_health.transport.client import Response

_SEGMENT = re.compile(r"(?!\.{1,2}\Z)(?! )[^/\x00-\x1f\x7f]{1,256}(?<! )")
_QUERY = re.compile(r"kv=([12])", re.ASCII)
_MAX_SEGMENTS = 32

_VAULT_CA_VARIABLES = ("BAO_CACERT", "VAULT_CACERT", "BAO_CAPATH", "VAULT_CAPATH")
_MAX_RESPONSE_BYTES = 4 * MAX_SECRET_BYTES
"""Room for the escapes and the metadata around the largest secret."""

_DELETED: Explanation = (
    "does not exist: its latest version is deleted",
    "Undelete it (vault kv undelete), or store a new version.",
)
_DESTROYED: Explanation = ("cannot be read: its version is destroyed", "Store a new version: vault kv put.")
_NO_DATA: Explanation = (
    "could not be read: Vault's response contains no data of a key/value secret",
    "Correct the mount and the path in the secret URL. Without ?kv=1 the mount must be KV version 2.",
)


class VaultAdapter:
    """Does for hvac what its own adapters do, within a deadline. Not thread-safe; for one read.

    Args:
        environ: the process's environment.
        deadline: when the last response must be here.

    Attributes:
        token: the Vault token, or "" before the login.
        login_rules, read_rules: what error responses of a login and of a read mean, after those of all requests.

    Raises:
        CheckError: `token_unavailable`, if the address or the namespace is not usable.

    """

    def __init__(self, environ: Mapping[str, str], deadline: Deadline) -> None:
        self.token = ""
        self.login_rules: Sequence[Rule] = ()
        self.read_rules: Sequence[Rule] = ()
        self._deadline = deadline
        self._namespace = find_setting(environ, "NAMESPACE")
        if self._namespace and not is_header_value(self._namespace):
            raise build_error(
                "could not be read: VAULT_NAMESPACE is not the name of a namespace",
                "Set VAULT_NAMESPACE to its path, e.g. team/prod, or unset it.",
            )
        endpoint = find_endpoint(environ)
        context = tls_context(environ, (*_VAULT_CA_VARIABLES, *CA_VARIABLES)) if endpoint.startswith("https:") else None
        self._transport = Transport.open(endpoint, environ, 1, context)

    def close(self) -> None:
        """Close what is open."""
        self._transport.close()

    def get(self, url: str, **_: Any) -> dict[str, Any]:
        """Return the document at a path. No parameters are sent: hvac has only empty ones for what we read.

        A deleted version of a secret comes with 404 and metadata; that document is returned too.

        Raises:
            CheckError: `token_unavailable`.

        """
        return self._run(partial(self._transport.get, url, max_body_bytes=_MAX_RESPONSE_BYTES), self.read_rules)

    def login(self, url: str, json: Mapping[str, Any], use_token: bool = True) -> dict[str, Any]:  # noqa: ARG002 -- hvac's signature
        """Log in and keep the token. A login is sent once: a secret ID may have a limited number of uses.

        Raises:
            CheckError: `token_unavailable`.

        """
        send = partial(self._transport.post, url, body=dumps(json).encode())
        document = self._run(send, self.login_rules, attempts=1)
        auth = document.get("auth")
        token = auth.get("client_token") if isinstance(auth, dict) else None
        if not isinstance(token, str) or not is_header_value(token):
            raise build_error(
                "could not be read: Vault's response to the login contains no token",
                "Check that the login needs no second factor (MFA) and returns no wrapped token.",
            )
        self.token = token
        return document

    def _run(self, send: Callable[..., Response], rules: Sequence[Rule], attempts: int = ATTEMPTS) -> dict[str, Any]:
        headers = {"Accept": "application/json", "User-Agent": "fdi-health", "X-Vault-Request": "true"}
        if self.token:
            headers["X-Vault-Token"] = self.token
        if self._namespace:
            headers["X-Vault-Namespace"] = self._namespace

        def attempt() -> dict[str, Any]:
            try:
                response = send(headers=headers, deadline=self._deadline)
            except CheckError as error:
                raise map_transport_error(error) from None
            return parse_response(response, (*COMMON_RULES, *rules))

        try:
            return Retries("Vault").run(attempt, self._deadline, attempts)
        except CheckError as error:
            # The other codes were for Retries only.
            raise CheckError("token_unavailable", error.message, next_step=error.next_step) from None


@dataclass(frozen=True, slots=True)
class KeyValueSecret:
    """One secret in a key/value engine, in its latest version.

    Attributes:
        mount: the path of the engine.
        path: the path of the secret in it.
        kv_version: "1" or "2".
        environ: the process's environment.

    """

    mount: str
    path: str
    kv_version: str
    environ: Mapping[str, str] = field(repr=False)

    def read(self, deadline: Deadline) -> Secret:
        """Return the secret's data as a JSON object; see `SecretStore.read`."""
        try:
            import hvac  # takes 0.1 s, so only if this store is used
        except ImportError:
            raise build_missing_library_error("vault") from None
        adapter = VaultAdapter(self.environ, deadline)
        try:
            # An empty token: for None, hvac looks in the process's environment and home folder.
            client = hvac.Client(token="", verify=True, adapter=lambda **_: adapter)
            log_in(client, adapter, self.environ, deadline)
            adapter.read_rules = READ_RULES[self.kv_version]
            if self.kv_version == "1":
                document = client.secrets.kv.v1.read_secret(self.path, mount_point=self.mount)
                return _build_secret(document.get("data"), None)
            document = client.secrets.kv.v2.read_secret_version(
                self.path, mount_point=self.mount, raise_on_deleted_version=False
            )
            return _parse_version(document.get("data"))
        finally:
            adapter.close()


def _parse_version(version: Any) -> Secret:
    """Return a version of KV version 2. A deleted one has metadata and null for data, with status 404 or 200."""
    metadata = version.get("metadata") if isinstance(version, dict) else None
    if not isinstance(metadata, dict):
        raise build_error(*_NO_DATA)
    if version.get("data") is None:
        raise build_error(*(_DESTROYED if metadata.get("destroyed") is True else _DELETED))
    number = metadata.get("version")
    return _build_secret(version["data"], str(number) if isinstance(number, int) else None)


def _build_secret(data: Any, version: str | None) -> Secret:
    if not isinstance(data, dict):
        raise build_error(*_NO_DATA)
    return Secret(dumps(data, ensure_ascii=False).encode(), version)


def open_store(url: SecretUrl, environ: Mapping[str, str]) -> KeyValueSecret:
    """Return the secret that the URL names; raises InvalidSecretUrl."""
    example = "e.g. hashivault://secret/roma"
    mount, *path = (unquote(segment) for segment in url.place.split("/"))
    query = _QUERY.fullmatch(url.query)
    if url.query and not query:
        raise InvalidSecretUrl(f"must have no query but ?kv=1 or ?kv=2, {example}?kv=1")
    if not path:
        raise InvalidSecretUrl(f"must name a mount and a path, hashivault://MOUNT/PATH, {example}")
    # A mount with slashes is written with %2F.
    segments = (*mount.split("/"), *path)
    if len(segments) > _MAX_SEGMENTS or not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise InvalidSecretUrl(
            "must have a mount and a path without parts that are empty, . or .., or begin or end with a space, "
            f"hashivault://MOUNT/PATH, {example}"
        )
    return KeyValueSecret(mount, "/".join(path), query[1] if query else "2", environ)
