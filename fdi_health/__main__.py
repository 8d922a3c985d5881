"""The command line: `python -m fdi_health check` and `python -m fdi_health doctor`."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, TextIO

import click

from fdi_health import doctor as walk
from fdi_health.deadline import Deadline
from fdi_health.errors import CheckError
from fdi_health.formats import FORMATS, text_format
from fdi_health.log import log_fault, to_stderr
from fdi_health.service import Service
from schemas.settings_fields import NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fdi_health.model import Status, Verdict

EXIT: dict[Status, int] = {"healthy": 0, "degraded": 1, "unhealthy": 2, "unknown": 3}
"""Verdict → exit status: OK, WARNING, CRITICAL, UNKNOWN of the Monitoring Plugins' guidelines."""

_PROGRESS_SECONDS = 0.2


class Seconds(click.ParamType[float]):
    """A plain decimal number above 0."""

    name = "seconds"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        if not NUMBER.fullmatch(str(value)) or not float(str(value)) > 0:
            self.fail("must be a number of seconds above 0, e.g. 1.5", param, ctx)
        return float(str(value))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Ask whether the data-integration tasks of your ROMA Connect instances are healthy.

    Settings come from the environment; see the README.
    """


@cli.command()
@click.option("--instance", "instances", multiple=True, help="Alias or ID; repeat for several. Default: all.")
@click.option("--format", "form", type=click.Choice([*FORMATS]), default="text", show_default=True)
@click.option("--deadline", "seconds", type=Seconds(), help="Seconds; may only shorten FDI_DEADLINE_SECONDS.")
def check(instances: tuple[str, ...], form: str, seconds: float | None) -> None:
    """Print the verdict. Exits 0 healthy, 1 degraded, 2 unhealthy, 3 unknown or broken settings."""
    try:
        verdict = _verdict(instances, seconds)
    except CheckError as error:
        _write(sys.stderr, f"UNKNOWN: {error.message}")
        for fault in error.faults:
            entry = f", entry {fault.entry}" if fault.entry else ""
            _write(sys.stderr, f"  {fault.variable}{entry}: {fault.message}")
        sys.exit(EXIT["unknown"])
    if form == "text":
        _write(sys.stdout, "\n".join(text_format.lines(verdict, colour=_is_terminal(sys.stdout))))
    else:
        _write(sys.stdout, FORMATS[form].render(verdict).decode().removesuffix("\n"))
    sys.exit(EXIT[verdict.status])


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def doctor(*, as_json: bool) -> None:
    """Walk settings, secret, network and instances. Exits 0, or 10, 11, 12, 13: the first of them that is broken."""
    broken = 0
    for step in walk.steps(os.environ):
        broken = broken or (0 if step.ok else step.place)
        if as_json:
            _write(sys.stdout, json.dumps({**step._asdict(), "seconds": round(step.seconds, 3)}))
            continue
        mark = "ok  " if step.ok else "FAIL"
        _write(sys.stdout, f"{mark}  {step.name:<20}{step.seconds:>7.3f} s  {step.finding}")
        if step.next_step:
            _write(sys.stdout, f"      -> {step.next_step}")
    sys.exit(broken)


def _verdict(names: tuple[str, ...], seconds: float | None) -> Verdict:
    with contextlib.closing(Service.from_environ(os.environ)) as service:
        selected = service.select(names or None)
        deadline = Deadline.after(min(seconds or service.deadline_seconds, service.deadline_seconds))
        with _progress(sum(len(instances) for _, instances in selected)):
            return service.check(selected, deadline)


@contextlib.contextmanager
def _progress(count: int) -> Iterator[None]:
    """Say on a terminal's stderr what is waited for, and wipe it away when that is over."""
    if not _is_terminal(sys.stderr):
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


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _write(stream: TextIO | None, text: str) -> None:
    """Write a line at once; one that nobody reads any more must not change the exit status."""
    if stream is None:
        return
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except OSError:
        # What is left in the stream's buffer goes nowhere, instead of failing again when the interpreter ends.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def main() -> None:
    """Run; whatever is wrong with the command line is `unknown` to a monitoring system, not critical."""
    to_stderr()
    try:
        cli.main(prog_name="python -m fdi_health", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT["unknown"])
    except click.Abort:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 -- Python's own exit status for it, 1, would mean "degraded"
        log_fault(error)
        sys.exit(EXIT["unknown"])


if __name__ == "__main__":  # pragma: no cover -- a test runs it, as a program of its own
    main()
