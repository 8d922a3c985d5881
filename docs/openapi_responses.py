"""The responses in handlers/openapi.json: status, headers and content of every path."""

from __future__ import annotations

from typing import Any

from fdi_health.formats import FORMATS, METRICS
from handlers import status_page
from handlers.authentication import CHALLENGE
from handlers.problems import PROBLEMS, RETRY_AFTER_SECONDS
from schemas.verdict_invariants import STATUSES

PAGES = ("/status", "/status/details")
"""The pages for people."""

_PROBLEM = "application/problem+json"
_NO_STORE = {
    "Cache-Control": {"schema": {"const": "no-store"}},
    "Vary": {"schema": {"type": "string"}},
    "X-Content-Type-Options": {"schema": {"const": "nosniff"}},
}
_RETRY_AFTER = {"Retry-After": {"description": "With overloaded.", "schema": {"const": RETRY_AFTER_SECONDS}}}
_VERDICT_HEADER = {"FDI-Verdict": {"description": "The status.", "schema": {"enum": list(STATUSES)}}}


def responses(path: str, method: str) -> dict[str, Any]:
    """Return status → response of an operation."""
    if method == "OPTIONS":
        headers: dict[str, Any] = {**_NO_STORE, "Allow": {"schema": {"type": "string"}}}
        if path in ("/", "/health"):
            text = "For a sender of CloudEvents that asks with WebHook-Request-Origin."
            hook = {"required": False, "description": text, "schema": {"type": "string"}}
            headers |= {"WebHook-Allowed-Origin": hook, "WebHook-Allowed-Rate": hook}
        return {"204": {"description": "The methods are in Allow.", "headers": headers}}
    if path == "/live":
        return {"200": _json("Up.", {"type": "object", "properties": {"live": {"const": True}}, "required": ["live"]})}
    if path == "/openapi.json":
        return {"200": _json("The document.", {"type": "object"})}
    if path == "/ready":
        ready = {"$ref": "#/components/schemas/Readiness"}
        fault = {"description": "A fault of ours.", "headers": _NO_STORE}
        fault["content"] = {_PROBLEM: _problem_content("internal_error")}
        not_ready = _json("Not ready yet; or overloaded before it was ready.", ready, or_problem=True)
        not_ready["headers"] = {**_NO_STORE, **_RETRY_AFTER}
        return {"200": _json("Ready; faults lists what went wrong since.", ready), "503": not_ready, "500": fault}
    return _page_responses() if path in PAGES else _verdict_responses(path)


def _page_responses() -> dict[str, Any]:
    """Return the responses of a page: HTML for every status."""
    html = {"text/html": {"schema": {"type": "string"}}}
    headers: dict[str, Any] = {
        **_NO_STORE,
        "Content-Security-Policy": {"schema": {"type": "string"}},
        "Referrer-Policy": {"schema": {"const": "no-referrer"}},
    }
    refresh = {"Refresh": {"required": False, "schema": {"const": str(status_page.REFRESH_SECONDS)}}}
    found: dict[str, Any] = {
        "200": {"description": "Any verdict.", "headers": {**headers, **refresh, **_VERDICT_HEADER}, "content": html}
    }
    for status, code in {
        "400": "malformed_query",
        "401": "unauthorized",
        "404": "unknown_instance",
        "500": "settings_invalid",
        "503": "overloaded",
    }.items():
        found[status] = {"description": PROBLEMS[code][1] + ".", "headers": headers, "content": html}
    found["401"]["headers"] = {**headers, "WWW-Authenticate": {"schema": {"const": status_page.CHALLENGE}}}
    fault = {"description": "The settings are broken, or a fault of ours as JSON.", "headers": _NO_STORE}
    found["500"] = {**fault, "content": {**html, _PROBLEM: _problem_content("internal_error")}}
    return found


def _verdict_responses(path: str) -> dict[str, Any]:
    names = forms(path)
    headers = {**_NO_STORE, **_VERDICT_HEADER}
    if path == "/badge.svg":
        headers["ETag"] = {"schema": {"type": "string"}}
    found: dict[str, Any] = {
        "200": {
            "description": "Healthy or degraded; any verdict that fail_on lets pass, or in a form that is always 200.",
            "headers": headers,
            "content": _contents(names, "healthy"),
        }
    }
    failing = tuple(name for name in names if FORMATS[name].status is None)
    contents = _contents(failing, "unhealthy")
    # A badge says by itself that it is overloaded, or that its settings are broken.
    is_badge = path == "/badge.svg"
    contents[_PROBLEM] = _problem_content(*["overloaded"] * (not is_badge), "callers_unavailable")
    found["503"] = {
        "description": "An instance is unhealthy or unknown, or has another status that fail_on lists; or a problem, "
        "without FDI-Verdict: overloaded, or no key can be checked.",
        "headers": {
            **_NO_STORE,
            **({} if is_badge else _RETRY_AFTER),
            "FDI-Verdict": {**_VERDICT_HEADER["FDI-Verdict"], "required": False},
        },
        "content": contents,
    }
    for status, codes in {
        "400": ["malformed_query"],
        "401": ["unauthorized"],
        "404": ["unknown_instance"],
        "500": ["settings_invalid"] * (not is_badge) + ["internal_error"],
    }.items():
        found[status] = {
            "description": PROBLEMS[codes[0]][1] + ".",
            "headers": _NO_STORE,
            "content": {_PROBLEM: _problem_content(*codes)},
        }
    found["401"]["headers"] = {**_NO_STORE, "WWW-Authenticate": {"schema": {"const": CHALLENGE}}}
    return found


def _json(text: str, schema: dict[str, Any], *, or_problem: bool = False) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    if or_problem:
        content[_PROBLEM] = _problem_content("overloaded")
    return {"description": text, "headers": _NO_STORE, "content": content}


def _problem_content(*codes: str) -> dict[str, Any]:
    examples = {code: {"$ref": f"#/components/examples/{code}"} for code in codes}
    return {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}


def _contents(names: tuple[str, ...], status: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in names:
        media_type = FORMATS[name].media_type.partition(";")[0]
        content = found.setdefault(media_type, {"schema": _schema_of(media_type), "examples": {}})
        for rights in ("details", "anonymous"):
            example = f"{name}.{status}.{rights}"
            content["examples"][example] = {"$ref": f"#/components/examples/{example}"}
    return found


_SHIELDS = {
    "type": "object",
    "description": "With format=shields.",
    "properties": {
        "schemaVersion": {"const": 1},
        "label": {"type": "string"},
        "message": {"enum": ["healthy", "degraded", "unhealthy", "unknown"]},
        "color": {"type": "string"},
        "isError": {"type": "boolean"},
        "cacheSeconds": {"type": "integer"},
    },
    "required": ["schemaVersion", "label", "message", "color", "isError", "cacheSeconds"],
    "additionalProperties": False,
}


def _schema_of(media_type: str) -> dict[str, Any]:
    if media_type == "application/json":
        kinds = ("DetailedVerdict", "AnonymousVerdict")
        return {"anyOf": [*({"$ref": f"#/components/schemas/{kind}"} for kind in kinds), _SHIELDS]}
    if media_type == "application/health+json":
        statuses = {"enum": ["pass", "warn", "fail"]}
        return {"type": "object", "properties": {"status": statuses}, "required": ["status", "notes"]}
    return {"type": "string"}


def forms(path: str) -> tuple[str, ...]:
    """Return the forms in which a path shows a verdict."""
    return {"/metrics": METRICS, "/badge.svg": ("badge",)}.get(path, tuple(FORMATS))
