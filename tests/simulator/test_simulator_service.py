"""The simulated service: which response each request gets."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
import requests

from simulator import DOC_EXAMPLE, HEALTHY, NO_TASKS, Request, Simulator, json_response
from simulator import Response as SimulatedResponse
from tests.simulator.wire import (
    INSTANCE,
    OTHER,
    TOKEN,
    connected,
    exchange,
    read_for,
    request_bytes,
    statistics_path,
    status_and_document,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def ask(simulator: Simulator, target: str | None = None, token: str | None = TOKEN) -> tuple[int, dict[str, object]]:
    answer, _ = exchange(simulator, request_bytes(target, token=token, close=True))
    return status_and_document(answer)


def test_doc_example__has_the_documented_bytes(sim: Simulator) -> None:
    body = json.dumps(
        {
            "common_task_details": {
                "running_tasks_count": 2,
                "abnormal_tasks_count": 2,
                "terminated_tasks_count": 6,
                "completed_tasks_count": 8,
            },
            "cdc_task_details": {
                "running_tasks_count": 1,
                "abnormal_tasks_count": 0,
                "terminated_tasks_count": 6,
                "completed_tasks_count": 0,
            },
        }
    ).encode()
    expected = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    assert exchange(sim) == (expected, "closed")


def test_requests_library__reads_the_plain_responses(sim: Simulator) -> None:
    with requests.Session() as session:
        session.headers["X-Auth-Token"] = TOKEN
        for instance_id, document in ((INSTANCE, DOC_EXAMPLE), (OTHER, HEALTHY)):
            answer = session.get(sim.url + statistics_path(instance_id), timeout=2)
            assert (answer.status_code, answer.json()) == (200, document)
    assert {request.connection for request in sim.requests} == {1}


def test_query__is_ignored_in_the_path(sim: Simulator) -> None:
    assert ask(sim, statistics_path() + "?a=/b")[0] == 200


@pytest.mark.parametrize(
    ("token_fault", "status", "code"),
    [("APIGW.0301", 401, "APIGW.0301"), ("APIC.7102", 401, "APIGW.0301"), ("ROMA.1002", 400, "ROMA.1000")],
)
def test_token__missing__gets_the_error_of_the_token_fault(
    sim: Simulator, token_fault: str, status: int, code: str
) -> None:
    sim.token_fault = token_fault
    answer = ask(sim, token=None)
    assert (answer[0], answer[1]["error_code"]) == (status, code)


def test_token__missing__has_a_message_and_a_request_id(sim: Simulator) -> None:
    _, document = ask(sim, token=None)
    assert document["error_msg"] == "Incorrect IAM authentication information: x-auth-token not found"
    assert len(str(document["request_id"])) == 32


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("APIGW.0301", 401),
        ("APIG.1002", 401),
        ("APIG.0301", 401),
        ("APIC.0301", 401),
        ("APIC.7102", 401),
        ("ROMA.1000", 400),
        ("ROMA.1002", 400),
    ],
)
def test_token__unknown__gets_the_error_of_the_token_fault(sim: Simulator, code: str, status: int) -> None:
    sim.token_fault = code
    answer = ask(sim, token="another")
    assert (answer[0], answer[1]["error_code"]) == (status, code)


def test_token_fault__with_an_unknown_code__names_the_known_ones(sim: Simulator) -> None:
    with pytest.raises(ValueError, match=r"'NO\.1' is not a documented error code; there are .*APIGW\.0301"):
        sim.token_fault = "NO.1"


def test_tokens__changed_while_running__take_effect(sim: Simulator) -> None:
    sim.tokens.discard(TOKEN)
    assert ask(sim)[0] == 401
    sim.tokens = {TOKEN}
    assert ask(sim)[0] == 200


def test_token__refused__uses_up_no_behaviour(sim: Simulator) -> None:
    sim.play(INSTANCE, "silent", "healthy")
    assert ask(sim, token="another")[0] == 401
    assert exchange(sim, seconds=0.1) == (b"", "open")


def test_refuses_token__with_any_token__is_played(sim: Simulator) -> None:
    sim.token_fault = "ROMA.1002"
    sim.play(INSTANCE, "refuses_token")
    assert [ask(sim, token=token)[1]["error_code"] for token in (TOKEN, "another", None)] == ["APIGW.0301"] * 3


@pytest.mark.parametrize("behaviour", ["doc_example", "healthy", "cdc_abnormal", "slow"])
def test_restricted_token__sees_zero_tasks(sim: Simulator, behaviour: str) -> None:
    sim.restricted_tokens.add("restricted")
    sim.play(INSTANCE, behaviour)
    assert ask(sim, token="restricted") == (200, NO_TASKS)
    assert ask(sim)[1] != NO_TASKS


def test_restricted_token__sees_faults_unchanged(sim: Simulator) -> None:
    sim.restricted_tokens.add("restricted")
    sim.play(INSTANCE, "status_503")
    assert exchange(sim, request_bytes(token="restricted", close=True))[0].startswith(b"HTTP/1.1 503 ")


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        (statistics_path("nobody"), 404, "APIC.7302"),
        (statistics_path(project_id="another"), 400, "FDI.3039"),
        ("/v2/nothing", 404, "APIG.0101"),
        (statistics_path() + "/", 404, "APIG.0101"),
        (statistics_path("a/b"), 404, "APIG.0101"),
        ("/", 404, "APIG.0101"),
    ],
)
def test_target__unknown__gets_its_error(sim: Simulator, target: str, status: int, code: str) -> None:
    answer = ask(sim, target)
    assert (answer[0], answer[1]["error_code"]) == (status, code)


def test_method__other_than_get__gets_405(sim: Simulator) -> None:
    answer, _ = exchange(sim, request_bytes(method="POST", close=True))
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: GET\r\n" in answer


def test_method__head__has_no_body(sim: Simulator) -> None:
    answer, _ = exchange(sim, request_bytes(method="HEAD", close=True))
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert answer.endswith(b"\r\n\r\n")


def test_script__advances_and_repeats_the_last(sim: Simulator) -> None:
    def method_of(request: Request) -> SimulatedResponse:
        return json_response(request.method)

    sim.play(INSTANCE, "error_FDI_3081", json_response({"mine": 1}), method_of, "healthy")
    answers = [exchange(sim)[0].partition(b"\r\n\r\n")[2] for _ in range(5)]
    assert [json.loads(answer) for answer in answers[1:]] == [{"mine": 1}, "GET", HEALTHY, HEALTHY]
    assert b"FDI.3081" in answers[0]


def test_script__without_behaviours__raises(sim: Simulator) -> None:
    with pytest.raises(ValueError, match="needs at least one behaviour"):
        sim.play(INSTANCE)


def test_script__with_an_unknown_behaviour__suggests_similar_names(sim: Simulator) -> None:
    with pytest.raises(ValueError, match=r"unknown behaviour 'drip_heders': did you mean drip_headers"):
        sim.play(INSTANCE, "healthy", "drip_heders")
    assert ask(sim) == (200, DOC_EXAMPLE)


def test_limit_per_second__counts_each_token(sim: Simulator) -> None:
    sim.tokens.add("second")
    sim.limit_per_second = 2
    assert [ask(sim)[0] for _ in range(3)] == [200, 200, 429]
    status, document = ask(sim)
    assert (status, document["error_code"]) == (429, "APIG.0308")
    assert document["error_msg"] == "policy user over ratelimit, limit:2, time:1 second"
    assert ask(sim, token="second")[0] == 200
    sim.limit_per_second = None
    assert ask(sim)[0] == 200


def test_limit_per_second__after_a_second__accepts_again(sim: Simulator) -> None:
    sim.limit_per_second = 1
    assert [ask(sim)[0], ask(sim)[0]] == [200, 429]
    time.sleep(1.02)
    assert ask(sim)[0] == 200


@pytest.mark.parametrize("behaviour", ["healthy", "reset", "status_503"])
def test_latency__delays_every_response(sim: Simulator, behaviour: str) -> None:
    sim.latency_seconds = 0.15
    sim.play(INSTANCE, behaviour)
    begun = time.monotonic()
    exchange(sim)
    assert 0.15 <= time.monotonic() - begun < 0.6


def test_requests__record_the_received_requests(sim: Simulator) -> None:
    before = time.monotonic()
    with connected(sim) as connection:
        connection.sendall(request_bytes(extra="x-Odd-CASE:  caf\xe9 \r\nDup: 1\r\ndup: 2\r\n"))
        read_for(connection, 0.05)
    (request,) = sim.requests
    assert request.headers == (
        ("Host", "h"),
        ("X-Auth-Token", TOKEN),
        ("x-Odd-CASE", "caf\xe9"),
        ("Dup", "1"),
        ("dup", "2"),
    )
    assert (request.method, request.target, request.token) == ("GET", statistics_path(), TOKEN)
    assert (request.instance_id, request.connection) == (INSTANCE, 1)
    assert (request.header("X-ODD-case"), request.header("DUP"), request.header("none")) == ("caf\xe9", "1", None)
    assert before <= request.at <= time.monotonic()


def test_requests__are_listed_by_instance_and_can_be_cleared(sim: Simulator) -> None:
    ask(sim)
    ask(sim, statistics_path("odd%20name"))
    ask(sim, "/elsewhere")
    assert [request.instance_id for request in sim.requests] == [INSTANCE, "odd name", None]
    assert len(sim.requests_for(INSTANCE)) == 1
    assert len(sim.requests_for("odd name")) == 1
    sim.forget()
    assert sim.requests == []


def test_requests__with_remember__hold_the_newest_only() -> None:
    with Simulator(tokens=[TOKEN], remember=2) as simulator:
        for target in ("/1", "/2", "/3"):
            ask(simulator, target)
        assert [request.target for request in simulator.requests] == ["/2", "/3"]


def test_echoes_token__repeats_the_token(sim: Simulator) -> None:
    """C31."""
    sim.tokens.add("a-second-token")
    sim.play(INSTANCE, "echoes_token")
    status, document = ask(sim, token="a-second-token")
    assert status == 401
    assert "a-second-token" in str(document["error_msg"])


@pytest.mark.parametrize(
    "use",
    [
        lambda simulator: simulator.url,
        lambda simulator: simulator.port,
        lambda simulator: simulator.connections_open,
        lambda simulator: simulator.drop_idle_connections(),
    ],
)
def test_simulator__when_not_running__raises(use: Callable[[Simulator], object]) -> None:
    with pytest.raises(RuntimeError, match="use it in a with statement"):
        use(Simulator(tokens=[TOKEN]))


def test_responder__receives_the_request(sim: Simulator) -> None:
    seen = []

    def reply(request: Request) -> SimulatedResponse:
        seen.append(request)
        return json_response(HEALTHY)

    sim.play(INSTANCE, reply)
    ask(sim)
    assert seen == sim.requests
