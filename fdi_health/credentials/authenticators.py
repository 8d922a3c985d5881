"""What authenticates requests to ROMA Connect: a token, or an access key that signs them.

Both have the form that `roma.client.Authenticator` describes.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple

from fdi_health.credentials.signer import AccessKey, sign

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from fdi_health.clock import Deadline
    from fdi_health.credentials.access_key_limit import AccessKeyLimit

_NO_LIMIT = nullcontext(True)


class Token(NamedTuple):
    """An IAM token; its repr hides the value.

    Attributes:
        value: the value of X-Auth-Token.
        generation, renewable: see `Authenticator`.
        known_secrets: what else this process has used lately, for redaction.
        expires_at: when it expires, in seconds since the epoch, or None if that is not known.

    """

    value: str
    generation: int
    expires_at: float | None = None
    renewable: bool = False
    known_secrets: tuple[str, ...] = ()

    @property
    def secrets(self) -> tuple[str, ...]:
        """The token and the other secrets."""
        return (self.value, *self.known_secrets)

    @property
    def signs(self) -> bool:
        """False: it is sent as it is."""
        return False

    def headers(
        self,
        host: str,  # noqa: ARG002 -- the signature of every authenticator
        path: str,  # noqa: ARG002 -- as above
        query: Sequence[tuple[str, str]],  # noqa: ARG002 -- as above
        project_id: str,  # noqa: ARG002 -- as above
        seconds: float,  # noqa: ARG002 -- as above
    ) -> dict[str, str]:
        """Return the header that carries the token."""
        return {"X-Auth-Token": self.value}

    def permit(
        self,
        instance_id: str,  # noqa: ARG002 -- as above
        deadline: Deadline,  # noqa: ARG002 -- as above
        purpose: str = "verdict",  # noqa: ARG002 -- as above
    ) -> AbstractContextManager[bool]:
        """Return a context that waits for nothing."""
        return _NO_LIMIT

    def is_same_secret(self, other: object) -> bool:
        """Whether another read returned the same token."""
        return isinstance(other, Token) and other.value == self.value

    def __repr__(self) -> str:
        return f"Token(generation={self.generation}, expires_at={self.expires_at})"


class Signature(NamedTuple):
    """Signs each request with an access key; its repr hides the key.

    Attributes:
        key: the access key.
        limit: limits the requests with an unproven or refused key, so that it is not locked.
        generation: see `Authenticator`.
        known_secrets: what else this process has used lately, for redaction.

    """

    key: AccessKey
    limit: AccessKeyLimit
    generation: int
    known_secrets: tuple[str, ...] = ()

    @property
    def renewable(self) -> bool:
        """False: only a changed secret gives another key."""
        return False

    @property
    def secrets(self) -> tuple[str, ...]:
        """The key and the other secrets."""
        return (*(part for part in self.key if part), *self.known_secrets)

    @property
    def signs(self) -> bool:
        """True."""
        return True

    def headers(
        self, host: str, path: str, query: Sequence[tuple[str, str]], project_id: str, seconds: float
    ) -> dict[str, str]:
        """Return the signed headers and the signature, which is valid for 15 minutes."""
        signed = {"Host": host, "X-Project-Id": project_id}
        return {**signed, **sign(self.key, "GET", path, query, signed, b"", seconds)}

    def permit(self, instance_id: str, deadline: Deadline, purpose: str = "verdict") -> AbstractContextManager[bool]:
        """Return a context that waits until a request with this key may be sent."""
        return self.limit.of(purpose).permit(instance_id, deadline)

    def is_same_secret(self, other: object) -> bool:
        """Whether another read returned the same access key."""
        return isinstance(other, Signature) and other.key == self.key

    def __repr__(self) -> str:
        return f"Signature(generation={self.generation})"
