"""Writes docs/verdicts.md: every status, warning and error code with an example from a real run; `make docs`.

Each example is a request to the function in memory, which asks a simulated ROMA Connect on loopback. The clock stands
still, so that two runs write the same page.
"""

from __future__ import annotations

import ssl
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import trustme
from werkzeug.test import Client

from fdi_health.clock import Instant
from fdi_health.errors import NEXT_STEPS, OWNERS
from handlers.application import Application
from handlers.triggers.wsgi import wsgi_application
from simulator import MonitoredTask, Simulator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).resolve().parents[1]
TOKEN = "MIIExample"  # noqa: S105 -- made up
KEY = "a-made-up-key-of-a-caller"
PRESENT = Instant(1_795_953_600.0, 0.0)
"""2026-11-29, 12:00 UTC."""


class Entry(NamedTuple):
    """A status, a warning or a code.

    Attributes:
        title: its name.
        cause: what leads to it.
        play: what the instance `payments` plays.
        settings: settings of the run besides the usual ones.
        uses_tls: whether ROMA Connect has a certificate that nobody trusts.
        later: what happens after a first request; the example is of a request `seconds` later.
        seconds: how much later.

    """

    title: str
    cause: str
    play: str = "healthy"
    settings: Mapping[str, str] = {}
    uses_tls: bool = False
    later: Callable[[Simulator, Path], object] | None = None
    seconds: float = 0.0


TASKS = (
    MonitoredTask(
        task_id="t1",
        task_name="nightly-export",
        last_execute_time=1_795_917_600_000,
        remarks="connect to ftp.acme.example timed out",
    ),
    MonitoredTask(
        task_id="t2",
        task_name="orders-sync",
        task_type="REALTIME",
        position="WRITER",
        last_execute_time=1_795_950_000_000,
        remarks="Duplicate entry for key PRIMARY",
    ),
)
"""The failed tasks of `payments`, where two are abnormal."""

