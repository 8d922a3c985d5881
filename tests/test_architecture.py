"""Rules for the repository itself: names, sizes, pins, and pages that must list something."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from werkzeug.test import Client

import main
from handlers.routes import ROUTES
from tests.conftest import ALONE, FIRST, REPETITIVE, SLOW, WAITING
from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRODUCT = ("handlers", "schemas", "fdi_health")
MAX_MODULES_PER_FOLDER = 15
MAX_LINES_PER_MODULE = 250


def top_level_names() -> list[str]:
    modules = [path.stem for path in ROOT.glob("*.py")]
    packages = [path.parent.name for path in ROOT.glob("*/__init__.py")]
    return sorted(modules + packages)


def product_modules() -> list[Path]:
    return [path for folder in PRODUCT for path in (ROOT / folder).rglob("*.py")]


def test_top_level_names__differ_from_those_of_installed_distributions() -> None:
    # Site-packages come before a function's own folder on some platforms, and on Lambda the two are merged.
    taken = importlib.metadata.packages_distributions()
    assert {"main", *PRODUCT, "simulator", "tests"} <= set(top_level_names())
    assert {name: taken[name] for name in top_level_names() if name in taken} == {}


def test_product_folders__hold_at_most_15_modules() -> None:
    modules = Counter(path.parent for path in product_modules() if path.name != "__init__.py")
    assert modules
    assert {str(folder): count for folder, count in modules.items() if count > MAX_MODULES_PER_FOLDER} == {}


def test_product_modules__have_at_most_250_lines() -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in product_modules()}
    assert {module: count for module, count in lines.items() if count > MAX_LINES_PER_MODULE} == {}


def test_slow_tests__exist() -> None:
    assert [path for path in SLOW if not (ROOT / path).exists()] == []


def test_tests_with_an_order_a_core_or_a_marker__exist() -> None:
    listed = (*FIRST, *WAITING, *ALONE, *REPETITIVE)
    assert [name for name in listed if not any(ROOT.glob(f"{name.partition('::')[0]}*"))] == []


def test_paths__do_not_end_in_z_because_cloud_run_reserves_those() -> None:  # C63
    assert not [path for path in ROUTES if path.endswith("z")]
    documents = [ROOT / name for name in ("README.md", "serverless.yml", ".env.example")]
    documents += sorted((ROOT / "docs").rglob("*.md"))
    assert not [str(document) for document in documents if re.search(r"(?<![\w.])/[a-z]+z\b", _without_links(document))]


def _without_links(document: Path) -> str:
    return re.sub(r"https?://\S+", "", document.read_text())


def test_requirements__pin_and_hash_every_direct_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for names, file in (
        (project["dependencies"], "requirements.txt"),
        *((project["optional-dependencies"][extra], "requirements-dev.txt") for extra in ("dev", "azure", "vault")),
    ):
        text = (ROOT / file).read_text()
        for name in names:
            pinned = rf"^{re.escape(name.partition(';')[0])}==[^\n]*\\\n    --hash=sha256:"
            assert re.search(pinned, text, re.MULTILINE), (name, file)
        assert "://" not in text


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_with_extras__are_pinned_with_the_same_extras(file: str) -> None:
    # Beside a pinned `coverage`, pip 23.2 takes the newest `coverage[toml]`, then refuses it because it has no hash.
    pins = dict(re.findall(r"^([a-z0-9.-]+)(?:\[([a-z0-9,-]+)\])?==", (ROOT / file).read_text(), re.MULTILINE))
    wanted_with_extras = {
        (canonicalize_name(wanted.name), extra)
        for package, extras in pins.items()
        for wanted in _requirements_of(package, ["", *extras.split(",")])
        for extra in wanted.extras
    }
    assert wanted_with_extras
    assert not [(name, extra) for name, extra in wanted_with_extras if extra not in pins[name].split(",")]


def _requirements_of(package: str, extras: list[str]) -> Iterator[Requirement]:
    try:
        requirements = importlib.metadata.requires(package) or []
    except importlib.metadata.PackageNotFoundError:  # it is for another platform
        return
    for text in requirements:
        wanted = Requirement(text)
        if wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in extras):
            yield wanted


def test_readme__names_each_direct_dependency() -> None:
    readme = (ROOT / "README.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not [name for name in project["dependencies"] if f"`{name}`" not in readme]


def test_settings__are_each_in_the_example_environment() -> None:
    from schemas.settings import SettingsSchema

    example = (ROOT / ".env.example").read_text()
    for field in SettingsSchema().fields.values():
        assert str(field.data_key) in example


def test_main__is_a_wsgi_application_and_sets_threads() -> None:
    assert Client(main.app).get("/live").status_code == 200
    assert os.environ["THREADS"]


def test_robots_and_favicon__are_404_over_wsgi() -> None:  # C62
    for path in ("/robots.txt", "/favicon.ico"):
        assert Client(main.app).get(path).status_code == 404


def test_process_with_one_secret_store__imports_no_other_store_and_no_library_of_one() -> None:
    program = (
        "import sys, main\n"
        "from fdi_health.service import Service\n"
        "Service.open({'FDI_REGION': 'cn-north-4', 'FDI_PROJECT_ID': 'p', 'FDI_INSTANCES': 'a', 'FDI_TOKEN': 'env://T'})\n"
        "libraries = {'boto3', 'botocore', 'azure', 'msal', 'hvac', 'grpc', 'google.auth'}\n"
        "print(*sorted(libraries & set(sys.modules)))\n"
        "print(*sorted(name for name in sys.modules if name.startswith('fdi_health.secret_stores.')))\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)  # noqa: S603 -- our own program
    libraries, stores = done.stdout.splitlines()
    assert libraries == ""
    assert stores.split() == [
        "fdi_health.secret_stores.environment",
        "fdi_health.secret_stores.huawei",
        "fdi_health.secret_stores.huawei.invocation",  # holds the platform's context, and imports nothing
    ]


@pytest.mark.parametrize(("before", "after"), [("enable", "True"), ("disable", "False")])
def test_main__imported__collects_garbage_as_before(before: str, after: str) -> None:
    program = f"import gc; gc.{before}(); import main; print(gc.isenabled(), gc.get_freeze_count() > 10_000)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)  # noqa: S603 -- our own program
    assert done.stdout.split() == [after, "True"]
