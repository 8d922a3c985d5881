"""`doctor`: expiring tokens, skipped steps, parallel checks of instances, and the steps of IAM."""

from __future__ import annotations

import json
import socket
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from fdi_health import diagnostics
from fdi_health.transport.tls import CA_VARIABLES
from simulator import HEALTHY, AccessKeys, Response, error_response, json_response, statistics_response
from simulator.instance_statistics import instance_statistics_response
from tests.conftest import CREDENTIALS, PROJECT_ID, TOKEN
from tests.fdi_health.conftest import PLAYS
from tests.machine import assert_within

if TYPE_CHECKING:
    from simulator import Iam, Simulator
    from tests.fdi_health.conftest import Run

ONE = {"FDI_INSTANCES": "orders=id-orders"}


def walk(run: Run, **changes: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit status, and name → step."""
    code, out, _ = run("doctor", "--json", **changes)
    found = [json.loads(line) for line in out.splitlines()]
    assert all(step["ok"] is (step["status"] != "failed") for step in found)
    assert len({step["name"] for step in found}) == len(found)
    return code, {step["name"]: step for step in found}


def token_that_ends(in_seconds: float) -> str:
    ends = datetime.now(UTC) + timedelta(seconds=in_seconds)
    return json.dumps({"token": TOKEN, "expires_at": ends.isoformat()})


@pytest.mark.parametrize(
    ("seconds", "changes", "status", "words"),
    [
        (-60, {}, "warning", "which expired at"),
        (-60, {"FDI_TOKEN_WARN_SECONDS": "0"}, "warning", "it has expired"),
        (600, {}, "warning", "it expires soon"),
        (600, {"FDI_TOKEN_WARN_SECONDS": "60"}, "ok", "expires at"),
        (7200, {}, "ok", "expires at"),
    ],
)
def test_token__expired_or_expires_soon__is_a_warning_with_a_next_step(
    run: Run, seconds: float, changes: dict[str, str], status: str, words: str
) -> None:
    code, steps = walk(run, ROMA_TOKEN=token_that_ends(seconds), **ONE, **changes)

    assert code == 0
    assert (steps["secret"]["status"], words in steps["secret"]["finding"]) == (status, True)
    assert (steps["secret"]["next_step"] is not None) is (status == "warning")
    if status == "warning":
        assert "Store a permanent access key in the secret" in steps["secret"]["next_step"]


def test_token__expired__text_output_shows_a_warning(run: Run) -> None:
    _, out, _ = run("doctor", ROMA_TOKEN=token_that_ends(-60), **ONE)
    assert "\nWARN  secret " in out
    assert "\n      -> Store a permanent access key in the secret" in out


@pytest.mark.parametrize(
    ("changes", "code", "skipped"),
    [
        (
            {"ROMA_TOKEN": ""},
            11,
            {
                "instance payments": "not checked: no usable credentials",
                "instance orders": "not checked: no usable credentials",
            },
        ),
        (
            {"FDI_ENDPOINT": "https://roma.invalid"},
            12,
            {
                "TCP": "not tried: DNS failed",
                "TLS": "not tried: DNS failed",
                "instance payments": "not checked: the endpoint is unreachable",
                "instance orders": "not checked: the endpoint is unreachable",
            },
        ),
        (
            {"FDI_ENDPOINT": "http://127.0.0.1:9", "ROMA_TOKEN": ""},
            11,
            {
                "instance payments": "not checked: no usable credentials and the endpoint is unreachable",
                "instance orders": "not checked: no usable credentials and the endpoint is unreachable",
            },
        ),
        (
            {"FDI_INSTANCES": "{"},
            10,
            dict.fromkeys(["secret", "network", "instances"], "not tried: the settings are invalid"),
        ),
    ],
)
def test_skipped_step__any_failure__has_the_reason(
    run: Run, changes: dict[str, str], code: int, skipped: dict[str, str]
) -> None:
    status, steps = walk(run, **{"FDI_INSTANCES": "payments=id-payments,orders=id-orders", **changes})

    assert status == code
    assert {name: step["finding"] for name, step in steps.items() if step["status"] == "skipped"} == skipped


def test_skipped_step__text_output__is_marked(run: Run) -> None:
    _, out, _ = run("doctor", ROMA_TOKEN="", **ONE)
    assert "skip  instance orders       0.000 s  not checked: no usable credentials\n" in out


def test_instances__several__are_checked_in_parallel(run: Run, upstream: Simulator) -> None:
    for name in PLAYS:
        upstream.play(f"id-{name}", "silent")
    began = time.monotonic()
    code, steps = walk(run, FDI_DEADLINE_SECONDS="0.5")

    assert_within(began, 0.5 + 1)
    assert code == 13
    assert [step["status"] for name, step in steps.items() if name.startswith("instance ")] == ["failed"] * len(PLAYS)


def test_iam__secret_contains_credentials__has_its_own_steps(run: Run, upstream: Simulator) -> None:
    code, steps = walk(run, ROMA_TOKEN=CREDENTIALS, FDI_IAM_ENDPOINT=upstream.url, **ONE)

    assert code == 0
    assert list(steps) == [
        "settings",
        "secret",
        "IAM DNS",
        "IAM TCP",
        "IAM login",
        "DNS",
        "TCP",
        "instance orders",
        "tasks of orders",
        "policy",
    ]
    assert steps["IAM DNS"]["finding"].startswith("IAM has ")
    assert steps["IAM TCP"]["finding"] == "connected to IAM"


def test_iam__secret_contains_a_token__has_no_steps(run: Run) -> None:
    assert not [name for name in walk(run, FDI_IAM_ENDPOINT="https://iam.invalid", **ONE)[1] if "IAM" in name]


@pytest.mark.parametrize(
    ("endpoint", "step", "finding", "next_step"),
    [
        (
            "https://iam.invalid",
            "IAM DNS",
            "the host name could not be resolved",
            "Check FDI_REGION or FDI_IAM_ENDPOINT",
        ),
        ("http://127.0.0.1:9", "IAM TCP", "the connection was refused", "Check FDI_REGION or FDI_IAM_ENDPOINT"),
    ],
)
def test_iam__unreachable__step_names_iam(run: Run, endpoint: str, step: str, finding: str, next_step: str) -> None:
    code, steps = walk(run, ROMA_TOKEN=CREDENTIALS, FDI_IAM_ENDPOINT=endpoint, **ONE)

    assert code == 12
    assert (steps[step]["status"], steps[step]["finding"]) == ("failed", finding)
    assert steps[step]["next_step"].startswith(next_step)
    assert steps["IAM login"]["finding"] == "not tried: IAM is unreachable"
    assert steps["instance orders"]["finding"] == "not checked: no usable credentials"
    assert steps["TCP"]["status"] == "ok"


def test_iam__untrusted_certificate__step_names_iam(
    run: Run, tls_upstream: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in (*CA_VARIABLES, "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    code, steps = walk(run, ROMA_TOKEN=CREDENTIALS, FDI_IAM_ENDPOINT=tls_upstream.url, **ONE)

    assert (code, steps["IAM TLS"]["status"]) == (12, "failed")
    assert "CA's certificate" in steps["IAM TLS"]["next_step"]


def test_iam__proxy__step_names_iam(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    settings = {"ROMA_TOKEN": CREDENTIALS, "FDI_IAM_ENDPOINT": "https://iam.invalid", **ONE}
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        _, steps = walk(run, **settings, https_proxy=f"http://u:s3cr3t@127.0.0.1:{proxy.getsockname()[1]}")
    assert steps["IAM TCP"]["finding"] == "connected to the proxy to IAM"

    _, steps = walk(run, **settings, https_proxy="http://u:s3cr3t@proxy:abc")
    assert steps["IAM DNS"]["finding"] == "the URL of the proxy is malformed"
    assert steps["IAM TCP"]["status"] == "skipped"
    assert "s3cr3t" not in json.dumps(steps)


def test_iam__login_refused__step_names_iam(run: Run, upstream: Simulator, iam: Iam) -> None:
    iam.play("wrong_password", for_ever=True)
    code, steps = walk(run, ROMA_TOKEN=CREDENTIALS, FDI_IAM_ENDPOINT=upstream.url, **ONE)

    assert (code, steps["secret"]["status"]) == (11, "ok")
    assert steps["IAM login"]["finding"].count("IAM refused")
    assert steps["instance orders"]["finding"] == "not checked: no usable credentials"
    assert len(iam.logins) == 1


def test_secret__malformed__has_no_steps_of_iam(run: Run) -> None:
    code, steps = walk(run, ROMA_TOKEN='{"username":"u"}', **ONE)
    assert (code, steps["secret"]["status"]) == (11, "failed")
    assert not [name for name in steps if "IAM" in name]


def test_secret_store__silent__step_ends_at_the_deadline(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        began = time.monotonic()
        code, steps = walk(
            run,
            FDI_TOKEN="gcpsecretmanager://projects/p/secrets/s/versions/1",
            SECRET_MANAGER_EMULATOR_HOST=f"127.0.0.1:{mute.getsockname()[1]}",
            FDI_DEADLINE_SECONDS="0.5",
            **ONE,
        )
        assert_within(began, 4)  # importing grpc takes some of it
    assert (code, steps["secret"]["status"]) == (11, "failed")


def test_secret_store__raises_anything__step_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("s3cr3t")

    monkeypatch.setattr(diagnostics, "parse_secret", broken)
    code, steps = walk(run, **ONE)
    assert (code, steps["secret"]["status"]) == (11, "failed")
    assert "s3cr3t" not in json.dumps(steps)


def test_settings_error__contains_the_marker__is_replaced(run: Run) -> None:  # H03
    _, out, _ = run("doctor", FDI_INSTANCES="FDI-OK=abc", FDI_PROJECT_ID=PROJECT_ID)
    assert "FDI-OK" not in out


def test_secret__access_key__is_named_and_needs_no_iam(run: Run, upstream: Simulator) -> None:
    upstream.access_keys = AccessKeys({"HPUAEXAMPLE": "made-up-secret-key"})
    secret = '{"access_key":"HPUAEXAMPLE","secret_key":"made-up-secret-key"}'
    code, steps = walk(run, ROMA_TOKEN=secret, FDI_IAM_ENDPOINT="https://iam.invalid", **ONE)
    assert (code, steps["secret"]["finding"]) == (0, "contains an access key")
    assert not [name for name in steps if "IAM" in name]
    assert steps["tasks of orders"]["status"] == "ok"


def test_secret__temporary_access_key_ends_soon__is_a_warning(run: Run, upstream: Simulator) -> None:
    upstream.access_keys = AccessKeys({"HPUAEXAMPLE": "made-up-secret-key"})
    ends = datetime.now(UTC) + timedelta(seconds=600)
    secret = {"access_key": "HPUAEXAMPLE", "secret_key": "made-up-secret-key", "expires_at": ends.isoformat()}
    _, steps = walk(run, ROMA_TOKEN=json.dumps(secret), **ONE)
    assert steps["secret"]["status"] == "warning"
    assert "contains an access key, which expires at" in steps["secret"]["finding"]


@pytest.mark.parametrize(
    ("more", "status", "finding"),
    [
        ({}, "ok", "the instance's own statistics agree: 23 tasks"),
        ({"common": 9}, "warning", "this user sees 23 of the instance's 32 tasks"),
        ({"cdc": 1, "flow": 2}, "warning", "this user sees 23 of the instance's 26 tasks"),
        ({"flow": 3}, "warning", "the instance has 3 orchestration (flow) tasks, which CountTasks does not show"),
        ({"common": -1}, "ok", "the instance's own statistics agree: 22 tasks"),
    ],
)
def test_tasks__instance_has_more_than_count_tasks_shows__is_a_warning(
    run: Run, upstream: Simulator, more: dict[str, int], status: str, finding: str
) -> None:
    upstream.instance_statistics["id-orders"] = instance_statistics_response(HEALTHY, more)
    code, steps = walk(run, **ONE)
    assert (code, steps["tasks of orders"]["status"], steps["tasks of orders"]["finding"]) == (0, status, finding)
    assert (steps["tasks of orders"]["next_step"] is None) is (status == "ok")


def test_tasks__count_tasks_shows_flow_tasks__are_compared_too(run: Run, upstream: Simulator) -> None:
    flow = {**HEALTHY, "flow_task_details": HEALTHY["cdc_task_details"]}
    upstream.play("id-orders", statistics_response(flow))
    _, steps = walk(run, **ONE)
    assert steps["tasks of orders"]["finding"] == "the instance's own statistics agree: 30 tasks"


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (error_response("APIG.1005"), "the user may not read the task statistics"),
        (json_response({"fdi": {"all_common_tasks_count": "3"}}), "the response is not a statistics document of an"),
        (json_response([]), "the response is not a statistics document of an instance"),
    ],
)
def test_tasks__not_comparable__are_skipped_with_the_reason(
    run: Run, upstream: Simulator, response: Response, reason: str
) -> None:
    upstream.instance_statistics["id-orders"] = response
    code, steps = walk(run, **ONE)
    assert (code, steps["tasks of orders"]["status"]) == (0, "skipped")
    assert reason in steps["tasks of orders"]["finding"]


def test_tasks__no_time_left__are_skipped(run: Run, upstream: Simulator) -> None:
    for name in ("one", "two"):
        upstream.play(f"id-{name}", "healthy")
        upstream.instance_statistics[f"id-{name}"] = Response(end="hang")
    _, steps = walk(run, FDI_INSTANCES="one=id-one,two=id-two", FDI_DEADLINE_SECONDS="0.4")
    assert steps["tasks of one"]["finding"].endswith("no response before the deadline")
    assert steps["tasks of two"]["finding"] == "not compared: no time is left"


def test_policy__not_set__is_suggested_with_the_numbers_of_now(run: Run) -> None:
    _, steps = walk(run, FDI_INSTANCES="payments=id-payments,orders=id-orders,sandbox=id-sandbox")
    assert steps["policy"]["finding"] == (
        "to be paged when tasks vanish or stop, as of now: FDI_MIN_TASKS=payments=25,orders=23 "
        "FDI_MIN_RUNNING_TASKS=payments=3,orders=3"
    )


def test_policy__set__is_not_suggested(run: Run) -> None:
    assert "policy" not in walk(run, FDI_MIN_TASKS="*=1", **ONE)[1]


def test_policy__no_tasks_visible__says_so(run: Run) -> None:
    assert walk(run, FDI_INSTANCES="sandbox=id-sandbox")[1]["policy"]["finding"] == "no tasks are visible"
