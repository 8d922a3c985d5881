"""AWS Lambda in process: the suite for each kind of event, and the events that others stumbled over."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handlers.application import Application
from handlers.triggers.aws_lambda import make_handler
from tests.conformance.platform import KEY, PlatformSuite, Question, settings_for
from tests.machine import assert_within
from tests.platform_events import (
    LambdaContext,
    answer_of,
    balancer,
    balancer_multi_value,
    function_url,
    http_api,
    lattice,
    lattice_2,
    rest_api,
)
from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulator import Simulator
    from tests.conformance.platform import EntryPoint

Handle = "Callable[[Any, Any], dict[str, Any]]"


@pytest.fixture
def handle(upstream: Simulator) -> Iterator[Callable[[Any, Any], dict[str, Any]]]:
    """Return the function that Lambda calls."""
    application = Application(settings_for(upstream))
    yield make_handler(application)
    application.close()


def entry_point_of(
    handle: Callable[[Any, Any], dict[str, Any]], event_of: Callable[[Question], dict[str, Any]]
) -> EntryPoint:
    # Through JSON, as an event really comes and a reply really goes.
    return lambda question: answer_of(
        json.loads(json.dumps(handle(json.loads(json.dumps(event_of(question))), LambdaContext())))
    )


class LambdaSuite(PlatformSuite):
    """The suite through the events that `event_of` makes."""

    @staticmethod
    def event_of(question: Question) -> dict[str, Any]:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def entry_point(cls, upstream: Simulator) -> Iterator[EntryPoint]:
        application = Application(settings_for(upstream))
        yield entry_point_of(make_handler(application), cls.event_of)
        application.close()


class TestRestApi(LambdaSuite):
    """Payload format 1.0."""

    event_of = staticmethod(rest_api)


class TestHttpApi(LambdaSuite):
    """Payload format 2.0."""

    event_of = staticmethod(http_api)


class TestHttpApiWithAStage(LambdaSuite):
    """The same where the path begins with the stage (C68)."""

    event_of = staticmethod(lambda question: http_api(question, "prod"))


class TestLattice(LambdaSuite):
    """VPC Lattice, version 1."""

    event_of = staticmethod(lattice)


class TestLatticeVersion2(LambdaSuite):
    """VPC Lattice, version 2."""

    event_of = staticmethod(lattice_2)


class TestFunctionUrl(LambdaSuite):
    """A function URL."""

    event_of = staticmethod(function_url)


class TestBalancer(LambdaSuite):
    """A load balancer, which keeps only the last of repeated parameters."""

    not_ours = frozenset({"GET /?instance=orders&instance=crm"})

    event_of = staticmethod(balancer)


class TestBalancerMultiValue(LambdaSuite):
    """A load balancer in multi-value mode (C66)."""

    event_of = staticmethod(balancer_multi_value)


def test_balancers_health_check__gets_a_response(handle: Callable[[Any, Any], dict[str, Any]]) -> None:  # C65
    event = {
        "requestContext": {"elb": {"targetGroupArn": "arn"}},
        "httpMethod": "GET",
        "path": "/",
        "queryStringParameters": {},
        "headers": {"user-agent": "ELB-HealthChecker/2.0"},
        "body": "",
        "isBase64Encoded": False,
    }
    answer = answer_of(handle(event, None))
    assert (answer.status, answer.headers["fdi-verdict"]) == (503, "unhealthy")


def test_reply_in_multi_value_mode__has_only_that_form(handle: Callable[[Any, Any], dict[str, Any]]) -> None:  # C66
    reply = handle(balancer_multi_value(Question(target="/?instance=orders&instance=crm")), None)
    assert "headers" not in reply
    assert reply["multiValueHeaders"]["FDI-Verdict"] == ["unknown"]


@pytest.mark.parametrize(
    "nulls",
    [
        {"headers": None, "multiValueHeaders": None, "queryStringParameters": None, "body": None},
        {"multiValueQueryStringParameters": None, "pathParameters": None, "isBase64Encoded": None},
        {"requestContext": None},
        {"headers": 5, "multiValueHeaders": [], "queryStringParameters": "x", "multiValueQueryStringParameters": 1},
        {"headers": {"accept": None, "x": 5}, "queryStringParameters": {"instance": None}},
        {"multiValueHeaders": {"accept": [None, 5], "x": None}, "multiValueQueryStringParameters": {"a": None}},
    ],
)
def test_version_1__with_nulls_is_a_plain_request(
    handle: Callable[[Any, Any], dict[str, Any]], nulls: dict[str, Any]
) -> None:  # C67
    assert answer_of(handle({"httpMethod": "GET", "path": "/", **nulls}, None)).headers["fdi-verdict"] == "unhealthy"


@pytest.mark.parametrize(
    "nulls",
    [
        {"headers": None, "cookies": None, "queryStringParameters": None, "body": None},
        {"rawPath": None, "rawQueryString": None},
        {"headers": 5, "cookies": "x", "rawQueryString": [], "body": {}, "stageVariables": None},
        {"cookies": [None, "a=b"], "headers": {"cookie": "c=d"}},
    ],
)
def test_version_2__with_nulls_is_a_plain_request(
    handle: Callable[[Any, Any], dict[str, Any]], nulls: dict[str, Any]
) -> None:  # C67
    event = {"version": "2.0", "requestContext": {"http": {"method": "GET"}}, **nulls}
    assert answer_of(handle(event, None)).headers["fdi-verdict"] == "unhealthy"


def test_version_2__without_its_raw_query_takes_the_parameters(handle: Callable[[Any, Any], dict[str, Any]]) -> None:
    event = http_api(Question(target="/?instance=orders&instance=sandbox"))
    del event["rawQueryString"]
    assert answer_of(handle(event, None)).headers["fdi-verdict"] == "degraded"


def test_repeated_parameter__is_checked_once_each(
    handle: Callable[[Any, Any], dict[str, Any]], upstream: Simulator
) -> None:  # C70
    handle(http_api(Question(target="/?instance=payments&instance=orders")), None)
    assert sorted(str(request.instance_id) for request in upstream.requests) == ["id-orders", "id-payments"]


@pytest.mark.parametrize("path", ["/prod/health", "/prod", "/prod/", "/prod/health/"])
def test_stage_in_the_path__is_dropped(handle: Callable[[Any, Any], dict[str, Any]], path: str) -> None:  # C68
    version_1 = rest_api(Question()) | {"path": path, "requestContext": {"stage": "prod", "path": path}}
    for event in (http_api(Question(), "prod") | {"rawPath": path}, version_1):
        assert "fdi-verdict" in answer_of(handle(event, None)).headers


@pytest.mark.parametrize("stage", ["live", "metrics", "health"])
def test_stage_that_is_called_like_a_path__is_not_taken_for_it(
    handle: Callable[[Any, Any], dict[str, Any]], upstream: Simulator, stage: str
) -> None:
    context = {"stage": stage, "path": f"/{stage}/live"}
    event = rest_api(Question(target="/live")) | {"requestContext": context}
    assert answer_of(handle(event, None)).body == b'{"live":true}'
    event = http_api(Question(target="/live"), stage)
    assert answer_of(handle(event, None)).body == b'{"live":true}'
    assert upstream.requests == []


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "/fdi/live", "resource": "/live"},
        {"path": "/fdi/live", "resource": "/{proxy+}", "pathParameters": {"proxy": "live"}},
        {"path": "/a/b/live", "resource": "/b/{proxy+}", "pathParameters": {"proxy": "live"}},
    ],
)
def test_base_path_of_a_custom_domain__with_a_route__is_dropped(
    handle: Callable[[Any, Any], dict[str, Any]], changes: dict[str, Any]
) -> None:
    assert answer_of(handle(rest_api(Question()) | changes, None)).body == b'{"live":true}'
    route = changes["resource"]
    event = http_api(Question()) | {**changes, "rawPath": changes["path"], "routeKey": f"GET {route}"}
    assert answer_of(handle(event, None)).body == b'{"live":true}'


def test_base_path__without_a_route_is_an_unknown_path(handle: Callable[[Any, Any], dict[str, Any]]) -> None:
    event = rest_api(Question()) | {"path": "/fdi/live", "resource": "/{other+}", "pathParameters": {"proxy": "live"}}
    assert answer_of(handle(event, None)).status == 404


@pytest.mark.parametrize("name", ["Transfer-Encoding", "transfer-encoding"])
def test_framing_headers__of_an_event__are_ignored(handle: Callable[[Any, Any], dict[str, Any]], name: str) -> None:
    for event_of in (rest_api, http_api, balancer, balancer_multi_value):
        for body, status in ((b'{"instance":"orders"}', 200), (b" " * 70_000, 503)):
            question = Question("POST", headers={name: "chunked", "Content-Type": "application/json"}, body=body)
            assert answer_of(handle(event_of(question), None)).status == status


def test_headers_that_differ_in_case__are_joined(handle: Callable[[Any, Any], dict[str, Any]]) -> None:
    event = http_api(Question()) | {"headers": {"X-Api-Key": "wrong", "x-api-key": KEY}}
    assert answer_of(handle(event, None)).status == 401


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_lone_surrogates__get_a_response(handle: Callable[[Any, Any], dict[str, Any]], text: str) -> None:
    values = {"x": text, text: "x"}
    for event in (
        rest_api(Question()) | {"queryStringParameters": values},
        rest_api(Question()) | {"multiValueQueryStringParameters": {text: [text]}, "headers": values},
        http_api(Question()) | {"rawQueryString": None, "queryStringParameters": values, "headers": values},
        http_api(Question("POST")) | {"body": text},
    ):
        assert answer_of(handle(event, None)).status == 503


@pytest.mark.parametrize("stage", ["live", "metrics", "ready", "health"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_rest_api_stage_that_is_called_like_a_path__does_not_hide_the_path(
    handle: Callable[[Any, Any], dict[str, Any]], stage: str, slash: str
) -> None:  # E24
    plain = answer_of(handle(rest_api(Question(target=f"/{stage}")), None))
    # Behind a custom domain the context's path has no stage either.
    for context_path in (f"/{stage}{slash}", f"/{stage}/{stage}{slash}"):
        event = rest_api(Question(target=f"/{stage}{slash}"))
        event |= {"requestContext": {"stage": stage, "path": context_path}}
        found = answer_of(handle(event, None))
        assert (found.status, found.headers["content-type"]) == (plain.status, plain.headers["content-type"])
        assert ("fdi-verdict" in found.headers) is ("fdi-verdict" in plain.headers)


def test_http_api_of_version_1__has_its_stage_in_every_path(
    handle: Callable[[Any, Any], dict[str, Any]],
) -> None:  # E24
    event = rest_api(Question()) | {"version": "1.0", "requestContext": {"stage": "live", "path": "/live"}}
    assert "fdi-verdict" in answer_of(handle(event | {"path": "/live"}, None)).headers
    event = rest_api(Question()) | {"version": "1.0", "requestContext": {"stage": "live", "path": "/live/live"}}
    assert answer_of(handle(event | {"path": "/live/live"}, None)).body == b'{"live":true}'


def test_path_that_only_begins_like_the_stage__is_not_ours(handle: Callable[[Any, Any], dict[str, Any]]) -> None:
    assert answer_of(handle(http_api(Question(), "prod") | {"rawPath": "/production"}, None)).status == 404


@pytest.mark.parametrize("body", ["%%%", "YQ=", "é", "YQ==YQ=="])
def test_broken_base64__is_400(handle: Callable[[Any, Any], dict[str, Any]], body: str) -> None:
    for event_of in (rest_api, http_api, balancer):
        event = event_of(Question("POST")) | {"body": body, "isBase64Encoded": True}
        answer = answer_of(handle(event, None))
        assert (answer.status, json.loads(answer.body)["code"]) == (400, "malformed_query")


def test_base64_with_line_breaks__is_read(handle: Callable[[Any, Any], dict[str, Any]]) -> None:
    body = base64.encodebytes(b'{"instance":"orders"}').decode()
    event = http_api(Question("POST")) | {"body": body, "isBase64Encoded": True}
    assert answer_of(handle(event, None)).headers["fdi-verdict"] == "healthy"


@pytest.mark.parametrize("path", ["/中", "/\ud800", "/\0", "/ ", "/h\u00e9", "", "health"])
def test_path__unusual__gets_a_response(handle: Callable[[Any, Any], dict[str, Any]], path: str) -> None:  # C51
    for event in (http_api(Question()) | {"rawPath": path}, rest_api(Question()) | {"path": path}):
        assert answer_of(handle(event, None)).status in (404, 503)


@pytest.mark.parametrize("query", ["instance=中", "instance=\ud800", "\0", "instance=é", "&&=&"])
def test_query__unusual__gets_a_response(handle: Callable[[Any, Any], dict[str, Any]], query: str) -> None:
    assert answer_of(handle(http_api(Question()) | {"rawQueryString": query}, None)).status in (400, 404, 503)


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: x=1", "a\nb", "a\0", "\u2028"])
def test_line_breaks_in_headers__are_cleaned(handle: Callable[[Any, Any], dict[str, Any]], value: str) -> None:  # C76
    event = http_api(Question()) | {"headers": {"x-request-id": value, "accept": value, value: "x"}}
    answer = answer_of(handle(event, None))
    assert answer.status == 503
    assert "set-cookie" not in answer.headers
    assert not any("\n" in text or "\r" in text for text in answer.headers.values())


def test_header_with_underscores__is_no_other_header(handle: Callable[[Any, Any], dict[str, Any]]) -> None:
    event = http_api(Question()) | {"headers": {"x_api_key": KEY}}
    assert "instances" not in json.loads(answer_of(handle(event, None)).body)


@pytest.mark.parametrize("name", ["x-api-key", "X-Api-Key", "X-API-KEY"])
def test_header_names__have_no_case(handle: Callable[[Any, Any], dict[str, Any]], name: str) -> None:  # C71
    event = rest_api(Question()) | {"headers": {name: KEY}, "multiValueHeaders": {name: [KEY]}}
    assert "instances" in json.loads(answer_of(handle(event, None)).body)


NOT_HTTP: list[Any] = [
    {},
    [],
    None,
    "text s3cr3t",
    5,
    {"source": "aws.events", "detail-type": "Scheduled Event", "detail": {"s3cr3t": 1}, "version": "0"},
    {"source": "serverless-plugin-warmup"},
    {"version": "2.0", "requestContext": {}},
    {"version": "2.0", "requestContext": {"http": {"method": None}}},
    {"version": "3.0", "s3cr3t": "s3cr3t"},
    {"httpMethod": "GET"},
    {"path": "/", "httpMethod": None},
    {"method": "GET"},
    {"method": "GET", "raw_path": 5, "version": "1.0"},
    {"Records": [{"body": "s3cr3t"}]},
    {"trigger_type": "TIMER"},
]


@pytest.mark.parametrize("event", NOT_HTTP, ids=range(len(NOT_HTTP)))
def test_other_events__get_the_anonymous_verdict(
    handle: Callable[[Any, Any], dict[str, Any]], event: Any
) -> None:  # C72
    reply = handle(event, LambdaContext())
    assert reply["status"] == "unhealthy"
    assert reply["healthy"] is False
    assert "instances" not in reply
    assert "statusCode" not in reply
    assert "s3cr3t" not in json.dumps(reply)


def scheduled(detail: Any) -> dict[str, Any]:
    """Return an event of EventBridge."""
    return {"version": "0", "id": "x", "source": "aws.events", "detail-type": "Scheduled Event", "detail": detail}


@pytest.mark.parametrize(
    ("steering", "total", "status"),
    [
        ({"instance": "orders"}, 1, "healthy"),
        ({"instance": "orders,crm,"}, 2, "unknown"),
        ({"instance": ["id-orders", "sandbox"], "deadline": 3, "format": "json"}, 2, "degraded"),
        ({"fail_on": "none"}, 4, "unhealthy"),
        ({}, 4, "unhealthy"),
        ({"instance": "orders", "alert": 1}, 4, "unhealthy"),
        (["orders"], 4, "unhealthy"),
    ],
)
def test_input_of_a_schedule__steers_if_all_of_it_is_ours(
    handle: Callable[[Any, Any], dict[str, Any]], steering: Any, total: int, status: str
) -> None:  # E25
    for event in (steering, json.dumps(steering), scheduled(steering), scheduled(json.dumps(steering))):
        reply = handle(event, LambdaContext())
        assert (reply["instances_count"]["total"], reply["status"]) == (total, status)
        assert "instances" not in reply  # the anonymous rules apply


@pytest.mark.parametrize(
    ("steering", "status", "code", "words"),
    [
        ({"instnce": "orders"}, 400, "malformed_query", "did you mean instance?"),  # G20
        ({"instance": "orders", "Deadline": 1}, 400, "malformed_query", "did you mean deadline?"),
        ({"instance": "a b"}, 400, "malformed_query", "instance must name"),
        ({"instance": ""}, 400, "malformed_query", "instance must name"),
        ({"deadline": 0}, 400, "malformed_query", "deadline must be"),
        ({"format": "text"}, 400, "malformed_query", "format must be json"),
        ({"instance": "nope-s3cr3t"}, 404, "unknown_instance", "1 instance asked for is not in FDI_INSTANCES"),
    ],
)
def test_input_of_a_schedule__malformed__gets_a_problem(
    handle: Callable[[Any, Any], dict[str, Any]],
    upstream: Simulator,
    steering: dict[str, Any],
    status: int,
    code: str,
    words: str,
) -> None:  # E25
    for event in (steering, scheduled(steering)):
        reply = handle(event, LambdaContext())
        assert (reply["status"], reply["code"]) == (status, code)
        assert words in reply["detail"]
        assert "s3cr3t" not in json.dumps(reply)
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("fail_on", "marker"), [(None, "FDI-OK"), ("degraded", "FDI-NOT-OK"), ("none", "FDI-OK"), ("healthy", "FDI-NOT-OK")]
)
def test_input_of_a_schedule__its_fail_on_decides_the_marker(
    handle: Callable[[Any, Any], dict[str, Any]], fail_on: str | None, marker: str
) -> None:  # G05, E25
    steering = {"instance": "sandbox", **({"fail_on": fail_on} if fail_on else {})}
    reply = handle(steering, LambdaContext())
    assert (reply["status"], reply["marker"]) == ("degraded", marker)


def test_input_of_a_schedule__may_shorten_the_deadline(upstream: Simulator) -> None:  # E25
    base = settings_for(upstream)
    upstream.play("id-orders", "silent")
    application = Application(base)
    began = time.monotonic()
    assert make_handler(application)({"instance": "orders", "deadline": 0.3}, LambdaContext())["status"] == "unknown"
    assert_within(began, 0.3 + 0.3)
    application.close()


def test_other_events__with_broken_settings_get_the_problem() -> None:
    reply = make_handler(Application({"FDI_TOKEN": "s3cr3t"}))({}, None)
    assert (reply["code"], reply["status"]) == ("settings_invalid", 500)
    assert "s3cr3t" not in json.dumps(reply)


def test_other_events__unexpected_exception__get_a_problem(
    upstream: Simulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from fdi_health import evaluation_cache

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("s3cr3t")

    monkeypatch.setattr(evaluation_cache, "evaluate", broken)
    application = Application(settings_for(upstream))
    assert make_handler(application)({}, None)["code"] == "internal_error"
    assert "s3cr3t" not in caplog.text
    application.close()


@pytest.mark.parametrize(("milliseconds", "seconds"), [(900, 0.45), (2000, 1.5), (60_000, 2.0)])
def test_deadline__is_what_lambda_leaves(upstream: Simulator, milliseconds: int, seconds: float) -> None:  # C75
    base = settings_for(upstream)
    upstream.play("id-orders", "silent")
    application = Application({**base, "FDI_DEADLINE_SECONDS": "2"})
    for event in (http_api(Question(target="/?instance=orders")), {}):
        began = time.monotonic()
        reply = make_handler(application)(event, LambdaContext(milliseconds))
        assert time.monotonic() - began >= seconds - 0.1
        assert_within(began, seconds + 0.3)
        assert "unknown" in json.dumps(reply) or "unhealthy" in json.dumps(reply)
    application.close()


@pytest.mark.parametrize("milliseconds", [-5, 0, float("nan"), float("inf"), "900", None, True, 10**400])
def test_odd_remaining_time__is_ignored(
    handle: Callable[[Any, Any], dict[str, Any]], milliseconds: object
) -> None:  # C75
    assert answer_of(handle(http_api(Question()), LambdaContext(milliseconds))).status == 503


def test_context__that_raises__is_treated_as_missing(handle: Callable[[Any, Any], dict[str, Any]]) -> None:
    class Odd:
        def get_remaining_time_in_millis(self) -> int:
            raise RuntimeError

    assert answer_of(handle(http_api(Question()), Odd())).status == 503


def test_very_long_query__is_400_without_a_probe(
    handle: Callable[[Any, Any], dict[str, Any]], upstream: Simulator
) -> None:  # C60
    query = "&".join(["instance=orders"] * 12_500)
    for event_of in (http_api, balancer_multi_value):
        event = event_of(Question(target=f"/?{query}"))
        assert answer_of(handle(event, None)).status == 400
    assert upstream.requests == []


TEXT = st.text(st.characters(codec=None, exclude_categories=[]), max_size=8)
"""Lone surrogates included, which JSON can hold."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
FIELDS = [
    "version",
    "httpMethod",
    "path",
    "rawPath",
    "rawQueryString",
    "headers",
    "multiValueHeaders",
    "queryStringParameters",
    "multiValueQueryStringParameters",
    "cookies",
    "body",
    "isBase64Encoded",
    "requestContext",
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5), kind=st.sampled_from(range(3)), whole=JSON)
def test_any_event__gets_a_response(
    handle: Callable[[Any, Any], dict[str, Any]], changes: dict[str, Any], kind: int, whole: Any
) -> None:
    base = (rest_api, http_api, balancer)[kind](Question(target="/live"))
    for event in ({**base, **changes}, whole):
        reply = handle(event, None)
        if "statusCode" in reply:
            answer_of(reply)
        else:
            assert "status" in reply


