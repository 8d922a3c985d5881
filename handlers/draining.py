"""What a stopping server owes its callers: the answer under way, and no wait for a request that won't come.

gunicorn, which functions-framework starts, keeps a kept-alive connection for 2 more seconds after SIGTERM, and an
application can't make it say `Connection: close`. Ending the reading side of the caller's socket is what it does
notice: it sends the answer, closes and goes.
"""

from __future__ import annotations

import contextlib
import signal
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from werkzeug import Request


def is_stopping() -> bool:
    """Whether SIGTERM has reached the gunicorn worker that runs us; False under any other server.

    The handler of SIGTERM is a method of the worker. It sets `alive` to false.
    """
    worker = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return getattr(worker, "alive", True) is False


def release(request: Request) -> None:
    """Let the server close this caller's connection right behind the answer."""
    _shut(request, socket.SHUT_RD)


def end_answers(request: Request) -> None:
    """Let this caller's connection carry no other response, even if the server reads another request from it.

    Both ways: gunicorn's only loop waits up to 2 seconds for a caller that still sends behind the last response.
    """
    _shut(request, socket.SHUT_RDWR)


def _shut(request: Request, how: int) -> None:
    connection = request.environ.get("gunicorn.socket")
    if isinstance(connection, socket.socket):
        with contextlib.suppress(OSError):
            connection.shutdown(how)
