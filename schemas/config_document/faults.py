"""What is wrong with a configuration document, and where."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from schemas.settings_fields import without_marker

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_FAULTS = 50

_SHOWN_KEY = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


class ConfigFault(NamedTuple):
    """One thing wrong with the document; never a value.

    Attributes:
        line: the line, counted from 1; None in JSON and where the document as a whole is meant.
        path: where it is, e.g. `targets[2].instances.payments`; lists count from 0. "" is the document itself.
        message: what is wrong, the form that is expected, an example.

    """

    line: int | None
    path: str
    message: str


class ConfigFaults(ValueError):  # noqa: N818 -- it holds faults and is not one error
    """The document is refused.

    Attributes:
        faults: by line, at most 50; if there are more, one more entry says how many.

    """

    def __init__(self, faults: list[ConfigFault], complete: Callable[[ConfigFault], ConfigFault] | None = None) -> None:
        """Keep the first faults.

        Args:
            faults: all of them, in any order.
            complete: returns the final form of a fault; called only for those that are kept.

        """
        super().__init__(f"the document has {'one fault' if len(faults) == 1 else f'{len(faults)} faults'}")
        kept = sorted(faults, key=lambda fault: fault.line or 0)[:MAX_FAULTS]
        more = [ConfigFault(None, "", f"+{len(faults) - MAX_FAULTS} more")] if len(faults) > MAX_FAULTS else []
        self.faults = (*(map(complete, kept) if complete else kept), *more)


def child_path(path: str, key: str | int, position: int) -> str:
    """Return the path of a member of a list or mapping.

    Args:
        path: of the list or mapping.
        key: index or key. A key is shown only if it is a plain name, because it could be a secret in a wrong place.
        position: of the key in its mapping, counted from 1; shown instead of such a key.

    """
    if isinstance(key, int):
        return f"{path}[{key}]"
    shown = without_marker(key) if _SHOWN_KEY.fullmatch(key) else f"(entry {position})"
    return f"{path}.{shown}" if path else shown
