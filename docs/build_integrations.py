"""Writes a page for each recipe in docs/integrations/*.yaml, and their index: `make docs`.

A recipe holds a caller's request, its authentication, its success condition, its limits, our advice, and how to be
paged for a degraded fleet. The tests run the same file against real responses, so that no page recommends a check that
never fails.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "integrations"

RIGHTS_LOST = (
    "If the IAM user loses its rights, ROMA Connect counts zero tasks. No task is abnormal then, so the verdict is "
    "`degraded` with status 200."
)
SECOND_URL = "The default URL does not alert for it. This URL answers 503 for it:"
ALSO_PAGES_FOR = (
    "It also answers 503 for a token that expires soon, and for everything that the default URL answers 503 for."
)
KEYWORD_DEFAULT = (
    "Do not set `fail_on` in a monitor that looks for `FDI-OK`. The marker is `FDI-NOT-OK` for every fleet that is not "
    "healthy, also where a narrower `fail_on` answers 200. To page different teams, use monitors that look at the "
    "status only, each with its own `instance=` (see [Teams](README.md#teams))."
)
STATUS_TEAMS = "Each team can have its own monitor with its own `instance=` (see [Teams](README.md#teams))."
OPTIONS = (
    "Use GET. OPTIONS is answered with 204 for every state of the fleet, so a check that sends OPTIONS never tells "
    "healthy from unhealthy."
)
ROUTING = (
    "If this balancer routes requests **to** fdi-health, check `GET /ready` with status 200 there. With `/` it would "
    "remove fdi-health while a task is abnormal, and you could not read the verdict."
)

INDEX = """\
# Integrations: checkers, balancers, schedulers and monitoring

Each page is generated from a data file that the tests run. The tests send its request. They check that a
healthy response meets its success condition and a failing one does not.

| Caller | Request | Success condition | To be paged for degraded |
|---|---|---|---|
{rows}

## Page for degraded

{rights_lost}

```
GET /?fail_on=unhealthy,unknown,degraded
```

{also_pages_for} Keep the default monitor as well: it tells an abnormal task from a warning.

If an instance may have no tasks, name it in `FDI_ALLOW_EMPTY`. Then it is healthy without tasks.

## Teams

Use one monitor per team. It looks at the **status** and names the team's instances:

| Team | URL | 503 if |
|---|---|---|
| owner of `payments` | `/?instance=payments&fail_on=unhealthy` | a task of `payments` is abnormal |
| owner of `orders`, `crm` | `/?instance=orders,crm&fail_on=unhealthy` | a task of one of them is abnormal |
| platform team | `/?fail_on=unknown` | any instance gives no valid response |
| platform team | `/?fail_on=unknown,degraded` | the same, or an instance has a warning |

`fail_on` looks at every instance asked: an unhealthy instance does not hide an unknown one.

{keyword_default}

## Balancers

{options}

{routing} [Kubernetes probes](kubernetes-probes.md) do the same.

HAProxy and Envoy run in the tests, against a real function. The pages of Consul, AWS and Azure are checked against the
rules in their documents, without running those programs.

## Paging services

PagerDuty, Opsgenie and the like do not ask a URL. Let one of the callers above tell them: Alertmanager, with the
recipe in [monitoring.md](../monitoring.md), or a checker such as Gatus, Datadog or UptimeRobot, with its own connection
to the service.
"""


def recipes() -> dict[str, dict[str, Any]]:
    """Return every recipe, by the name of its file."""
    return {path.stem: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))}


def page(name: str, recipe: dict[str, Any]) -> str:
    """Return a recipe's page."""
    request = recipe["request"]
    headers = "".join(f"\n{header}: {value}" for header, value in request.get("headers", {}).items())
    body = f"\n\n{request['body']}" if request.get("body") else ""
    fails_on = recipe.get("fails_on", ["unhealthy", "unknown", "broken settings"])
    parts = [
        f"# {recipe['title']}",
        recipe["summary"],
        "## Set-up",
        _code(recipe["steps"]),
        "## Request",
        _code(f"{request['method']} {request['path']}{headers}{body}"),
        f"Authentication: {recipe['authentication']}. A [key](../secrets.md#keys-for-callers) opens the details.",
        "## Success condition",
        f"{_sentence(success_condition(recipe['matches']))}. It fails on: {', '.join(fails_on)}.",
        *_degraded(recipe),
        "## Teams",
        recipe.get("teams", KEYWORD_DEFAULT if looks_for_marker(recipe["matches"]) else STATUS_TEAMS),
    ]
    if recipe.get("balancer"):
        parts += ["## GET, not OPTIONS", OPTIONS, ROUTING]
    for title, items in (("Limits", recipe["limits"]), ("Advice", recipe["advice"])):
        if items:
            parts += [f"## {title}", "\n".join(f"- {item}" for item in items)]
    parts += ["Sources: " + ", ".join(f"<{source}>" for source in recipe["sources"]) + "."]
    parts += [
        f"*Generated from [{name}.yaml]({name}.yaml), which the tests run against healthy and failing responses.*"
    ]
    return "\n\n".join(parts) + "\n"


