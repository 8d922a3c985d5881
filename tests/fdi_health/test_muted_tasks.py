"""FDI_MUTED_TASKS: an instance is degraded instead of unhealthy only if every abnormal task is known and muted."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdi_health.clock import Instant, now
from fdi_health.evaluation import evaluate, hide_details
from fdi_health.models import Instance, ProbeResult, Statistics, TaskCounts
from fdi_health.policy import Mute, Policy
from fdi_health.tasks import MonitoredTask as ListedTask
from fdi_health.tasks import TaskList
from schemas import verdict as verdict_schema
from simulator import MonitoredTask, Response, json_response
from simulator.monitored_task import task_document
from simulator.responses import body_response
from tests.machine import assert_within

if TYPE_CHECKING:
    from collections.abc import Callable

    from fdi_health.models import Verdict
    from simulator import Request, Simulator
    from tests.conftest import Function

NOW = datetime(2026, 11, 24, tzinfo=UTC)
PRESENT = NOW.timestamp()
ONE = Instance("payments", "id-1")
NONE = TaskCounts(0, 0, 0, 0)


def listed(*tasks: tuple[str, str | None, str], total: int | None = None, invalid: int = 0) -> TaskList:
    found = tuple(ListedTask(task_id, name, execute_status=status, is_stopped=False) for task_id, name, status in tasks)
    return TaskList(found, len(found) if total is None else total, invalid)


def policy(*tasks: str, ends: float = PRESENT + 60, begins: float | None = None, key: str = "payments") -> Policy:
    return Policy(task_mutes={key: dict.fromkeys(tasks, Mute(begins, ends))})


def judged(
    found: TaskList | str, rules: Policy, *, abnormal: int = 2, running: int = 1, flow: TaskCounts | None = None
) -> Verdict:
    groups = {} if flow is None else {"flow_task_details": flow}
    statistics = Statistics(TaskCounts(running, abnormal, 0, 0), NONE, groups)
    result = ProbeResult(ONE, statistics, None, Instant(0, 0), 0.1)
    verdict = evaluate([result], rules, NOW, present=PRESENT, task_lists={"id-1": found})
    verdict_schema.document(verdict)  # raises if it contradicts itself
    verdict_schema.document(hide_details(verdict))
    return verdict


TWO = listed(("t1", "export", "ERROR"), ("t2", "sync", "ERROR"), ("t3", "quiet", "SUCCESS"), ("t4", None, "SUCCESS"))


@pytest.mark.parametrize(
    ("keys", "key"), [(("export", "sync"), "payments"), (("t1", "t2"), "id-1"), (("export", "t2", "quiet"), "*")]
)
def test_muted_tasks__every_abnormal_task_is_muted__is_degraded(keys: tuple[str, ...], key: str) -> None:
    verdict = judged(TWO, policy(*keys, key=key))
    assert verdict.details is not None
    (warning,) = verdict.details.warnings
    assert (verdict.status, verdict.muted_count, warning.code) == ("degraded", 1, "muted_tasks")
    assert verdict.reason == "payments tasks muted until 2026-11-24T00:01:00Z"
    assert verdict.anonymous_reason == "1 of 1 instances degraded (muted_tasks)"
    assert verdict.details.instances[0].common_task_details == TaskCounts(1, 2, 0, 0)


@pytest.mark.parametrize(
    ("found", "keys", "why"),
    [
        ("no time left", ("export", "sync"), "the monitor list: no time left"),
        (TWO, ("export",), "1 of 2 abnormal tasks not muted"),
        (TWO, ("another",), "2 of 2 abnormal tasks not muted"),
        (listed(("t1", "export", "ERROR"), ("t2", "export", "ERROR")), ("export",), "2 of 2 abnormal tasks not muted"),
        (
            # A healthy task of the same name: the muted one may be either.
            listed(("t1", "export", "ERROR"), ("t2", "sync", "ERROR"), ("t3", "sync", "SUCCESS")),
            ("export", "sync"),
            "1 of 2 abnormal tasks not muted",
        ),
        (
            # A name that is another task's ID.
            listed(("t1", "export", "ERROR"), ("t2", "t1", "ERROR")),
            ("t1", "t2"),
            "1 of 2 abnormal tasks not muted",
        ),
        (listed(("t1", "export", "ERROR")), ("export",), "1 ERROR tasks, the statistics say 2"),
        (
            listed(("t1", "export", "ERROR"), ("t2", "sync", "ERROR"), ("t3", "x", "ERROR")),
            ("export", "sync", "x"),
            "3 ERROR tasks, the statistics say 2",
        ),
        (listed(*[("t1", "a", "ERROR"), ("t2", "b", "ERROR")], total=3), ("a", "b"), "the monitor list is incomplete"),
        (
            listed(*[("t1", "a", "ERROR"), ("t2", "b", "ERROR")], invalid=1),
            ("a", "b"),
            "the monitor list is incomplete",
        ),
        (listed(*[("t1", "a", "ERROR"), ("t1", "a", "ERROR")]), ("a", "t1"), "the monitor list is incomplete"),
    ],
)
def test_muted_tasks__anything_else__stays_unhealthy_and_says_why(
    found: TaskList | str, keys: tuple[str, ...], why: str
) -> None:
    verdict = judged(found, policy(*keys))
    assert verdict.details is not None
    assert (verdict.status, verdict.muted_count) == ("unhealthy", 0)
    assert verdict.details.instances[0].reason == f"2 abnormal common tasks; mute not applied: {why}"


def test_muted_tasks__abnormal_flow_tasks__are_not_muted() -> None:
    verdict = judged(TWO, policy("export", "sync"), flow=TaskCounts(0, 1, 0, 0))
    assert verdict.status == "unhealthy"
    assert verdict.details is not None
    assert "a further group has abnormal tasks" in verdict.details.instances[0].reason


def test_muted_tasks__too_few_running_tasks__are_not_muted() -> None:
    verdict = judged(TWO, policy("export", "sync")._replace(min_running_tasks={"*": 3}))
    assert verdict.status == "unhealthy"


@pytest.mark.parametrize(("begins", "ends"), [(None, PRESENT), (None, PRESENT - 9), (PRESENT + 1, PRESENT + 9)])
def test_muted_tasks__outside_their_time__have_no_effect(begins: float | None, ends: float) -> None:
    verdict = judged(TWO, policy("export", "sync", begins=begins, ends=ends))
    assert verdict.details is not None
    assert (verdict.status, verdict.details.instances[0].reason) == ("unhealthy", "2 abnormal common tasks")


def test_muted_tasks__name_that_does_not_exist__is_a_warning_that_degrades_nothing() -> None:
    verdict = judged(TWO, policy("export", "sync", "gone"))
    assert verdict.details is not None
    codes = [(warning.code, warning.instance) for warning in verdict.details.warnings]
    assert codes == [("muted_tasks", "payments"), ("mute_unmatched", "payments")]
    assert verdict.anonymous_reason == "1 of 1 instances degraded (muted_tasks)"
    assert "gone" in verdict.details.warnings[1].message


def test_muted_tasks__for_every_instance__need_not_exist_in_each() -> None:
    verdict = judged(TWO, policy("export", "sync", "gone", key="*"))
    assert verdict.details is not None
    assert [warning.code for warning in verdict.details.warnings] == ["muted_tasks"]


def test_muted_tasks__many__are_named_up_to_five() -> None:
    tasks = [(f"t{number}", f"n{number}", "ERROR") for number in range(7)]
    verdict = judged(listed(*tasks), policy(*(name for _, name, _ in tasks)), abnormal=7)
    assert verdict.details is not None
    assert verdict.details.warnings[0].message.endswith(": n0, n1, n2, n3, n4, +2 more.")


NAMES = st.sampled_from(["a", "b", "t1", "t2"])
TASKS = st.lists(
    st.builds(
        ListedTask,
        st.sampled_from(["t1", "t2", "t3"]),
        NAMES,
        execute_status=st.sampled_from(["ERROR", "SUCCESS"]),
    ),
    max_size=4,
)
LISTS = st.just("no time left") | st.builds(
    TaskList, TASKS.map(tuple), st.none() | st.integers(0, 4), st.integers(0, 1)
)


@given(LISTS, st.lists(NAMES, unique=True), st.integers(0, 3), st.integers(0, 2), st.integers(-2, 2))
def test_any_muted_tasks__degrade_only_if_every_abnormal_task_is_known_and_muted(
    found: TaskList | str, keys: list[str], abnormal: int, flow: int, ends: int
) -> None:
    verdict = judged(found, policy(*keys, ends=PRESENT + ends), abnormal=abnormal, flow=TaskCounts(0, flow, 0, 0))
    if abnormal + flow == 0:
        assert verdict.status == "healthy"
        return
    assert verdict.status != "healthy"
    if verdict.status == "degraded":
        assert ends > 0
        assert isinstance(found, TaskList)
        failed = [task for task in found.tasks if task.execute_status == "ERROR"]
        assert len(failed) == abnormal
        assert flow == 0
        assert all({task.task_id, task.task_name} & set(keys) for task in failed)


def in_an_hour() -> str:
    return (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="minutes")


def test_muted_tasks__over_http__are_read_for_anonymous_callers(
    upstream: Simulator, function: Callable[..., Function]
) -> None:
    mutes = ",".join(f"one/common-task-{number}={in_an_hour()}" for number in (1, 2))
    response = function("doc_example", FDI_MUTED_TASKS=mutes, FDI_ANONYMOUS="verdict").get()
    assert (response.status_code, response.headers["FDI-Verdict"]) == (200, "degraded")
    assert response.get_json()["reason"] == "1 of 1 instances degraded (muted_tasks)"
    assert [request.target.partition("?")[2] for request in upstream.monitor_requests_for("id-one")] == [
        "offset=1&limit=999"
    ]


def test_muted_tasks__nothing_is_abnormal__cost_no_request_and_are_listed(
    upstream: Simulator, function: Callable[..., Function]
) -> None:
    app = function("healthy", FDI_MUTED_TASKS=f"one/export={in_an_hour()},*/sync={in_an_hour()}")
    document = app.verdict()
    assert document["status"] == "healthy"
    assert [(mute["instance"], mute["task"], mute["from"]) for mute in document["mutes"]] == [
        ("one", "sync", None),
        ("one", "export", None),
    ]
    assert upstream.monitor_requests_for("id-one") == []
    metrics = app.get("/metrics").text
    assert metrics.count("fdi_mute_until_timestamp_seconds{") == 1
    assert "export" not in metrics
    assert "sync" not in metrics


@pytest.mark.parametrize("fault", ["status_500", "silent", "status_429", "error_APIG_1005", "truncated_json"])
def test_muted_tasks__list_fails__stay_unhealthy_within_the_deadline(
    upstream: Simulator, function: Callable[..., Function], fault: str
) -> None:
    mutes = ",".join(f"one/common-task-{number}={in_an_hour()}" for number in (1, 2))
    app = function("doc_example", FDI_MUTED_TASKS=mutes, FDI_DEADLINE_SECONDS="1")
    upstream.monitors.fail("id-one", fault)
    began = time.monotonic()
    instance = app.instance()
    assert_within(began, 1 + 0.3)
    assert instance["status"] == "unhealthy"
    assert instance["reason"].startswith("2 abnormal common tasks; mute not applied: the monitor list: ")


def test_muted_tasks__other_tasks_fail_in_the_next_check__are_not_judged_by_the_last_list(
    upstream: Simulator, function: Callable[..., Function]
) -> None:
    mutes = ",".join(f"one/{name}={in_an_hour()}" for name in ("export", "sync"))
    clock = Clock()
    app = function("doc_example", FDI_MUTED_TASKS=mutes, FDI_CACHE_SECONDS="5", clock=clock)
    upstream.monitors.put(
        "id-one", [MonitoredTask(task_id="t1", task_name="export"), MonitoredTask(task_id="t2", task_name="sync")]
    )
    upstream.latency_seconds = 0.3
    assert app.get("/?explain=none").headers["FDI-Verdict"] == "degraded"
    upstream.monitors.put(
        "id-one", [MonitoredTask(task_id="t1", task_name="export"), MonitoredTask(task_id="t3", task_name="other")]
    )
    upstream.latency_seconds = 0.0
    clock.seconds += 4.85  # the counts are asked for again; the list is younger than they were
    assert app.get("/?explain=none").headers["FDI-Verdict"] == "unhealthy"


class Clock:
    """Both clocks, moved by the test."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> Instant:
        moved = now()
        return Instant(moved.wall + self.seconds, moved.monotonic + self.seconds)


