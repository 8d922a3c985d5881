"""The forms a verdict is answered in: one module each; a new one is one file here and one line in `FORMATS`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fdi_health.formats import json_format

if TYPE_CHECKING:
    from collections.abc import Callable

    from fdi_health.model import Verdict


class Format(NamedTuple):
    """One form of the answer.

    Attributes:
        media_type: its Content-Type, and the Accept header that chooses it.
        render: makes the body; raises marshmallow's ValidationError for a verdict that does not agree with itself.
        status: the HTTP status of every answer in this form, or None where the verdict decides.

    """

    media_type: str
    render: Callable[[Verdict], bytes]
    status: int | None = None


FORMATS = {
    "json": Format("application/json", json_format.render),
}
"""Name → format; the first is what callers get who do not choose."""


def choose(name: str | None, accept: str | None) -> Format | None:
    """Return the format asked for; None where `name` names none.

    Args:
        name: the `format` parameter, or None; it decides.
        accept: the Accept header, or None; it decides only if it is one media range equal to a format's type, its
            parameters ignored: `*/*`, lists and nonsense never keep a balancer from its answer.

    """
    if name is not None:
        return FORMATS.get(name)
    wanted = (accept or "").partition(";")[0].strip().lower()
    default = next(iter(FORMATS.values()))
    return next((form for form in FORMATS.values() if form.media_type == wanted), default)
