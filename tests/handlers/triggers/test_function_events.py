"""The HTTP events of smaller platforms, in the forms of the vendors' pages: every one is answered as over WSGI."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handlers.application import Application
from handlers.triggers.function_events import make_handler
from tests.conformance.platform import Answer, PlatformSuite, Question, settings_for
from tests.handlers.triggers.test_aws_lambda import FIELDS, JSON
from tests.platform_events import LambdaContext, answer_of, body_fields, parameters
from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from simulator import Simulator
    from tests.conformance.platform import EntryPoint


def singles(question: Question) -> dict[str, str]:
    return {name: values[-1] for name, values in parameters(question).items()}


def alibaba(question: Question) -> bytes:
    """Return the bytes of an event of Function Compute 3."""
    about = {"requestId": "1", "http": {"method": question.method, "path": question.path, "protocol": "HTTP/1.1"}}
    event = {
        "version": "v1",
        "rawPath": question.path,
        "headers": question.headers,
        "queryParameters": singles(question),
        "requestContext": about,
        **body_fields(question, always_base64=True, empty=""),
    }
    return json.dumps(event).encode()


def tencent(question: Question) -> dict[str, Any]:
    """Return an event of a function URL of SCF."""
    return {
        "httpMethod": question.method,
        "path": question.path,
        "headers": {name.lower(): value for name, value in question.headers.items()},
        "queryString": singles(question),
        **body_fields(question, empty=""),
    }


def yandex(question: Question) -> dict[str, Any]:
    """Return an event of Yandex Cloud Functions."""
    return {
        "httpMethod": question.method,
        "url": question.target,
        "path": "/{proxy+}",
        "headers": question.headers,
        "multiValueHeaders": {name: [value] for name, value in question.headers.items()},
        "queryStringParameters": singles(question),
        "multiValueQueryStringParameters": parameters(question),
        **body_fields(question, always_base64=True, empty=""),
    }


def scaleway(question: Question) -> dict[str, Any]:
    """Return an event of Scaleway's functions."""
    return {
        "httpMethod": question.method,
        "path": question.path,
        "headers": question.headers,
        "queryStringParameters": singles(question),
        "requestContext": {"stage": "", "httpMethod": question.method},
        **body_fields(question, empty=""),
    }


def digital_ocean(question: Question) -> dict[str, Any]:
    """Return an event of a raw web function of DigitalOcean."""
    http = {"method": question.method, "path": question.path, "queryString": question.query}
    return {"http": {**http, "headers": question.headers, **body_fields(question, empty="")}}


def open_whisk(question: Question) -> dict[str, Any]:
    """Return the arguments of a raw web action of Apache OpenWhisk."""
    content_type = question.headers.get("Content-Type", "application/octet-stream")
    is_text = content_type.startswith(("text/", "application/x-www-form-urlencoded"))
    body = question.body.decode() if is_text else base64.b64encode(question.body).decode()
    return {
        "__ow_method": question.method.lower(),
        "__ow_path": question.path,
        "__ow_query": question.query,
        "__ow_headers": {name.lower(): value for name, value in question.headers.items()},
        "__ow_body": body,
    }


class FunctionSuite(PlatformSuite):
    """The suite through the events that `event_of` makes."""

    @staticmethod
    def event_of(question: Question) -> Any:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def entry_point(cls, upstream: Simulator) -> Iterator[EntryPoint]:
        application = Application(settings_for(upstream))
        handle = make_handler(application)
        yield lambda question: answer_of(json.loads(json.dumps(handle(cls.event_of(question), LambdaContext()))))
        application.close()


OPEN_WHISK = ("__ow_method", "__ow_path", "__ow_query", "__ow_headers", "__ow_body")

LAST_VALUE_ONLY = frozenset({"GET /?instance=orders&instance=crm"})
"""What a platform cannot say that keeps only the last one of repeated parameters."""


class TestAlibaba(FunctionSuite):
    not_ours = LAST_VALUE_ONLY
    event_of = staticmethod(alibaba)


class TestTencent(FunctionSuite):
    not_ours = LAST_VALUE_ONLY
    event_of = staticmethod(tencent)


class TestYandex(FunctionSuite):
    event_of = staticmethod(yandex)


class TestScaleway(FunctionSuite):
    not_ours = LAST_VALUE_ONLY
    event_of = staticmethod(scaleway)


class TestDigitalOcean(FunctionSuite):
    event_of = staticmethod(digital_ocean)


