"""The command line: `python -m simulator` serves until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from simulator.documented_responses import DOC_INSTANCE_ID, DOC_PROJECT_ID
from simulator.faults import fault_names
from simulator.iam import LIFE_SECONDS, Iam, User
from simulator.monitored_task import MonitoredTask
from simulator.simulator import Simulator

# A server that runs for days needs no memory of every request.
_REQUESTS_REMEMBERED = 1000


class _OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage around it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"simulator: {message}\n")


def _instance(text: str) -> tuple[str | None, str, list[str]]:
    place, equals, script = text.partition("=")
    project_id, slash, instance_id = place.rpartition("/")
    behaviours = script.split(",")
    if not instance_id or not equals or not all(behaviours) or bool(slash) != bool(project_id):
        raise argparse.ArgumentTypeError(
            f"{text!r} must be [PROJECT/]ID=BEHAVIOUR[,BEHAVIOUR...], e.g. payments=status_503,healthy"
        )
    return project_id or None, instance_id, behaviours


def _task(text: str) -> tuple[str, MonitoredTask]:
    instance_id, equals, rest = text.partition("=")
    name, _, remarks = rest.partition(":")
    if not (instance_id and equals and name):
        raise argparse.ArgumentTypeError(
            f"{text!r} must be INSTANCE=NAME[:REMARKS], e.g. payments=nightly-export:connection refused"
        )
    return instance_id, MonitoredTask(f"id-of-{name}", name, remarks=remarks or None)


def _realtime_task(text: str) -> tuple[str, MonitoredTask]:
    instance_id, task = _task(text)
    return instance_id, replace(task, task_type="REALTIME", position="WRITER", log_status=503)


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} must be a port from 0 (a free one) to 65535, e.g. 8090")


def _count(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= len(text) <= 6:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 0 to 999999, e.g. 20")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if 0 <= seconds <= 3600:
        return seconds
    raise argparse.ArgumentTypeError(f"{text!r} must be seconds from 0 to 3600, e.g. 0.25")


def _user(text: str) -> tuple[str, User]:
    domain, slash, rest = text.partition("/")
    name, colon, password = rest.partition(":")
    if not (domain and slash and name and colon and password):
        # Not with the text: it may hold a password.
        raise argparse.ArgumentTypeError("must be DOMAIN/NAME:PASSWORD, e.g. Acme/fdi-probe:secret")
    return name, User(password, domain)


def _access_key(text: str) -> tuple[str, str]:
    access_key, colon, secret_key = text.partition(":")
    if not (access_key and colon and secret_key):
        # Not with the text: it may hold a secret key.
        raise argparse.ArgumentTypeError("must be ACCESS_KEY:SECRET_KEY, e.g. HPUAEXAMPLE:made-up")
    return access_key, secret_key


def _csms_secret(text: str) -> tuple[str, bytes]:
    name, equals, path = text.partition("=")
    if not (name and equals and Path(path).is_file()):
        raise argparse.ArgumentTypeError(f"{text!r} must be NAME=FILE, e.g. roma-key=roma-key.json")
    return name, Path(path).read_bytes()


def _life(text: str) -> float:
    if text.isascii() and text.isdigit() and 1 <= len(text) <= 6 and int(text) > 0:
        return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} must be whole seconds from 1 to 999999, e.g. 60")


def _parser() -> argparse.ArgumentParser:
    parser = _OneLineParser(prog="simulator", description="Plays ROMA Connect FDI's task statistics on 127.0.0.1.")
    parser.add_argument("--port", type=_port, default=8090, help="0 takes a free one (default: 8090)")
    parser.add_argument("--project-id", default=DOC_PROJECT_ID, help="default: the documented example")
    parser.add_argument(
        "--token",
        action="append",
        metavar="T",
        help="accepted in X-Auth-Token; repeatable (default: $SIMULATOR_TOKEN, or simulator-token)",
    )
    parser.add_argument(
        "--restricted-token", action="append", default=[], metavar="T", help="accepted, but sees no task; repeatable"
    )
    parser.add_argument(
        "--instance",
        action="append",
        type=_instance,
        default=[],
        metavar="[PROJECT/]ID=BEHAVIOUR[,BEHAVIOUR...]",
        help="one behaviour per request, the last repeats; in another project than --project-id if it says so; "
        "repeatable (default: the documented example)",
    )
    parser.add_argument(
        "--fleet", type=_count, default=0, metavar="N", help="add N healthy instances, instance-0000 and on"
    )
    parser.add_argument(
        "--task",
        action="append",
        dest="tasks",
        type=_task,
        default=[],
        metavar="INSTANCE=NAME[:REMARKS]",
        help="add a scheduled task that failed while it read; an instance with such tasks lists no others; repeatable",
    )
    parser.add_argument(
        "--realtime-task",
        action="append",
        dest="tasks",
        type=_realtime_task,
        default=[],
        metavar="INSTANCE=NAME[:REMARKS]",
        help="the same for a real-time task that failed while it wrote; repeatable",
    )
    parser.add_argument("--latency", type=_seconds, default=0.0, metavar="SECONDS", help="before every response")
    parser.add_argument("--limit-per-second", type=_count, metavar="N", help="requests per token before 429")
    parser.add_argument(
        "--iam-user",
        action="append",
        type=_user,
        default=[],
        metavar="DOMAIN/NAME:PASSWORD",
        help="gets tokens at /v3/auth/tokens; repeatable",
    )
    parser.add_argument(
        "--access-key",
        action="append",
        type=_access_key,
        default=[],
        metavar="ACCESS_KEY:SECRET_KEY",
        help="accepted as the signature of a request; repeatable",
    )
    parser.add_argument(
        "--csms-secret",
        action="append",
        type=_csms_secret,
        default=[],
        metavar="NAME=FILE",
        help="a secret in CSMS; repeatable",
    )
    parser.add_argument(
        "--token-life", type=_life, default=LIFE_SECONDS, metavar="SECONDS", help="of those tokens (default: a day)"
    )
    parser.add_argument("--list-faults", action="store_true", help="print the names of all behaviours and exit")
    return parser


def main() -> int:
    """Serve until told to stop, and return the exit status: 0, or 2 for bad arguments and a busy port."""
    parser = _parser()
    options = parser.parse_args()
    if options.list_faults:
        print("\n".join(fault_names()))
        return 0
    simulator = Simulator(
        project_id=options.project_id,
        tokens=options.token or [os.environ.get("SIMULATOR_TOKEN") or "simulator-token"],
        restricted_tokens=options.restricted_token,
        access_keys=dict(options.access_key),
        iam=Iam(dict(options.iam_user), life_seconds=options.token_life, project_id=options.project_id),
        latency_seconds=options.latency,
        port=options.port,
        remember=_REQUESTS_REMEMBERED,
    )
    simulator.limit_per_second = options.limit_per_second
    for name, value in options.csms_secret:
        simulator.csms.put(name, value)
    for instance_id in {instance_id for instance_id, _ in options.tasks}:
        simulator.monitors.put(instance_id, [task for owner, task in options.tasks if owner == instance_id])
    for number in range(options.fleet):
        simulator.play(f"instance-{number:04}", "healthy")
    try:
        for project_id, instance_id, behaviours in options.instance or [(None, DOC_INSTANCE_ID, ["doc_example"])]:
            simulator.play(instance_id, *behaviours, project_id=project_id)
    except ValueError as error:
        parser.error(f"argument --instance: {error}")
    # Blocked in every thread, so that the signal waits for sigwait instead of interrupting something.
    stop_signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals)
    with contextlib.ExitStack() as running:
        try:
            running.enter_context(simulator)
        except OSError as error:
            parser.error(f"cannot listen on port {options.port}: {error.strerror}")
        print(f"simulator listening on {simulator.url}", flush=True)
        signal.sigwait(stop_signals)
    return 0


if __name__ == "__main__":
    sys.exit(main())
