"""One response as the handlers return it, the same for every platform; a trigger turns it into its platform's form."""

from __future__ import annotations

from typing import NamedTuple


class Response(NamedTuple):
    """A response.

    Attributes:
        body: the body.
        status: the HTTP status.
        headers: name → value; Latin-1 text without line breaks, as everything is that the handlers put into it.

    """

    body: bytes
    status: int
    headers: dict[str, str]

    def __repr__(self) -> str:
        return f"Response({self.status})"

    @property
    def media_type(self) -> str:
        """The media type without its parameters; empty if there is none."""
        return self.headers.get("Content-Type", "").partition(";")[0]