STATUSES = (
    Entry("healthy", "Every instance answered, and no task is abnormal."),
    Entry("degraded", "Nothing is abnormal, and a warning says what a person must read.", "no_tasks"),
    Entry("unhealthy", "A task is abnormal, or fewer tasks run than `FDI_MIN_RUNNING_TASKS`.", "doc_example"),
    Entry(
        "unknown",
        "An instance gave no complete, valid response. Its tasks may be in any state.",
        "status_503",
    ),
)
WARNINGS = (
    Entry(
        "no_tasks_visible",
        "All counts are 0: the instance has no tasks, or the user may not see them any more.",
        "no_tasks",
    ),
    Entry(
        "token_expires_soon",
        "The secret contains a token or a temporary key, and nobody has renewed it.",
        settings={"ROMA_TOKEN": f'{{"token":"{TOKEN}","expires_at":"2026-11-29T12:30:00Z"}}'},
    ),
    Entry(
        "muted",
        "The operator has muted the instance until a time.",
        "doc_example",
        settings={"FDI_MUTE": "payments=2026-11-29T06:00Z/2026-11-29T18:00Z"},
    ),
    Entry(
        "muted_tasks",
        "The operator has muted every abnormal task of the instance, each until a time.",
        "doc_example",
        settings={
            "FDI_MUTED_TASKS": "payments/nightly-export=2026-11-30T06:00Z,payments/orders-sync=2026-12-01T06:00Z"
        },
    ),
    Entry(
        "mute_unmatched",
        "A muted task does not exist: it was deleted or renamed. This warning degrades nothing by itself.",
        "doc_example",
        settings={
            "FDI_MUTED_TASKS": "payments/nightly-export=2026-11-30T06:00Z,payments/orders-sync=2026-12-01T06:00Z,"
            "payments/old-export=2026-12-01T06:00Z"
        },
    ),
    Entry(
        "discovery_stale",
        "With `FDI_INSTANCES=*`: the list of instances could not be read again. The last one is used for an hour at most.",
        settings={"FDI_INSTANCES": "*,payments=id-1"},
        later=lambda roma, _: roma.instances.fail("status_500"),
        seconds=301,
    ),
    Entry(
        "instance_gone",
        "With `FDI_INSTANCES=*`: an instance that was asked is not in the list any more. The warning ends after an hour.",
        settings={"FDI_INSTANCES": "*"},
        later=lambda roma, _: roma.remove("id-2"),
        seconds=301,
    ),
    Entry(
        "instance_skipped",
        "With `FDI_INSTANCES=*`: the state of an instance says that it cannot answer. This warning degrades nothing.",
        "no_tasks",
        settings={"FDI_INSTANCES": "*,payments=id-1"},
    ),
    Entry(
        "exclusion_unmatched",
        "With `FDI_INSTANCES=*`: an exclusion names no instance. This warning degrades nothing.",
        "no_tasks",
        settings={"FDI_INSTANCES": "*,payments=id-1,!old"},
    ),
    Entry(
        "config_rejected",
        "A newer version of the document that `FDI_CONFIG` names has a fault. The last one is used.",
        later=lambda _, path: path.write_text("targets: []"),
        seconds=61,
    ),
)
CODES = (
    Entry(
        "token_unavailable",
        "The secret cannot be read or has a wrong form, or IAM gave no token for the credentials in it.",
        settings={"ROMA_TOKEN": ""},
    ),
    Entry(
        "token_rejected",
        "ROMA Connect refused the access key or the token: it is wrong, expired, revoked or locked, or the clock is wrong.",
        "refuses_token",
    ),
    Entry("forbidden", "The user has no right to read the statistics.", "error_APIG_1005"),
    Entry(
        "instance_not_found",
        "The ID, project and region do not belong together, or the instance was deleted.",
        "error_APIC_7302",
    ),
    Entry("instance_not_running", "The instance is stopped, frozen or being changed.", "error_ROMA_4001026"),
    Entry(
        "tasks_missing",
        "Rights were removed, an application is no longer shared with the user, or tasks were deleted.",
        settings={"FDI_MIN_TASKS": "*=99"},
    ),
    Entry(
        "bad_request",
        "ROMA Connect refuses the request: a proxy changes it, or the API has changed.",
        "error_FDI_3002",
    ),
    Entry("api_not_found", "The address is not that of ROMA Connect's API.", "error_APIG_0101"),
    Entry("blocked", "A proxy, a firewall, a login page or an access rule answered.", "html_200"),
    Entry(
        "throttled",
        "The user has sent more requests per second than it may, or the call rate allowed none before the deadline.",
        "error_APIG_0308",
        settings={"FDI_DEADLINE_SECONDS": "0.5"},
    ),
    Entry("upstream_error", "ROMA Connect failed.", "status_500"),
    Entry(
        "timeout",
        "No complete response came before the deadline.",
        "silent",
        settings={"FDI_DEADLINE_SECONDS": "0.3"},
    ),
    Entry(
        "unreachable",
        "There was no connection: name, route, firewall, proxy.",
        "reset",
        settings={"FDI_DEADLINE_SECONDS": "0.3"},
    ),
    Entry(
        "tls_error",
        "The certificate is not trusted, or something intercepts TLS.",
        uses_tls=True,
    ),
    Entry(
        "invalid_response",
        "The response is not a complete, valid statistics document.",
        "truncated_json",
    ),
)

_HEAD = """# Verdicts: every status, warning and code

This page is for the person who was paged. It is generated from real runs (`make docs`); a test keeps it equal to the
code. The clock of the examples stands still. [contract.md](contract.md) has the rest.

**First** read the reason. It begins with the worst. Then look for the word in this page.

**common, cdc and flow tasks.** *Common* tasks move data at a time or without end. *CDC* tasks (change data capture) follow the changes of a
database. *Flow* tasks are orchestrations of other tasks. ROMA Connect counts the first two in the API that fdi-health asks; a third kind
counts here as soon as it appears there, or with `FDI_FLOW_TASKS=check`. *Abnormal* is ROMA Connect's own word. It does not define it further.

**Cloud Eye or fdi-health?** They see different things; use both.

| Question | fdi-health | Cloud Eye (namespace `SYS.ROMA`) |
|---|---|---|
| Is a task abnormal now? | yes, within seconds | only as failures that were counted in 5 minutes |
| Are the credentials, the network and ROMA Connect itself in order? | yes: anything else is `unknown` | no: without data it shows nothing |
| Did tasks stop or vanish? | with `FDI_MIN_RUNNING_TASKS` and `FDI_MIN_TASKS` | alarms on `active_task_count` and `task_count` |
| Does a CDC task lag? How much data moved? | no | yes: `cdc_…_transaction_delay`, `data_count` |
"""


