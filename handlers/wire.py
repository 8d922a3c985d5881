"""gunicorn's source of bytes, bounded in time and size.

Ending the reading side of a socket wakes whoever waits for it, and no more: on Linux, what comes later is read all the
same, so that a caller who sends a byte now and then is never at an end. And what gunicorn makes of a byte costs more
than sending it: it looks at the whole head again for each, and at every chunk by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Bound:
    """Lets a source say that there is no more, once it is over or enough has come.

    Args:
        unreader: gunicorn's source of bytes; None, or what has no `chunk`, is left alone.
        is_over: whether the time is up.
        most: how many bytes may come.

    """

    def __init__(self, unreader: Any, is_over: Callable[[], bool], most: int) -> None:
        self._unreader = unreader
        read: Any = getattr(unreader, "chunk", None)
        self._read = read
        left = most

        def chunk(*hints: Any) -> bytes:
            nonlocal left
            if is_over() or left <= 0:
                return b""
            piece: bytes = read(*hints)
            left -= len(piece)
            return piece

        if read is not None:
            unreader.chunk = chunk

    def lift(self) -> None:
        """Let the source go on as it was; doing so twice is fine."""
        if self._read is not None:
            self._unreader.chunk, self._read = self._read, None


def unreader_of(stream: Any) -> Any:
    """Return the source behind a request's body, or None where the server is not gunicorn."""
    reader = getattr(stream, "reader", None)
    return getattr(reader, "unreader", None) or getattr(getattr(reader, "req", None), "unreader", None)
