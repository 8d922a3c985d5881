"""FunctionGraph in process: the suite, timer events, the settings in the context and the token of the agency."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fdi_health.secret_stores import InvalidSecretUrl, open_store, parse_secret_url
from fdi_health.secret_stores.huawei.invocation import invocation
from handlers.triggers.functiongraph import Handler
from tests.conformance.platform import PlatformSuite, Question, settings_for
from tests.conftest import TOKEN
from tests.handlers.triggers.test_aws_lambda import FIELDS, JSON
from tests.machine import assert_within
from tests.platform_events import answer_of, functiongraph
from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulator import Simulator
    from tests.conformance.platform import EntryPoint


class Context:
    """FunctionGraph's context: the token of an agency, the configured variables, the time left."""

    def __init__(self, token: Any = None, milliseconds: object = 10_000, **variables: str) -> None:
        self.token, self.milliseconds, self.variables = token, milliseconds, variables
        self.tokens_given = 0

    def getToken(self) -> Any:  # noqa: N802 -- the platform's name
        self.tokens_given += 1
        if isinstance(self.token, Exception):
            raise self.token
        return self.token

    def getUserData(self, name: str) -> Any:  # noqa: N802 -- the platform's name
        return self.variables[name]

    def getRemainingTimeInMilliSeconds(self) -> object:  # noqa: N802 -- the platform's name
        return self.milliseconds


@pytest.fixture
def handle(upstream: Simulator) -> Iterator[Handler]:
    handler = Handler(settings_for(upstream))
    yield handler
    handler.application(None).close()


@pytest.fixture
def with_agency(upstream: Simulator) -> Iterator[Callable[..., Handler]]:
    """Return a maker of functions that have their token from their agency."""
    made: list[Handler] = []

    def make(**changes: str) -> Handler:
        base = {**settings_for(upstream), "FDI_TOKEN": "functiongraph://agency", "FDI_ANONYMOUS": "details"}
        made.append(Handler({**base, "FDI_CACHE_SECONDS": "0", **changes}))
        return made[-1]

    yield make
    for handler in made:
        handler.application(None).close()


ORDERS = functiongraph(Question(target="/?instance=orders"))


class TestApigTrigger(PlatformSuite):
    """The suite through the APIG trigger's events."""

    @pytest.fixture(scope="class")
    @classmethod
    def entry_point(cls, upstream: Simulator) -> Iterator[EntryPoint]:
        handler = Handler(settings_for(upstream))
        yield lambda question: answer_of(
            json.loads(json.dumps(handler(json.loads(json.dumps(functiongraph(question))), Context())))
        )
        handler.application(None).close()


def test_reply__has_exactly_the_four_keys(handle: Handler) -> None:
    for target in ("/", "/live", "/nowhere", "/ready"):
        reply = handle(functiongraph(Question(target=target)), Context())
        assert set(reply) == {"statusCode", "headers", "body", "isBase64Encoded"}


@pytest.mark.parametrize("body", ["", None])
def test_empty_body__may_carry_the_flag(handle: Handler, body: str | None) -> None:
    event = functiongraph(Question("POST")) | {"body": body, "isBase64Encoded": True}
    assert answer_of(handle(event, Context())).status == 503


def test_broken_base64__is_400(handle: Handler) -> None:
    event = functiongraph(Question("POST")) | {"body": "%", "isBase64Encoded": True}
    assert answer_of(handle(event, Context())).status == 400


@pytest.mark.parametrize(
    "event",
    [
        {"version": "v1.0", "time": "2026-11-25T16:00:00Z", "trigger_type": "TIMER", "user_event": "s3cr3t"},
        {},
        None,
        [],
        "s3cr3t",
        {"httpMethod": "GET"},
        {"httpMethod": 5, "path": "/"},
    ],
)
def test_other_events__get_the_anonymous_verdict(handle: Handler, event: Any) -> None:  # C72
    reply = handle(event, Context())
    assert (reply["status"], "instances" in reply) == ("unhealthy", False)
    assert "s3cr3t" not in json.dumps(reply)


def timer(user_event: Any) -> dict[str, Any]:
    """Return the event of a timer trigger."""
    return {"version": "v1.0", "time": "2026-11-25T16:00:00Z", "trigger_type": "TIMER", "user_event": user_event}


@pytest.mark.parametrize(
    ("user_event", "found"),
    [
        ('{"instance":"orders"}', ("healthy", 1)),
        ({"instance": "orders"}, ("healthy", 1)),
        ('{"instance":"orders","other":1}', ("unhealthy", 4)),
        ("orders", ("unhealthy", 4)),
        (None, ("unhealthy", 4)),
        ('{"instance":"orders","instance":"crm"}', ("unhealthy", 4)),
        ('{"instance":"orders"}' + " " * 64 * 1024, ("unhealthy", 4)),
        ("\ud800", ("unhealthy", 4)),
    ],
)
def test_timer__steers_by_its_user_event(handle: Handler, user_event: Any, found: tuple[str, int]) -> None:  # E25
    reply = handle(timer(user_event), Context())
    assert (reply["status"], reply["instances_count"]["total"]) == found
    assert "instances" not in reply


def test_timer__with_a_misspelt_parameter_gets_a_problem(handle: Handler) -> None:  # E25, G20
    reply = handle(timer('{"instence":"orders"}'), Context())
    assert (reply["status"], reply["code"]) == (400, "malformed_query")


