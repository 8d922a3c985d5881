"""Serves the demo where functions-framework is not installed: `python -m simulator.demo_server HOST PORT`.

Werkzeug's own server is for trying things out, not for production.
"""

from __future__ import annotations

import logging
import sys

from werkzeug.serving import make_server

from main import app


def main() -> None:
    """Serve until SIGTERM."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    make_server(sys.argv[1], int(sys.argv[2]), app, threaded=True).serve_forever()


if __name__ == "__main__":
    main()
