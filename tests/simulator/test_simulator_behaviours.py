"""Every behaviour can be played, and the unusual ones send what their names say."""

from __future__ import annotations

import gzip
import json
import logging
import re
import time
from collections import Counter
from http.client import HTTPConnection, IncompleteRead

import pytest

from simulator import DOC_EXAMPLE, HEALTHY, Simulator, drip, fault_names, redirect
from simulator import Response as SimulatedResponse
from simulator.content_faults import CONTENT_FAULTS, COUNT_TEXTS
from simulator.documented_responses import DOCUMENTED, ERRORS
from simulator.framing_faults import FRAMING_FAULTS
from simulator.status_faults import STATUS_FAULTS
from simulator.timing_faults import TIMING_FAULTS
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

TABLES = (DOCUMENTED, TIMING_FAULTS, CONTENT_FAULTS, STATUS_FAULTS, FRAMING_FAULTS)
ODD_BUT_HEALTHY = [
    "healthy",
    "slow",
    "no_length_close",
    "chunked_ok",
    "http_1_0",
    "encoding_identity",
    "status_100_continue",
    "reset_idle",
    "close_idle",
]


def played(simulator: Simulator, behaviour: str | SimulatedResponse, seconds: float = 2.0) -> tuple[bytes, str]:
    simulator.play(INSTANCE, behaviour)
    return exchange(simulator, seconds=seconds)


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def test_behaviour_tables__have_no_name_twice() -> None:
    assert [name for name, times in Counter(name for table in TABLES for name in table).items() if times > 1] == []


@pytest.mark.parametrize("behaviour", fault_names())
def test_behaviour__played__leaves_the_server_working(
    sim: Simulator, behaviour: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        played(sim, behaviour, seconds=0.3)
        other, _ = exchange(sim, request_bytes(statistics_path(OTHER), close=True))
    assert status_and_document(other) == (200, HEALTHY)
    # In development mode asyncio also reports each turn that took long, which a busy machine is enough for.
    assert [record for record in caplog.records if not record.getMessage().startswith("Executing ")] == []


@pytest.mark.parametrize("behaviour", ODD_BUT_HEALTHY)
def test_unusual_behaviour__is_healthy(sim: Simulator, behaviour: str) -> None:
    sim.play(INSTANCE, behaviour)
    connection = HTTPConnection("127.0.0.1", sim.port, timeout=2)
    connection.request("GET", statistics_path(), headers={"X-Auth-Token": TOKEN})
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())) == (200, HEALTHY)
    answer.close()
    connection.close()


@pytest.mark.parametrize("code", ERRORS)
def test_error__has_the_documented_status_and_code(sim: Simulator, code: str) -> None:
    status, document = status_and_document(played(sim, f"error_{code.replace('.', '_')}")[0])
    assert (status, document["error_code"], document["error_msg"]) == (ERRORS[code].status, code, ERRORS[code].message)
    assert ("request_id" in document) == code.startswith("API")


@pytest.mark.parametrize("behaviour", [name for name in fault_names() if re.match(r"status_\d", name)])
def test_status__is_the_one_in_the_name(sim: Simulator, behaviour: str) -> None:
    assert played(sim, behaviour, seconds=0.1)[0].split(b" ")[1] == behaviour.split("_")[1].encode()


def test_drip_headers__starts_at_once_and_takes_long(sim: Simulator) -> None:
    """C02."""
    sim.play(INSTANCE, "drip_headers")
    with connected(sim) as connection:
        begun = time.monotonic()
        connection.sendall(request_bytes())
        assert connection.recv(100) == b"H"
        assert time.monotonic() - begun < 0.1
        assert read_for(connection, 0.55)[0] in {b"TTP/", b"TTP/1", b"TTP/1."}


def test_drip_headers__takes_20_seconds_and_is_healthy() -> None:
    """C02."""
    answer = TIMING_FAULTS["drip_headers"]
    assert {len(data) for _, data in answer.steps} == {1}
    whole = b"".join(data for _, data in answer.steps)
    assert whole.index(b"\r\n\r\n") * 0.1 > 20
    assert json.loads(body_of(whole)) == HEALTHY


def test_drip_body__sends_the_head_at_once_and_the_body_in_60_seconds(sim: Simulator) -> None:
    """C01."""
    answer = TIMING_FAULTS["drip_body"]
    assert sum(seconds for seconds, _ in answer.steps) == pytest.approx(60)
    assert json.loads(body_of(b"".join(data for _, data in answer.steps))) == HEALTHY
    received, end = played(sim, "drip_body", seconds=0.5)
    assert (body_of(received), end) == (b"  ", "open")


def test_drip__of_given_bytes__sends_them_one_by_one(sim: Simulator) -> None:
    begun = time.monotonic()
    assert played(sim, drip(b"abcd", 0.05, end="close")) == (b"abcd", "closed")
    assert 0.15 <= time.monotonic() - begun < 0.5