def test_nulls_and_odd_types__are_a_plain_request(handle: Handler) -> None:  # C67
    event: dict[str, Any] = {
        "httpMethod": "GET",
        "path": "/",
        "headers": None,
        "queryStringParameters": None,
        "body": None,
    }
    assert answer_of(handle(event, None)).headers["fdi-verdict"] == "unhealthy"
    event = {"httpMethod": "GET", "path": "/中", "headers": 5, "queryStringParameters": [], "body": 7}
    assert answer_of(handle(event, None)).status == 404


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5), whole=JSON)
def test_any_event__gets_a_response(handle: Handler, changes: dict[str, Any], whole: Any) -> None:
    for event in ({**functiongraph(Question(target="/live")), **changes}, whole):
        reply = handle(event, Context())
        if "statusCode" in reply:
            answer_of(reply)
        else:
            assert "status" in reply


def test_deadline__is_what_the_platform_leaves(upstream: Simulator) -> None:  # C75
    base = settings_for(upstream)
    upstream.play("id-orders", "silent")
    handler = Handler(base)
    began = time.monotonic()
    assert answer_of(handler(ORDERS, Context(milliseconds=800))).status == 503
    assert_within(began, 0.8)
    handler.application(None).close()


def test_settings__are_found_in_the_context_too(upstream: Simulator) -> None:
    handler = Handler({})
    answer = answer_of(handler(ORDERS, Context(**settings_for(upstream))))
    assert answer.headers["fdi-verdict"] == "healthy"
    handler.application(None).close()


@pytest.mark.parametrize("context", [None, object(), Context(FDI_TOKEN="s3cr3t")])
def test_missing_settings__are_a_problem(context: Any) -> None:  # C97
    answer = answer_of(Handler({})(ORDERS, context))
    assert answer.status == 500
    assert b"s3cr3t" not in answer.body


def test_agency__gives_the_token(with_agency: Callable[..., Handler], upstream: Simulator) -> None:
    handler, context = with_agency(), Context(TOKEN)
    for _ in range(3):
        assert answer_of(handler(ORDERS, context)).headers["fdi-verdict"] == "healthy"
    assert context.tokens_given == 1
    assert {request.token for request in upstream.requests} == {TOKEN}
    ready = json.loads(answer_of(handler(functiongraph(Question(target="/ready")), context)).body)
    assert ready["token"] == {"source": "functiongraph", "kind": "agency", "version": None, "expires_at": None}


def test_agency_token__refused__is_read_from_the_current_invocation(
    with_agency: Callable[..., Handler], upstream: Simulator
) -> None:
    handler = with_agency()
    handler(ORDERS, Context(TOKEN))
    upstream.tokens.clear()
    upstream.tokens.add("token-of-the-next-day")
    later = Context("token-of-the-next-day")
    assert answer_of(handler(ORDERS, later)).headers["fdi-verdict"] == "healthy"
    assert later.tokens_given == 1


def test_timer_event__with_an_agency__uses_its_token(with_agency: Callable[..., Handler]) -> None:
    assert with_agency(FDI_INSTANCES="orders=id-orders")({"trigger_type": "TIMER"}, Context(TOKEN))["healthy"] is True


@pytest.mark.parametrize(
    ("context", "words"),
    [
        (None, "works only in a FunctionGraph function"),
        (Context(None), "the function has no agency"),
        (Context(""), "the function has no agency"),
        (Context(5), "the function has no agency"),
        (Context(RuntimeError("s3cr3t")), "the function has no agency"),
        (Context("to\nken"), "so it was not sent"),
    ],
)
def test_function_without_an_agency__error_says_so(
    with_agency: Callable[..., Handler], context: Any, words: str
) -> None:
    (instance,) = json.loads(answer_of(with_agency()(ORDERS, context)).body)["instances"]
    assert instance["error"]["code"] == "token_unavailable"
    assert words in instance["error"]["message"]
    assert "s3cr3t" not in json.dumps(instance)


@pytest.mark.parametrize("url", ["functiongraph://", "functiongraph://other", "functiongraph://agency?x=y"])
def test_agency__has_one_url(url: str) -> None:
    with pytest.raises(InvalidSecretUrl, match="functiongraph://agency"):
        open_store(parse_secret_url(url), {})


def test_invocation__after_the_response__is_not_kept(with_agency: Callable[..., Handler]) -> None:
    with_agency()(ORDERS, Context(TOKEN))
    assert invocation.get() is None


def test_first_invocations__at_once__share_one_application() -> None:
    script = """
import json, threading
import main
from handlers.application import Application
made = []
before = Application.__init__
Application.__init__ = lambda self, *a, **k: (made.append(1), before(self, *a, **k))[1]
gate = threading.Barrier(24)
def call(): gate.wait(); main.functiongraph_handler({"httpMethod": "GET", "path": "/live"}, None)
threads = [threading.Thread(target=call) for _ in range(24)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
print(len(made))
"""
    run = subprocess.run(  # noqa: S603 -- our own program
        [sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60, capture_output=True, text=True
    )
    assert run.stdout.strip() == "1"


def test_timer_event__counts_its_deadline_from_the_call(upstream: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    from fdi_health.service import Service

    base = settings_for(upstream)
    upstream.play("id-orders", "silent")
    opened = Service.open

    def slowly(*args: Any) -> Service:
        time.sleep(0.6)
        return opened(*args)

    monkeypatch.setattr(Service, "open", slowly)
    handler = Handler(base)
    began = time.monotonic()
    handler({"trigger_type": "TIMER"}, Context(milliseconds=2000))
    assert_within(began, 1.5 + 0.3)
    handler.application(None).close()
