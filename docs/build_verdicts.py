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
from typing import TYPE_CHECKING

import trustme
from werkzeug.test import Client

from docs.verdict_entries import CODES, STATUSES, TASKS, TOKEN, WARNINGS
from fdi_health.clock import Instant
from fdi_health.errors import NEXT_STEPS, OWNERS
from handlers.application import Application
from handlers.triggers.wsgi import wsgi_application
from simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from docs.verdict_entries import Entry

ROOT = Path(__file__).resolve().parents[1]
KEY = "a-made-up-key-of-a-caller"
PRESENT = Instant(1_795_953_600.0, 0.0)
"""2026-11-29, 12:00 UTC."""


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
        if entry.crm is not None:
            roma.play("id-2", "healthy")
            roma.instances.names["id-2"] = "crm"
            roma.instances.states["id-2"] = entry.crm
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
        if entry.uses_document:
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