def test_muted_tasks__too_few_tasks_visible__are_not_muted() -> None:
    verdict = judged(TWO, policy("export", "sync")._replace(min_tasks={"*": 500}))
    assert verdict.status == "unhealthy"
    assert verdict.details is not None
    assert "mute not applied: too few tasks are visible" in verdict.details.instances[0].reason


@pytest.mark.parametrize("is_stopped", [True, None])
def test_muted_tasks__failed_task_is_stopped_or_may_be__are_not_muted(is_stopped: bool | None) -> None:
    found = TWO._replace(tasks=(TWO.tasks[0]._replace(is_stopped=is_stopped), *TWO.tasks[1:]))
    verdict = judged(found, policy("export", "sync"))
    assert verdict.status == "unhealthy"
    assert verdict.details is not None
    assert "mute not applied: a failed task is stopped" in verdict.details.instances[0].reason


STATUSES: tuple[Any, ...] = (0, "0", "1", 1.0, True, None, -1, 2, [], {})
SIZES: tuple[Any, ...] = (0, 2, "1", 1.0, True, None)


@pytest.mark.parametrize(
    ("of_task", "of_list", "status"),
    [
        ({}, {}, "degraded"),
        ({}, {"size": 1}, "degraded"),
        *(({"status": found}, {}, "unhealthy") for found in STATUSES),
        *(({}, {"size": size}, "unhealthy") for size in SIZES),
    ],
)
def test_muted_tasks__list_of_one_failed_task__mutes_only_if_it_is_plain(
    upstream: Simulator,
    function: Callable[..., Function],
    of_task: dict[str, Any],
    of_list: dict[str, Any],
    status: str,
) -> None:
    group = {**dict.fromkeys(TaskCounts._fields, 0), "abnormal_tasks_count": 1}
    statistics = json_response({"common_task_details": group, "cdc_task_details": {**group, "abnormal_tasks_count": 0}})
    app = function(statistics, FDI_MUTED_TASKS=f"one/export={in_an_hour()}")
    task = task_document(MonitoredTask(task_id="t1", task_name="export")) | of_task
    upstream.monitors.fail("id-one", json_response({"total": 1, "entities": [task], **of_list}))
    assert app.get("/?explain=none").headers["FDI-Verdict"] == status


