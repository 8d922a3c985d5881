"""Writes handlers/openapi.json from the schemas that every response is made from; `make docs`.

The function serves that file unchanged, so apispec is not needed where the function runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

from docs.openapi_examples import examples
from docs.openapi_responses import PAGES, forms, responses
from fdi_health import __version__
from handlers.routes import ROUTES
from schemas import exact_fields, problem, verdict
from schemas.query import DEFAULT_NAMED_TASKS, FAILING_STATUSES, MAX_NAMED_TASKS
from schemas.settings_fields import NAME
from schemas.statistics import OTHER_GROUPS

ROOT = Path(__file__).resolve().parents[1]

_SECONDS = r"^([0-9]*[1-9][0-9]*(\.[0-9]+)?|[0-9]+\.[0-9]*[1-9][0-9]*)$"
"""A decimal number above 0; no exponent, which readers of numbers disagree about."""

_KINDS = {bool: "boolean", int: "integer", float: "number", str: "string"}
_LEFT_OUT_IF_EMPTY = {
    OTHER_GROUPS,
    "mutes",
    "task",
    "target",
    "targets",
    "abnormal_tasks",
    "abnormal_tasks_note",
    "stopped_tasks",
    "stopped_tasks_note",
}
_TEXTS = {
    "/": "The verdict.",
    "/health": "The verdict, as on /.",
    "/live": "Whether the process is up; touches nothing and answers at once.",
    "/ready": "Whether the settings are valid and the credentials were read; 200 from then on.",
    "/metrics": "The verdict for Prometheus: 200 for every status.",
    "/badge.svg": "The verdict as a badge: 200 for every status.",
    "/openapi.json": "This document.",
    "/status": "The verdict as a page for people: 200 for every status.",
    "/status/details": "The same with details. It asks for a key if FDI_CALLERS is set.",
}
_SECURITY: list[dict[str, list[str]]] = [{}, {"key": []}, {"bearer": []}, {"basic": []}]
"""A key is optional, unless FDI_ANONYMOUS=refuse."""


def document() -> bytes:
    """Return the document as JSON, a line for each value so that changes can be reviewed."""
    plugin = MarshmallowPlugin(schema_name_resolver=lambda schema: type(schema).__name__.removesuffix("Schema"))
    spec = APISpec("fdi-health", __version__, "3.1.0", info=_INFO, plugins=[plugin])
    plugin.converter.add_attribute_function(_exact_types)  # type: ignore[union-attr] # there is one once the spec is made
    for name, scheme in _SCHEMES.items():
        spec.components.security_scheme(name, scheme)
    for schema in (verdict.DetailedVerdict, verdict.AnonymousVerdict, problem.ProblemSchema, problem.ReadinessSchema):
        spec.components.schema(schema.__name__.removesuffix("Schema"), schema=schema())
    for path, route in ROUTES.items():
        spec.path(path, operations={method.lower(): _operation(path, method) for method in (*route.methods, "OPTIONS")})
    made = spec.to_dict()
    made["components"]["examples"] = examples()
    for name, schema in made["components"]["schemas"].items():
        # Every other field is always there; the schemas say so only of those that they also read.
        if name not in ("Problem", "Readiness"):
            schema["required"] = sorted(schema["properties"].keys() - _LEFT_OUT_IF_EMPTY)
    text = json.dumps(made, indent=1, separators=(",", ":"))
    # Escaped, which means the same to readers of JSON: a keyword checker on this path must not see a healthy verdict.
    return f"{text}\n".replace("FDI-OK", r"FDI\u002dOK").encode("ascii")


_INFO = {
    "description": "Are the data-integration tasks of my ROMA Connect instances healthy? One verdict: healthy and "
    "degraded are 200, unhealthy and unknown 503, unless fail_on says otherwise. Keyword checkers look for FDI-OK: it "
    "stands in a healthy or degraded verdict if no instance has a status that fail_on lists, and so never in a 503.",
    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
}
_SCHEMES = {
    "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
    "bearer": {"type": "http", "scheme": "bearer"},
    "basic": {"type": "http", "scheme": "basic"},
}


def _exact_types(_converter: Any, field: Any, **_: Any) -> dict[str, Any]:
    """Return what marshmallow's plugin can't know of our own fields."""
    found: dict[str, Any] = {}
    if isinstance(field, exact_fields.Exactly):
        kind = _KINDS[field.kind]
        found["type"] = [kind, "null"] if field.allow_none else kind
        if field.smallest is not None:
            found["minimum"] = field.smallest
    elif isinstance(field, exact_fields.Timestamp):
        found |= {"type": ["string", "null"] if field.allow_none else "string", "format": "date-time"}
    elif field.__class__.__name__ == "Function":
        found |= {"type": "integer", "minimum": 0}
    return found


def _operation(path: str, method: str) -> dict[str, Any]:
    name = path.strip("/").replace(".", "_") or "verdict"
    operation: dict[str, Any] = {
        "summary": _TEXTS[path],
        "operationId": f"{method.lower()}_{name}",
        "security": _SECURITY,
        "responses": responses(path, method),
    }
    if method == "OPTIONS":
        return {**operation, "summary": "Which methods there are.", "operationId": f"options_{name}"}
    if path in ("/", "/health", "/metrics", "/badge.svg", *PAGES):
        operation["parameters"] = _parameters(path)
    if method == "POST":
        operation["requestBody"] = {
            "description": "Steers the check if it is a JSON object of nothing but the parameters; else it is ignored.",
            "content": {"*/*": {"schema": {}, "example": {"instance": "payments"}}},
        }
    return operation


_NAME = NAME.pattern.replace(r"\Z", "$")
_TARGET_BEFORE = NAME.pattern.replace(r"\Z", "/") + "/"


def _parameters(path: str) -> list[dict[str, Any]]:
    names = {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": f"^{_NAME}$"}}
    labels = {**names, "items": {"type": "string", "pattern": f"^({_TARGET_BEFORE})?{_NAME}$"}}
    statuses = {"type": "array", "minItems": 1, "items": {"type": "string", "enum": list(FAILING_STATUSES)}}
    found: dict[str, tuple[str, dict[str, Any]]] = {
        "instance": (
            "Which instances, by alias or ID, with target and slash before it or not; all by default.",
            labels,
        ),
        "target": ("Which targets of FDI_CONFIG; all by default.", names),
        "deadline": (
            "Seconds, e.g. 1.5; may only shorten FDI_DEADLINE_SECONDS.",
            {"type": "string", "pattern": _SECONDS},
        ),
        "format": ("The form of the answer.", {"type": "string", "enum": list(forms(path))}),
    }
    if path in PAGES:
        del found["format"]
    if path in ("/", "/health", *PAGES):
        text = "Which statuses fail: 503 and no FDI-OK if any instance asked has one of them. A list, or none at all; "
        text += "unhealthy and unknown by default. healthy is for fire drills and fails every check."
        found["fail_on"] = text, {"oneOf": [statuses, {"const": "none"}]}
        text = (
            f"How many abnormal tasks of each instance are named, for callers who see details; {DEFAULT_NAMED_TASKS} "
        )
        text += f"by default, all is {MAX_NAMED_TASKS}."
        numbers = [str(number) for number in range(1, MAX_NAMED_TASKS + 1)]
        found["explain"] = text, {"type": "string", "enum": ["none", "all", *numbers]}
    return [
        {"name": name, "in": "query", "description": text, "style": "form", "explode": False, "schema": schema}
        for name, (text, schema) in found.items()
    ]


if __name__ == "__main__":
    (ROOT / "handlers" / "openapi.json").write_bytes(document())
