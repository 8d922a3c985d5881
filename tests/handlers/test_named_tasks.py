"""Names and reasons of abnormal tasks: who sees them, what they cost, and that they change no status and no count."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from schemas.roma.monitors import MAX_ENTRIES
from simulator import MonitoredTask, Response, SecretKey, error_response, json_response
from simulator.responses import body_response
from tests.conftest import TOKEN
from tests.machine import assert_within

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator import Simulator
    from tests.conftest import Function

KEY, TRUSTED = "0123456789abcdef", "fedcba9876543210"
CALLERS = json.dumps({"grafana": KEY, "oncall": {"key": TRUSTED, "remarks": True}})
EXPORT = MonitoredTask(task_id="t1", task_name="nightly-export", remarks="Connection to ftp.acme.example timed out")
SYNC = MonitoredTask(
    task_id="t2",
    task_name="orders-sync",
    task_type="REALTIME",
    position="WRITER",
    remarks="Duplicate entry, password=hunter2",
    dirty_data_count=7,
)


@pytest.fixture
def keyed(function: Callable[..., Function]) -> Callable[..., Function]:
    """Return a factory of functions with two callers, one of whom may see remarks."""
    return lambda *plays, **settings: function(
        *plays, FDI_ANONYMOUS="verdict", FDI_CALLERS="env://CALLERS", CALLERS=CALLERS, **settings
    )


def named(app: Function, path: str = "/", key: str = TRUSTED) -> dict[str, Any]:
    return app.instance(path, headers={"X-Api-Key": key})


def test_abnormal_tasks__caller_who_may_see_remarks__names_reasons_worst_first(
    upstream: Simulator, keyed: Callable[..., Function]
) -> None:
    upstream.monitors.put("id-one", [EXPORT, SYNC, MonitoredTask(task_id="t3", execute_status="SUCCESS")])
    app = keyed("doc_example")
    document = app.verdict(headers={"X-Api-Key": TRUSTED})
    (instance,) = document["instances"]
    assert document["reason"] == "2 abnormal tasks in one (orders-sync, nightly-export)"
    assert instance["abnormal_tasks"] == [
        {
            "task_id": "t2",
            "task_name": "orders-sync",
            "task_type": "REALTIME",
            "position": "WRITER",
            "last_execute_time": "2025-11-28T00:00:00Z",
            "source_app_name": "erp",
            "target_app_name": "warehouse",
            "failed_at": "2025-11-28T00:00:02Z",
            "remarks": "Duplicate entry, password=[redacted]",
            "dirty_data_count": 7,
        },
        {
            "task_id": "t1",
            "task_name": "nightly-export",
            "task_type": "TIMING",
            "position": "READER",
            "last_execute_time": "2025-11-28T00:00:00Z",
            "source_app_name": "erp",
            "target_app_name": "warehouse",
            "failed_at": "2025-11-28T00:00:02Z",
            "remarks": "Connection to ftp.acme.example timed out",
            "dirty_data_count": 0,
        },
    ]
    assert instance["abnormal_tasks_note"] is None


def test_abnormal_tasks__caller_without_that_right__has_no_remarks(
    upstream: Simulator, keyed: Callable[..., Function]
) -> None:
    upstream.monitors.put("id-one", [EXPORT, SYNC])
    tasks = named(keyed("doc_example"), key=KEY)["abnormal_tasks"]
    assert [(task["task_name"], task["remarks"]) for task in tasks] == [("orders-sync", None), ("nightly-export", None)]


@pytest.mark.parametrize("path", ["/", "/?format=text", "/?format=health", "/?format=nagios", "/?explain=all"])
def test_abnormal_tasks__anonymous_caller__costs_no_request_and_shows_nothing(
    upstream: Simulator, keyed: Callable[..., Function], path: str
) -> None:
    upstream.monitors.put("id-one", [EXPORT, SYNC])
    response = keyed("doc_example").get(path)
    assert response.status_code == 503
    assert "nightly-export" not in response.text
    assert upstream.monitor_requests_for("id-one") == []


@pytest.mark.parametrize("path", ["/metrics", "/badge.svg", "/?format=openmetrics", "/?explain=none"])
def test_abnormal_tasks__where_they_are_not_shown__cost_no_request(
    upstream: Simulator, keyed: Callable[..., Function], path: str
) -> None:
    upstream.monitors.put("id-one", [EXPORT, SYNC])
    response = keyed("doc_example").get(path, headers={"X-Api-Key": TRUSTED})
    assert "nightly-export" not in response.text
    assert upstream.monitor_requests_for("id-one") == []


@pytest.mark.parametrize("play", ["healthy", "no_tasks", "status_500"])
def test_abnormal_tasks__none_is_abnormal__cost_no_request(
    upstream: Simulator, keyed: Callable[..., Function], play: str
) -> None:
    assert "abnormal_tasks" not in named(keyed(play))
    assert upstream.monitor_requests_for("id-one") == []


@pytest.mark.parametrize("path", ["/?format=text", "/?format=health", "/?format=nagios"])
def test_abnormal_tasks__other_formats__name_them_too(
    upstream: Simulator, keyed: Callable[..., Function], path: str
) -> None:
    upstream.monitors.put("id-one", [EXPORT, SYNC])
    text = keyed("doc_example").get(path, headers={"X-Api-Key": TRUSTED}).text
    assert "nightly-export" in text
    assert "ftp.acme.example timed out" in text
    assert "hunter2" not in text


def test_abnormal_tasks__in_the_log__never(
    upstream: Simulator, keyed: Callable[..., Function], caplog: pytest.LogCaptureFixture
) -> None:
    upstream.monitors.put("id-one", [EXPORT, SYNC])
    with caplog.at_level("INFO", "fdi_health"):
        assert "nightly-export" in json.dumps(named(keyed("doc_example")))
    assert "2 abnormal tasks in one" in caplog.text
    for record in caplog.records:
        assert "nightly-export" not in json.dumps(record.__dict__, default=str)
        assert "Duplicate entry" not in json.dumps(record.__dict__, default=str)


@pytest.mark.parametrize(
    ("explain", "shown", "note"), [("1", 1, "8 more"), ("all", 9, None), ("5", 5, "4 more"), ("50", 9, None)]
)
def test_explain__limits_the_named_tasks(
    upstream: Simulator, keyed: Callable[..., Function], explain: str, shown: int, note: str | None
) -> None:
    document = {"common_task_details": counts(9), "cdc_task_details": counts(0)}
    instance = named(keyed(json_response(document)), f"/?explain={explain}")
    assert (len(instance["abnormal_tasks"]), instance["abnormal_tasks_note"]) == (shown, note)


def counts(abnormal: int, running: int = 1) -> dict[str, int]:
    return {
        "running_tasks_count": running,
        "abnormal_tasks_count": abnormal,
        "terminated_tasks_count": 2,
        "completed_tasks_count": 0,
    }


def test_abnormal_tasks__list_differs_from_the_counts__is_said(
    upstream: Simulator, keyed: Callable[..., Function]
) -> None:
    upstream.monitors.put("id-one", [EXPORT])
    instance = named(keyed("doc_example"))
    assert instance["abnormal_tasks_note"] == "the monitor list has 1 failed task, the statistics say 2"
    assert instance["status"] == "unhealthy"


FAULTS = {
    "silent": "no time left",
    "drip_body": "no time left",
    "status_429": "ROMA Connect is rate limiting",
    "error_APIG_1005": "not readable (forbidden)",
    "refuses_token": "not readable (token_rejected)",
    "status_500": "not readable (upstream_error)",
    "html_200": "not readable (blocked)",
    "truncated_json": "not readable (invalid_response)",
    "doc_example": "not readable (invalid_response)",
    "error_msg_1mb": "not readable (upstream_error)",
    "reset": "not readable (unreachable)",
}


@pytest.mark.parametrize(("fault", "note"), FAULTS.items())
def test_abnormal_tasks__list_fails__is_a_note_within_the_deadline(
    upstream: Simulator, keyed: Callable[..., Function], fault: str, note: str
) -> None:
    upstream.monitors.fail("id-one", fault)
    app = keyed("doc_example", FDI_DEADLINE_SECONDS="1")
    began = time.monotonic()
    document = app.verdict(headers={"X-Api-Key": TRUSTED})
    assert_within(began, 1 + 0.3)
    (instance,) = document["instances"]
    assert (document["status"], document["reason"]) == ("unhealthy", "2 abnormal tasks in one")
    assert document["totals"]["abnormal_tasks_count"] == 2
    assert (instance["abnormal_tasks"], instance["abnormal_tasks_note"]) == ([], note)


@pytest.mark.parametrize(("fault", "note"), [(f, n) for f, n in FAULTS.items() if f not in ("drip_body", "html_200")])
def test_abnormal_tasks__log_fails__names_stay(
    upstream: Simulator, keyed: Callable[..., Function], fault: str, note: str
) -> None:
    upstream.monitors.put("id-one", [EXPORT, SYNC])
    upstream.monitors.fail_logs("id-one", fault)
    instance = named(keyed("doc_example", FDI_DEADLINE_SECONDS="1"))
    assert [task["task_name"] for task in instance["abnormal_tasks"]] == ["orders-sync", "nightly-export"]
    assert instance["abnormal_tasks_note"] == f"the log of a task: {note}"


@pytest.mark.parametrize(
    ("document", "note"),
    [
        ({}, "not readable (invalid_response)"),
        ([], "not readable (invalid_response)"),
        ({"entities": {}}, "not readable (invalid_response)"),
        ({"entities": [], "error_code": "FDI.9999"}, "not readable (invalid_response)"),
        ({"entities": []}, "the monitor list has 0 failed tasks, the statistics say 2"),
        ({"total": 2, "entities": []}, "2 more"),
        (
            {"total": 2, "entities": [{"task_id": 7}, {"task_name": "x"}]},
            "2 entries of the monitor list are not valid",
        ),
    ],
)
def test_abnormal_tasks__list_of_a_wrong_form__is_a_note(
    upstream: Simulator, keyed: Callable[..., Function], document: Any, note: str
) -> None:
    upstream.monitors.fail("id-one", json_response(document))
    instance = named(keyed("doc_example"))
    assert instance["abnormal_tasks"] == []
    assert note in instance["abnormal_tasks_note"]


def test_abnormal_tasks__fields_of_wrong_types__are_null(upstream: Simulator, keyed: Callable[..., Function]) -> None:
    entry = {"task_id": "t1", "execute_status": "ERROR", "task_name": 5, "task_type": None, "last_execute_time": "now"}
    upstream.monitors.fail("id-one", json_response({"total": 1, "entities": [entry]}))
    instance = named(keyed("doc_example"))
    (task,) = instance["abnormal_tasks"]
    assert task.pop("task_id") == "t1"
    assert set(task.values()) == {None}


HOSTILE = (
    "<script>alert(1)</script>\x1b[31m\nFDI-OK \u202efdi-ok\u0000",
    "n" * 1_000_000,
    f"token {TOKEN} here",
    '", "healthy":true, "x":"',
    "\ud83d\ude00 unicode",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_abnormal_tasks__hostile_texts__are_redacted_and_bounded(
    upstream: Simulator, keyed: Callable[..., Function], text: str
) -> None:
    text = text.encode("utf-16", "surrogatepass").decode("utf-16")
    upstream.monitors.put("id-one", [MonitoredTask(task_id="t1", task_name=text, remarks=text)])
    app = keyed("doc_example")
    for path in ("/", "/?format=text", "/?format=health", "/?format=nagios"):
        body = app.get(path, headers={"X-Api-Key": TRUSTED}).text
        assert len(body) < 5000
        assert "FDI-OK" not in body.upper()
        assert TOKEN not in body
        assert "\x1b" not in body
        assert "\u202e" not in body
        assert '"healthy":true' not in body


def test_abnormal_tasks__name_of_a_megabyte__is_a_note(upstream: Simulator, keyed: Callable[..., Function]) -> None:
    upstream.monitors.put("id-one", [MonitoredTask(task_id="t1", task_name="n" * 1_100_000)])
    assert named(keyed("doc_example"))["abnormal_tasks_note"] == "not readable (invalid_response)"


def test_abnormal_tasks__task_id_with_slashes__stays_in_its_place(
    upstream: Simulator, keyed: Callable[..., Function]
) -> None:
    entry = {"task_id": "../../x?y#z", "execute_status": "ERROR"}
    upstream.monitors.fail("id-one", json_response({"total": 1, "entities": [entry]}))
    named(keyed("doc_example"))
    paths = [request.target.partition("?")[0] for request in upstream.requests]
    assert paths[-1].endswith("/fdi/instances/id-one/tasks/..%2F..%2Fx%3Fy%23z/monitor-logs")


def test_abnormal_tasks__several_failures_in_the_log__the_newest_counts(
    upstream: Simulator, keyed: Callable[..., Function]
) -> None:
    runs = [
        {"start_time": 1764288000000, "end_time": 1764288001000, "execute_status": "ERROR", "remarks": "old"},
        {"start_time": 1764291600000, "end_time": 1764291602000, "execute_status": "ERROR", "remarks": "new"},
        {"start_time": 1764295200000, "execute_status": "SUCCESS", "remarks": "fine"},
        {"start_time": "soon", "execute_status": "ERROR", "remarks": "no time"},
        "nonsense",
    ]
    upstream.monitors.put("id-one", [EXPORT])
    upstream.monitors.fail_logs("id-one", json_response({"total": 3, "entities": runs}))
    (task,) = named(keyed("doc_example"))["abnormal_tasks"]
    assert (task["remarks"], task["failed_at"]) == ("new", "2025-11-28T01:00:02Z")


def test_abnormal_tasks__task_that_never_ran__has_no_reason(
    upstream: Simulator, keyed: Callable[..., Function]
) -> None:
    upstream.monitors.put("id-one", [MonitoredTask(task_id="t1", task_name="new", last_execute_time=None)])
    app = keyed("doc_example")
    (task,) = named(app)["abnormal_tasks"]
    assert (task["last_execute_time"], task["failed_at"], task["remarks"]) == (None, None, None)
    assert (
        "new (TIMING, erp to warehouse, at the READER)\n"
        in app.get("/?format=text", headers={"X-Api-Key": TRUSTED}).text
    )


# ---- cost


def test_abnormal_tasks__asked_again__use_the_same_list_and_logs(
    upstream: Simulator, keyed: Callable[..., Function]
) -> None:
    app = keyed("doc_example", FDI_CACHE_SECONDS="60")
    first = named(app)
    assert named(app) == first
    assert len(upstream.monitor_requests_for("id-one")) == 3


def test_abnormal_tasks__next_check__reads_the_list_again_and_no_log_twice(
    upstream: Simulator, keyed: Callable[..., Function]
) -> None:
    upstream.monitors.put("id-one", [EXPORT, SYNC])
    app = keyed("doc_example")
    named(app)
    named(app)
    targets = [request.target for request in upstream.monitor_requests_for("id-one")]
    assert sum("task-monitors" in target for target in targets) == 2
    assert sum("monitor-logs" in target for target in targets) == 2


def test_abnormal_tasks__over_a_kept_connection__leave_it_for_the_statistics(
    upstream: Simulator, keyed: Callable[..., Function]
) -> None:
    upstream.monitors.put("id-one", [EXPORT])
    app = keyed("doc_example")
    for _ in range(3):
        named(app)
    assert len(upstream.requests_for("id-one")) == 3
    assert {request.connection for request in upstream.requests} == {1}


def test_abnormal_tasks__of_several_instances__are_asked_for_at_the_same_time(
    upstream: Simulator, keyed: Callable[..., Function]
) -> None:
    app = keyed(*("doc_example",) * 4)
    app.get("/?explain=none", headers={"X-Api-Key": KEY})
    upstream.latency_seconds = 0.6
    app.get(headers={"X-Api-Key": KEY})
    for kind in ("task-monitors", "monitor-logs"):
        times = [request.at for request in upstream.requests if kind in request.target]
        # One after the other, each would wait for the latency.
        assert max(times) - min(times) < upstream.latency_seconds


def test_abnormal_tasks__after_a_429__are_not_asked_for_and_statistics_are(
    upstream: Simulator, keyed: Callable[..., Function]
) -> None:
    app = keyed("doc_example")
    upstream.monitors.fail("id-one", "retry_after_3600")
    assert named(app)["abnormal_tasks_note"] == "ROMA Connect is rate limiting"
    upstream.monitors.fail("id-one", None)
    upstream.forget()
    instance = named(app)
    assert (instance["status"], instance["abnormal_tasks_note"]) == ("unhealthy", "ROMA Connect is rate limiting")
    assert len(upstream.requests) == 1


def test_abnormal_tasks__concurrent_callers__share_the_requests(
    upstream: Simulator, keyed: Callable[..., Function]
) -> None:
    app = keyed("doc_example", FDI_CACHE_SECONDS="5")
    upstream.latency_seconds = 0.1
    threads = [threading.Thread(target=named, args=(app,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(upstream.requests_for("id-one")) == 1
    assert len(upstream.monitor_requests_for("id-one")) == 3


def test_abnormal_tasks__refused_access_key__does_not_hold_the_statistics(
    upstream: Simulator, keyed: Callable[..., Function]
) -> None:
    upstream.access_keys.keys["HPUAEXAMPLE"] = SecretKey("made-up-secret")
    app = keyed("doc_example", ROMA_TOKEN='{"access_key":"HPUAEXAMPLE","secret_key":"made-up-secret"}')
    upstream.monitors.fail("id-one", error_response("APIGW.0301"))
    for _ in range(3):
        instance = named(app)
        assert (instance["status"], instance["error"]) == ("unhealthy", None)
        assert instance["abnormal_tasks_note"] == "not readable (token_rejected)"
    assert len(upstream.monitor_requests_for("id-one")) == 1


def test_abnormal_tasks__signed__have_their_query_signed(upstream: Simulator, keyed: Callable[..., Function]) -> None:
    upstream.access_keys.keys["HPUAEXAMPLE"] = SecretKey("made-up-secret")
    app = keyed("doc_example", ROMA_TOKEN='{"access_key":"HPUAEXAMPLE","secret_key":"made-up-secret"}')
    assert len(named(app)["abnormal_tasks"]) == 2


# ---- too few running tasks


def test_stopped_tasks__too_few_run__are_named(upstream: Simulator, keyed: Callable[..., Function]) -> None:
    upstream.monitors.put(
        "id-one",
        [
            MonitoredTask(task_id="t1", task_name="stopped-first", status=0, execute_status="CANCELLED"),
            MonitoredTask(
                task_id="t2",
                task_name="stopped-last",
                status=0,
                execute_status="SUCCESS",
                last_execute_time=1764374400000,
            ),
            MonitoredTask(task_id="t3", task_name="running", execute_status="RUNNING"),
        ],
    )
    app = keyed("healthy", FDI_MIN_RUNNING_TASKS="*=9")
    document = app.verdict(headers={"X-Api-Key": KEY})
    (instance,) = document["instances"]
    assert document["reason"] == "3 of at least 9 tasks running in one (stopped-last, stopped-first)"
    assert instance["stopped_tasks"] == [
        {
            "task_id": "t2",
            "task_name": "stopped-last",
            "task_type": "TIMING",
            "last_execute_time": "2025-11-29T00:00:00Z",
        },
        {
            "task_id": "t1",
            "task_name": "stopped-first",
            "task_type": "TIMING",
            "last_execute_time": "2025-11-28T00:00:00Z",
        },
    ]
    assert instance["stopped_tasks_note"] is None
    assert "abnormal_tasks" not in instance
    text = app.get("/?format=text", headers={"X-Api-Key": KEY}).text
    assert "stopped-first is stopped" in text


def test_stopped_tasks__and_abnormal_ones__are_both_named(upstream: Simulator, keyed: Callable[..., Function]) -> None:
    upstream.monitors.put("id-one", [EXPORT, MonitoredTask(task_id="t9", status=0, execute_status="CANCELLED")])
    instance = named(keyed("doc_example", FDI_MIN_RUNNING_TASKS="*=9"), "/?explain=1")
    assert [task["task_id"] for task in instance["abnormal_tasks"]] == ["t1"]
    assert [task["task_id"] for task in instance["stopped_tasks"]] == ["t9"]


def test_stopped_tasks__list_fails__is_a_note(upstream: Simulator, keyed: Callable[..., Function]) -> None:
    upstream.monitors.fail("id-one", "status_500")
    instance = named(keyed("healthy", FDI_MIN_RUNNING_TASKS="*=9"))
    assert (instance["stopped_tasks"], instance["stopped_tasks_note"]) == ([], "not readable (upstream_error)")
    text = keyed("healthy", FDI_MIN_RUNNING_TASKS="*=9").get("/?format=text", headers={"X-Api-Key": KEY}).text
    assert "stopped tasks: not readable (upstream_error)" in text


def test_abnormal_tasks__list_of_more_entries_than_a_page__is_not_read(
    upstream: Simulator, keyed: Callable[..., Function]
) -> None:
    upstream.monitors.fail("id-one", json_response({"total": 2, "entities": [[]] * (MAX_ENTRIES + 1)}))
    assert named(keyed("doc_example"))["abnormal_tasks_note"] == "not readable (invalid_response)"


def test_abnormal_tasks__total_of_4000_digits__is_not_shown(
    upstream: Simulator, keyed: Callable[..., Function]
) -> None:
    upstream.monitors.fail("id-one", raw_json('{"total": %s, "entities": []}' % ("9" * 4000)))
    assert named(keyed("doc_example"))["abnormal_tasks_note"] == (
        "the monitor list has 0 failed tasks, the statistics say 2"
    )


def raw_json(text: str) -> Response:
    return body_response(text.encode())


def test_abnormal_tasks__refused_logs__do_not_lock_the_access_key(
    upstream: Simulator, keyed: Callable[..., Function]
) -> None:
    upstream.access_keys.keys["HPUAEXAMPLE"] = SecretKey("made-up-secret")
    upstream.monitors.put("id-one", [MonitoredTask(task_id=f"t{n}", task_name=f"n{n}") for n in range(20)])
    upstream.monitors.fail_logs("id-one", error_response("APIGW.0301"))
    app = keyed("doc_example", ROMA_TOKEN='{"access_key":"HPUAEXAMPLE","secret_key":"made-up-secret"}')
    for _ in range(3):
        assert named(app, "/?explain=all")["status"] == "unhealthy"
    refused = [request for request in upstream.monitor_requests_for("id-one") if "monitor-logs" in request.target]
    assert len(refused) <= 2


def test_abnormal_tasks__many_callers_while_the_list_hangs__leave_places_for_checks(
    upstream: Simulator, keyed: Callable[..., Function]
) -> None:
    upstream.monitors.fail("id-one", "silent")
    app = keyed("doc_example", FDI_DEADLINE_SECONDS="2", FDI_CACHE_SECONDS="5")
    app.get("/")
    threads = [threading.Thread(target=named, args=(app,)) for _ in range(60)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    began = time.monotonic()
    assert app.get("/").status_code == 503
    assert named(app)["abnormal_tasks_note"] == "too many callers ask for it now"
    assert_within(began, 1.0)
    for thread in threads:
        thread.join()


def test_abnormal_tasks__without_a_visible_name__are_called_so(
    upstream: Simulator, keyed: Callable[..., Function]
) -> None:
    entry = {"task_id": "\u200b", "execute_status": "ERROR"}
    upstream.monitors.fail("id-one", json_response({"total": 1, "entities": [entry]}))
    for form in ("text", "health"):
        assert "a task without a name" in keyed("doc_example").get(f"/?format={form}", headers={"X-Api-Key": KEY}).text


def test_reason__many_instances__keeps_every_instance_before_names(
    upstream: Simulator, keyed: Callable[..., Function]
) -> None:
    for number in ("one", "two", "three", "four"):
        upstream.monitors.put(f"id-{number}", [MonitoredTask(task_id="t1", task_name="a-rather-long-name-of-a-task")])
    app = keyed(*("doc_example",) * 4)
    assert app.verdict(headers={"X-Api-Key": KEY})["reason"] == (
        "2 abnormal tasks in one; 2 abnormal tasks in two; 2 abnormal tasks in three; 2 abnormal tasks in four"
    )


def test_names__a_fault_of_ours__leaves_the_verdict(
    keyed: Callable[..., Function], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("no file descriptor is left to load a module with")

    monkeypatch.setattr("fdi_health.roma.shared_requests.SharedRequests.results", broken)
    response = keyed("doc_example").get(headers={"X-Api-Key": KEY})
    assert (response.status_code, response.get_json()["status"]) == (503, "unhealthy")
    assert "abnormal_tasks" not in response.get_json()["instances"][0]
    assert [record.levelname for record in caplog.records if record.getMessage() == "fdi-health itself failed"]
