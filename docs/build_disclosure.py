"""Writes "Who sees what" into docs/threat-model.md: what each path shows to each caller, from real responses.

Everything that a response may show has a value here that appears nowhere else. The table says which of these values are
in the response.
"""

from __future__ import annotations

import base64
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from werkzeug.test import Client

from handlers.application import Application
from handlers.routes import ROUTES
from handlers.triggers.wsgi import wsgi_application
from simulator import MonitoredTask, Simulator, json_response

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "threat-model.md"
TABLE = re.compile("(?<=<!-- who sees what -->\n).*(?=<!-- /who sees what -->)", re.DOTALL)
KEY, REMARKS_KEY, NORDIC_KEY = "key-without-remarks-1", "key-with-remarks-22", "key-for-one-target-3"
TOKEN = "MIIDisclosure8Xk2Lq"  # noqa: S105 -- accepted by the simulator alone
PROJECT_ID = "c53626012ba84727b938ca8bf03108ef"

CALLERS = {
    "nobody": {},
    "nobody, `details`": {},
    "nobody, `refuse`": {},
    "a key": {"X-Api-Key": KEY},
    "a key with `remarks`": {"X-Api-Key": REMARKS_KEY},
    "a key for `nordic`": {"X-Api-Key": NORDIC_KEY},
}
"""Who asks, and with which headers. The word in backquotes is FDI_ANONYMOUS, or what the key may do."""

REQUESTS = {
    "`/`, `/health`": "/",
    "`/?format=text`": "/?format=text",
    "`/?format=nagios`": "/?format=nagios",
    "`/?format=health`": "/?format=health",
    "`/metrics`": "/metrics",
    "`/badge.svg`": "/badge.svg",
    "`/status`": "/status",
    "`/status/details`": "/status/details",
    "`/ready`": "/ready",
    "`/live`": "/live",
    "`/openapi.json`": "/openapi.json",
}

SHOWN = {
    # What the table calls it → what is looked for.
    "names": ("ledger", "nordic"),
    "counts": ("8431",),
    "IDs": ("id-of-ledger", PROJECT_ID),
    "tasks": ("nightly-export",),
    "remarks": ("disk is full",),
    "upstream's words": ("words of the gateway",),
    "token's end": ("2031-01-01", "1924992000"),
    "others": ("stock", "pacific"),
}
NEVER = (TOKEN, KEY, REMARKS_KEY, NORDIC_KEY)

GROUP = dict.fromkeys(("running_tasks_count", "terminated_tasks_count", "completed_tasks_count"), 1)


def table() -> str:
    """Return the table in Markdown."""
    with Simulator(tokens=[TOKEN], project_id=PROJECT_ID) as roma, tempfile.TemporaryDirectory() as folder:
        groups = {name: {**GROUP, "abnormal_tasks_count": 8431} for name in ("common_task_details", "cdc_task_details")}
        roma.play("id-of-ledger", json_response(groups))
        roma.monitors.put("id-of-ledger", [MonitoredTask(task_name="nightly-export", remarks="the disk is full")])
        roma.play("id-of-wages", json_response({"error_code": "FDI.1", "error_msg": "words of the gateway"}, 500))
        roma.play("id-of-stock", "doc_example")
        lines = [f"| Path | {' | '.join(CALLERS)} |", "|---|" + "---|" * len(CALLERS)]
        cells = {who: _cells(roma.url, Path(folder), who) for who in CALLERS}
        lines += [f"| {title} | {' | '.join(cells[who][title] for who in CALLERS)} |" for title in REQUESTS]
    return "".join(f"{line}\n" for line in lines)


def _cells(url: str, folder: Path, who: str) -> dict[str, str]:
    """Return what each request shows to one kind of caller."""
    words = re.findall("`(details|refuse)`", who)
    application = Application(_environ(url, folder, words[0] if words else "verdict"))
    try:
        client = Client(wsgi_application(application))
        for _ in range(2):  # the reason of a failure may come with the second check
            client.get("/", headers=CALLERS["a key with `remarks`"])
        return {title: _cell(client, path, CALLERS[who]) for title, path in REQUESTS.items()}
    finally:
        application.close()


def _environ(url: str, folder: Path, anonymous: str) -> dict[str, str]:
    fields = {"endpoint": url, "project_id": PROJECT_ID, "token": "env://ROMA_TOKEN"}
    targets = [
        {**fields, "name": "nordic", "instances": {"ledger": "id-of-ledger", "wages": "id-of-wages"}},
        {**fields, "name": "pacific", "instances": {"stock": "id-of-stock"}},
    ]
    document = folder / "targets.json"
    document.write_text(json.dumps({"targets": targets}))
    keys: dict[str, Any] = {
        "grafana": KEY,
        "oncall": {"key": REMARKS_KEY, "remarks": True},
        "nordic-team": {"key": NORDIC_KEY, "targets": ["nordic"]},
    }
    return {
        "FDI_CONFIG": f"file://{document}",
        "ROMA_TOKEN": json.dumps({"token": TOKEN, "expires_at": "2031-01-01T00:00:00Z"}),
        "FDI_CALLERS": "env://CALLERS",
        "CALLERS": json.dumps(keys),
        "FDI_ANONYMOUS": anonymous,
    }


def _cell(client: Client, path: str, headers: dict[str, str]) -> str:
    if path.startswith("/status") and headers:  # a browser sends the key as a password
        password = base64.b64encode(f":{headers['X-Api-Key']}".encode()).decode()
        headers = {"Authorization": f"Basic {password}"}
    response = client.get(path, headers=headers)
    text = response.get_data(as_text=True)
    if any(secret in text for secret in NEVER):
        raise ValueError(f"{path} shows a secret")
    if response.status_code == 401:
        return "401"
    return ", ".join(name for name, values in SHOWN.items() if any(value in text for value in values)) or "nothing"


def page() -> str:
    """Return the page with the table of now."""
    return TABLE.sub(lambda _: table(), PAGE.read_text())


def main() -> int:
    """Write the page."""
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    assert {path.split("?")[0] for path in REQUESTS.values()} <= set(ROUTES)  # noqa: S101 -- no path is misspelt
    sys.exit(main())
