"""The panels of grafana-dashboard.json: a table of title, type, width, queries and unit.

Written by hand, the dashboard has many times the lines.
"""

from __future__ import annotations

from typing import Any

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
TARGET = 'job=~"$job"'
OF_INSTANCE = "sum by (target, fdi_instance)"
INSTANCE = 'job=~"$job",fdi_instance=~"$fdi_instance"'
# Of Grafana's palette: readable on its dark and its light background.
COLORS = {"healthy": "green", "degraded": "yellow", "unknown": "purple", "unhealthy": "red"}
NUMBERS = {"healthy": 1, "degraded": 2, "unknown": 3, "unhealthy": 4}
NEEDS_KEY = "Needs a scrape with a caller's key."

_MAPPINGS = [
    {"type": "value", "options": {key: {"text": status, "color": COLORS[status]}}}
    for status in COLORS
    for key in (status, str(NUMBERS[status]))
]


def _numbered(metric: str, label: str, matchers: str, by: str) -> str:
    """Return a query for the status as a number: a state timeline shows one series, not one per status."""
    samples = " or ".join(f'{metric}{{{matchers},{label}="{status}"}} * {number}' for status, number in NUMBERS.items())
    return f"max by ({by}) ({samples})"


def _panel(
    title: str,
    kind: str,
    queries: dict[str, str],
    width: int,
    description: str = "",
    unit: str = "short",
    **changes: Any,
) -> dict[str, Any]:
    """Return a panel.

    Args:
        title: its title.
        kind: Grafana's name for its type.
        queries: legend → query.
        width: of 24.
        description: shown at its title.
        unit: Grafana's name for it.
        changes: `defaults` of the fields, `options` and `overrides`, `transformations`.

    """
    is_now = kind in ("table", "stat")
    targets = [
        {
            "refId": chr(ord("A") + number),
            "expr": query,
            "legendFormat": legend,
            "instant": is_now,
            "range": not is_now,
            "format": "table" if kind == "table" else "time_series",
        }
        for number, (legend, query) in enumerate(queries.items())
    ]
    return {
        "title": title,
        "type": kind,
        "description": description,
        "datasource": DATASOURCE,
        "gridPos": {"w": width, "h": 7},
        "targets": targets,
        "fieldConfig": {
            "defaults": {"unit": unit, **changes.pop("defaults", {})},
            "overrides": changes.pop("overrides", []),
        },
        "options": changes.pop("options", {}),
        **changes,
    }


def _columns(*shown: str) -> list[dict[str, Any]]:
    """Return the transformation that leaves these columns of a table."""
    return [{"id": "filterFieldsByName", "options": {"include": {"names": list(shown)}}}]