def test_import__brings_no_flask_functions_framework_or_grpc_and_opens_nothing() -> None:
    script = """
import socket, sys, threading
def refuse(*_, **__): raise AssertionError("opened at import")
socket.socket.connect = socket.socket.bind = refuse
threading.Thread.start = refuse
import main
main._lambda_handler()
heavy = {"flask", "functions_framework", "grpc", "botocore", "google.cloud.secretmanager_v1", "click"}
heavy &= set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60)  # noqa: S603 -- our own program


@pytest.mark.parametrize(
    "event",
    [
        {"raw_path": "/", "query_string_parameters": {"fail_on": "healthy"}},
        {"raw_path": "/?fail_on=healthy"},
        {"version": "2.0", "path": "/", "queryStringParameters": {"fail_on": "healthy"}},
        {"version": "2.0", "path": "/", "queryStringParameters": {"fail_on": ["healthy"]}},
        {"version": "2.0", "path": "/?fail_on=healthy"},
        {"raw_path": "/", "body": "eyJmYWlsX29uIjoiaGVhbHRoeSJ9", "is_base64_encoded": True, "method": "POST"},
    ],
)
def test_lattice__parameters_in_any_place__decide_the_status(upstream: Simulator, event: dict[str, Any]) -> None:
    application = Application(settings_for(upstream) | {"FDI_INSTANCES": "orders=id-orders"})
    reply = make_handler(application)({"method": "GET", "headers": {}, **event}, None)
    application.close()
    assert (reply["statusCode"], json.loads(reply["body"])["marker"]) == (503, "FDI-NOT-OK")


def test_snapshot__holds_the_handler_and_no_thread_or_connection() -> None:
    script = """
import os, sys, threading
os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"] = "snap-start"
before = set(os.listdir("/proc/self/fd"))
import main
assert "apig_wsgi" in sys.modules
assert threading.active_count() == 1
assert set(os.listdir("/proc/self/fd")) <= before
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60)  # noqa: S603 -- our own program
