"""Writes to the terminal or pipe that the command line was started with."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, TextIO

import click

from schemas.settings_fields import MARKER

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROGRESS_SECONDS = 0.2


@contextlib.contextmanager
def progress(count: int) -> Iterator[None]:
    """Say on a terminal's stderr what is waited for, and wipe it away when that is over."""
    if not is_terminal(sys.stderr):
        yield
        return
    over = threading.Event()
    began = time.monotonic()

    def show() -> None:
        while not over.wait(_PROGRESS_SECONDS):
            click.echo(f"\r\033[Kwaiting for {count} instance(s), {time.monotonic() - began:.1f} s", nl=False, err=True)

    shower = threading.Thread(target=show, daemon=True)
    shower.start()
    try:
        yield
    finally:
        over.set()
        shower.join()
        click.echo("\r\033[K", nl=False, err=True)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person looks at a stream."""
    return stream is not None and not stream.closed and stream.isatty()


def write(stream: TextIO | None, text: str) -> None:
    """Write a line at once; a closed pipe must not change the exit status."""
    if stream is None:
        return
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except (OSError, ValueError):
        # What is left in the stream's buffer goes nowhere, instead of failing again when the interpreter ends.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def escape_what_streams_can_not_encode() -> None:
    """Let stdout and stderr escape characters that their encoding lacks.

    A terminal or pipe that is not UTF-8 would raise an exception for foreign text, and so change the exit status.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A stream that is closed already can't be told, and will not be written to either.
            with contextlib.suppress(ValueError):
                stream.reconfigure(errors="backslashreplace")


def write_failure(text: str, *, for_plugin: bool) -> None:
    """Write why there is no verdict, to stdout for a monitoring plugin, where a pipe would begin performance data."""
    printable = "".join(c if c.isprintable() or c == "\n" else "?" for c in MARKER.sub("FDI_OK", text))
    write(sys.stdout if for_plugin else sys.stderr, printable.replace("|", "/") if for_plugin else printable)