def test_muted_tasks__list_fails_once__is_asked_for_again(
    upstream: Simulator, function: Callable[..., Function]
) -> None:
    mutes = ",".join(f"one/common-task-{number}={in_an_hour()}" for number in (1, 2))
    app = function("doc_example", FDI_MUTED_TASKS=mutes)
    answers = iter(["status_502"])
    tasks = [MonitoredTask(task_id=f"t{n}", task_name=f"common-task-{n}") for n in (1, 2)]

    def once(request: Request) -> Response:
        behaviour = next(answers, None)
        if behaviour is None:
            upstream.monitors.fail("id-one", None)
            return json_response({"total": 2, "entities": [task_document(task) for task in tasks]})
        return body_response(b"", 502)

    upstream.monitors.fail("id-one", once)
    assert app.get("/?explain=none").headers["FDI-Verdict"] == "degraded"


def test_muted_tasks__log_was_throttled__does_not_unmute(
    upstream: Simulator, function: Callable[..., Function]
) -> None:
    mutes = ",".join(f"one/common-task-{number}={in_an_hour()}" for number in (1, 2))
    app = function("doc_example", FDI_MUTED_TASKS=mutes)
    upstream.monitors.fail_logs("id-one", "retry_after_3600")
    assert app.verdict()["instances"][0]["abnormal_tasks_note"] == "the log of a task: ROMA Connect is rate limiting"
    assert app.verdict("/?explain=none")["status"] == "degraded"


def test_muted_tasks__many_keys_and_tasks__are_matched_in_little_time() -> None:
    tasks = listed(*[(f"t{number}", f"n{number}", "ERROR") for number in range(999)])
    began = time.thread_time()
    assert judged(tasks, policy(*(f"n{number}" for number in range(999))), abnormal=999).status == "degraded"
    assert time.thread_time() - began < 1.0
