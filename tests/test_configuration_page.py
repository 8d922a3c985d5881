"""docs/configuration.md shows every field of a document of several targets, with an example that loads."""

from __future__ import annotations

import re
import runpy

import pytest

from fdi_health.secret_stores import parse_secret_url
from schemas.config_document import load
from schemas.config_document.schema import PolicySchema, TargetSchema
from tests.servers import ROOT

BUILDER = runpy.run_path(str(ROOT / "docs" / "build_configuration.py"))
PAGE = (ROOT / "docs" / "configuration.md").read_text()
PRESENT = 1_796_083_200.0
"""2026-12-01."""


def test_page__is_what_the_schemas_say() -> None:
    assert BUILDER["page"]() == PAGE


def test_complete_example__loads_and_has_every_field() -> None:
    example = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    targets = load(example[1].encode(), PRESENT)
    assert [(target.name, target.discovers) for target in targets] == [("emea", False), ("apac", True)]
    assert [parse_secret_url(target.token).scheme for target in targets] == ["file", "hashivault"]
    fields = [*TargetSchema().fields.values(), *PolicySchema().fields.values()]
    assert not [
        field.data_key or field.name for field in fields if f" {field.data_key or field.name}:" not in example[1]
    ]


@pytest.mark.parametrize(
    ("name", "example"), [(name, field.metadata["example"]) for name, field in TargetSchema().fields.items()]
)
def test_example_of_a_field__loads(name: str, example: str) -> None:
    name = "exclude" if name == "excluded" else name
    fields = {"name": "emea", "region": "cn-north-4", "project_id": "p", "token": "env://T"}
    fields["instances"] = '"*"' if name in {"exclude", "min_instances"} else "{payments: id-1, sandbox: id-2}"
    fields[name] = example
    lines = "\n    ".join(f"{field}: {value}" for field, value in fields.items())
    assert len(load(f"targets:\n  - {lines}\n".encode(), PRESENT)) == 1


@pytest.mark.parametrize(
    ("name", "example"), [(name, field.metadata["example"]) for name, field in PolicySchema().fields.items()]
)
def test_example_of_a_policy_field__loads(name: str, example: str) -> None:
    policy = f"{{a: {{{name}: {example}}}}}"
    fields = f"{{name: emea, region: cn-north-4, project_id: p, token: env://T, instances: [a], policy: {policy}}}"
    assert len(load(f"targets:\n  - {fields}\n".encode(), PRESENT)) == 1
