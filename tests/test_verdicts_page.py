"""docs/verdicts.md shows every status, warning and code, each from a real run."""

from __future__ import annotations

import re
import runpy
from typing import Any

import pytest

from fdi_health.errors import NEXT_STEPS
from fdi_health.models import WORST_FIRST
from tests.servers import ROOT

BUILDER = runpy.run_path(str(ROOT / "docs" / "build_verdicts.py"))


def test_page__is_what_the_runs_say() -> None:
    assert (ROOT / "docs" / "verdicts.md").read_text() == BUILDER["page"]()


def test_page__has_every_status_and_code() -> None:
    assert {entry.title for entry in BUILDER["STATUSES"]} == set(WORST_FIRST)
    assert {entry.title for entry in BUILDER["CODES"]} == set(NEXT_STEPS)


@pytest.mark.parametrize("entry", BUILDER["CODES"], ids=lambda entry: entry.title)
def test_example__of_a_code__names_it(entry: Any) -> None:
    assert f"({entry.title}" in BUILDER["example"](entry)


@pytest.mark.parametrize("entry", BUILDER["WARNINGS"], ids=lambda entry: entry.title)
def test_example__of_a_warning__is_degraded(entry: Any) -> None:
    assert BUILDER["example"](entry).startswith("FDI-OK degraded: ")


def test_alert_rules__link_to_headings_of_the_page() -> None:
    rules = (ROOT / "deploy" / "monitoring" / "rules.yml").read_text()
    headings = {line.lstrip("# ").lower() for line in BUILDER["page"]().splitlines() if line.startswith("#")}
    linked = set(re.findall(r"runbook: docs/verdicts\.md#(\w+)", rules))
    assert len(linked) == 6
    assert linked <= headings
