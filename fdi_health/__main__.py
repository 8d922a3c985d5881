"""Runs the command line: `python -m fdi_health`."""

from fdi_health.cli import main

if __name__ == "__main__":  # pragma: no cover -- a test runs it, as a program of its own
    main()
