"""What a process makes at its first use and keeps. It is made anew here, since other tests may find it already made."""

import importlib
import pkgutil
from typing import Any

import pytest

import fdi_health
import handlers
import schemas
from fdi_health import redaction
from fdi_health.secret_stores.aws import client
from handlers import status_page
from schemas import verdict

FIRST_USES: list[tuple[Any, tuple[Any, ...]]] = [
    (client._description_loader, ()),
    (redaction._index, ("a secret",)),
    (status_page._style, ()),
    (status_page._style_hash, ()),
    (status_page._template, ()),
    (verdict._schema, (verdict.DetailedVerdict,)),
]
"""Every cached function of the product, with arguments for it."""


@pytest.mark.parametrize(("cached", "arguments"), FIRST_USES, ids=lambda value: getattr(value, "__name__", ""))
def test_cached_function__first_use__returns_what_later_uses_get(cached: Any, arguments: tuple[Any, ...]) -> None:
    cached.cache_clear()

    assert cached(*arguments) is cached(*arguments)


def test_cached_functions__are_all_in_the_table() -> None:
    names = (
        module.name
        for package in (fdi_health, handlers, schemas)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not module.name.endswith("__main__")
    )
    values = [(name, value) for name in names for value in vars(importlib.import_module(name)).values()]

    cached = {value for name, value in values if hasattr(value, "cache_clear") and value.__module__ == name}
    assert cached == {cached for cached, _ in FIRST_USES}
