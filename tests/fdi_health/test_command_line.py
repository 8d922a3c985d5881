"""`python -m fdi_health`: exit statuses that monitoring systems know, and output that suffices to act."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import runpy
import socket
import ssl
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
import trustme

from fdi_health import cli
from fdi_health.transport.tls import CA_VARIABLES
from simulator import MonitoredTask, Simulator
from tests.conftest import CREDENTIALS, PROJECT_ID, TOKEN
from tests.machine import assert_within
from tests.servers import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fdi_health.conftest import Run


@pytest.mark.parametrize(
    ("names", "status", "first_line"),
    [
        (["orders"], 0, "FDI-OK healthy: none"),
        (["sandbox"], 1, "FDI-OK degraded: no tasks visible in sandbox"),
        (
            ["payments", "orders"],
            2,
            "FDI-NOT-OK unhealthy: 2 abnormal tasks in payments (common-task-1, common-task-2)",
        ),
        (["crm"], 3, "FDI-NOT-OK unknown: crm unknown (token_rejected)"),
        (
            ["crm", "id-payments"],
            2,
            (
                "FDI-NOT-OK unhealthy: 2 abnormal tasks in payments (common-task-1, common-task-2); "
                "crm unknown (token_rejected)"
            ),
        ),
    ],
)
def test_check__exits_as_monitoring_plugins_do(run: Run, names: list[str], status: int, first_line: str) -> None:
    code, out, err = run("check", *(f"--instance={name}" for name in names))
    assert (code, out.splitlines()[0], err) == (status, first_line, "")
    assert len(out.splitlines()) >= 1 + len(names)


@pytest.mark.parametrize(("options", "shown"), [((), False), (("--remarks",), True)])
def test_check__names_abnormal_tasks__with_remarks_on_request(
    run: Run, upstream: Simulator, options: tuple[str, ...], shown: bool
) -> None:
    tasks = [MonitoredTask(task_id=f"t{n}", task_name=f"common-task-{n}", remarks="the source failed") for n in (1, 2)]
    upstream.monitors.put("id-payments", tasks)
    _, out, _ = run("check", "--instance=payments", "--explain=1", *options)
    assert out.splitlines()[2].strip().startswith("common-task-1 (TIMING, erp to warehouse, at the READER) failed 2025")
    assert ("the source failed" in out) is shown
    assert out.splitlines()[3].strip() == "abnormal tasks: 1 more"


def test_check__explain_out_of_range__is_refused(run: Run) -> None:
    assert "explain must be" not in (found := run("check", "--explain=51"))[2]
    assert (found[0], "must be none, all or a number from 1 to 50" in found[2]) == (3, True)


def test_check__says_what_to_do(run: Run) -> None:
    _, out, _ = run("check", "--explain=none")
    lines = [re.sub(r"\d\.\d{3} s", "0 s", line) for line in out.splitlines()]
    assert lines[1] == "  payments  unhealthy  2 abnormal common tasks, 3 running (0 s)"
    assert lines[2].startswith("            -> Open this instance in the ROMA Connect console")
    assert lines[4] == "  orders    healthy    3 running (0 s)"
    assert lines[5] == "  sandbox   degraded   no tasks visible, 0 running (0 s)"
    assert lines[6].startswith("            -> Compare with the number of tasks in the console")
    assert lines[8] == (
        "  crm       unknown    the credentials were refused "
        "(token_rejected, HTTP 401, APIGW.0301, request 7d1f0c5be2a94386b1c0de55a1e4f00d, 0 s)"
    )
    assert lines[9].startswith("            -> ROMA Connect accepts this token for other instances.")
    assert TOKEN not in out


def test_check__gives_json(run: Run) -> None:
    code, out, _ = run("check", "--format=json", "--instance=payments")
    assert (code, json.loads(out)["instances"][0]["name"]) == (2, "payments")


def test_check__keeps_its_deadline(run: Run, upstream: Simulator) -> None:
    upstream.play("id-orders", "silent")
    began = time.monotonic()
    code, _, _ = run("check", "--instance=orders", "--deadline=0.3")
    assert_within(began, 0.3 + 0.3)
    assert code == 3


def test_check__broken_settings_are_unknown_and_all_named(run: Run) -> None:
    code, out, err = run("check", FDI_INSTANCES="a=1,{", FDI_TOKEN="MIIbare")
    assert (code, out) == (3, "")
    assert err.splitlines()[0] == "UNKNOWN: the settings have 2 faults: FDI_INSTANCES, FDI_TOKEN"
    assert "  FDI_INSTANCES, entry 2: must be alias=ID" in err
    assert "MIIbare" not in err


@pytest.mark.parametrize(
    "words",
    [
        ["check", "--instance=nope"],
        ["check", "--deadline=0"],
        ["check", "--deadline=nan"],
        ["check", "--format=xml"],
        ["check", "--nonsense"],
        ["nonsense"],
        [],
    ],
)
def test_malformed_command_line__is_unknown_not_critical(run: Run, words: list[str]) -> None:
    code, out, err = run(*words)
    assert (code, out) == (3, "")
    assert err


def test_fault_of_ours__is_unknown_and_clean(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("boom s3cr3t")

    monkeypatch.setattr(cli, "_verdict", broken)
    code, out, err = run("check")
    assert code == 3
    assert "s3cr3t" not in out + err
    (line,) = err.splitlines()
    assert json.loads(line)["causes"][0]["exception"] == "builtins.RuntimeError"


def test_interrupt__is_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_verdict", interrupted)
    assert run("check")[0] == 130


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress__is_shown_while_waiting_and_wiped_away(
    run: Run, upstream: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    upstream.play("id-orders", "slow")
    monkeypatch.setattr(sys, "stderr", terminal)
    run("check", "--instance=orders")
    shown = terminal.getvalue()
    assert "waiting for 1 instance(s), 0." in shown
    assert shown.endswith("\r\x1b[K")


def test_colour__is_for_terminals_only(run: Run, upstream: Simulator) -> None:
    assert "\x1b[" not in run("check")[1]

    parent, child = pty.openpty()
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with os.fdopen(parent, "rb") as terminal:
        subprocess.run(
            [sys.executable, "-m", "fdi_health", "check", "--instance=payments"],
            env=environ,
            stdout=child,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        os.close(child)
        shown = terminal.read1(65536)
    assert b"\x1b[31munhealthy\x1b[0m" in shown


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_reader_that_has_gone__does_not_change_the_exit_status(
    run: Run, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    for words, changes, code in (
        (["check", "--instance=payments"], {}, 2),
        (["check"], {"FDI_INSTANCES": "{"}, 3),
        (["doctor"], {"ROMA_TOKEN": "", "FDI_INSTANCES": "payments=id-payments"}, 11),
    ):
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "w") as gone:
            monkeypatch.setattr(sys, stream, gone)
            assert run(*words, **changes)[0] == code
    monkeypatch.setattr(sys, stream, None)
    assert run("check", "--instance=payments", FDI_INSTANCES="payments=id-payments", ROMA_TOKEN=TOKEN)[0] == 2
    assert run("check", FDI_INSTANCES="{")[0] == 3


def test_doctor__tries_every_address_in_its_time(
    run: Run, upstream: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in (closed, ("127.0.0.1", upstream.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
    code, out, _ = run("doctor", FDI_INSTANCES="orders=id-orders")
    assert (code, "the endpoint has 2 address(es)" in out) == (0, True)


def test_doctor__walks_the_whole_way(run: Run) -> None:
    code, out, _ = run("doctor", FDI_INSTANCES="payments=id-payments,orders=id-orders,sandbox=id-sandbox")
    names = [line[6:26].strip() for line in out.splitlines() if line.startswith(("ok", "WARN"))]
    assert code == 0
    instances = ["payments", "orders", "sandbox"]
    assert names[:4] == ["settings", "secret", "DNS", "TCP"]
    assert names[4:-1] == [f"{step} {name}" for step in ("instance", "tasks of") for name in instances]
    assert names[-1] == "policy"
    assert "unhealthy: 2 abnormal common tasks" in out
    assert "-> Compare with the number of tasks in the console" in out


@pytest.mark.parametrize(
    ("changes", "code", "finding"),
    [
        ({"FDI_INSTANCES": "a=1,{"}, 10, "FDI_INSTANCES, entry 2, must be alias=ID"),
        ({"FDI_INSTANCES": ""}, 10, "FDI_INSTANCES is missing"),
        ({"ROMA_TOKEN": " "}, 11, "the secret is empty"),
        ({"FDI_ENDPOINT": "https://roma.invalid"}, 12, "the host name could not be resolved"),
        ({"FDI_ENDPOINT": "http://127.0.0.1:9"}, 12, "the connection was refused"),
        ({"FDI_ENDPOINT": "https://a.invalid", "https_proxy": "http://u:s3cr3t@127.0.0.1:9"}, 12, "was refused"),
        (
            {"FDI_ENDPOINT": "https://a.invalid", "https_proxy": "http://u:s3cr3t@proxy:abc"},
            12,
            "URL of the proxy is malf",
        ),
        ({"FDI_ENDPOINT": "https://a.invalid", "https_proxy": "127.0.0.1:9"}, 12, "the connection was refused"),
        ({"FDI_ENDPOINT": "https://a.invalid", "https_proxy": "socks5h://127.0.0.1:9"}, 12, "SOCKS proxy"),  # D47
        ({"FDI_ENDPOINT": f"https://{'a' * 80}.example"}, 10, "must be https://HOST"),
        ({}, 13, "unknown: the credentials were refused (token_rejected, HTTP 401, APIGW.0301"),
    ],
)
def test_doctor__says_where_it_broke(
    run: Run, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], code: int, finding: str
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    status, out, _ = run("doctor", **changes)
    broken = [line for line in out.splitlines() if line.startswith("FAIL")]
    assert status == code
    assert finding in broken[0]
    assert "s3cr3t" not in out


def test_doctor__gives_json_lines(run: Run) -> None:
    code, out, _ = run("doctor", "--json", ROMA_TOKEN="")
    steps = [json.loads(line) for line in out.splitlines()]
    assert code == 11
    assert list(steps[0]) == ["name", "place", "ok", "seconds", "finding", "next_step", "status"]
    assert [step["name"] for step in steps if not step["ok"]] == ["secret"]


def test_doctor__leaves_slow_dns_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def getaddrinfo(*_: object, **__: object) -> None:
        over.wait(5)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    began = time.monotonic()
    code, out, _ = run("doctor", FDI_DEADLINE_SECONDS="0.2")
    over.set()
    assert (code, "no response before the deadline" in out) == (12, True)
    assert_within(began, 1)


def test_doctor__checks_the_certificate(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in CA_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Simulator(tokens=[TOKEN], project_id=PROJECT_ID, ssl_context=context) as upstream:
        upstream.play("id-one", "healthy")
        settings = {"FDI_ENDPOINT": upstream.url, "FDI_INSTANCES": "one=id-one"}
        for bundle, code, finding in (
            (str(tmp_path / "ca.pem"), 0, "certificate trusted"),
            ("", 12, "the server's certificate comes from an unknown CA"),
            ("/nowhere.pem", 12, "the CA bundle that SSL_CERT_FILE names could not be read"),
        ):
            status, out, _ = run("doctor", **settings, SSL_CERT_FILE=bundle)
            assert (status, finding in out) == (code, True)


def test_module__runs_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fdi_health", "check", "--help"], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert "Exits 0 healthy, 1 degraded, 2 unhealthy, 3 unknown" in " ".join(done.stdout.split())


def test_doctor__logs_in_and_counts_the_callers(run: Run, upstream: Simulator) -> None:
    code, out, _ = run(
        "doctor",
        FDI_INSTANCES="orders=id-orders",
        FDI_IAM_ENDPOINT=upstream.url,
        ROMA_TOKEN=CREDENTIALS,
        FDI_CALLERS="env://CALLERS",
        CALLERS='{"prometheus":"key-0123456789abc","grafana":"key-abc0123456789"}',
    )
    assert code == 0
    assert re.search(r"IAM issued a token for the credentials in the secret, which expires at 20\d\d-\S+Z\n", out)
    assert "callers with a key: 2" in out


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"ROMA_TOKEN": CREDENTIALS}, "the secret contains credentials, and the settings do not name an IAM endpoint"),
        ({"FDI_CALLERS": "env://CALLERS", "CALLERS": "short"}, "the callers' keys: entry 1 must be"),
    ],
)
def test_doctor__says_what_is_wrong_with_secrets(run: Run, changes: dict[str, str], finding: str) -> None:
    code, out, _ = run("doctor", FDI_INSTANCES="orders=id-orders", **changes)
    assert (code, finding in out) == (11, True)


def test_check__says_that_the_token_ends(run: Run) -> None:
    code, out, _ = run(
        "check",
        FDI_INSTANCES="orders=id-orders",
        ROMA_TOKEN=f'{{"token":"{TOKEN}","expires_at":"2020-01-01T00:00:00Z"}}',
    )
    assert code == 1
    lines = out.splitlines()
    assert lines[0] == "FDI-OK degraded: the token expires at 2020-01-01T00:00:00Z"
    assert lines[2] == "  The end of the token is 2020-01-01T00:00:00Z, and it was not renewed."
    assert lines[3].startswith("  -> Put an access key into the secret")


def test_module__run_as_a_program__is_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["fdi_health", "--help"])
    with contextlib.suppress(SystemExit):
        runpy.run_module("fdi_health", run_name="__main__")
    assert "doctor" in capsys.readouterr().out
