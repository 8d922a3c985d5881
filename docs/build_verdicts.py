"""Writes docs/verdicts.md: every status, warning and error code with an example from a real run; `make docs`.

Each example is a request to the function in memory, which asks a simulated ROMA Connect on loopback. The clock stands
still, so that two runs write the same page.
"""

from __future__ import annotations

import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import trustme
from werkzeug.test import Client

from fdi_health.clock import Instant
from fdi_health.errors import NEXT_STEPS
from handlers.application import Application
from handlers.triggers.wsgi import wsgi_application
from simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[1]
TOKEN = "MIIExample"  # noqa: S105 -- made up
PRESENT = Instant(1_795_953_600.0, 0.0)
"""2026-11-29, 12:00 UTC."""


class Entry(NamedTuple):
    """A status, a warning or a code.

    Attributes:
        title: its name.
        cause: what leads to it.
        owner: who can mend it.
        play: what the instance `payments` plays.
        settings: settings of the run besides the usual ones.
        uses_tls: whether ROMA Connect has a certificate that nobody trusts.

    """

    title: str
    cause: str
    owner: str
    play: str = "healthy"
    settings: Mapping[str, str] = {}
    uses_tls: bool = False


_PIPELINES, _PLATFORM, _VENDOR = "the team of the integration tasks", "the team that runs fdi-health", "the vendor"
_NETWORK = "the team that runs the network and its proxies"
_ADMIN = "the administrator of the Huawei Cloud account"

STATUSES = (
    Entry("healthy", "Every instance answered, and no task is abnormal.", "nobody"),
    Entry("degraded", "Nothing is abnormal, and a warning says what a person must read.", _PIPELINES, "no_tasks"),
    Entry(
        "unhealthy", "A task is abnormal, or fewer tasks run than `FDI_MIN_RUNNING_TASKS`.", _PIPELINES, "doc_example"
    ),
    Entry(
        "unknown",
        "An instance gave no complete, valid response. Its tasks may be in any state.",
        "see the code",
        "status_503",
    ),
)
WARNINGS = (
    Entry(
        "no_tasks_visible",
        "All counts are 0: the instance has no tasks, or the user may not see them any more.",
        f"{_ADMIN}, or {_PIPELINES}",
        "no_tasks",
    ),
    Entry(
        "token_expires_soon",
        "The secret contains a token or a temporary key, and nobody has renewed it.",
        _PLATFORM,
        settings={"ROMA_TOKEN": f'{{"token":"{TOKEN}","expires_at":"2026-11-29T12:30:00Z"}}'},
    ),
    Entry(
        "muted",
        "The operator has muted the instance until a time.",
        "the person who set `FDI_MUTE`",
        "doc_example",
        settings={"FDI_MUTE": "payments=2026-11-29T06:00Z/2026-11-29T18:00Z"},
    ),
)
CODES = (
    Entry(
        "token_unavailable",
        "The secret cannot be read or has a wrong form, or IAM gave no token for the credentials in it.",
        _PLATFORM,
        settings={"ROMA_TOKEN": ""},
    ),
    Entry(
        "token_rejected",
        "ROMA Connect refused the access key or the token: it is wrong, expired, revoked or locked, or the clock is wrong.",
        _PLATFORM,
        "refuses_token",
    ),
    Entry("forbidden", "The user has no right to read the statistics.", _ADMIN, "error_APIG_1005"),
    Entry(
        "instance_not_found",
        "The ID, project and region do not belong together, or the instance was deleted.",
        _PLATFORM,
        "error_APIC_7302",
    ),
    Entry(
        "instance_not_running", "The instance is stopped, frozen or being changed.", _PIPELINES, "error_ROMA_4001026"
    ),
    Entry(
        "tasks_missing",
        "Rights were removed, an application is no longer shared with the user, or tasks were deleted.",
        f"{_ADMIN}, or {_PIPELINES}",
        settings={"FDI_MIN_TASKS": "*=99"},
    ),
    Entry(
        "bad_request",
        "ROMA Connect refuses the request: a proxy changes it, or the API has changed.",
        _PLATFORM,
        "error_FDI_3002",
    ),
    Entry("api_not_found", "The address is not that of ROMA Connect's API.", _PLATFORM, "error_APIG_0101"),
    Entry("blocked", "A proxy, a firewall, a login page or an access rule answered.", _PLATFORM, "html_200"),
    Entry(
        "throttled",
        "The user has sent more requests per second than it may.",
        _PLATFORM,
        "error_APIG_0308",
        settings={"FDI_DEADLINE_SECONDS": "0.5"},
    ),
    Entry("upstream_error", "ROMA Connect failed.", _VENDOR, "status_500"),
    Entry(
        "timeout",
        "No complete response came before the deadline.",
        f"{_VENDOR}, or {_NETWORK}",
        "silent",
        settings={"FDI_DEADLINE_SECONDS": "0.3"},
    ),
    Entry(
        "unreachable",
        "There was no connection: name, route, firewall, proxy.",
        _NETWORK,
        "reset",
        settings={"FDI_DEADLINE_SECONDS": "0.3"},
    ),
    Entry(
        "tls_error",
        "The certificate is not trusted, or something intercepts TLS.",
        _NETWORK,
        uses_tls=True,
    ),
    Entry(
        "invalid_response",
        "The response is not a complete, valid statistics document.",
        f"{_VENDOR}, or {_NETWORK}",
        "truncated_json",
    ),
)

_HEAD = """# Verdicts: every status, warning and code

This page is for the person who was paged. It is generated from real runs (`make docs`); a test keeps it equal to the
code. The clock of the examples stands still. [contract.md](contract.md) has the rest.

**First** read the reason. It begins with the worst. Then look for the word in this page.

**common, cdc and flow tasks.** *Common* tasks move data at a time or without end. *CDC* tasks (change data capture) follow the changes of a
database. *Flow* tasks are orchestrations of other tasks. ROMA Connect counts the first two in the API that fdi-health asks; a third kind
counts here as soon as it appears there. *Abnormal* is ROMA Connect's own word. It does not define it further.

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
    with Simulator(tokens=[TOKEN], ssl_context=context) as roma:
        roma.play("id-1", entry.play)
        environ = {
            "FDI_ENDPOINT": roma.url,
            "FDI_PROJECT_ID": roma.project_id,
            "FDI_INSTANCES": "payments=id-1",
            "FDI_TOKEN": "env://ROMA_TOKEN",
            "ROMA_TOKEN": TOKEN,
            "FDI_ANONYMOUS": "details",
            "FDI_DEADLINE_SECONDS": "2",
            **entry.settings,
        }
        application = Application(environ, lambda: PRESENT)
        try:
            client = Client(wsgi_application(application))
            return client.get("/?format=text").get_data(as_text=True)
        finally:
            application.close()


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
            parts.append(f"\n### {entry.title}\n\n{entry.cause}\n\n- **Who can mend it**: {entry.owner}.\n")
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
