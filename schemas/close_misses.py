"""Names that are probably misspelt names of ours.

A misspelt parameter that is ignored like a cache buster would ask more instances, or page for less, than its caller
meant, so it is refused. Names that are further away belong to somebody else and stay ignored.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_NAMES = 64
"""How many names of one request are compared: each comparison costs CPU, and their number is the caller's choice."""

_MIN_LETTERS = 5
"""Names of ours that are shorter are too much like other people's names."""

_MIN_LETTERS_FOR_TWO = 8
"""From this length on, two edits count as a slip."""

_NOT_A_LETTER = re.compile("[^a-z]+")


def close_miss(names: Iterable[str], ours: Iterable[str]) -> str | None:
    """Return the name of ours that the first misspelt name means, or None where no name is misspelt.

    A name is misspelt if it differs from one of ours by one edit (two for 8 letters and more), by case, or by
    characters that are not letters (`fail-on`, `instance[]`). An edit adds, drops, replaces or swaps characters.

    Args:
        names: what the caller wrote; only the first `MAX_NAMES` of them are compared.
        ours: the right spellings.

    """
    known = tuple(ours)
    for name in itertools.islice(names, MAX_NAMES):
        if name in known:
            continue
        folded = name.casefold().removeprefix("amp;")  # a URL out of HTML or XML, where & is &amp;
        for right in known:
            if len(right) >= _MIN_LETTERS and _is_close(folded, right):
                return right
    return None


def _is_close(folded: str, right: str) -> bool:
    if _NOT_A_LETTER.sub("", folded) == _NOT_A_LETTER.sub("", right):
        return True
    allowed = 2 if len(right) >= _MIN_LETTERS_FOR_TWO else 1
    # A difference in length, or letters that are missing, each take an edit: most names are settled here.
    if abs(len(folded) - len(right)) > allowed or len(set(right) - set(folded)) > allowed:
        return False
    return edit_distance(folded, right) <= allowed


def edit_distance(one: str, other: str) -> int:
    """Return how many edits turn one text into the other; swapping two neighbours is one (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for place, character in enumerate(one, 1):
        before, previous, row = row, before, [place]
        for column, wanted in enumerate(other, 1):
            best = min(
                before[column] + 1,
                row[column - 1] + 1,
                before[column - 1] + (character != wanted),
            )
            if place > 1 and column > 1 and character == other[column - 2] and one[place - 2] == wanted:
                best = min(best, previous[column - 2] + 1)
            row.append(best)
    return row[-1]
