"""Runs the command line: `python -m fdi_health`."""

from fdi_health.cli import main

main()
