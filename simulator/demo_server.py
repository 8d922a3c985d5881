"""Serves the demo where functions-framework is not installed: `python -m simulator.demo_server HOST PORT`.

The standard library's server is for trying things out, not for production.
"""

from __future__ import annotations

import sys
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from main import app


class _Server(ThreadingMixIn, WSGIServer):
    """Answers each request in a thread of its own."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    """Writes no line for each request: fdi-health writes its own."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base's name
        """Write nothing."""


def main() -> None:
    """Serve until SIGTERM."""
    make_server(sys.argv[1], int(sys.argv[2]), app, _Server, _Quiet).serve_forever()


if __name__ == "__main__":
    main()