def example(entry: Entry) -> str:
    """Return the text form of one run, with details."""
    context = None
    if entry.uses_tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with Simulator(tokens=[TOKEN], ssl_context=context) as roma, tempfile.TemporaryDirectory() as folder:
        roma.play("id-1", entry.play)
        if "*" in entry.settings.get("FDI_INSTANCES", ""):
            roma.play("id-2", "healthy")
            roma.instances.names["id-2"] = "crm"
            roma.instances.states["id-2"] = "CREATING" if entry.title == "instance_skipped" else "RUNNING"
        roma.monitors.put("id-1", TASKS)
        environ = {
            "FDI_ENDPOINT": roma.url,
            "FDI_PROJECT_ID": roma.project_id,
            "FDI_INSTANCES": "payments=id-1",
            "FDI_TOKEN": "env://ROMA_TOKEN",
            "ROMA_TOKEN": TOKEN,
            "FDI_CALLERS": "env://CALLERS",
            "CALLERS": f'{{"oncall":{{"key":"{KEY}","remarks":true}}}}',
            "FDI_DEADLINE_SECONDS": "2",
            **entry.settings,
        }
        path = Path(folder) / "targets.yaml"
        if entry.title == "config_rejected":
            environ = _with_document(environ, path)
        present = [PRESENT]
        application = Application(environ, lambda: present[0])
        try:
            client = Client(wsgi_application(application))
            text = _ask(client)
            if entry.later is not None:
                entry.later(roma, path)
                present[0] = Instant(PRESENT.wall + entry.seconds, PRESENT.monotonic + entry.seconds)
                end = time.monotonic() + 5
                while entry.title not in text and time.monotonic() < end:
                    text = _ask(client)
            return text
        finally:
            application.close()


def _ask(client: Client) -> str:
    return client.get("/?format=text", headers={"X-Api-Key": KEY}).get_data(as_text=True)


def _with_document(environ: Mapping[str, str], path: Path) -> dict[str, str]:
    """Write the variables of a single project into a document, and return the settings with FDI_CONFIG."""
    path.write_text(
        f"targets: [{{name: emea, endpoint: '{environ['FDI_ENDPOINT']}', project_id: {environ['FDI_PROJECT_ID']}, "
        f"token: '{environ['FDI_TOKEN']}', instances: {{payments: id-1}}}}]"
    )
    names = ("FDI_ENDPOINT", "FDI_PROJECT_ID", "FDI_TOKEN", "FDI_INSTANCES")
    return {name: value for name, value in environ.items() if name not in names} | {"FDI_CONFIG": f"file://{path}"}


def page() -> str:
    """Return the page."""
    parts = [_HEAD]
    for heading, entries in (
        ("Statuses", STATUSES),
        ("Warnings", WARNINGS),
        ("Error codes of unknown instances", CODES),
    ):
        parts.append(f"\n## {heading}\n")
        for entry in entries:
            parts.append(f"\n### {entry.title}\n\n{entry.cause}\n")
            if entry.title in OWNERS:
                parts.append(f"\n- **Who can mend it**: {OWNERS[entry.title]}.\n")
            if entry.title in NEXT_STEPS:
                parts.append(f"- **Next step**, unless the verdict has a better one: {NEXT_STEPS[entry.title]}\n")
            parts.append(f"\n```\n{example(entry)}```\n")
    return "".join(parts)


def main() -> int:
    """Write the page."""
    (ROOT / "docs" / "verdicts.md").write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
