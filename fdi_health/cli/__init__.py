"""The command line: `fdi-health check`, `doctor`, `serve`, `simulate` and `demo`; also `python -m fdi_health`."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
from marshmallow import ValidationError

from fdi_health import diagnostics
from fdi_health.cli import programs
from fdi_health.cli.terminal import escape_what_streams_can_not_encode, is_terminal, progress, write, write_failure
from fdi_health.clock import Deadline
from fdi_health.diagnostics import document
from fdi_health.diagnostics.report import CONTENTS
from fdi_health.diagnostics.report import lines as report_lines
from fdi_health.diagnostics.report import write as write_report
from fdi_health.diagnostics.step import SECRET, SETTINGS
from fdi_health.errors import CheckError
from fdi_health.formats import FORMATS, text_format
from fdi_health.log import log_fault, to_stderr
from fdi_health.service import Service
from schemas import query as query_schema
from schemas.settings_fields import MARKER, NUMBER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fdi_health.diagnostics.step import Step, StepStatus
    from fdi_health.models import Status, Verdict

EXIT: dict[Status, int] = {"healthy": 0, "degraded": 1, "unhealthy": 2, "unknown": 3}
"""Verdict → exit status: OK, WARNING, CRITICAL, UNKNOWN of the Monitoring Plugins' guidelines."""

_MARKS: dict[StepStatus, str] = {"ok": "ok  ", "warning": "WARN", "failed": "FAIL", "skipped": "skip"}

_MAX_NAMES_SHOWN = 10
_MAX_NAME_CHARACTERS = 64


class Seconds(click.ParamType[float]):
    """A plain decimal number above 0."""

    name = "seconds"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        if not NUMBER.fullmatch(str(value)) or not float(str(value)) > 0:
            self.fail("must be a number of seconds above 0, e.g. 1.5", param, ctx)
        return float(str(value))


