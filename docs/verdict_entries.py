"""What docs/verdicts.md has an example of: every status, warning and error code, and how a run shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from simulator import MonitoredTask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from simulator import Simulator

TOKEN = "MIIExample"  # noqa: S105 -- made up


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
        crm: the state in ROMA Connect's list of another instance, `crm`; None if there is no other one.
        uses_document: whether FDI_CONFIG describes the instance.

    """

    title: str
    cause: str
    play: str = "healthy"
    settings: Mapping[str, str] = {}
    uses_tls: bool = False
    later: Callable[[Simulator, Path], object] | None = None
    seconds: float = 0.0
    crm: str | None = None
    uses_document: bool = False


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
        "With `FDI_INSTANCES=*`: the list of instances could not be read again. "
        "The last one is used for an hour at most.",
        crm="RUNNING",
        settings={"FDI_INSTANCES": "*,payments=id-1"},
        later=lambda roma, _: roma.instances.fail("status_500"),
        seconds=301,
    ),
    Entry(
        "instance_gone",
        "With `FDI_INSTANCES=*`: an instance that was asked is not in the list any more. "
        "The warning ends after an hour.",
        crm="RUNNING",
        settings={"FDI_INSTANCES": "*"},
        later=lambda roma, _: roma.remove("id-2"),
        seconds=301,
    ),
    Entry(
        "instance_skipped",
        "With `FDI_INSTANCES=*`: the state of an instance says that it cannot answer. This warning degrades nothing.",
        "no_tasks",
        crm="CREATING",
        settings={"FDI_INSTANCES": "*,payments=id-1"},
    ),
    Entry(
        "exclusion_unmatched",
        "With `FDI_INSTANCES=*`: an exclusion names no instance. This warning degrades nothing.",
        "no_tasks",
        crm="RUNNING",
        settings={"FDI_INSTANCES": "*,payments=id-1,!old"},
    ),
    Entry(
        "config_rejected",
        "A newer version of the document that `FDI_CONFIG` names has a fault. The last one is used.",
        uses_document=True,
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
        "ROMA Connect refused the access key or the token: it is wrong, expired, revoked or locked, "
        "or the clock is wrong.",
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