class TestOpenWhisk(FunctionSuite):
    event_of = staticmethod(open_whisk)

    @pytest.fixture(scope="class")
    @classmethod
    def entry_point(cls, upstream: Simulator) -> Iterator[EntryPoint]:
        """Decode the body as OpenWhisk's controller does it for types that it takes for binary."""
        application = Application(settings_for(upstream))
        handle = make_handler(application)

        def ask(question: Question) -> Answer:
            sent = handle(open_whisk(question), None)
            headers = {name.lower(): value for name, value in sent["headers"].items()}
            is_text = headers.get("content-type", "text/html").startswith(("text/", "application/json"))
            is_text = is_text or "charset=" in headers["content-type"]
            body = sent["body"].encode() if is_text else base64.b64decode(sent["body"], validate=True)
            return Answer(sent["statusCode"], headers, body)

        yield ask
        application.close()

    @pytest.mark.parametrize("form", ["json", "health", "text", "nagios", "prometheus", "openmetrics", "badge"])
    def test_format__comes_as_over_wsgi(self, entry_point: EntryPoint, wsgi: EntryPoint, form: str) -> None:
        question = Question(target=f"/?instance=orders&format={form}")
        assert entry_point(question).headers["content-type"] == wsgi(question).headers["content-type"]
        assert b"FDI-OK" in entry_point(question).body or form in ("prometheus", "openmetrics")


@pytest.fixture
def handle(upstream: Simulator) -> Iterator[Callable[[Any, Any], dict[str, Any]]]:
    application = Application(settings_for(upstream))
    yield make_handler(application)
    application.close()


@pytest.mark.parametrize(
    "event",
    [
        {"httpMethod": "GET", "url": "/?", "queryStringParameters": {"fail_on": "healthy"}},
        {"httpMethod": "GET", "queryString": {"fail_on": "healthy"}},
        {"requestContext": {"http": {"method": "GET"}}, "queryParameters": {"fail_on": "healthy"}},
        {"http": {"method": "GET", "path": ""}, "fail_on": "healthy"},
        {"__ow_method": "get", "__ow_path": "", "fail_on": "healthy", "of_the_action": {"a": 1}},
        {"__ow_method": "get", "__ow_query": 5, "fail_on": "healthy"},
    ],
)
def test_http_event_without_some_fields__has_a_status(upstream: Simulator, event: dict[str, Any]) -> None:
    assert ask_healthy(upstream, event)["statusCode"] == 503


@pytest.mark.parametrize("method", ["POST", "post"])
def test_body_that_is_mixed_with_the_query__chooses_no_instances(upstream: Simulator, method: str) -> None:
    event = {"http": {"method": method, "path": "/"}, "alert": "x", "instance": "orders"}  # somebody's webhook
    assert ask_healthy(upstream, event)["statusCode"] == 400


def test_body_that_is_mixed_with_the_arguments__chooses_no_instances(upstream: Simulator) -> None:
    event = {"__ow_method": "post", "__ow_path": "", "__ow_headers": {}, "alert": "x", "instance": "orders"}
    assert ask_healthy(upstream, event)["statusCode"] == 400


TIMERS = {
    "Alibaba": {"triggerTime": "2026-11-29T16:00:00Z", "triggerName": "t", "payload": '{"fail_on":"healthy"}'},
    "Tencent": {"Type": "Timer", "TriggerName": "t", "Message": '{"fail_on":"healthy"}'},
    "Yandex": {"messages": [{"details": {"payload": '{"fail_on":"healthy"}'}}]},
}


@pytest.mark.parametrize("event", TIMERS.values(), ids=TIMERS)
def test_input_of_a_timer__steers_the_check(upstream: Simulator, event: dict[str, Any]) -> None:
    assert ask_healthy(upstream, event)["marker"] == "FDI-NOT-OK"


@pytest.mark.parametrize("messages", [[], [None], [{}], [{"details": 1}], 5])
def test_odd_messages__steer_nothing(upstream: Simulator, messages: Any) -> None:
    assert ask_healthy(upstream, {"messages": messages})["marker"] == "FDI-OK"


def ask_healthy(upstream: Simulator, event: Any) -> dict[str, Any]:
    """Ask about a healthy instance: `fail_on=healthy` shows whether the parameters were read."""
    application = Application(settings_for(upstream) | {"FDI_INSTANCES": "orders=id-orders"})
    reply = make_handler(application)(event, None)
    application.close()
    return reply


@pytest.mark.parametrize(
    "event",
    [b"{", b"\xff", b'{"triggerName": "timer"}', b"[" * 100_000, "", None, [], {"httpMethod": 5}, {"http": {}}],
)
def test_other_events__get_the_anonymous_verdict(handle: Callable[[Any, Any], dict[str, Any]], event: Any) -> None:
    document = handle(event, None)
    assert (document["status"], document["healthy"]) == ("unhealthy", False)
    assert "instances" not in document


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    event=st.one_of(
        JSON, st.dictionaries(st.sampled_from([*FIELDS, "http", "url", "queryString", "rawPath", *OPEN_WHISK]), JSON)
    )
)
def test_any_event__gets_a_response(handle: Callable[[Any, Any], dict[str, Any]], event: Any) -> None:
    json.dumps(handle(event, None))


def test_file_for_open_whisk__as_the_page_shows_it__answers(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "deploy" / "other-platforms.md").read_text()
    (tmp_path / "action.py").write_text(page.partition("```python\n")[2].partition("```")[0])
    program = "import action, json; print(json.dumps(action.main({'__ow_method': 'get', '__ow_path': '/live'})))"
    command = [sys.executable, "-c", program]
    environ = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=True)  # noqa: S603 -- our own program
    assert json.loads(done.stdout)["body"] == '{"live":true}'
