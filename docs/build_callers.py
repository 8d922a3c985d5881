"""Writes a page for each recipe in docs/callers/*.yaml, and their index: `make docs`.

A recipe holds a caller's request, how it can authenticate, what it looks for, its limits and our advice. The same file
is what the tests run against real answers, so that no page can recommend a check that never fails.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "callers"


def recipes() -> dict[str, dict[str, Any]]:
    """Return every recipe, by the name of its file."""
    return {path.stem: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))}


def page(name: str, recipe: dict[str, Any]) -> str:
    """Return a recipe's page."""
    request, matches = recipe["request"], recipe["matches"]
    headers = "".join(f"\n{header}: {value}" for header, value in request.get("headers", {}).items())
    body = f"\n\n{request['body']}" if request.get("body") else ""
    parts = [
        f"# {recipe['title']}",
        recipe["summary"],
        "## Set up",
        f"```\n{recipe['steps'].rstrip()}\n```",
        "## What it sends",
        f"```\n{request['method']} {request['path']}{headers}{body}\n```",
        f"Authentication: {recipe['authentication']}. [Keys](../secrets.md#keys-for-callers) open the details.",
        "## When it is content",
        _matches(matches, recipe),
    ]
    for title, items in (("Limits", recipe["limits"]), ("Advice", recipe["advice"])):
        if items:
            parts += [f"## {title}", "\n".join(f"- {item}" for item in items)]
    parts += ["Sources: " + ", ".join(f"<{source}>" for source in recipe["sources"]) + "."]
    parts += [f"*Made from [{name}.yaml]({name}.yaml), which the tests run against healthy and failing answers.*"]
    return "\n\n".join(parts) + "\n"


def _matches(matches: dict[str, Any], recipe: dict[str, Any]) -> str:
    low, high = matches["status"]
    wants = [f"the status is {low}" if low == high else f"the status is {low} to {high}"]
    if "keyword" in matches:
        within = f" within the first {matches['first_bytes']:,} bytes" if "first_bytes" in matches else ""
        wants.append(f"the body holds `{matches['keyword']}`{within}")
    for path, value in matches.get("json", {}).items():
        wants.append(f"`{path}` in the body is `{value}`")
    if "sample" in matches:
        wants.append(f"the sample `{matches['sample']['name']}` is {matches['sample']['value']}")
    fails_on = recipe.get("fails_on", ["unhealthy", "unknown", "broken settings"])
    # Not str.capitalize, which would make all the rest small: keywords are matched by case.
    wanted = " and ".join(wants)
    return f"{wanted[0].upper()}{wanted[1:]}. It fails on: {', '.join(fails_on)}."


def index(found: dict[str, dict[str, Any]]) -> str:
    """Return the page that lists the others."""
    rows = [f"| [{recipe['title']}]({name}.md) | {recipe['summary']} |" for name, recipe in found.items()]
    return "\n".join(
        [
            "# Who asks: recipes for checkers, schedulers and monitoring",
            "",
            "Each page is made from a data file that the tests run: its request is sent, and what it looks for has to",
            "be there in a healthy answer and missing in every failing one.",
            "",
            "| Caller | |",
            "|---|---|",
            *rows,
            "",
        ]
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
