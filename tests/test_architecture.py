"""What must be true of the tree itself."""

from __future__ import annotations

import importlib.metadata
import os
import re
import tomllib
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from werkzeug.test import Client

import main
from handlers.routes import ROUTES
from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OURS = ("main", "handlers", "schemas", "fdi_health", "simulator")


def test_top_level_names__are_taken_by_no_installed_distribution() -> None:
    # Site-packages win over a function's own folder, and on Lambda the two are merged.
    taken = importlib.metadata.packages_distributions()
    assert {name: taken[name] for name in OURS if name in taken} == {}


def test_paths__end_in_no_z_and_nothing_advertises_healthz() -> None:  # C63
    assert not [path for path in ROUTES if path.endswith("z")]
    papers = [ROOT / name for name in ("README.md", "serverless.yml", ".env.example")]
    papers += sorted((ROOT / "docs").rglob("*.md"))
    assert not [str(paper) for paper in papers if re.search(r"(?<![\w.])/[a-z]+z\b", _without_links(paper))]


def _without_links(paper: Path) -> str:
    return re.sub(r"https?://\S+", "", paper.read_text())


def test_requirements__pin_and_hash_every_direct_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for names, file in (
        (project["dependencies"], "requirements.txt"),
        (project["optional-dependencies"]["dev"], "requirements-dev.txt"),
    ):
        text = (ROOT / file).read_text()
        for name in names:
            pinned = rf"^{re.escape(name)}==[^\n]*\\\n    --hash=sha256:"
            assert re.search(pinned, text, re.MULTILINE), (name, file)
        assert "://" not in text


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_requirements__pin_what_is_asked_for_with_extras_by_that_name(file: str) -> None:
    # pip 23.2 takes the newest `coverage[toml]` beside a pinned `coverage`, and refuses it for want of a hash.
    pins = dict(re.findall(r"^([a-z0-9.-]+)(?:\[([a-z0-9,-]+)\])?==", (ROOT / file).read_text(), re.MULTILINE))
    asked = {
        (canonicalize_name(wanted.name), extra)
        for package, extras in pins.items()
        for wanted in _wanted_by(package, ["", *extras.split(",")])
        for extra in wanted.extras
    }
    assert asked
    assert not [(name, extra) for name, extra in asked if extra not in pins[name].split(",")]


def _wanted_by(package: str, extras: list[str]) -> Iterator[Requirement]:
    try:
        requirements = importlib.metadata.requires(package) or []
    except importlib.metadata.PackageNotFoundError:  # it is for another platform
        return
    for text in requirements:
        wanted = Requirement(text)
        if wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in extras):
            yield wanted


def test_readme__says_why_each_direct_dependency_is_there() -> None:
    readme = (ROOT / "README.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not [name for name in project["dependencies"] if f"`{name}`" not in readme]


def test_example_environment__lists_every_setting() -> None:
    from schemas.settings import SettingsSchema

    example, readme = (ROOT / ".env.example").read_text(), (ROOT / "README.md").read_text()
    for field in SettingsSchema().fields.values():
        assert str(field.data_key) in example
        assert f"`{field.data_key}`" in readme


def test_main__answers_wsgi_and_reserves_threads() -> None:
    assert Client(main.app).get("/live").status_code == 200
    assert os.environ["THREADS"]


def test_robots_and_favicon__are_404_over_wsgi() -> None:  # C62
    for path in ("/robots.txt", "/favicon.ico"):
        assert Client(main.app).get(path).status_code == 404