def success_condition(matches: dict[str, Any]) -> str:
    """Return what a caller looks for, as a clause."""
    low, high = matches["status"]
    wants = [f"the status is {low}" if low == high else f"the status is {low} to {high}"]
    if "keyword" in matches:
        within = f" within its first {matches['first_bytes']:,} bytes" if "first_bytes" in matches else ""
        wants.append(f"the body contains `{matches['keyword']}`{within}")
    for path, value in matches.get("json", {}).items():
        wants.append(f"`{path}` in the body is `{value}`")
    if "header" in matches:
        wants.append(f"the header `{matches['header']}` is present")
    if "sample" in matches:
        sample = matches["sample"]
        labels = ", ".join(f'{label}="{value}"' for label, value in sample.get("labels", {}).items())
        wants.append(f"the sample `{sample['name']}{f'{{{labels}}}' if labels else ''}` is {sample['value']}")
    return " and ".join(wants)


def looks_for_marker(matches: dict[str, Any]) -> bool:
    """Return whether a caller looks for the marker, rather than for the status alone."""
    return "FDI-OK" in matches.get("keyword", "") or "FDI-OK" in matches.get("json", {}).values()


def _degraded(recipe: dict[str, Any]) -> list[str]:
    degraded = recipe["degraded"]
    parts = ["## Page for degraded"]
    if degraded["path"] == recipe["request"]["path"]:
        parts += [RIGHTS_LOST, degraded["how"]]
    else:
        url = _code(f"{recipe['request']['method']} {degraded['path']}")
        parts += [f"{RIGHTS_LOST} {SECOND_URL}", url, ALSO_PAGES_FOR, degraded["how"]]
    if "steps" in degraded:
        parts.append(_code(degraded["steps"]))
    return [*parts, f"Success condition: {success_condition(degraded['matches'])}."]


def _code(text: str) -> str:
    return f"```\n{text.rstrip()}\n```"


def _sentence(clause: str) -> str:
    # Not str.capitalize: that would turn all other letters into small ones, and keywords are matched by case.
    return f"{clause[0].upper()}{clause[1:]}"


def index(found: dict[str, dict[str, Any]]) -> str:
    """Return the page that lists the others."""
    rows = []
    for name, recipe in found.items():
        request, degraded = recipe["request"], recipe["degraded"]
        asks = f"`{request['method']} {request['path']}`"
        second = degraded["path"] if degraded["path"] != request["path"] else "the rules FdiDegraded and FdiRightsLost"
        if "/" in second:
            second = f"`{second}`"
        rows.append(f"| [{recipe['title']}]({name}.md) | {asks} | {success_condition(recipe['matches'])} | {second} |")
    return INDEX.format(
        rows="\n".join(rows),
        rights_lost=f"{RIGHTS_LOST} {SECOND_URL}",
        also_pages_for=ALSO_PAGES_FOR,
        keyword_default=KEYWORD_DEFAULT.replace(" (see [Teams](README.md#teams))", ""),
        options=OPTIONS,
        routing=ROUTING,
    )


def pages() -> dict[Path, str]:
    """Return every page by the place where it belongs."""
    found = recipes()
    return {FOLDER / "README.md": index(found)} | {
        FOLDER / f"{name}.md": page(name, recipe) for name, recipe in found.items()
    }


if __name__ == "__main__":
    for place, text in pages().items():
        place.write_text(text)
    sys.exit(0)
