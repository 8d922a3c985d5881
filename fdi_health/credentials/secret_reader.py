"""Reads the secret of one endpoint: an access key, a token, or credentials, which IAM exchanges for a token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from fdi_health.credentials.access_key_format import SecretAccessKey
from fdi_health.credentials.refreshing_cache import LOGIN
from fdi_health.credentials.secret_format import Credentials, parse_secret

if TYPE_CHECKING:
    from fdi_health.concurrency.single_flight import Call
    from fdi_health.credentials.iam_client import IamClient
    from fdi_health.credentials.signer import AccessKey
    from fdi_health.secret_stores import SecretStore


class CachedSecret(NamedTuple):
    """A token or access key as it is kept; its repr hides the value.

    Attributes:
        value: a token, which is a valid value of an HTTP header; or an access key.
        kind: see `TokenState`.
        version: the secret's version, or None.
        expires_at: when it expires, in seconds since the epoch by its issuer's clock, or None.
        lifetime_seconds: how long it lives from the beginning of its read, or None if that is not known.

    """

    value: str | AccessKey
    kind: Literal["access_key", "token", "credentials", "agency"]
    version: str | None
    expires_at: float | None
    lifetime_seconds: float | None

    def __repr__(self) -> str:
        times = f"expires_at={self.expires_at!r}, lifetime_seconds={self.lifetime_seconds!r}"
        return f"CachedSecret(kind={self.kind!r}, version={self.version!r}, {times})"

    @property
    def renewable(self) -> bool:
        """Whether IAM issued it, so that a new login gives another one."""
        return self.kind == "credentials"


class SecretReader:
    """Reads one secret. Thread-safe.

    Args:
        store: where the secret is.
        iam: exchanges credentials for a token.
        key: which key of a JSON secret to use, or None.

    """

    def __init__(self, store: SecretStore, iam: IamClient, key: str | None) -> None:
        self._store, self._iam, self._json_key = store, iam, key

    def read(self, call: Call[Any]) -> CachedSecret:
        """Return what the secret contains, or the token that IAM issues for the credentials in it.

        Raises:
            CheckError: `token_unavailable`.

        """
        secret = self._store.read(call.deadline)
        content = parse_secret(secret.data, self._json_key)
        if isinstance(content, Credentials):
            return self._log_in(content, secret.version, call)
        if isinstance(content, SecretAccessKey):
            for part in filter(None, content.key):
                self._iam.secrets.add(part)
            value: str | AccessKey = content.key
            kind: Literal["access_key", "token"] = "access_key"
        else:
            self._iam.secrets.add(content.value)
            value, kind = content.value, "token"
        lifetime = None if content.expires_at is None else content.expires_at - call.began.wall
        return CachedSecret(value, "agency" if secret.of_agency else kind, secret.version, content.expires_at, lifetime)

    def _log_in(self, credentials: Credentials, version: str | None, call: Call[Any]) -> CachedSecret:
        call.stage = LOGIN
        issued = self._iam.create_token(credentials, call.deadline)
        lifetime = issued.lifetime_seconds
        if lifetime is None and issued.expires_at is not None:
            lifetime = issued.expires_at - call.began.wall
        return CachedSecret(issued.value, "credentials", version, issued.expires_at, lifetime)
