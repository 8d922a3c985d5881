"""Writes docs/cases.md from the case markers in the tests (`# C17`): which test is about which fault; `make docs`."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
MARKER = re.compile(r"\b(?:C\d{2,3}|[DEGHT]\d{2})\b")


def cases() -> dict[str, dict[str, Any]]:
    """Return kind → id → title, or a mapping of title and the reason why there is no test."""
    found: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docs" / "cases.yaml").read_text())
    return found


def tests() -> dict[str, list[str]]:
    """Return id → the tests, or the tables of tests, that name it."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        text = path.read_text()
        if not MARKER.search(text):
            continue
        spans = [
            (min([node.lineno, *(made.lineno for made in node.decorator_list)]), node.end_lineno or 0, node.name)
            for node in _definitions(ast.parse(text))
        ]
        for number, line in enumerate(text.splitlines(), 1):
            comment = line.partition("#")[2] if '"""' not in line else line
            for case in MARKER.findall(comment):
                within = [span for span in spans if span[0] <= number <= span[1]]
                # The innermost one; a marker outside of all belongs to a table that tests are made from.
                name = max(within)[2] if within else ""
                place = str(path.relative_to(ROOT)) + (f"::{name}" if name else "")
                if place not in found.setdefault(case, []):
                    found[case].append(place)
    return found


def _definitions(parent: ast.Module | ast.ClassDef) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Return the functions and classes at the top of a module, and those inside its classes."""
    for node in parent.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node
        if isinstance(node, ast.ClassDef):
            yield from _definitions(node)


def page() -> str:
    """Return the page."""
    held = tests()
    lines = [
        "# Cases: faults of other systems, and the tests for them",
        "",
        "Each row is a fault that a health endpoint, an HTTP client or a cloud function really had.",
        "This page is generated from the markers in the tests and from [cases.yaml](cases.yaml).",
    ]
    for kind, found in cases().items():
        lines += ["", f"## {kind.capitalize()}", "", "| Case | What went wrong | Tested by |", "|---|---|---|"]
        for case, about in found.items():
            title = about["title"] if isinstance(about, dict) else about
            places = "<br>".join(f"`{place}`" for place in held.get(case, []))
            lines.append(f"| {case} | {title} | {places or 'no test: ' + about['not_here']} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "cases.md").write_text(page())
