"""The pages: examples are valid, links and named tests exist."""

from __future__ import annotations

import json
import re
import runpy
from typing import TYPE_CHECKING, Any

import pytest

from fdi_health.credentials.secret_format import Credentials, parse_secret
from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def policies() -> Iterator[tuple[str, dict[str, Any]]]:
    for page in PAGES:
        for block in re.findall(r"```json\n(.*?)```", page.read_text(), re.DOTALL):
            document = json.loads(block)
            if "Statement" in document:
                yield page.name, document


def test_policies__grant_named_actions_and_no_wildcard() -> None:
    found = list(policies())
    assert len(found) >= 2
    for page, document in found:
        assert "*" not in json.dumps(document), page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_credentials_in_examples__are_valid(page: Any) -> None:
    for block in re.findall(r"\{\"username\"[^}]*\}", page.read_text()):
        if json.loads(block)["password"]:
            assert isinstance(parse_secret(block.encode(), None), Credentials)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links__have_an_existing_target(page: Any) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, (target, sorted(slugs))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_in_pages__exist(page: Any) -> None:
    for path in re.findall(r"`(tests/[\w/]+\.py)", page.read_text()):
        assert (ROOT / path).exists(), path


DEPLOYMENT_PAGES = sorted((ROOT / "docs" / "deploy").glob("*.md"))


@pytest.mark.parametrize("page", DEPLOYMENT_PAGES, ids=lambda page: page.name)
def test_deployment_page__shows_the_url_that_fails_when_degraded(page: Any) -> None:  # G04
    assert "/?fail_on=unhealthy,unknown,degraded" in page.read_text()


@pytest.mark.parametrize("page", DEPLOYMENT_PAGES, ids=lambda page: page.name)
def test_deployment_page__links_to_the_page_on_secrets(page: Any) -> None:  # G02
    # An agency's token needs no login, so the number of processes does not matter there.
    text = page.read_text()
    assert "](../secrets.md" in text
    assert "how many processes are safe" in " ".join(text.split()) or page.name == "functiongraph.md"


def test_cases__each_have_a_test_or_a_reason() -> None:
    builder = runpy.run_path(str(ROOT / "docs" / "build_cases.py"))
    held = builder["tests"]()
    for found in builder["cases"]().values():
        for case, about in found.items():
            assert (case in held) is not isinstance(about, dict), case
    assert (ROOT / "docs" / "cases.md").read_text() == builder["page"](), "run make docs"
