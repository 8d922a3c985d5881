"""What callers see: paths, methods, statuses, headers, parameters, bodies, problems."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from fdi_health import __version__, evaluation_cache, log
from fdi_health.errors import CheckError
from fdi_health.evaluation import evaluate
from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator import Simulator
    from tests.conftest import Function

CHUNKED = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""}
FIELDS = [
    "status",
    "healthy",
    "marker",
    "reason",
    "checked_at",
    "age_seconds",
    "duration_seconds",
    "instances_count",
    "totals",
    "warnings",
    "error",
    "instances",
]


def test_documented_example__is_unhealthy(function: Callable[..., Function]) -> None:
    response = function("doc_example").get()

    document = response.get_json()
    assert response.status_code == 503
    assert response.headers["FDI-Verdict"] == "unhealthy"
    assert response.headers["Content-Type"] == "application/json"
    assert list(document) == FIELDS
    assert document["reason"] == "2 abnormal tasks in one (common-task-1, common-task-2)"
    assert document["instances"][0]["reason"] == "2 abnormal common tasks"
    assert document["totals"] == {
        "running_tasks_count": 3,
        "abnormal_tasks_count": 2,
        "terminated_tasks_count": 12,
        "completed_tasks_count": 8,
    }


def test_json__is_compact_and_ascii(function: Callable[..., Function]) -> None:
    body = function("doc_example", "echoes_marker").get().data

    assert body.isascii()
    assert body == json.dumps(json.loads(body), separators=(",", ":")).encode()


@pytest.mark.parametrize(("path", "verdict"), [("/", "healthy"), ("/health", "healthy"), ("/health/", "healthy")])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_verdict_path__any_method__is_200(
    function: Callable[..., Function], path: str, verdict: str, method: str
) -> None:  # C52, C53
    response = function("healthy").client.open(path, method=method)

    assert (response.status_code, response.headers["FDI-Verdict"]) == (200, verdict)
    assert (response.data == b"") is (method == "HEAD")


def test_head__has_the_headers_of_get(function: Callable[..., Function]) -> None:  # C52
    checked = function("doc_example", FDI_CACHE_SECONDS="60")
    get, head = checked.get(), checked.client.head("/")

    assert head.status_code == get.status_code
    # The length varies with the digits of a duration.
    assert {**head.headers, "Content-Length": ""} == {**get.headers, "Content-Length": ""}
    assert int(head.headers["Content-Length"]) > 500


def test_fail_on__changes_the_status_and_nothing_else(function: Callable[..., Function]) -> None:  # C16
    checked = function("doc_example", FDI_CACHE_SECONDS="60")
    default, none = checked.get("/"), checked.get("/?fail_on=none")

    assert (default.status_code, none.status_code) == (503, 200)
    assert none.headers["FDI-Verdict"] == "unhealthy"
    assert none.get_json()["marker"] == "FDI-NOT-OK"
    assert {**none.get_json(), "age_seconds": 0, "duration_seconds": 0} == {
        **default.get_json(),
        "age_seconds": 0,
        "duration_seconds": 0,
    }


@pytest.mark.parametrize(
    ("play", "fail_on", "status"),
    [
        ("doc_example", "unhealthy", 503),
        ("doc_example", "unknown", 200),
        ("status_500", "unknown", 503),
        ("status_500", "unhealthy", 200),
        ("no_tasks", "degraded", 503),
        ("no_tasks", "unhealthy,unknown", 200),
        ("no_tasks", "unhealthy&fail_on=degraded", 503),
        ("healthy", "unhealthy,unknown,degraded", 200),
        ("healthy", "healthy", 503),
        ("no_tasks", "healthy", 503),
        ("doc_example", "healthy", 503),
        ("healthy", "none", 200),
    ],
)
def test_fail_on__decides_which_statuses_page(
    function: Callable[..., Function], play: str, fail_on: str, status: int
) -> None:
    assert function(play).get(f"/?fail_on={fail_on}").status_code == status


def test_unknown__is_worse_than_degraded_and_milder_than_unhealthy(function: Callable[..., Function]) -> None:  # C17
    assert function("healthy", "status_401").verdict()["status"] == "unknown"
    assert function("no_tasks", "status_401").verdict()["status"] == "unknown"
    assert function("doc_example", "silent", FDI_DEADLINE_SECONDS="1").verdict()["status"] == "unhealthy"


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("instance=one", ["one"]),
        ("instance=id-two", ["two"]),
        ("instance=two,one", ["one", "two"]),
        ("instance=one&instance=two", ["one", "two"]),
        ("instance=one,one&instance=id-one", ["one"]),
        ("instance=one,", ["one"]),  # E19
        ("instance=,one,,two,", ["one", "two"]),
        ("instance=one&instance=", ["one"]),
        ("instance=%20,one%20,+", ["one"]),
        ("cachebuster=1", ["one", "two", "three"]),
    ],
)
def test_instance__narrows_the_check(
    function: Callable[..., Function], upstream: Simulator, query: str, names: list[str]
) -> None:
    verdict = function("healthy", "healthy", "healthy").verdict(f"/?{query}")

    assert [instance["name"] for instance in verdict["instances"]] == names
    assert len(upstream.requests) == len(names)


@pytest.mark.parametrize(
    "query",
    [
        "instance=",  # C13
        "instance=,",
        "instance=&instance=,",
        "instance=..",  # C40
        "instance=%2e%2e%2fx",
        "instance=a%3Fb=1",
        "instance=a%23f",
        "instance=%ff",
        "fail_on=",
        "fail_on=,",
        "fail_on=sick",
        "fail_on=none,unhealthy",
        "deadline=",
        "deadline=0",
        "deadline=-1",
        "deadline=nan",
        "deadline=inf",
        "deadline=1e3",
        "deadline=1_0",
        "deadline=%D9%A3",
        "deadline=4&deadline=x",
        "format=xml",
        "format=",
        "format=json&format=xml",
    ],
)
def test_malformed_query__any_form__is_400_without_a_probe(
    function: Callable[..., Function], upstream: Simulator, query: str
) -> None:
    response = function("healthy").get(f"/?{query}")

    assert response.status_code == 400
    assert response.headers["Content-Type"] == "application/problem+json"
    document = response.get_json()
    assert document["status"] == 400
    assert document["detail"].startswith(query.partition("=")[0])
    assert "e.g." in document["detail"]
    assert upstream.requests == []


@pytest.mark.parametrize("query", ["fail_on=\xff", "fail_on=unknown\xff", "instance=\x80", "fail_on\xff=unknown"])
def test_query__bytes_that_are_not_utf_8__is_malformed(
    function: Callable[..., Function], upstream: Simulator, query: str
) -> None:
    # WSGI keeps bytes as Latin-1 (PEP 3333), and some servers hand on what is not percent-encoded.
    response = function("healthy").client.get("/", environ_overrides={"QUERY_STRING": query})

    assert (response.status_code, response.get_json()["code"]) == (400, "malformed_query")
    assert upstream.requests == []


def test_unknown_instance__is_404_and_not_repeated(function: Callable[..., Function], upstream: Simulator) -> None:
    response = function("healthy").get("/?instance=FDI-OK")

    assert response.status_code == 404
    assert b"FDI-OK" not in response.data  # C26
    assert upstream.requests == []


def test_very_long_query__is_refused(function: Callable[..., Function], upstream: Simulator) -> None:  # C60
    assert function("healthy").get("/?" + "&instance=one" * 16_000).status_code == 400
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b'{"instance":"one"}', ["one"]),  # C61
        (b'{"instance":["one","two"]}', ["one", "two"]),
        (b'{"instance":"one,two"}', ["one", "two"]),
        (b'\xef\xbb\xbf{"instance":"one"}', ["one"]),
        (b"", ["one", "two"]),
        (b"{}", ["one", "two"]),
        (b"null", ["one", "two"]),
        (b'["one"]', ["one", "two"]),
        (b'{"instance":"one","alert":"x"}', ["one", "two"]),
        (b'{"instance":"one","instance":"two"}', ["one", "two"]),
        (b"instance=one", ["one", "two"]),
        (b"\x00\xff", ["one", "two"]),
        (b"[" * 20_000, ["one", "two"]),  # C45
    ],
)
@pytest.mark.parametrize("media_type", ["application/json", "application/octet-stream", None])
def test_body__steers_only_if_all_of_it_is_ours(
    function: Callable[..., Function], body: bytes, names: list[str], media_type: str | None
) -> None:
    response = function("healthy", "healthy").client.post("/", data=body, content_type=media_type)

    assert response.status_code == 200
    assert [instance["name"] for instance in response.get_json()["instances"]] == names


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"instance": 5}, "instance"),
        ({"instance": []}, "instance"),
        ({"instance": None}, "instance"),
        ({"instance": ["one", 5]}, "instance"),
        ({"fail_on": True}, "fail_on"),
        ({"deadline": True}, "deadline"),
        ({"deadline": 0}, "deadline"),
        ({"deadline": [1, "x"]}, "deadline"),
        ({"format": 1}, "format"),
        ({"format": {}}, "format"),
        ({"format": [[]]}, "format"),
    ],
)
def test_body_of_ours__is_validated(function: Callable[..., Function], body: dict[str, Any], name: str) -> None:
    response = function("healthy").client.post("/", json=body)

    assert response.status_code == 400
    assert response.get_json()["detail"].startswith(name)


def test_body__adds_to_the_query(function: Callable[..., Function]) -> None:
    response = function("doc_example", "healthy").client.post(
        "/?instance=two", json={"instance": "one", "fail_on": "none", "deadline": 3, "format": "json"}
    )

    assert response.status_code == 200
    assert response.get_json()["instances_count"]["total"] == 2


def test_body_of_a_get__is_ignored(function: Callable[..., Function]) -> None:
    assert function("healthy", "healthy").verdict(data=b'{"instance":"one"}')["instances_count"]["total"] == 2


STEERING = b'{"instance":"one"}'


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("length", "asked"), [(65_536, 1), (65_537, 2), (106_000, 2), (5_000_000, 2)])
def test_body__over_64_kib__is_ignored(
    function: Callable[..., Function], length: int, asked: int, chunked: bool
) -> None:  # E20
    stream = io.BytesIO(STEERING.ljust(length))
    announced = CHUNKED if chunked else {"CONTENT_LENGTH": str(length)}

    response = function("healthy", "healthy").client.post("/", input_stream=stream, environ_overrides=announced)

    assert (response.status_code, response.get_json()["instances_count"]["total"]) == (200, asked)
    assert stream.tell() <= 65_537


def test_body__connection_breaks__is_malformed_query(function: Callable[..., Function]) -> None:
    class Broken(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise OSError("hung up")

    response = function("healthy").client.post("/", input_stream=Broken(), environ_overrides=CHUNKED)

    assert (response.status_code, response.get_json()["code"]) == (400, "malformed_query")


def test_incomplete_body__is_malformed_query(function: Callable[..., Function]) -> None:
    response = function("healthy").client.post("/", data=b"{}", environ_overrides={"CONTENT_LENGTH": "3"})

    assert (response.status_code, response.get_json()["code"]) == (400, "malformed_query")


@pytest.mark.parametrize("path", ["/nope", "/\xff", "/h%C3%A9", "/health%2F..", "/healthz", "/favicon.ico", "/metric"])
def test_unknown_path__get__is_404_without_a_probe(
    function: Callable[..., Function], upstream: Simulator, path: str
) -> None:  # C51, C62
    response = function("healthy").get(path)

    assert response.status_code == 404
    assert response.get_json()["code"] == "unknown_path"
    assert upstream.requests == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"])
def test_other_method__is_405_with_allow(function: Callable[..., Function], method: str) -> None:
    response = function("healthy").client.open("/", method=method)

    assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD, POST, OPTIONS")
    assert function("healthy").client.open("/live", method="POST").headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("headers", [{}, {"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}])
def test_options__is_204_with_allow(
    function: Callable[..., Function], upstream: Simulator, headers: dict[str, str]
) -> None:  # C59
    response = function("healthy").client.options("/", headers=headers)

    assert (response.status_code, response.headers["Allow"]) == (204, "GET, HEAD, POST, OPTIONS")
    assert upstream.requests == []


def test_options__of_a_sender_of_events__allow_its_origin_and_any_rate(function: Callable[..., Function]) -> None:
    asked = {"WebHook-Request-Origin": "eventgrid.azure.net", "WebHook-Request-Rate": "120"}
    client = function("healthy").client
    headers = client.options("/", headers=asked).headers
    assert (headers["WebHook-Allowed-Origin"], headers["WebHook-Allowed-Rate"]) == ("eventgrid.azure.net", "*")
    del asked["WebHook-Request-Rate"]
    assert "WebHook-Allowed-Rate" not in client.options("/health", headers=asked).headers
    assert "WebHook-Allowed-Origin" not in client.options("/ready", headers=asked).headers


@pytest.mark.parametrize(
    "origin", ["", "a b", "a;b", "https://a.example", "x" * 254, "fdi-ok.example", "localhost", "<script>"]
)
def test_options__of_an_origin_that_is_no_host_name__allow_none(function: Callable[..., Function], origin: str) -> None:
    response = function("healthy").client.options("/", headers={"WebHook-Request-Origin": origin})
    assert response.status_code == 204
    assert "WebHook-Allowed-Origin" not in response.headers


def test_event__posted_by_a_sender_of_events__is_a_check_like_any_other(function: Callable[..., Function]) -> None:
    event = {"specversion": "1.0", "id": "1", "source": "/subscriptions/x", "type": "alert.fired", "data": {}}
    headers = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
    for play, status in (("healthy", 200), ("doc_example", 503)):
        assert function(play).client.post("/", json=event, headers=headers).status_code == status


@pytest.mark.parametrize(
    "accept",
    [None, "*/*", "text/html", "application/vnd.x+json", "text/html;q=0.9", "application/json", "x", "a/b,,;q=z", "é"],
)
def test_accept__unknown_type__still_gets_a_response(
    function: Callable[..., Function], accept: str | None
) -> None:  # C56
    headers = {} if accept is None else {"Accept": accept}

    response = function("healthy").get(headers=headers)

    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")


@pytest.mark.parametrize("path", ["/", "/?instance=", "/nope", "/live", "/ready", "/?instance=nope"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
def test_every_response__headers__forbid_caching(
    function: Callable[..., Function], path: str, method: str
) -> None:  # C58
    response = function("status_500").client.open(path, method=method)

    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Vary"] == "Accept, Authorization, X-Api-Key"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert not 300 <= response.status_code < 400


def test_range__is_ignored(function: Callable[..., Function]) -> None:
    assert function("healthy").get(headers={"Range": "bytes=0-1"}).status_code == 200


def test_anonymous__sees_the_verdict_alone(function: Callable[..., Function]) -> None:
    response = function("doc_example", "echoes_access_key", FDI_ANONYMOUS="verdict").get()

    document = response.get_json()
    assert list(document) == FIELDS[:8]
    assert document["reason"] == "1 of 2 instances unhealthy, 1 unknown (token_rejected)"
    assert len(response.data) < 1000
    assert b"HPUAEXAMPLE" not in response.data  # C31


def test_details__by_default__are_hidden(function: Callable[..., Function]) -> None:
    assert "instances" not in function("healthy", FDI_ANONYMOUS=None).verdict()


def test_marker__stands_only_where_it_is_true(function: Callable[..., Function]) -> None:  # C26
    failing = function("healthy", "echoes_marker").get().data
    healthy = function("healthy").get().data

    assert b"FDI-OK" in healthy[:512]
    assert b'"healthy":true' in healthy
    assert b"fdi-ok" not in failing.lower()
    assert b'"healthy":true' not in json.dumps(json.loads(failing), separators=(",", ":")).encode()


def test_live__needs_no_settings(function: Callable[..., Function]) -> None:  # C97
    response = function(FDI_TOKEN=None).get("/live")

    assert (response.status_code, response.get_json()) == (200, {"live": True})


def test_broken_settings__are_500_and_all_named(function: Callable[..., Function]) -> None:  # C13, C97
    checked = function(FDI_TOKEN=None, FDI_INSTANCES=",", FDI_DEADLINE_SECONDS="8s")

    response = checked.get("/")
    ready = checked.get("/ready")

    assert (response.status_code, ready.status_code) == (500, 503)
    assert response.get_json()["code"] == "settings_invalid"
    named = [(fault["variable"], fault["entry"]) for fault in response.get_json()["faults"]]
    assert named == [("FDI_DEADLINE_SECONDS", None), ("FDI_INSTANCES", 1), ("FDI_TOKEN", None)]
    assert ready.get_json() == {"ready": False, "faults_count": 3, "faults": response.get_json()["faults"]}
    assert "8s" not in response.text


def test_ready__reads_the_token_once(function: Callable[..., Function], upstream: Simulator) -> None:
    checked = function("healthy")

    token = {"source": "env", "kind": "token", "version": None, "expires_at": None}
    ready = {"ready": True, "faults_count": 0, "faults": [], "token": token, "version": __version__}
    assert (checked.get("/ready").status_code, checked.get("/ready").get_json()) == (200, ready)
    assert upstream.requests == []


def test_ready__is_503_without_a_token(function: Callable[..., Function]) -> None:
    response = function("healthy", ROMA_TOKEN=None).get("/ready")

    assert response.status_code == 503
    (fault,) = response.get_json()["faults"]
    assert fault["variable"] == "FDI_TOKEN"
    assert "not set" in fault["message"]


def test_unexpected_fault__is_a_generic_problem_and_one_clean_log_line(
    function: Callable[..., Function], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:  # C39
    def broken(*_: object, **__: object) -> None:
        try:
            raise KeyError("cause s3cr3t")
        except KeyError as error:
            raise RuntimeError("boom s3cr3t") from error

    monkeypatch.setattr(evaluation_cache, "evaluate", broken)
    with caplog.at_level(logging.DEBUG):
        response = function("healthy").get()

    assert (response.status_code, response.get_json()["code"]) == (500, "internal_error")
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    line = json.loads(log.line_of(record))
    assert line["severity"] == "ERROR"
    assert [cause["exception"] for cause in line["causes"]] == ["builtins.RuntimeError", "builtins.KeyError"]
    assert "broken" in line["causes"][0]["frames"][-1]
    assert "s3cr3t" not in response.text + caplog.text


def test_probe_error__that_escapes__is_internal_error(
    function: Callable[..., Function], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise CheckError("timeout", "escaped")

    monkeypatch.setattr(evaluation_cache, "evaluate", broken)
    assert function("healthy").get().status_code == 500
    assert len(caplog.records) == 1


def test_verdict_that_contradicts_itself__response__is_internal_error(
    function: Callable[..., Function], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        evaluation_cache, "evaluate", lambda *args, **kwargs: evaluate(*args, **kwargs)._replace(status="healthy")
    )
    response = function("doc_example").get()

    assert (response.status_code, response.get_json()["code"]) == (500, "internal_error")
    assert len(caplog.records) == 1


def test_body_beyond_the_limit__is_overloaded(function: Callable[..., Function], upstream: Simulator) -> None:
    checked = function("healthy", THREADS="2")
    with checked.process.admission.body():
        response = checked.client.post("/", json={"instance": "one"})
    assert (response.status_code, response.get_json()["code"]) == (503, "overloaded")
    assert upstream.requests == []


def test_problem__first_one_of_a_process_without_free_descriptors__is_json() -> None:
    program = (
        "import json, os, resource, main\n"
        "from werkzeug.test import Client\n"
        "client = Client(main.app)\n"
        "client.get('/live')\n"
        "highest = int(max(os.listdir('/proc/self/fd'), key=int))\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (highest, highest))\n"
        "found = []\n"
        "try:\n"
        "    while True: found.append(os.dup(0))\n"
        "except OSError: pass\n"
        "answers = [client.get(path) for path in ('/nowhere', '/?format=xml', '/')]\n"
        "print(json.dumps([[one.status_code, one.get_json()['code']] for one in answers]))\n"
    )
    done = subprocess.run(  # noqa: S603 -- our own program
        [sys.executable, "-c", program], cwd=ROOT, env={}, capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout) == [[404, "unknown_path"], [400, "malformed_query"], [500, "settings_invalid"]]
