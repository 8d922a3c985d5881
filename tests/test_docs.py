"""What the pages show can be pasted, what they cite exists, and what they list is what the code has."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from fdi_health import __version__
from fdi_health.credentials.secret_format import Credentials, parse_secret
from fdi_health.errors import NEXT_STEPS
from fdi_health.formats import FORMATS
from fdi_health.secret_stores import InvalidSecretUrl, parse_secret_url
from handlers.problems import PROBLEMS
from handlers.routes import ROUTES
from schemas.query import QuerySchema
from schemas.settings import SettingsSchema
from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
CONTRACT = (ROOT / "docs" / "contract.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()


def title(page: Path) -> str:
    return str(page.relative_to(ROOT))


def sources() -> list[Path]:
    """Return the tracked files that people write, without lock files and inputs of tests."""
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607 -- git of the path
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    suffixes = (".py", ".md", ".yaml", ".yml", ".toml", ".cfg", "Makefile", "Dockerfile", "serve", "install")
    return [ROOT / name for name in names if name.endswith(suffixes) and (ROOT / name).is_file()]


def section(page: str, heading: str) -> str:
    """Return the text below a heading, up to the next one of any level."""
    return re.split(r"^#+ ", page.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """Return the cells of the rows of all tables in a text, without their heads."""
    lines = re.sub(r"^\|.*\n\|---.*$", "", text, flags=re.MULTILINE).splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")]


def in_backticks(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


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


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_credentials_in_examples__are_valid(page: Any) -> None:
    for block in re.findall(r"\{\"username\"[^}]*\}", page.read_text()):
        if json.loads(block)["password"]:
            assert isinstance(parse_secret(block.encode(), None), Credentials)


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_link__to_a_file_or_heading__exists(page: Path) -> None:
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


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_path_in_a_page__exists(page: Path) -> None:
    folders = "tests|fdi_health|handlers|schemas|simulator|benchmarks|deploy|docs"
    for path in re.findall(rf"`((?:{folders})/[\w./-]+)`", page.read_text()):
        assert (ROOT / path).exists() or (ROOT / f"{path}.py").exists(), path


def test_module_in_the_architecture__exists() -> None:
    modules = {str(path.relative_to(ROOT)) for path in sources()}
    for name in re.findall(r"(?<![\w/<>.])([a-z_/]+\.py)\b", ARCHITECTURE):
        assert any(f"/{module}".endswith(f"/{name}") for module in modules), name


def test_page_cited_by_code_or_configuration__exists() -> None:
    for path in sources():
        for cited in re.findall(r"(?<![\w/-])docs/[\w/-]+\.(?:md|yaml|py)\b", path.read_text()):
            assert (ROOT / cited).exists(), (title(path), cited)


def test_documents_outside_the_repository__are_not_cited() -> None:
    outside = re.compile(r"\b(?:CONTRACT|ARCHITECTURE|UPSTREAM|DECISIONS|CASES|STYLE|MACHINE|DESIGN)(?:\.md\b| \d)")
    here = ROOT / "tests" / "test_docs.py"
    assert not [title(path) for path in sources() if path != here and outside.search(path.read_text())]


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_page__has_no_phrase_that_the_style_forbids(page: Path) -> None:
    forbidden = (
        r"\b(?:whoever|whatever|whose|what comes of|ways? in\b(?! which)|the house|papers|held by|is none|are none"
        r"|set out)\b"
    )
    assert re.findall(forbidden, page.read_text(), re.IGNORECASE) == []


def test_source__has_no_word_that_the_style_forbids() -> None:
    forbidden = re.compile(r"\b(?:whoever|whatever|whose|meanwhile)\b", re.IGNORECASE)
    here = ROOT / "tests" / "test_docs.py"
    assert not [title(path) for path in sources() if path != here and forbidden.search(path.read_text())]


# docs/contract.md lists what the code has.


def test_error_codes__of_findings__have_their_next_step_in_the_contract() -> None:
    table = section(CONTRACT, "Error codes").partition("<!-- codes of problems")[0]
    assert {in_backticks(code)[0]: next_step for code, _, next_step in rows(table)} == NEXT_STEPS


def test_error_codes__of_problems__have_status_and_title_in_the_contract() -> None:
    table = section(CONTRACT, "Error codes").partition("<!-- codes of problems")[2]
    assert {in_backticks(code)[0]: (int(status), name) for code, status, name, _ in rows(table)} == PROBLEMS


def test_settings__are_those_of_the_contract() -> None:
    listed = [name for row in rows(section(CONTRACT, "Settings")) for name in in_backticks(row[0])]
    settings = {str(field.data_key) for field in SettingsSchema().fields.values()}
    assert {name for name in listed if name.startswith("FDI_")} == settings


def test_paths__are_those_of_the_contract() -> None:
    table = rows(section(CONTRACT, "Paths"))
    listed = {path: tuple(methods.split(", ")) for paths, methods, _ in table for path in in_backticks(paths)}
    assert listed == {path: route.methods for path, route in ROUTES.items()}


def test_parameters__are_those_of_the_contract() -> None:
    listed = {in_backticks(row[0])[0].removesuffix("=") for row in rows(section(CONTRACT, "Parameters"))}
    assert listed == QuerySchema().fields.keys()


def test_formats__are_those_of_the_contract() -> None:
    table = rows(section(CONTRACT, "Formats"))
    listed = {in_backticks(name)[0]: (in_backticks(kind)[0], status) for name, kind, status in table}
    assert listed == {
        name: (form.media_type.removesuffix("; charset=utf-8"), str(form.status or "by verdict"))
        for name, form in FORMATS.items()
    }


def test_secret_urls__are_those_of_the_contract() -> None:
    listed = {parse_secret_url(in_backticks(row[0])[0]).scheme for row in rows(section(CONTRACT, "Secret URLs"))}
    with pytest.raises(InvalidSecretUrl) as unknown:
        parse_secret_url("other://place")
    assert listed == set(re.findall(r"([a-z]+)://(?=,| *, e\.g)", str(unknown.value)))


# docs/architecture.md lists all shared state.

SHARED = section(ARCHITECTURE, "Shared state")
_HOLDS_STATE = re.compile(
    r"threading\.(?:Lock|RLock|Condition|Semaphore|BoundedSemaphore|local)\(|lru_cache\b"
    r"|functools\.cache\b|cached_property\b|^ +global "
    r"|ContextVar\(",
    re.MULTILINE,
)
PRODUCT = [path for path in sources() if title(path).split("/")[0] in ("main.py", "handlers", "schemas", "fdi_health")]


@pytest.mark.parametrize(
    "module", [path for path in PRODUCT if path.suffix == ".py" and _HOLDS_STATE.search(path.read_text())], ids=title
)
def test_module_with_a_lock_or_a_cache__is_in_the_table_of_shared_state(module: Path) -> None:
    classes = re.findall(r"^class (\w+)", module.read_text(), re.MULTILINE)
    names = (module.name, module.stem, *classes)
    assert any(re.search(rf"\b{re.escape(name)}\b", SHARED) for name in names), title(module)


def test_attribute_in_the_table_of_shared_state__exists() -> None:
    code = "\n".join(path.read_text() for path in PRODUCT if path.suffix == ".py")
    attributes = re.findall(r"`([A-Z]\w+)\.(\w+)`", SHARED)
    assert len(attributes) >= 5
    for owner, attribute in attributes:
        body = re.search(rf"^class {owner}\b.*?(?=^class |^def |\Z)", code, re.MULTILINE | re.DOTALL)
        assert body is not None, owner
        assert re.search(rf"\b{attribute}\b", body[0]), (owner, attribute)


DEPLOYMENT_PAGES = sorted((ROOT / "docs" / "deploy").glob("*.md"))


@pytest.mark.parametrize("page", DEPLOYMENT_PAGES, ids=title)
def test_deployment_page__shows_the_url_that_fails_when_degraded(page: Any) -> None:  # G04
    assert "/?fail_on=unhealthy,unknown,degraded" in page.read_text()


@pytest.mark.parametrize("page", DEPLOYMENT_PAGES, ids=title)
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


def test_changelog__newest_release__is_the_version_of_the_source() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    releases = re.findall(r"^## (\d+\.\d+\.\d+) - \d{4}-\d\d-\d\d$", changelog, re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert releases[0] == __version__ == project["version"]
