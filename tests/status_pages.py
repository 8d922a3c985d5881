"""What tests of the status page share: callers, tasks with realistic names, and text that must stay text."""

from __future__ import annotations

import json

from simulator import MonitoredTask

KEY = "0123456789abcdef"
"""Of a caller who sees remarks."""

CALLERS = json.dumps({"oncall": {"key": KEY, "remarks": True}})
KEYED: dict[str, str | None] = {"FDI_ANONYMOUS": "verdict", "FDI_CALLERS": "env://CALLERS", "CALLERS": CALLERS}
"""Settings with a key, under which others see the verdict only."""

TASKS = [
    MonitoredTask(
        task_id="t1",
        task_name="nightly-export",
        source_app_name="orders",
        remarks="connect to ftp.acme.example timed out",
    ),
    MonitoredTask(
        task_id="t2",
        task_name="orders-sync",
        task_type="REALTIME",
        position="WRITER",
        source_app_name="shop",
        remarks="Duplicate entry for key PRIMARY",
        dirty_data_count=7,
    ),
]
"""The two abnormal tasks of the documented example."""

HOSTILE = (
    "<script>alert(1)</script>",
    "</title><h1>FDI-OK</h1>",
    '" onmouseover="alert(1)',
    "' autofocus onfocus='alert(1)",
    "</style><style>*{display:none}",
    "<!-- --> --!> ]]>",
    "&lt;b&gt; &amp;#60; {{ 7*7 }} {% raw %}",
    "\x1b[31mred\x1b[0m \x00 \x9b31m",
    "\u202edetrevni\u202c \u2066isolated",
    "שלום עולם مرحبا",
    "line one\r\nline two\u2028line three",
    "javascript:alert(1)",
    "fdi-ok FDI-OK",
)
"""Names and remarks that would do harm if they were markup, control characters or the marker."""
