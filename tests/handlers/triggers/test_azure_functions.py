"""Azure Functions: its requests are ours, its responses keep their status, and its timer writes a log line."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from azure.functions import HttpRequest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fdi_health import log
from handlers.application import Application
from handlers.triggers.azure_functions import METHODS, respond_to_request, respond_to_timer
from tests.conformance.platform import Answer, PlatformSuite, Question, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from azure.functions import HttpResponse

    from simulator import Simulator
    from tests.conformance.platform import EntryPoint

HOST = "https://fdi-health.azurewebsites.net"


@pytest.fixture
def application(upstream: Simulator) -> Iterator[Application]:
    made = Application(settings_for(upstream))
    yield made
    made.close()


def request_of(question: Question) -> HttpRequest:
    """Return the request as the platform hands it over: the URL as it was sent, names of headers in lower case."""
    headers = {name.lower(): value for name, value in question.headers.items()}
    return HttpRequest(question.method, HOST + question.target, headers=headers, body=question.body)


def answer_of(response: HttpResponse) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, headers, response.get_body())


class TestHttpTrigger(PlatformSuite):
    """The suite through HTTP triggers."""

    @pytest.fixture(scope="class")
    @classmethod
    def entry_point(cls, upstream: Simulator) -> Iterator[EntryPoint]:
        application = Application(settings_for(upstream))
        yield lambda question: answer_of(respond_to_request(request_of(question), application))
        application.close()


def test_unhealthy_verdict__keeps_status_and_headers(application: Application) -> None:  # C64
    answer = answer_of(respond_to_request(request_of(Question(target="/?instance=payments")), application))

    assert answer.status == 503
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert json.loads(answer.body)["marker"] == "FDI-NOT-OK"


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("", 503),
        ("/", 503),
        ("https://", 503),
        ("https://[/live", 200),
        ("https://a:b:c/live", 200),
        ("x", 404),
        ("https://h?x=/live", 503),
    ],
)
def test_odd_url__gets_a_response(application: Application, url: str, status: int) -> None:
    assert respond_to_request(HttpRequest("GET", url, body=b""), application).status_code == status


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(METHODS) | st.text(max_size=5),
    url=st.text(max_size=40) | st.text(max_size=40).map(f"{HOST}/".__add__),
    headers=st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3),
    body=st.binary(max_size=20),
)
def test_any_request__gets_a_response(
    application: Application, method: str, url: str, headers: dict[str, str], body: bytes
) -> None:
    response = respond_to_request(HttpRequest(method, url, headers=headers, body=body), application)
    assert response.status_code in {200, 204, 400, 401, 404, 405, 503}


def test_timer__writes_the_verdict_to_the_root_logger_with_its_severity(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    records: list[logging.LogRecord] = []
    root = logging.getLogger()
    platform = logging.Handler()
    monkeypatch.setattr(platform, "emit", records.append)
    monkeypatch.setattr(root, "handlers", [platform])
    log.to_stderr()
    log.to_root_logger()

    respond_to_timer(application)

    (record,) = records
    line: dict[str, Any] = json.loads(record.getMessage())
    assert (record.levelno, line["severity"], line["status"]) == (logging.ERROR, "ERROR", "unhealthy")


def test_platforms_log__fails__line_goes_to_stderr(
    application: Application, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(_: logging.LogRecord) -> None:
        raise RuntimeError("the operator's own handler")

    platform = logging.Handler()
    monkeypatch.setattr(platform, "emit", fail)
    monkeypatch.setattr(logging.getLogger(), "handlers", [platform])
    log.to_stderr()
    log.to_root_logger()

    respond_to_timer(application)
    log.flush()

    assert json.loads(capfd.readouterr().err)["status"] == "unhealthy"


def test_timer__without_settings__raises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    respond_to_timer(Application({}))
    assert "settings_invalid" in caplog.text
