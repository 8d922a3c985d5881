"""The Accept header (RFC 9110, section 12.5.1), read strictly: what is not a media range is not guessed at."""

from __future__ import annotations

import re
from typing import NamedTuple

# Possessive quantifiers throughout, so that no header costs more than linear time.
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_QUOTED = r'"(?:[^"\\]|\\.)*+"'
_PARAMETER = re.compile(rf";[ \t]*+(?:({_WORD})=({_WORD}|{_QUOTED})[ \t]*+)?+", re.DOTALL)
_MEDIA_RANGE = re.compile(rf"[ \t]*+({_WORD}/{_WORD})[ \t]*+((?:{_PARAMETER.pattern})*+)", re.DOTALL)
_LIST_ENTRY = re.compile(rf'(?:[^,"]|{_QUOTED}|".*+)++', re.DOTALL)
"""A quote that never ends takes the rest with it: nothing behind it can be told from its text."""

_WEIGHT = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?", re.ASCII)


class MediaRange(NamedTuple):
    """One media range: `type/subtype` in lower case, and its weight; parameters are left out."""

    media_type: str
    weight: float


def parse_media_range(text: str) -> MediaRange | None:
    """Return the media range that the whole text is; None for a list, a malformed weight or anything else."""
    match = _MEDIA_RANGE.fullmatch(text)
    if match is None:
        return None
    weights = [value for name, value in _PARAMETER.findall(match[2]) if name.lower() == "q"]
    if not all(_WEIGHT.fullmatch(weight) for weight in weights):
        return None
    return MediaRange(match[1].lower(), min(map(float, weights), default=1.0))


def parse_accept(text: str) -> list[MediaRange]:
    """Return the media ranges in a list; entries that are not media ranges are left out."""
    entries = map(parse_media_range, _LIST_ENTRY.findall(text))
    return [media_range for media_range in entries if media_range is not None]


def weight_of(media_type: str, accepted: list[MediaRange]) -> float:
    """Return the weight of a type: that of the most specific media range that covers it, or 0."""
    for pattern in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        weights = [media_range.weight for media_range in accepted if media_range.media_type == pattern]
        if weights:
            return max(weights)
    return 0.0