@pytest.mark.parametrize("behaviour", ["silent", "silent_after_headers", "silent_mid_body"])
def test_silence__stays_open(sim: Simulator, behaviour: str) -> None:
    answer, end = played(sim, behaviour, seconds=0.1)
    assert end == "open"
    assert len(body_of(answer)) == (len(json.dumps(HEALTHY)) // 2 if behaviour == "silent_mid_body" else 0)


def test_reset__is_a_reset(sim: Simulator) -> None:
    sim.play(INSTANCE, "reset")
    with connected(sim) as connection:
        connection.sendall(request_bytes())
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


@pytest.mark.parametrize("behaviour", ["reset_mid_headers", "reset_mid_body", "reset_idle"])
def test_reset__after_some_bytes__is_a_reset(sim: Simulator, behaviour: str) -> None:
    answer, end = played(sim, behaviour)
    assert (answer[:5], end) == (b"HTTP/", "reset")
    assert (b"\r\n\r\n" in answer) == (behaviour != "reset_mid_headers")


def test_close__sends_no_byte(sim: Simulator) -> None:
    assert played(sim, "close") == (b"", "closed")


def test_truncated__has_a_content_length_beyond_the_document(sim: Simulator) -> None:
    """C25."""
    answer, end = played(sim, "truncated")
    assert (status_and_document(answer), end) == ((200, HEALTHY), "closed")
    connection = HTTPConnection("127.0.0.1", sim.port, timeout=2)
    connection.request("GET", statistics_path(), headers={"X-Auth-Token": TOKEN})
    with connection.getresponse() as response, pytest.raises(IncompleteRead) as raised:
        response.read()
    assert raised.value.expected == 100
    connection.close()


@pytest.mark.parametrize("behaviour", COUNT_TEXTS)
def test_count_fault__changes_the_common_abnormal_count_only(sim: Simulator, behaviour: str) -> None:
    """C18, C19, C43, C44."""
    body = body_of(played(sim, behaviour)[0]).decode()
    expected = json.dumps(HEALTHY).split('"abnormal_tasks_count": 0', 1)
    assert body == f'{expected[0]}"abnormal_tasks_count": {COUNT_TEXTS[behaviour]}{expected[1]}'


def test_missing_abnormal__lacks_that_key_only(sim: Simulator) -> None:
    """C20."""
    _, document = status_and_document(played(sim, "missing_abnormal")[0])
    common = {key: value for key, value in HEALTHY["common_task_details"].items() if key != "abnormal_tasks_count"}
    assert document == {**HEALTHY, "common_task_details": common}


@pytest.mark.parametrize("behaviour", ["duplicate_count_key", "duplicate_group_key"])
def test_duplicate_key__ends_with_the_healthy_value(sim: Simulator, behaviour: str) -> None:
    body = body_of(played(sim, behaviour)[0])
    assert json.loads(body) == HEALTHY
    assert body.count(b'"abnormal_tasks_count": 2') == 1


@pytest.mark.parametrize("behaviour", ["bom", "extra_fields"])
def test_unusual_encoding__holds_the_example(sim: Simulator, behaviour: str) -> None:
    """C77, C78."""
    document = json.loads(body_of(played(sim, behaviour)[0]).decode("utf-8-sig"))
    assert document["cdc_task_details"] == DOC_EXAMPLE["cdc_task_details"]
    assert DOC_EXAMPLE["common_task_details"].items() <= document["common_task_details"].items()


@pytest.mark.parametrize(
    ("behaviour", "group"),
    [
        ("flow_abnormal", "flow_task_details"),
        ("flow_damaged", "flow_task_details"),
        ("flow_incomplete", "flow_task_details"),
        ("flow_list", "flow_task_details"),
        ("flow_null", "flow_task_details"),
        ("flow_zero", "flow_task_details"),
        ("marker_in_group_name", "fdi-ok_task_details"),
        ("unnamed_group_abnormal", "orchestration"),
        ("unnamed_group_damaged", "orchestration"),
    ],
)
def test_further_group__is_beside_healthy_ones(sim: Simulator, behaviour: str, group: str) -> None:  # D59
    _, document = status_and_document(played(sim, behaviour)[0])
    assert document.keys() - HEALTHY.keys() == {group}
    assert {name: document[name] for name in HEALTHY} == HEALTHY


def test_huge__has_64_mebibytes_before_a_healthy_document(sim: Simulator) -> None:
    answer, _ = played(sim, "huge", seconds=5)
    body = body_of(answer)
    assert len(body) == 64 * 1024 * 1024 + len(json.dumps(HEALTHY))
    assert body[-300:].lstrip() == json.dumps(HEALTHY).encode()


def test_gzip__real_one_decodes_and_bomb_exceeds_64_mebibytes(sim: Simulator) -> None:
    """C46."""
    assert json.loads(gzip.decompress(body_of(played(sim, "gzip_real")[0]))) == HEALTHY
    bomb = body_of(played(sim, "gzip_bomb")[0])
    assert len(bomb) < 100_000
    assert int.from_bytes(bomb[-4:], "little") > 64 * 1024 * 1024


def test_redirect__to_a_given_location__has_it(sim: Simulator) -> None:
    """C30."""
    answer, _ = played(sim, redirect(302, "http://127.0.0.2:9/sink"))
    assert answer.startswith(b"HTTP/1.1 302 Found\r\n")
    assert b"\r\nLocation: http://127.0.0.2:9/sink\r\n" in answer


def test_retry_after__as_a_date__is_in_the_future(sim: Simulator) -> None:
    """C06."""
    answer, _ = played(sim, "retry_after_date_2099")
    assert answer.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert b"\r\nRetry-After: Wed, 21 Oct 2099 07:28:00 GMT\r\n" in answer


def test_extra_bytes_after_body__are_a_second_response(sim: Simulator) -> None:
    assert played(sim, "extra_bytes_after_body")[0].count(b"HTTP/1.1 200 OK\r\n") == 2


def test_echoes_marker__has_it_in_every_text(sim: Simulator) -> None:
    """C26."""
    _, document = status_and_document(played(sim, "echoes_marker")[0])
    for member in ("error_code", "error_msg", "request_id"):
        assert "FDI-OK" in str(document[member])
        assert '"healthy":true' in str(document[member])
        assert "\x1b" in str(document[member])
