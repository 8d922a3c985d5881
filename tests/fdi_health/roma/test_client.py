"""What goes to the upstream for one instance, and what is made of its answer, over real HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fdi_health.clock import Deadline
from fdi_health.credentials.authenticators import Token
from fdi_health.errors import NEXT_STEPS, CheckError
from fdi_health.models import Instance, Statistics, TaskCounts
from fdi_health.roma.api import Api
from fdi_health.roma.client import Client
from fdi_health.transport.client import Transport
from fdi_health.transport.retry import Retries
from simulator.responses import body_response, json_response
from tests.conftest import PROJECT_ID, TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulator import Simulator

INSTANCE = Instance("one", "id-one")
SOUND = {
    "common_task_details": {
        "running_tasks_count": 1,
        "abnormal_tasks_count": 2,
        "terminated_tasks_count": 3,
        "completed_tasks_count": 4,
    },
    "cdc_task_details": {
        "running_tasks_count": 5,
        "abnormal_tasks_count": 6,
        "terminated_tasks_count": 7,
        "completed_tasks_count": 8,
    },
}


@pytest.fixture
def ask(upstream: Simulator) -> Iterator[Callable[..., Statistics]]:
    """Return what has one instance play something and asks for its statistics."""
    transport = Transport.open(upstream.url, {}, 1)

    def ask(play: Any, **kwargs: Any) -> Statistics:
        upstream.play(INSTANCE.instance_id, play)
        optional_groups = kwargs.pop("optional_groups", ())
        client = Client(Api(transport, PROJECT_ID, **kwargs), optional_groups)
        return client.statistics(INSTANCE, Token(TOKEN, 1), Deadline.after(2))

    yield ask
    transport.close()


def failure(ask: Callable[..., Statistics], play: Any, **kwargs: Any) -> CheckError:
    with pytest.raises(CheckError) as caught:
        ask(play, **kwargs)
    return caught.value


def test_request__has_the_api_s_target_and_headers(ask: Callable[..., Statistics], upstream: Simulator) -> None:
    ask(json_response(SOUND))
    (request,) = upstream.requests
    assert (request.method, request.target) == ("GET", f"/v2/{PROJECT_ID}/fdi/instances/id-one/statistics/tasks")
    assert sorted(request.headers) == [
        ("Accept", "application/json"),
        ("Accept-Encoding", "identity"),
        ("Cache-Control", "no-cache, no-store"),
        ("Host", upstream.url.removeprefix("http://")),
        ("User-Agent", "fdi-health"),
        ("X-Auth-Token", TOKEN),
    ]


def test_statistics__are_the_document_s(ask: Callable[..., Statistics]) -> None:
    assert ask(json_response(SOUND)) == Statistics(TaskCounts(1, 2, 3, 4), TaskCounts(5, 6, 7, 8))


@pytest.mark.parametrize(
    ("document", "where"),
    [
        ([], "not an object"),
        ("text", "not an object"),
        ({**SOUND, "cdc_task_details": 5}, "cdc_task_details"),
        ({**SOUND, "cdc_task_details": None}, "cdc_task_details"),
        ({"cdc_task_details": SOUND["cdc_task_details"]}, "common_task_details"),
        (
            {**SOUND, "cdc_task_details": {**SOUND["cdc_task_details"], "abnormal_tasks_count": "6"}},
            "cdc_task_details.abnormal_tasks_count",
        ),
        ({**SOUND, "flow_task_details": None}, "other_task_details"),  # D59
        ({**SOUND, "flow_task_details": {"running_tasks_count": 1}}, "other_task_details.abnormal_tasks_count"),
        ({**SOUND, "<b>_task_details": SOUND["cdc_task_details"]}, "other_task_details"),
    ],
)
def test_document_that_is_not_valid__is_told_by_its_first_field_at_fault(
    ask: Callable[..., Statistics], document: Any, where: str
) -> None:
    error = failure(ask, json_response(document))
    assert (error.code, error.upstream_status) == ("invalid_response", 200)
    assert error.message == f"the response is not a valid statistics document ({where})"


def test_further_group__is_in_the_statistics(ask: Callable[..., Statistics]) -> None:  # D59
    statistics = ask(json_response({**SOUND, "flow_task_details": SOUND["cdc_task_details"]}))
    assert statistics.other_task_details == {"flow_task_details": TaskCounts(5, 6, 7, 8)}


@pytest.mark.parametrize("echo", [TOKEN, TOKEN.lower(), TOKEN[5:14]])
def test_further_group_named_after_the_token__is_refused_and_not_shown(
    ask: Callable[..., Statistics], echo: str
) -> None:  # D59
    error = failure(ask, json_response({**SOUND, f"{echo}_task_details": SOUND["cdc_task_details"]}))
    assert error.message == "the response is not a valid statistics document (other_task_details)"


def test_answer_that_is_no_json__is_told_with_its_status(ask: Callable[..., Statistics]) -> None:
    error = failure(ask, body_response(b"{"))
    assert (error.code, error.upstream_status) == ("invalid_response", 200)
    assert error.message.startswith("the response is not valid JSON: ")


@pytest.mark.parametrize("status", [200, 400])
def test_upstream_s_own_words__are_kept(ask: Callable[..., Statistics], status: int) -> None:
    words = {"error_code": "FDI.3002", "error_msg": "Parameter invalid.", "request_id": "r-1"}
    error = failure(ask, json_response(words, status))
    assert error.upstream_code == "FDI.3002"
    assert error.upstream_message == "Parameter invalid."
    assert error.request_id == "r-1"


def test_upstream_s_own_words__have_a_longest_length(ask: Callable[..., Statistics]) -> None:
    error = failure(ask, json_response(dict.fromkeys(("error_code", "error_msg", "request_id"), "x" * 600), 400))
    words = (error.upstream_code, error.upstream_message, error.request_id)
    assert [len(word or "") for word in words] == [64, 512, 64]


def test_upstream_that_asks_for_fewer_calls__is_named_as_such(ask: Callable[..., Statistics]) -> None:
    retries = Retries("the upstream")
    failure(ask, "retry_after_3600", retries=retries)
    assert failure(ask, "healthy", retries=retries).message.startswith("the upstream asked for fewer requests")


@pytest.mark.parametrize(
    ("error_msg", "words"),
    [
        ("The token expires at 5", "has expired"),
        ("Decrypt token fail", "incomplete, expired or from another region"),
        ("x-auth-token not found", "X-Auth-Token"),
        ("The token must be updated", "changed rights"),
        ("the user decrypt-token of fail-expires", "or a fresh IAM token"),
        (None, "or a fresh IAM token"),
    ],
)
def test_refused_token__text_decides_the_next_step(
    ask: Callable[..., Statistics], error_msg: str | None, words: str
) -> None:
    document = {"error_code": "APIGW.0301", "error_msg": error_msg}
    error = failure(ask, json_response(document, 401))
    assert error.code == "token_rejected"
    assert words in str(error.next_step)


def test_text_about_a_token__decides_nothing_for_another_code(ask: Callable[..., Statistics]) -> None:
    document = {"error_code": "FDI.9999", "error_msg": "decrypt token fail"}
    error = failure(ask, json_response(document, 500))
    assert (error.code, error.next_step) == ("upstream_error", NEXT_STEPS["upstream_error"])
