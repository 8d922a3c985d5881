"""Writes grafana-dashboard.json beside this file; `make docs`.

It lays out the panels and adds the variables. `dashboard_panels` has the panels.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deploy.monitoring.dashboard_panels import DATASOURCE, PANELS, TARGET

PLACE = Path(__file__).with_name("grafana-dashboard.json")


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "refresh": 2,
        "sort": 1,
    }


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    x = y = 0
    for number, panel in enumerate(PANELS, 1):
        width = panel["gridPos"]["w"]
        x, y = (0, y + 7) if x + width > 24 else (x, y)
        panel["id"] = number
        panel["gridPos"] |= {"x": x, "y": y}
        x += width
    return {
        "uid": "fdi-health",
        "title": "fdi-health",
        "description": "Data-integration tasks of ROMA Connect. Alerts: docs/monitoring.md.",
        "tags": ["fdi-health"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
                _variable("job", "Job", "label_values(fdi_verdict, job)"),
                _variable("fdi_instance", "Instance", f"label_values(fdi_instance_status{{{TARGET}}}, fdi_instance)"),
                {
                    "name": "minimum",
                    "label": "Minimum of running tasks",
                    "type": "textbox",
                    "query": "1",
                    "current": {"text": "1", "value": "1"},
                },
            ]
        },
        "panels": PANELS,
    }


def text() -> str:
    """Return the dashboard as it is written."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    PLACE.write_text(text())