class TasksToName(click.ParamType[int]):
    """`none`, `all` or a number, as the parameter `explain`."""

    name = "none|all|N"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        try:
            return query_schema.load({"explain": [value]}).explain
        except ValidationError as error:
            self.fail(error.messages_dict["explain"][0], param, ctx)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Ask whether the data-integration tasks of your ROMA Connect instances are healthy.

    Settings come from the environment; see the README.
    """


@cli.command()
@click.option("--instance", "instances", multiple=True, help="Alias or ID; repeat for several. Default: all.")
@click.option("--target", "targets", multiple=True, help="Name of a target in FDI_CONFIG; repeat for several.")
@click.option("--format", "form", type=click.Choice([*FORMATS]), default="text", show_default=True)
@click.option("--deadline", "seconds", type=Seconds(), help="Seconds; may only shorten FDI_DEADLINE_SECONDS.")
@click.option(
    "--explain", type=TasksToName(), default="5", show_default=True, help="Name N abnormal tasks, none or all."
)
@click.option("--remarks", is_flag=True, help="Show why a task failed; remarks may hold customers' data.")
def check(
    instances: tuple[str, ...],
    targets: tuple[str, ...],
    form: str,
    seconds: float | None,
    explain: int,
    *,
    remarks: bool,
) -> None:
    """Print the verdict. Exits 0 healthy, 1 degraded, 2 unhealthy, 3 unknown or broken settings."""
    try:
        verdict = _verdict(instances, targets, seconds, explain if FORMATS[form].names_tasks else 0, remarks=remarks)
    except CheckError as error:
        faults = [(fault, f", entry {fault.entry}" if fault.entry else "") for fault in error.faults]
        lines = [f"UNKNOWN: {error.message}", *(f"  {f.variable}{entry}: {f.message}" for f, entry in faults)]
        write_failure("\n".join(lines), for_plugin=form == "nagios")
        sys.exit(EXIT["unknown"])
    if form == "text":
        write(sys.stdout, "\n".join(text_format.lines(verdict, colour=is_terminal(sys.stdout))))
    else:
        write(sys.stdout, FORMATS[form].render(verdict).decode().removesuffix("\n"))
    sys.exit(EXIT[verdict.status])


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--offline", is_flag=True, help="Check the settings only: read no secret and connect to nothing.")
@click.option("--config", "file", type=click.Path(), help="With --offline: check this document instead.")
@click.option(
    "--report", "report", type=click.Path(), help="Write a report without secrets, IDs and names to a new file."
)
def doctor(file: str | None, report: str | None, *, as_json: bool, offline: bool) -> None:
    """Walk settings, secret, network and instances. Exits 0, or 10, 11, 12, 13: the first of them that is broken."""
    if file is not None:
        if not offline:
            raise click.UsageError("--config needs --offline")
        _check_document(file, as_json=as_json)
    if report is not None:
        write(sys.stderr, f"The file {report} will contain {CONTENTS} Read it before you pass it on.")
    broken, steps = 0, []
    for step in diagnostics.steps(os.environ, offline=offline):
        steps.append(step)
        broken = broken or (0 if step.ok else step.place)
        if as_json:
            write(sys.stdout, json.dumps({**step._asdict(), "seconds": round(step.seconds, 3)}))
            continue
        write(sys.stdout, f"{_MARKS[step.status]}  {step.name:<20}{step.seconds:>7.3f} s  {step.finding}")
        if step.next_step:
            write(sys.stdout, f"      -> {step.next_step}")
    if report is not None:
        # A secret that failed is not tried again: each failed login counts.
        has_credentials = all(step.ok for step in steps if step.place in (SETTINGS, SECRET))
        _write_report(report, steps, asks=has_credentials and not offline)
    sys.exit(broken)


def _write_report(file: str, steps: Sequence[Step], *, asks: bool) -> None:
    with contextlib.ExitStack() as opened:
        service = opened.enter_context(contextlib.closing(Service.open(os.environ))) if asks else None
        if service is not None:
            service.source.refresh(Deadline.after(service.deadline_seconds))
        try:
            write_report(file, "\n".join(report_lines(os.environ, steps, service)) + "\n")
        except OSError as error:
            raise click.UsageError(f"--report: {file} cannot be written: {error.strerror}") from None


@cli.command()
def serve() -> None:
    """Serve the function with granian on PORT (8080), with THREADS (64) and WORKERS (1), until SIGTERM."""
    programs.run("handlers.container_server")


@cli.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def simulate(arguments: tuple[str, ...]) -> None:
    """Play ROMA Connect on 127.0.0.1; see `simulate --help`."""
    programs.run("simulator", arguments)


@cli.command()
def demo() -> None:
    """Serve the function on 127.0.0.1:8080 (PORT) with a simulated ROMA Connect, and print the first verdict."""
    programs.run("simulator.demo")


def _check_document(file: str, *, as_json: bool) -> NoReturn:
    lines, is_valid = document.describe_document(file, time.time(), as_json=as_json)
    for line in lines:
        write(sys.stdout, MARKER.sub("FDI_OK", line))
    sys.exit(0 if is_valid else SETTINGS)


def _verdict(
    names: tuple[str, ...], targets: tuple[str, ...], seconds: float | None, explain: int, *, remarks: bool
) -> Verdict:
    with contextlib.closing(Service.open(os.environ)) as service:
        deadline = Deadline.after(min(seconds or service.deadline_seconds, service.deadline_seconds))
        try:
            asked = service.select(names or None, targets or None, deadline)
            with progress(sum(len(selection.instances or ()) for selection in asked.selections)):
                return service.name_tasks(service.check(asked, deadline), explain, deadline, remarks=remarks)
        except CheckError as error:
            # Unlike an HTTP caller, this one typed the names on this machine.
            unknown = service.unknown_names(names, targets, deadline) if error.code == "unknown_instance" else []
            if not unknown:
                raise
            raise CheckError(error.code, f"{error.message}: {_shown(unknown)}") from None


def _shown(names: Sequence[str]) -> str:
    """Return the names that the user typed, at most 10 of them."""
    more = f" and {len(names) - _MAX_NAMES_SHOWN} more" if len(names) > _MAX_NAMES_SHOWN else ""
    return ", ".join(name[:_MAX_NAME_CHARACTERS].replace("\n", "?") for name in names[:_MAX_NAMES_SHOWN]) + more


def _wants_nagios(words: Sequence[str]) -> bool:
    """Whether a command line asks for the format of monitoring plugins; the rest of it may be wrong."""
    values = [word.partition("=")[2] for word in words if word.startswith("--format=")]
    values += [value for word, value in itertools.pairwise(words) if word == "--format"]
    return "nagios" in values


def main() -> None:
    """Run; a faulty command line is `unknown` to a monitoring system, not critical.

    Monitoring systems read a plugin's stdout only, so that what went wrong is said there if the format is theirs.
    """
    escape_what_streams_can_not_encode()
    to_stderr()
    is_plugin = _wants_nagios(sys.argv[1:])
    try:
        started_as = Path(sys.argv[0]).name
        cli.main(prog_name="python -m fdi_health" if started_as == "__main__.py" else started_as, standalone_mode=False)
    except CheckError as error:
        write_failure(error.message, for_plugin=False)
        sys.exit(EXIT["unknown"])
    except click.ClickException as error:
        usage = io.StringIO()
        error.show(usage)
        text = f"UNKNOWN: {error.format_message()}" if is_plugin else usage.getvalue().rstrip()
        write_failure(text, for_plugin=is_plugin)
        sys.exit(EXIT["unknown"])
    except click.Abort:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 -- Python's own exit status for it, 1, would mean "degraded"
        log_fault(error)
        if is_plugin:
            write_failure("UNKNOWN: fdi-health itself failed; the line on stderr says where", for_plugin=True)
        sys.exit(EXIT["unknown"])
