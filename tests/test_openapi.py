"""The OpenAPI document: it is sound, it names what there is, and what it says is true of every answer."""

from __future__ import annotations

import json
import re
import runpy
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from marshmallow import ValidationError
from openapi_spec_validator import validate
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from werkzeug.test import Client

from fdi_health.formats import FORMATS
from handlers.application import Application
from handlers.problems import PROBLEMS
from handlers.routes import ROUTES
from handlers.triggers.wsgi import wsgi_application
from schemas.query import QuerySchema
from simulator import Simulator
from tests.conformance.platform import settings_for
from tests.conftest import PROJECT_ID, TOKEN
from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def process() -> Iterator[Application]:
    with Simulator(tokens=[TOKEN], project_id=PROJECT_ID) as upstream:
        # Everything healthy: schemathesis would report a 503 as a fault.
        base = settings_for(upstream) | {"FDI_INSTANCES": "orders=id-orders", "FDI_CACHE_SECONDS": "60"}
        made = Application(base)
        yield made
        made.close()


@pytest.fixture(scope="module")
def document(process: Application) -> dict[str, Any]:
    response = Client(wsgi_application(process)).get("/openapi.json")
    assert (response.status_code, response.content_type) == (200, "application/json")
    found: dict[str, Any] = response.get_json()
    return found


def test_document__is_what_the_generator_makes_of_the_schemas() -> None:
    built = runpy.run_path(str(ROOT / "docs" / "build_openapi.py"))["document"]()
    assert (ROOT / "handlers" / "openapi.json").read_bytes() == built, "run make docs"


def test_document__is_valid_openapi(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    validate(document)


def test_document__names_every_path_and_method(document: dict[str, Any]) -> None:
    described = {path: {method.upper() for method in operations} for path, operations in document["paths"].items()}
    assert described == {path: {*route.methods, "OPTIONS"} for path, route in ROUTES.items()}


def test_document__names_every_parameter_form_and_problem(document: dict[str, Any]) -> None:
    get = document["paths"]["/"]["get"]
    parameters = {parameter["name"]: parameter["schema"] for parameter in get["parameters"]}
    assert parameters.keys() == QuerySchema().fields.keys()
    assert parameters["format"]["enum"] == list(FORMATS)
    media_types = {form.media_type.partition(";")[0] for form in FORMATS.values()}
    assert get["responses"]["200"]["content"].keys() == media_types
    assert document["components"]["examples"].keys() >= PROBLEMS.keys()


@pytest.mark.parametrize("name", ["instance", "target"])
@given(text=st.one_of(st.text("a1_./-", max_size=7), st.just("a" * 64), st.just("a" * 65), st.just("e" * 64 + "/.a")))
def test_document__names_of_instances_and_targets__are_those_that_a_query_may_have(name: str, text: str) -> None:
    document = json.loads((ROOT / "handlers" / "openapi.json").read_bytes())
    parameters = document["paths"]["/"]["get"]["parameters"]
    (pattern,) = [one["schema"]["items"]["pattern"] for one in parameters if one["name"] == name]
    try:
        is_accepted = bool(QuerySchema().load({name: [text]}))
    except ValidationError:
        is_accepted = False
    assert (re.search(pattern, text) is not None) is is_accepted


def test_examples__are_the_documented_verdict(document: dict[str, Any]) -> None:
    examples = document["components"]["examples"]
    assert examples["json.unhealthy.details"]["value"]["reason"] == "2 abnormal tasks in payments"
    assert examples["text.healthy.anonymous"]["value"] == "FDI-OK healthy: none\n"
    text = json.dumps(document)
    unused = {name for name in examples if f'"#/components/examples/{name}"' not in text}
    assert unused <= {"unknown_path", "method_not_allowed"}  # which belong to no operation


def test_document__describes_healthy_in_fail_on_and_retry_after(document: dict[str, Any]) -> None:
    get = document["paths"]["/"]["get"]
    (fail_on,) = [parameter for parameter in get["parameters"] if parameter["name"] == "fail_on"]
    assert "healthy" in fail_on["schema"]["oneOf"][0]["items"]["enum"]
    for path in ("/", "/health", "/metrics", "/ready"):
        assert document["paths"][path]["get"]["responses"]["503"]["headers"]["Retry-After"]["schema"] == {"const": "1"}
    assert "Retry-After" not in document["paths"]["/badge.svg"]["get"]["responses"]["503"]["headers"]


def test_document__knows_further_groups_and_does_not_promise_them(document: dict[str, Any]) -> None:  # D59
    instance = document["components"]["schemas"]["Instance"]
    assert instance["properties"]["other_task_details"]["additionalProperties"] == {
        "$ref": "#/components/schemas/TaskCounts"
    }
    assert instance["properties"].keys() - set(instance["required"]) == {
        "target",
        "other_task_details",
        "abnormal_tasks",
        "abnormal_tasks_note",
        "stopped_tasks",
        "stopped_tasks_note",
    }


def test_document__anonymous_refuse_or_no_settings__is_served(upstream: Simulator) -> None:
    refusing = Application(settings_for(upstream) | {"FDI_ANONYMOUS": "refuse"})
    assert Client(wsgi_application(refusing)).get("/openapi.json").status_code == 200
    assert Client(wsgi_application(Application({}))).get("/openapi.json").status_code == 200


OPERATIONS = [(path, method) for path, route in ROUTES.items() for method in (*route.methods, "OPTIONS")]


@pytest.mark.usefixtures("no_secret_reads")
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "invalid"])
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_response__matches_the_document(
    process: Application, path: str, method: str, mode: GenerationMode
) -> None:
    # Without schemathesis' own pytest plugin, which asks for what this pytest no longer has.
    schema = schemathesis.openapi.from_wsgi("/openapi.json", wsgi_application(process))
    operation = schema[path][method]

    @settings(max_examples=15, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        # A fire drill is answered 503, which is no fault of the server.
        is_drill = "healthy" in str((case.query or {}).get("fail_on")) or "healthy" in str(case.body)
        case.call_and_validate(excluded_checks=[not_a_server_error] if is_drill else [])

    try:
        ask()
    except Unsatisfiable:
        # There is nothing in this operation that could be invalid.
        assert mode is GenerationMode.NEGATIVE
