"""The forms that settings can have; each says in its fault what it expects, with an example, and never the value."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from marshmallow import ValidationError, fields

NAME = re.compile(r"(?!\.+\Z)[A-Za-z0-9_.-]{1,64}", re.ASCII)
"""An instance's alias; dots alone are a path's own words."""

INSTANCE_ID = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)
MARKER = re.compile("FDI-OK", re.IGNORECASE)
"""The marker of a healthy answer; keyword checkers may ignore case."""


def without_marker(text: str) -> str:
    """Return the text with `FDI_OK` for the marker, so that no keyword checker takes it for a healthy verdict."""
    return MARKER.sub("FDI_OK", text)


REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+", re.ASCII)
_ENDPOINT = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)"
    r"(:(?P<port>[0-9]{1,5}))?(?P<path>(/(?!\.+(/|\Z))[A-Za-z0-9._~-]+)*)/?",
    re.ASCII,
)


class Matching(fields.Field[str]):
    """A text of one form.

    Args:
        form: the whole text matches it.
        expected: the message, with an example.

    """

    def __init__(self, form: re.Pattern[str], expected: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.form = form
        self.expected = expected

    def _deserialize(self, value: object, attr: str | None, data: Any, **_: Any) -> str:  # noqa: ARG002 -- marshmallow's signature
        if not isinstance(value, str) or not self.form.fullmatch(value):
            raise ValidationError(self.expected)
        return value


class Endpoint(fields.Field[str]):
    """The base URL of an API; https, except to this machine itself.

    Args:
        example: of such a URL.

    """

    def __init__(self, example: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.example = example

    def _deserialize(self, value: object, attr: str | None, data: Any, **_: Any) -> str:  # noqa: ARG002 -- marshmallow's signature
        match = _match_endpoint(value) if isinstance(value, str) else None
        if match is None:
            raise ValidationError(
                f"must be https://HOST[:PORT][/PATH] with no user, query or fragment, e.g. {self.example}"
            )
        if match["scheme"] == "http" and not is_loopback(match["host"]):
            raise ValidationError(
                f"must begin with https:// (http:// is for loopback addresses only), e.g. {self.example}"
            )
        return match[0].removesuffix("/")


def _match_endpoint(text: str) -> re.Match[str] | None:
    match = _ENDPOINT.fullmatch(text)
    is_sound = match is not None and 0 < int(match["port"] or 443) < 65536 and _is_host(match["host"])
    return match if is_sound else None


def _is_host(host: str) -> bool:
    """Whether an IPv6 address in brackets is one, and whether the parts of a name have lengths that DNS can carry.

    Source: RFC 1035, 2.3.4.
    """
    if not host.startswith("["):
        return len(host) <= 253 and all(0 < len(label) < 64 for label in host.split("."))
    try:
        ipaddress.IPv6Address(host[1:-1])
    except ValueError:
        return False
    return True


def is_endpoint(text: str) -> bool:
    """Whether a text is the base URL of an API; https, except to this machine itself."""
    match = _match_endpoint(text)
    return match is not None and (match["scheme"] == "https" or is_loopback(match["host"]))


class Number(fields.Field[float]):
    """A plain decimal number within bounds; Python's own readers would also take `1_0`, `1e3` and `nan`."""

    def __init__(self, smallest: float, largest: float, example: str, *, whole: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.smallest, self.largest, self.whole = smallest, largest, whole
        kind = "a whole number" if whole else "a number"
        self.expected = f"must be {kind} from {smallest:.10g} to {largest:.10g}, e.g. {example}"

    def _deserialize(self, value: object, attr: str | None, data: Any, **_: Any) -> float:  # noqa: ARG002 -- marshmallow's signature
        if not isinstance(value, str) or not NUMBER.fullmatch(value) or (self.whole and "." in value):
            raise ValidationError(self.expected)
        # A float first: int() refuses thousands of digits, float() makes them infinity, which is out of bounds.
        number = float(value)
        if not self.smallest <= number <= self.largest:
            raise ValidationError(self.expected)
        return int(number) if self.whole else number


class Entries(fields.Field[list[str]]):
    """A comma-separated list; a comma at the end is fine, an empty entry elsewhere is not.

    Args:
        form: every entry matches it.
        expected: the message for one that does not.

    """

    def __init__(self, form: re.Pattern[str], expected: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.form = form
        self.expected = expected

    def _deserialize(self, value: str, attr: str | None, data: Any, **_: Any) -> list[str]:  # noqa: ARG002 -- marshmallow's signature
        entries = split_entries(value)
        faults = {number: [self.expected] for number, entry in enumerate(entries, 1) if not self.form.fullmatch(entry)}
        if faults:
            raise ValidationError(faults)
        return entries


def split_entries(value: str) -> list[str]:
    """Return the entries of a comma-separated list; a comma at the end is fine."""
    entries = [entry.strip() for entry in value.split(",")]
    if len(entries) > 1 and not entries[-1]:
        entries.pop()
    return entries


def is_loopback(host: str) -> bool:
    """Whether a host name or IP address can only be this machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
