"""docs/threat-model.md says what each path shows to each caller, read off real responses."""

from __future__ import annotations

import re
import runpy

import pytest

from handlers.routes import ROUTES
from tests.servers import ROOT

BUILDER = runpy.run_path(str(ROOT / "docs" / "build_disclosure.py"))


@pytest.fixture(scope="module")
def columns() -> dict[str, list[str]]:
    """Return who asks → what each path shows."""
    header, _, *rows = [re.split(r" *\| *", line.strip("| \n")) for line in BUILDER["table"]().splitlines()]
    return {who: [row[at] for row in rows] for at, who in enumerate(header)}


def test_page__is_what_the_responses_show(columns: dict[str, list[str]]) -> None:
    written = BUILDER["TABLE"].search((ROOT / "docs" / "threat-model.md").read_text())
    assert written is not None
    assert written[0] == BUILDER["table"]()


def test_page__has_every_path() -> None:
    asked = {path.partition("?")[0] for path in BUILDER["REQUESTS"].values()}
    assert asked == set(ROUTES) - {"/health"}


def test_callers_without_a_key__see_no_details(columns: dict[str, list[str]]) -> None:
    assert set(columns["nobody"]) | set(columns["nobody, `refuse`"]) == {"nothing", "401"}


def test_key_for_a_target__sees_nothing_of_others(columns: dict[str, list[str]]) -> None:
    assert not [shown for shown in columns["a key for `nordic`"] if "others" in shown]


def test_remarks__are_shown_only_to_a_key_that_allows_them(columns: dict[str, list[str]]) -> None:
    assert {who for who, shown in columns.items() if "remarks" in " ".join(shown) and who != "Path"} == {
        "a key with `remarks`"
    }
