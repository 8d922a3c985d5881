"""Several targets in one deployment: FDI_CONFIG, one broken region beside others, reloads, keys, discovery."""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from fdi_health.clock import Instant, now
from fdi_health.service.config import DocumentTargets
from fdi_health.service.target import Target
from fdi_health.transport import client
from fdi_health.transport.tls import tls_context
from simulator import Iam, Simulator, json_response
from tests.conftest import CREDENTIALS, PROJECT_ID, TOKEN, Function
from tests.machine import assert_within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from werkzeug.test import TestResponse

    from tests.fdi_health.conftest import Run

KEY, EMEA_KEY = "0123456789abcdef", "fedcba9876543210"


class Clock:
    """Both clocks, moved by the test."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> Instant:
        present = now()
        return Instant(present.wall + self.seconds, present.monotonic + self.seconds)


@pytest.fixture
def regions() -> Iterator[dict[str, Simulator]]:
    """Return three simulated regions: `emea` and `apac` accept TOKEN, `latam` another token."""
    with (
        Simulator(tokens=[TOKEN], project_id=PROJECT_ID) as emea,
        Simulator(tokens=[TOKEN], project_id=PROJECT_ID) as apac,
        Simulator(tokens=["MIIanother"], project_id=PROJECT_ID) as latam,
    ):
        for simulator, instances in ((emea, ("payments", "orders")), (apac, ("payments", "crm")), (latam, ("stock",))):
            for name in instances:
                simulator.play(f"id-{name}", "healthy")
        yield {"emea": emea, "apac": apac, "latam": latam}


def target(name: str, simulator: Simulator, *instances: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "endpoint": simulator.url,
        "project_id": PROJECT_ID,
        "token": "env://ROMA_TOKEN",
        "instances": {instance: f"id-{instance}" for instance in instances},
        **more,
    }


class Deployment:
    """A function with a document, and the file that holds it."""

    def __init__(self, app: Function, path: Path, clock: Clock) -> None:
        self.app, self.path, self.clock = app, path, clock

    def write(self, *targets: dict[str, Any]) -> None:
        self.path.write_text(yaml.safe_dump({"targets": list(targets)}, sort_keys=False))

    def get(self, path: str = "/", key: str | None = KEY) -> TestResponse:
        return self.app.get(path, headers={"X-Api-Key": key} if key else {})

    def verdict(self, path: str = "/", key: str | None = KEY) -> dict[str, Any]:
        document: dict[str, Any] = self.get(path, key).get_json()
        return document


@pytest.fixture
def deploy(
    function: Callable[..., Function], tmp_path: Path, regions: dict[str, Simulator]
) -> Callable[..., Deployment]:
    """Return a factory of deployments with the given targets."""

    def make(*targets: dict[str, Any], **settings: str | None) -> Deployment:
        clock = Clock()
        of_one = dict.fromkeys(
            ("FDI_ENDPOINT", "FDI_IAM_ENDPOINT", "FDI_PROJECT_ID", "FDI_INSTANCES", "FDI_TOKEN"), None
        )
        path = tmp_path / "targets.yaml"
        keys = {"all": KEY, "emea": {"key": EMEA_KEY, "targets": ["emea"], "remarks": True}}
        changes: dict[str, str | None] = {
            **of_one,
            "FDI_CONFIG": f"file://{path}",
            "FDI_ANONYMOUS": "verdict",
            "FDI_CALLERS": "env://CALLERS",
            "CALLERS": json.dumps(keys),
            "FDI_DEADLINE_SECONDS": "1",
            **settings,
        }
        deployment = Deployment(function(clock=clock, **changes), path, clock)
        deployment.write(*targets)
        return deployment

    return make


@pytest.fixture
def three(deploy: Callable[..., Deployment], regions: dict[str, Simulator]) -> Deployment:
    """Return a deployment of three targets: a healthy one, a region that hangs, and one with wrong credentials."""
    for name in ("payments", "crm"):
        regions["apac"].play(f"id-{name}", "silent")
    return deploy(
        target("emea", regions["emea"], "payments", "orders"),
        target("apac", regions["apac"], "payments", "crm", region="ap-southeast-3"),
        target("latam", regions["latam"], "stock"),
    )


def test_drill__one_healthy_one_hanging_one_with_wrong_credentials__each_says_its_own(three: Deployment) -> None:
    began = time.monotonic()
    document = three.verdict()
    assert_within(began, 1 + 0.3)
    statuses = {(i["target"], i["name"]): (i["status"], (i["error"] or {}).get("code")) for i in document["instances"]}
    assert statuses == {
        ("emea", "payments"): ("healthy", None),
        ("emea", "orders"): ("healthy", None),
        ("apac", "payments"): ("unknown", "timeout"),
        ("apac", "crm"): ("unknown", "timeout"),
        ("latam", "stock"): ("unknown", "token_rejected"),
    }
    assert document["status"] == "unknown"
    assert [(one["name"], one["region"], one["project_id"]) for one in document["targets"]] == [
        ("emea", None, PROJECT_ID),
        ("apac", "ap-southeast-3", PROJECT_ID),
        ("latam", None, PROJECT_ID),
    ]


@pytest.mark.parametrize("form", ["text", "nagios", "health", "prometheus", "openmetrics", "badge"])
def test_drill__every_format__shows_the_targets(three: Deployment, form: str) -> None:
    response = three.get(f"/?format={form}")
    assert response.headers["FDI-Verdict"] == "unknown"
    assert "FDI-OK" not in response.text
    if form != "badge":
        assert re.search(r'latam/stock|target="latam"', response.text)


def test_drill__status_page__shows_the_targets(three: Deployment) -> None:
    assert "latam/stock" in three.get("/status").text
    assert "latam" not in three.get("/status", key=None).text


def test_anonymous_caller__sees_no_target(three: Deployment) -> None:
    response = three.get(key=None)
    assert response.status_code == 503
    assert "emea" not in response.text
    assert response.get_json()["reason"] == "3 of 5 instances unknown (timeout, token_rejected)"


@pytest.mark.parametrize(
    ("query", "labels"),
    [
        ("target=emea", ["emea/payments", "emea/orders"]),
        ("target=emea&target=latam", ["emea/payments", "emea/orders", "latam/stock"]),
        ("instance=payments", ["emea/payments", "apac/payments"]),
        ("instance=emea/payments", ["emea/payments"]),
        ("instance=id-orders&target=emea", ["emea/orders"]),
    ],
)
def test_select__by_target_and_instance__asks_what_has_both(three: Deployment, query: str, labels: list[str]) -> None:
    found = three.verdict(f"/?{query}&deadline=0.5")["instances"]
    assert [f"{instance['target']}/{instance['name']}" for instance in found] == labels


@pytest.mark.parametrize("query", ["target=nope", "instance=nope", "instance=orders&target=apac", "instance=latam/crm"])
def test_select__nothing_has_both__is_404(three: Deployment, query: str) -> None:
    response = three.get(f"/?{query}")
    assert (response.status_code, response.get_json()["code"]) == (404, "unknown_instance")
    assert "nope" not in response.text


def test_caller_with_a_key_for_one_target__asks_and_sees_only_that_one(three: Deployment) -> None:
    document = three.verdict(key=EMEA_KEY)
    assert {instance["target"] for instance in document["instances"]} == {"emea"}
    assert [one["name"] for one in document["targets"]] == ["emea"]
    assert three.get("/?target=apac", key=EMEA_KEY).status_code == 404
    ready = three.get("/ready", key=EMEA_KEY).get_json()
    assert [one["name"] for one in ready["targets"]] == ["emea"]
    assert "latam" not in json.dumps(ready)


def test_ready__lists_the_token_of_each_target_and_the_document(three: Deployment) -> None:
    three.get()
    document = three.get("/ready").get_json()
    assert document["ready"] is True
    assert [one["name"] for one in document["targets"]] == ["emea", "apac", "latam"]
    assert (bool(document["config"]["loaded_at"]), document["config"]["error"]) == (True, None)
    assert any("latam: token" in fault["variable"] for fault in document["faults"])


# ---- the document


def test_document__faulty_at_the_start__is_500_with_every_line(deploy: Callable[..., Deployment]) -> None:
    deployment = deploy()
    deployment.path.write_text("targets:\n  - name: emea\n    region: EMEA!\n    projectid: x\n")
    response = deployment.get()
    assert (response.status_code, response.get_json()["code"]) == (500, "settings_invalid")
    messages = " ".join(fault["message"] for fault in response.get_json()["faults"])
    assert "line 3, targets[0].region" in messages
    assert "EMEA!" not in response.text
    ready = deployment.get("/ready")
    assert (ready.status_code, ready.get_json()["faults_count"] > 0) == (503, True)


def test_ready__the_target_with_credentials_is_replaced__stays_ready(
    deploy: Callable[..., Deployment], regions: dict[str, Simulator]
) -> None:
    deployment = deploy(target("emea", regions["emea"], "orders"))
    assert deployment.get("/ready").status_code == 200
    deployment.write(target("latam", regions["latam"], "stock", token="env://MISSING"))
    deployment.clock.seconds += 601
    response = deployment.get("/ready")
    assert (response.status_code, response.get_json()["ready"]) == (200, True)
    assert [one["name"] for one in response.get_json()["targets"]] == ["latam"]
    assert response.get_json()["faults"]


def test_document__call_rate_is_raised__is_used(
    deploy: Callable[..., Deployment], regions: dict[str, Simulator]
) -> None:
    slow = target("emea", regions["emea"], "orders", "payments", max_calls_per_second=0.1)
    deployment = deploy(slow)
    assert deployment.verdict()["reason"].endswith(" unknown (throttled)")
    deployment.write(slow | {"max_calls_per_second": 100})
    deployment.clock.seconds += 601
    assert deployment.verdict()["status"] == "healthy"


def test_document__missing_at_the_start__is_500_and_recovers(
    deploy: Callable[..., Deployment], regions: dict[str, Simulator]
) -> None:
    deployment = deploy()
    deployment.path.unlink()
    response = deployment.get()
    assert response.status_code == 500
    assert response.get_json()["faults"][0]["variable"] == "FDI_CONFIG"
    deployment.write(target("emea", regions["emea"], "orders"))
    assert deployment.verdict()["status"] == "healthy"


def test_document__changed__is_used_by_the_next_request_after_a_minute(
    deploy: Callable[..., Deployment], regions: dict[str, Simulator]
) -> None:
    emea = target("emea", regions["emea"], "orders")
    deployment = deploy(emea)
    assert deployment.verdict()["instances_count"]["total"] == 1
    before = deployment.app.process.service().targets[0]
    deployment.write(emea, target("apac", regions["apac"], "crm"))
    assert deployment.verdict()["instances_count"]["total"] == 1
    deployment.clock.seconds += 61
    deployment.get()
    assert until(lambda: deployment.verdict()["instances_count"]["total"] == 2)
    # An unchanged target keeps its credentials and connections.
    assert deployment.app.process.service().targets[0] is before


def test_document__policy_of_a_target_changed__keeps_the_cooldown_of_its_credentials(
    deploy: Callable[..., Deployment], upstream: Simulator, iam: Iam
) -> None:
    upstream.play("id-orders", "healthy")
    emea = target("emea", upstream, "orders", iam_endpoint=upstream.url)
    wrong = json.dumps({**json.loads(CREDENTIALS), "password": "wrong"})
    deployment = deploy(emea, ROMA_TOKEN=wrong)
    assert deployment.verdict()["instances"][0]["error"]["code"] == "token_unavailable"
    deployment.write({**emea, "policy": {"orders": {"min_tasks": 1}}})
    deployment.clock.seconds += 61
    before = deployment.app.process.service().targets[0]
    deployment.get()
    assert until(lambda: deployment.get() is not None and deployment.app.process.service().targets[0] is not before)
    assert deployment.verdict()["instances"][0]["error"]["code"] == "token_unavailable"
    assert len(iam.logins) == 1


def until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 5
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def waiting_for_a_list(deploy: Callable[..., Deployment], regions: dict[str, Simulator], seconds: float) -> Deployment:
    """Return a deployment of an unhealthy target, and of one that must read its list of instances, which takes long."""
    regions["emea"].play("id-orders", "doc_example")
    regions["apac"].instances.fail(json_response({"total": 0, "size": 0, "instances": []}).after(seconds))
    return deploy(target("emea", regions["emea"], "orders"), target("apac", regions["apac"], instances="*"))


@pytest.mark.parametrize("path", ["/", "/?fail_on=unhealthy", "/?instance=orders", "/?target=emea,apac"])
def test_list_of_one_target__does_not_come__others_are_checked(
    deploy: Callable[..., Deployment], regions: dict[str, Simulator], path: str
) -> None:
    deployment = waiting_for_a_list(deploy, regions, 60)
    began = time.monotonic()
    response = deployment.get(path)
    assert_within(began, 1 + 0.3)
    document = response.get_json()
    assert (response.status_code, document["status"]) == (503, "unhealthy")
    assert [(one["name"], one["status"]) for one in document["instances"]] == [("orders", "unhealthy")]
    errors = {one["name"]: one["error"] and one["error"]["code"] for one in document["targets"]}
    assert errors == {"emea": None, "apac": "timeout"}


def test_list_of_one_target__comes_slowly__takes_no_time_from_others(
    deploy: Callable[..., Deployment], regions: dict[str, Simulator]
) -> None:
    regions["emea"].latency_seconds = 0.6
    document = waiting_for_a_list(deploy, regions, 0.6).verdict()
    assert [(one["name"], one["status"]) for one in document["instances"]] == [("orders", "unhealthy")]


def test_name__in_no_list__is_unknown_once_all_lists_are_read(
    deploy: Callable[..., Deployment], regions: dict[str, Simulator]
) -> None:
    asia = target("apac", regions["apac"], instances="*")
    deployment = deploy(target("emea", regions["emea"], "orders"), asia)
    response = deployment.get("/?instance=orders,nope")
    assert (response.status_code, response.get_json()["code"]) == (404, "unknown_instance")


@pytest.mark.parametrize("discovers", [True, False])
def test_name__in_a_list_that_is_read_by_the_check__is_asked_alone(
    deploy: Callable[..., Deployment], regions: dict[str, Simulator], discovers: bool
) -> None:
    emea = target("emea", regions["emea"], "orders") | ({"instances": "*"} if discovers else {})
    deployment = deploy(emea, target("apac", regions["apac"], instances="*"))
    document = deployment.verdict("/?instance=id-crm")
    assert [(one["target"], one["name"], one["status"]) for one in document["instances"]] == [
        ("apac", "id-crm", "healthy")
    ]
    assert [one["name"] for one in document["targets"]] == ["apac"]


def test_check_of_a_target__fails_by_a_fault_of_ours_before_its_list_is_known__is_unknown(
    deploy: Callable[..., Deployment], regions: dict[str, Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("boom")

    monkeypatch.setattr(Target, "listed", broken)
    document = deploy(
        target("emea", regions["emea"], "orders"), target("apac", regions["apac"], instances="*")
    ).verdict()
    assert [one["status"] for one in document["instances"]] == ["healthy"]
    assert (document["status"], document["targets"][1]["error"]["code"]) == ("unknown", "timeout")


def test_document__store_hangs_after_ten_minutes__half_of_the_time_is_left_for_the_check(
    deploy: Callable[..., Deployment], regions: dict[str, Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = deploy(target("emea", regions["emea"], "orders"))
    assert deployment.verdict()["status"] == "healthy"
    monkeypatch.setattr(DocumentTargets, "_read", lambda *_: time.sleep(20))
    deployment.clock.seconds += 601
    began = time.monotonic()
    document = deployment.verdict()
    assert_within(began, 1 + 0.3)
    assert [one["status"] for one in document["instances"]] == ["healthy"]
    assert (document["status"], [warning["code"] for warning in document["warnings"]]) == (
        "degraded",
        ["config_rejected"],
    )


def test_document__newer_one_is_faulty__the_last_one_is_used_with_a_warning(
    deploy: Callable[..., Deployment], regions: dict[str, Simulator]
) -> None:
    deployment = deploy(target("emea", regions["emea"], "orders"))
    assert deployment.verdict()["status"] == "healthy"
    deployment.path.write_text("targets: [")
    deployment.clock.seconds += 61
    deployment.get()
    assert until(lambda: deployment.verdict()["status"] == "degraded")
    document = deployment.verdict()
    assert [warning["code"] for warning in document["warnings"]] == ["config_rejected"]
    assert document["instances"][0]["status"] == "healthy"
    assert document["reason"] == "config_rejected"
    assert deployment.get("/ready").get_json()["config"]["error"]
    deployment.write(target("emea", regions["emea"], "orders"))
    deployment.clock.seconds += 61
    deployment.get()
    assert until(lambda: deployment.verdict()["status"] == "healthy")


def test_document__newer_one_is_faulty__is_said_for_an_instance_of_any_target(
    deploy: Callable[..., Deployment], regions: dict[str, Simulator]
) -> None:
    deployment = deploy(target("emea", regions["emea"], "orders"), target("apac", regions["apac"], "crm"))
    deployment.get()
    deployment.path.write_text("targets: [")
    deployment.clock.seconds += 601
    document = deployment.verdict("/?instance=crm")
    assert [warning["code"] for warning in document["warnings"]] == ["config_rejected"]
    assert document["status"] == "degraded"


def test_document__not_looked_at_for_ten_minutes__the_request_waits_for_it(
    deploy: Callable[..., Deployment], regions: dict[str, Simulator]
) -> None:
    emea = target("emea", regions["emea"], "orders")
    deployment = deploy(emea)
    deployment.get()
    deployment.write(emea, target("apac", regions["apac"], "crm"))
    deployment.clock.seconds += 601
    assert deployment.verdict()["instances_count"]["total"] == 2


def test_document__beside_settings_of_one_project__is_refused(
    deploy: Callable[..., Deployment], regions: dict[str, Simulator]
) -> None:
    response = deploy(target("emea", regions["emea"], "orders"), FDI_PROJECT_ID="p").get()
    assert (response.status_code, response.get_json()["faults"][0]["variable"]) == (500, "FDI_PROJECT_ID")


def test_document__secret_url_of_a_target_is_malformed__names_the_target(
    deploy: Callable[..., Deployment], regions: dict[str, Simulator]
) -> None:
    response = deploy(target("emea", regions["emea"], "orders") | {"token": "nope"}).get()
    assert response.status_code == 500
    assert "emea" in response.get_json()["faults"][0]["message"]


def test_policy_of_a_target__is_for_that_target(
    deploy: Callable[..., Deployment], regions: dict[str, Simulator]
) -> None:
    deployment = deploy(
        target("emea", regions["emea"], "payments", policy={"payments": {"min_tasks": 999}}),
        target("apac", regions["apac"], "payments"),
    )
    found = {instance["target"]: instance["status"] for instance in deployment.verdict()["instances"]}
    assert found == {"emea": "unknown", "apac": "healthy"}


def test_target__fault_of_ours_with_it__is_unknown_and_the_others_are_complete(
    deploy: Callable[..., Deployment], regions: dict[str, Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Target.check

    def broken(self: Target, instances: Any, deadline: Any) -> Any:
        if self.settings.name == "apac":
            raise RuntimeError("boom s3cr3t")
        return plain(self, instances, deadline)

    monkeypatch.setattr(Target, "check", broken)
    deployment = deploy(target("emea", regions["emea"], "orders"), target("apac", regions["apac"], "crm"))
    response = deployment.get()
    statuses = {instance["target"]: instance["status"] for instance in response.get_json()["instances"]}
    assert statuses == {"emea": "healthy", "apac": "unknown"}
    assert "s3cr3t" not in response.text


def test_document__target_is_removed__is_not_asked_any_more(
    deploy: Callable[..., Deployment], regions: dict[str, Simulator]
) -> None:
    emea = target("emea", regions["emea"], "orders")
    deployment = deploy(emea, target("apac", regions["apac"], "crm"))
    assert deployment.verdict()["instances_count"]["total"] == 2
    deployment.write(emea)
    deployment.clock.seconds += 601
    assert deployment.verdict()["instances_count"]["total"] == 1


def test_document__gone_for_ten_minutes__the_last_one_is_used_with_a_warning(
    deploy: Callable[..., Deployment], regions: dict[str, Simulator]
) -> None:
    deployment = deploy(target("emea", regions["emea"], "orders"))
    deployment.get()
    deployment.path.unlink()
    deployment.clock.seconds += 601
    document = deployment.verdict()
    assert (document["status"], document["instances"][0]["status"]) == ("degraded", "healthy")
    assert [warning["code"] for warning in document["warnings"]] == ["config_rejected"]
    assert deployment.get("/ready").get_json()["faults"][0]["variable"] == "FDI_CONFIG"


@pytest.mark.parametrize(("padding", "status"), [(70_000, 200), (500_000, 200), (600_000, 500)])
def test_document__long__is_read_whole_or_refused(
    deploy: Callable[..., Deployment], regions: dict[str, Simulator], padding: int, status: int
) -> None:
    deployment = deploy()
    note = "n" * 198
    lines = [f"- {json.dumps(target('emea', regions['emea'], 'orders'))}", *["# " + note] * (padding // 201)]
    lines += [f"- {json.dumps(target('apac', regions['apac'], 'crm'))}"]
    deployment.path.write_text("targets:\n" + "\n".join(lines) + "\n")
    response = deployment.get()
    assert response.status_code == status
    if status == 200:
        assert [one["target"] for one in response.get_json()["instances"]] == ["emea", "apac"]


def test_document__repr__hides_what_is_in_it(deploy: Callable[..., Deployment], regions: dict[str, Simulator]) -> None:
    deployment = deploy(target("emea", regions["emea"], "orders"))
    deployment.get()
    source = deployment.app.process.service().source
    assert isinstance(source, DocumentTargets)
    assert "ROMA_TOKEN" not in repr(source._cache.snapshot and source._cache.snapshot.value)


def test_status_page__failed_list_of_a_target__shows_its_error_and_next_step(
    deploy: Callable[..., Deployment], regions: dict[str, Simulator]
) -> None:
    regions["emea"].instances.fail("status_500")
    deployment = deploy(target("emea", regions["emea"]) | {"instances": "*"}, target("apac", regions["apac"], "crm"))
    text = deployment.get("/status?target=emea&target=apac").text
    assert "emea: the list of instances could not be read" in text
    assert "apac/crm" in text
    assert "status?target=emea,apac" in text.replace("%2C", ",") or "target=emea,apac" in text


# ---- doctor


def doctor(run: Run, *words: str, **changes: str) -> tuple[int, str]:
    code, out, _ = run("doctor", *words, **changes)
    return code, out


OF_ONE = dict.fromkeys(("FDI_ENDPOINT", "FDI_PROJECT_ID", "FDI_INSTANCES", "FDI_TOKEN"), "")


def test_doctor__discovery__lists_the_instances_first(run: Run, upstream: Simulator) -> None:
    upstream.instances.states["id-crm"] = "CREATING"
    code, out = doctor(run, FDI_INSTANCES="*")
    assert "from ROMA Connect's list" in out
    assert "WARN  list of instances" in out
    assert "id-crm is not asked: its state is CREATING." in out
    upstream.instances.fail("status_500")
    code, out = doctor(run, FDI_INSTANCES="*")
    assert (code, "FAIL  list of instances" in out) == (13, True)
    upstream.instances.fail(None)
    upstream.instances.states.clear()
    assert "ok    list of instances" in doctor(run, FDI_INSTANCES="*")[1]


def test_doctor__document__walks_each_target(run: Run, upstream: Simulator, tmp_path: Path) -> None:
    path = tmp_path / "targets.yaml"
    path.write_text(yaml.safe_dump({"targets": [target("emea", upstream, "payments")]}))
    _, out = doctor(run, FDI_CONFIG=f"file://{path}", **OF_ONE)
    assert "describes 1 target(s)" in out
    assert "emea: instance payments" in out.replace("emea/payments", "payments")


def test_doctor__document_is_faulty__says_the_line(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "targets.yaml"
    path.write_text("targets:\n  - name: emea\n")
    code, out = doctor(run, FDI_CONFIG=f"file://{path}", **OF_ONE)
    assert (code, "FAIL  document" in out, "line 2" in out) == (10, True, True)


# ---- check


@pytest.mark.parametrize(
    ("words", "first_line"),
    [
        (["--target=nope"], "UNKNOWN: a target asked for is not configured: nope"),
        (["--instance=nope", "--instance=payments"], "UNKNOWN: 1 instance asked for is not in FDI_CONFIG: nope"),
        (["--target=emea", "--instance=apac/crm"], "UNKNOWN: 1 instance asked for is not in FDI_CONFIG"),
    ],
)
def test_check__unknown_target_or_instance__is_named(
    run: Run, regions: dict[str, Simulator], tmp_path: Path, words: list[str], first_line: str
) -> None:
    path = tmp_path / "targets.yaml"
    targets = [target("emea", regions["emea"], "payments"), target("apac", regions["apac"], "crm")]
    path.write_text(yaml.safe_dump({"targets": targets}))
    code, _, err = run("check", *words, FDI_CONFIG=f"file://{path}", **OF_ONE)
    assert (code, err.splitlines()[0]) == (3, first_line)


def test_check__faulty_document__says_the_line_and_no_names(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "targets.yaml"
    path.write_text("targets: [")
    code, _, err = run("check", "--instance=payments", FDI_CONFIG=f"file://{path}", **OF_ONE)
    first, second = err.splitlines()
    assert (code, first) == (3, "UNKNOWN: the document that FDI_CONFIG names cannot be used")
    assert second.startswith("  FDI_CONFIG: line 2: is not valid YAML")


# ---- discovery


def test_discovery__in_a_document__asks_every_instance(
    deploy: Callable[..., Deployment], regions: dict[str, Simulator]
) -> None:
    deployment = deploy(
        target("emea", regions["emea"]) | {"instances": "*", "exclude": ["id-orders"]},
        target("apac", regions["apac"], "crm"),
    )
    labels = [f"{i['target']}/{i['name']}" for i in deployment.verdict()["instances"]]
    assert labels == ["emea/id-payments", "apac/crm"]


def test_discovery__list_fails__the_other_target_is_complete(
    deploy: Callable[..., Deployment], regions: dict[str, Simulator]
) -> None:
    regions["emea"].instances.fail("status_500")
    deployment = deploy(target("emea", regions["emea"]) | {"instances": "*"}, target("apac", regions["apac"], "crm"))
    document = deployment.verdict()
    assert (document["status"], document["error"]) == ("unknown", None)
    assert [instance["status"] for instance in document["instances"]] == ["healthy"]
    assert document["targets"][0]["error"]["code"] == "upstream_error"
    assert deployment.get("/?fail_on=unknown").status_code == 503
    assert deployment.get("/?target=apac").status_code == 200


def test_select__instance_of_one_target__neither_waits_for_nor_blames_a_target_without_a_list(
    deploy: Callable[..., Deployment], regions: dict[str, Simulator]
) -> None:
    regions["emea"].instances.fail("status_500")
    deployment = deploy(target("emea", regions["emea"]) | {"instances": "*"}, target("apac", regions["apac"], "crm"))
    document = deployment.verdict("/?instance=apac/crm")
    assert (document["status"], [one["name"] for one in document["targets"]]) == ("healthy", ["apac"])
    assert deployment.get("/?instance=apac/nope").status_code == 404
    assert deployment.get("/?instance=nope/crm").status_code == 404
    assert deployment.verdict("/?instance=crm")["status"] == "unknown"  # emea may have one too


def test_discovery__new_instance__appears_without_a_deployment(
    upstream: Simulator, function: Callable[..., Function]
) -> None:
    clock = Clock()
    app = function("healthy", FDI_INSTANCES="*", clock=clock)
    assert app.verdict()["instances_count"]["total"] == 1
    upstream.play("id-new", "doc_example")
    clock.seconds += 301
    app.get()
    assert until(lambda: app.verdict()["instances_count"]["total"] == 2)
    assert app.verdict()["status"] == "unhealthy"


def test_discovery__instance_is_gone__is_asked_until_a_404_refreshes_the_list(
    upstream: Simulator, function: Callable[..., Function]
) -> None:
    clock = Clock()
    app = function("healthy", "healthy", FDI_INSTANCES="*", clock=clock)
    assert app.verdict()["status"] == "healthy"
    upstream.remove("id-two")
    clock.seconds += 31
    assert app.verdict()["status"] == "unknown"
    assert until(lambda: app.verdict()["status"] == "degraded")
    document = app.verdict()
    assert [warning["code"] for warning in document["warnings"]] == ["instance_gone"]
    assert app.get("/?fail_on=degraded").status_code == 503


def test_discovery__no_list__is_the_error_of_the_verdict(
    upstream: Simulator, function: Callable[..., Function]
) -> None:
    upstream.instances.claim_total(9)
    document = function("healthy", FDI_INSTANCES="*").verdict()
    assert (document["status"], document["error"]["code"], document["instances"]) == ("unknown", "invalid_response", [])


def test_document__many_https_targets__read_the_ca_bundle_once(
    deploy: Callable[..., Deployment], regions: dict[str, Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ssl.SSLContext] = []

    def counting(environ: Any) -> ssl.SSLContext:
        context = tls_context(environ)
        assert isinstance(context, ssl.SSLContext)
        made.append(context)
        return context

    monkeypatch.setattr(client, "tls_context", counting)
    with socket.create_server(("127.0.0.1", 0)) as refusing:
        port = refusing.getsockname()[1]
    endpoint = f"https://127.0.0.1:{port}"
    targets = [target(f"t{number}", regions["emea"], "one", endpoint=endpoint) for number in range(5)]
    assert deploy(*targets).verdict()["instances_count"]["unknown"] == 5
    assert len(made) == 1