def _of(name: str, properties: dict[str, Any]) -> dict[str, Any]:
    """Return properties for the field with this name."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }


def _steps(*steps: tuple[str, float | None]) -> dict[str, Any]:
    return {"mode": "absolute", "steps": [{"color": color, "value": value} for color, value in steps]}


def _fixed(color: str) -> dict[str, str]:
    return {"mode": "fixed", "fixedColor": color}


STATUS_FIELDS = {"mappings": _MAPPINGS, "color": {"mode": "thresholds"}}
COLORED_TEXT = {"custom.cellOptions": {"type": "color-text"}}
FROM_ZERO = {"min": 0, "decimals": 0}

PANELS = [
    _panel(
        "Fleet status",
        "state-timeline",
        {"{{instance}}": _numbered("fdi_verdict", "fdi_verdict", TARGET, "job, instance")},
        18,
        "The status of the worst instance. `instance` is the address that Prometheus scrapes.",
        defaults=STATUS_FIELDS,
    ),
    _panel(
        "Now",
        "stat",
        {"{{instance}}": f"fdi_healthy{{{TARGET}}}"},
        6,
        "Healthy and degraded are OK.",
        defaults={
            "mappings": [
                {"type": "value", "options": {"0": {"text": "NOT OK", "color": "red"}}},
                {"type": "value", "options": {"1": {"text": "OK", "color": "green"}}},
            ]
        },
    ),
    _panel(
        "Instances by status",
        "timeseries",
        {"{{status}}": f"sum by (status) (fdi_instances{{{TARGET}}})"},
        12,
        defaults={**FROM_ZERO, "custom": {"stacking": {"mode": "normal"}, "fillOpacity": 40}},
        overrides=[_of(status, {"color": _fixed(color)}) for status, color in COLORS.items()],
    ),
    _panel(
        "Instances over time",
        "state-timeline",
        {"{{target}} {{fdi_instance}}": _numbered("fdi_instance_status", "status", INSTANCE, "target, fdi_instance")},
        12,
        f"After policy and mutes. {NEEDS_KEY}",
        defaults=STATUS_FIELDS,
    ),
    _panel(
        "Instance status",
        "table",
        {"": f"fdi_instance_status{{{INSTANCE}}}"},
        8,
        f"After policy and mutes: a muted instance is degraded. {NEEDS_KEY}",
        transformations=_columns("target", "fdi_instance", "status"),
        overrides=[_of("status", {"mappings": _MAPPINGS, **COLORED_TEXT})],
    ),
    _panel(
        "Instance errors",
        "table",
        {"": f"fdi_instance_error{{{INSTANCE}}}"},
        8,
        f"Each code has a section in docs/verdicts.md. A muted instance keeps its error. {NEEDS_KEY}",
        transformations=_columns("target", "fdi_instance", "code"),
    ),
    _panel(
        "Mutes",
        "table",
        {"": f"fdi_mute_until_timestamp_seconds{{{INSTANCE}}} * 1000"},
        8,
        f"When a mute ends. It may not have begun. {NEEDS_KEY}",
        transformations=_columns("target", "fdi_instance", "Value"),
        overrides=[_of("Value", {"unit": "dateTimeAsIso", "displayName": "muted until"})],
    ),
    _panel(
        "Errors by code",
        "timeseries",
        {"{{code}}": f"count by (code) (fdi_instance_error{{{INSTANCE}}})"},
        12,
        f"Instances with each code. {NEEDS_KEY}",
        defaults=FROM_ZERO,
    ),
    _panel(
        "Abnormal tasks",
        "timeseries",
        {"{{target}} {{fdi_instance}}": f"{OF_INSTANCE} (fdi_abnormal_tasks_count{{{INSTANCE}}})"},
        12,
        f"More than 0 is unhealthy. {NEEDS_KEY}",
        defaults=FROM_ZERO,
    ),
    _panel(
        "Running tasks",
        "timeseries",
        {
            "{{target}} {{fdi_instance}}": f"{OF_INSTANCE} (fdi_running_tasks_count{{{INSTANCE}}})",
            "minimum": "vector($minimum)",
        },
        12,
        "The line `minimum` is the dashboard's variable, the same for all instances. FDI_MIN_RUNNING_TASKS is not a "
        f"metric, so the dashboard cannot show it. {NEEDS_KEY}",
        defaults=FROM_ZERO,
        overrides=[_of("minimum", {"color": _fixed("red"), "custom.lineStyle": {"fill": "dash", "dash": [8, 8]}})],
    ),
    _panel(
        "Stopped and completed tasks",
        "timeseries",
        {
            "{{target}} {{fdi_instance}} stopped": f"{OF_INSTANCE} (fdi_terminated_tasks_count{{{INSTANCE}}})",
            "{{target}} {{fdi_instance}} completed": f"{OF_INSTANCE} (fdi_completed_tasks_count{{{INSTANCE}}})",
        },
        12,
        f"ROMA Connect does not call a stopped task abnormal. {NEEDS_KEY}",
        defaults=FROM_ZERO,
    ),
    _panel(
        "Age and duration",
        "timeseries",
        {
            "duration": f"max(fdi_duration_seconds{{{TARGET}}})",
            "age": f"max(fdi_age_seconds{{{TARGET}}})",
            "age at this time": f"max(time() - fdi_checked_timestamp_seconds{{{TARGET}}})",
        },
        12,
        "How long a check takes, and how old its oldest result is: when it was scraped, and at this time.",
        "s",
        defaults={"min": 0},
    ),
    _panel(
        "Duration by instance",
        "timeseries",
        {"{{target}} {{fdi_instance}}": f"max by (target, fdi_instance) (fdi_instance_duration_seconds{{{INSTANCE}}})"},
        12,
        NEEDS_KEY,
        "s",
        defaults={"min": 0},
    ),
    _panel(
        "Token ends in",
        "stat",
        {"{{kind}}": f"min by (kind) (fdi_token_expiry_timestamp_seconds{{{TARGET}}} - time())"},
        12,
        f"A token of the kind credentials is renewed 5 minutes before. An access key has no end. {NEEDS_KEY}",
        "s",
        defaults={"thresholds": _steps(("red", None), ("yellow", 180), ("green", 3600))},
    ),
    _panel(
        "Version",
        "table",
        {"": f"fdi_build_info{{{TARGET}}}"},
        12,
        transformations=_columns("instance", "version"),
    ),
]
