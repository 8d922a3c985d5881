"""Runs the combinations: a seeded sample in `make test`, all of them in `make test-faults`.

For each: the status is the oracle's, the response is in time, the other instances keep their results, no output
contains a secret, the next request succeeds, and threads and file descriptors are released.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import re
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import trustme

from fdi_health.clock import Deadline
from fdi_health.secret_stores import open_store, parse_secret_url
from handlers.application import Application
from handlers.request_context import RequestContext
from handlers.triggers.aws_lambda import make_handler
from handlers.triggers.functiongraph import Handler
from handlers.triggers.non_http_events import respond_to_event
from simulator import Iam, Simulator, User
from tests.aws_stand_in import AwsStandIn
from tests.conformance.platform import Question, over_wsgi
from tests.conftest import CREDENTIALS, PASSWORD, PROJECT_ID, TOKEN
from tests.faults import oracle
from tests.faults.matrix import KEPT, Combination, combinations, sample
from tests.machine import assert_within
from tests.platform_events import answer_of, balancer, functiongraph, http_api, rest_api
from tests.secret_manager_server import SecretManager
from tests.servers import free_port
from tests.test_secrets_do_not_leak import CANARY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from simulator.request_parser import Request

DEADLINE = 0.3
SPARE = 0.3
KEPT_SECONDS = 0.2
EVERYTHING = os.environ.get("ALL_FAULTS") == "1"
SIZE, SEED = int(os.environ.get("FAULTS", "180")), 20261125
CASES = list(combinations()) if EVERYTHING else sample(SIZE, SEED)
NAMES = ("zero", "one", "two")
GCP_URL = "gcpsecretmanager://projects/acme/secrets/roma/versions/latest"
AWS_URL = "awssecretsmanager://arn:aws:secretsmanager:eu-west-1:123456789012:secret:roma-AbCdEf"
SLACK_SECONDS = 6.0
"""How long a call that can't be ended may continue: a vendor's library has its own deadline."""


class World:
    """One upstream, one IAM, one secret and one application, and the fault of the case."""

    def __init__(self, case: Combination, folder: Path, stack: contextlib.ExitStack, patch: pytest.MonkeyPatch) -> None:
        self.case, self.folder, self.stack, self.patch = case, folder, stack, patch
        # Neighbouring cases ask with different values, and each case always with the same one.
        self.fail_on = oracle.FAIL_ON[CASES.index(case) % len(oracle.FAIL_ON)]
        self.iam = Iam({"fdi-probe": User(PASSWORD)}, project_id=PROJECT_ID)
        self.upstream = stack.enter_context(Simulator(tokens=[TOKEN], project_id=PROJECT_ID, iam=self.iam))
        for name in NAMES:
            self.upstream.play(f"id-{name}", "healthy")
        self.settings = {
            "FDI_ENDPOINT": self.upstream.url,
            "FDI_IAM_ENDPOINT": self.upstream.url,
            "FDI_PROJECT_ID": PROJECT_ID,
            "FDI_INSTANCES": ",".join(f"{name}=id-{name}" for name in NAMES),
            "FDI_TOKEN": "env://ROMA_TOKEN",
            "ROMA_TOKEN": TOKEN,
            "FDI_DEADLINE_SECONDS": str(DEADLINE),
            "FDI_CACHE_SECONDS": "0",
            "FDI_ANONYMOUS": "details",
        }
        for name in NAMES:
            self.upstream.instances.names[f"id-{name}"] = name
        if case.setup == "discovery":
            self.settings["FDI_INSTANCES"] = "*"
        self.strike: Callable[[], None] = lambda: None
        self.mended: Callable[[], None] = lambda: None

    def environ(self) -> dict[str, str]:
        """Return the settings: as they are, or with a document of two targets in place of those of one project."""
        if self.case.setup != "targets":
            return self.settings
        of_project = {"FDI_ENDPOINT", "FDI_IAM_ENDPOINT", "FDI_PROJECT_ID", "FDI_INSTANCES", "FDI_TOKEN"}
        fields = {
            name: self.settings[f"FDI_{name.upper()}"] for name in ("endpoint", "iam_endpoint", "project_id", "token")
        }
        targets = [
            {"name": target, **fields, "instances": {name: f"id-{name}" for name in names}}
            for target, names in (("emea", NAMES[:2]), ("apac", NAMES[2:]))
        ]
        document = self.folder / "targets.json"
        document.write_text(json.dumps({"targets": targets}))
        others = {name: value for name, value in self.settings.items() if name not in of_project}
        return {**others, "FDI_CONFIG": f"file://{document}"}

    def ask(self, process: Application) -> tuple[str, dict[str, Any], str]:
        """Send a request through the case's entry point; returns the status, the document and the response as text."""
        way = self.case.way
        question = Question(target=f"/?fail_on={self.fail_on}")
        if way == "schedule":
            document = respond_to_event(RequestContext(time.monotonic()), process, None)
            assert document["marker"] == oracle.marker(_statuses(document), oracle.FAIL_ON[0])
            return document["status"], document, json.dumps(document)
        if way == "wsgi":
            answer = over_wsgi(process)(question)
        elif way == "functiongraph":
            handler = Handler({})
            handler._application = process
            answer = answer_of(handler(functiongraph(question), None))
        else:
            event_of = {"rest api": rest_api, "http api": http_api, "balancer": balancer}[way]
            answer = answer_of(make_handler(process)(event_of(question), None))
        document = json.loads(answer.body)
        assert answer.headers["fdi-verdict"] == document["status"]
        assert answer.status == oracle.http_status(_statuses(document), self.fail_on)
        assert document["marker"] == oracle.marker(_statuses(document), self.fail_on)
        assert (b"FDI-OK" in answer.body) is (document["marker"] == "FDI-OK")
        return document["status"], document, f"{answer.headers} {answer.body.decode()}"


def _statuses(document: dict[str, Any]) -> list[str]:
    """Return the status of every instance asked; a list of instances that came too late is unknown."""
    count = document["instances_count"]
    found = [status for status in ("unhealthy", "unknown", "degraded", "healthy") for _ in range(count[status])]
    return found or ["unknown"]


def statistics(world: World) -> set[str]:
    """Let one instance play the fault, at the case's moment; returns the statuses that it may have."""
    case = world.case
    before: dict[str, list[str]] = {
        "first call": [],
        "retry": ["status_503"],
        "after renewal": ["refuses_token"],
        KEPT: [],
    }
    if case.moment == KEPT:
        world.settings["FDI_CACHE_SECONDS"] = str(KEPT_SECONDS)
    beside = f"id-{NAMES[neighbour_of(case)]}"
    world.upstream.play(beside, case.neighbour)
    if case.moment == "after renewal":
        world.settings["ROMA_TOKEN"] = CREDENTIALS
    name = f"id-{NAMES[case.position or 0]}"
    _at_its_moment(world, lambda: world.upstream.play(name, *before[case.moment], case.fault))

    def mend() -> None:
        for instance in (name, beside):
            world.upstream.play(instance, "healthy")

    world.mended = mend
    return oracle.instance(case.fault)


def neighbour_of(case: Combination) -> int:
    """Return which instance plays the case's neighbour."""
    return 1 if case.position == 0 else 0


def network(world: World) -> set[str]:
    """Let nobody reach the upstream."""
    good = world.settings["FDI_ENDPOINT"]
    if world.case.fault == "untrusted certificate":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
        served = world.stack.enter_context(Simulator(tokens=[TOKEN], project_id=PROJECT_ID, ssl_context=context))
        world.settings["FDI_ENDPOINT"] = served.url
    else:
        places: dict[str, Callable[[], str]] = {
            "refused": lambda: f"http://127.0.0.1:{free_port()}",
            "black hole": lambda: f"http://{black_hole(world.stack)}",
            "no such name": lambda: "https://roma.invalid",
            "no TLS at all": lambda: good.replace("http:", "https:"),
        }
        world.settings["FDI_ENDPOINT"] = places[world.case.fault]()
    return {"unknown"}


def black_hole(stack: contextlib.ExitStack) -> str:
    """Return the address of a listener that accepts and never says a word."""
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    return f"127.0.0.1:{listener.getsockname()[1]}"


def iam(world: World) -> set[str]:
    """Let credentials get no token."""
    secret = world.folder / "secret"
    secret.write_text(CREDENTIALS)
    world.settings["FDI_TOKEN"] = f"file://{secret}"
    fault = world.case.fault
    if fault in ("refused", "black hole"):
        bad = f"127.0.0.1:{free_port()}" if fault == "refused" else black_hole(world.stack)
        world.settings["FDI_IAM_ENDPOINT"] = f"http://{bad}"
        return {"unknown"}
    world.iam.play(fault, for_ever=True)

    def mend() -> None:
        world.iam.play()
        # A password that was refused rests; another one is tried at once.
        password = f"{PASSWORD}2"
        world.iam.users["fdi-probe"] = User(password)
        secret.write_text(json.dumps({**json.loads(CREDENTIALS), "password": password}))

    world.mended = mend
    # 429 with a Retry-After of a second, and what it means, are over before this deadline is.
    return {"unknown"}


def vault(world: World) -> set[str]:
    """Let the secret be unreadable, or hold what is none."""
    contents = {
        "empty": b" \n",
        "line break": TOKEN[:9].encode() + b"\n" + TOKEN[9:].encode(),
        "no JSON": b"{" + TOKEN.encode(),
        "no token in it": json.dumps({"password_of_somebody": TOKEN}).encode(),
        "half credentials": json.dumps({"username": "u", "password": PASSWORD}).encode(),
        "UTF-16": TOKEN.encode("utf-16"),
        "too long": b"M" * 70_000,
    }
    bring = {"env": _env, "file": _file, "google": _google, "aws": _aws}[world.case.source]
    bring(world, contents.get(world.case.fault))
    return {"unknown"}


def _env(world: World, content: bytes | None) -> None:
    if content is None:
        del world.settings["ROMA_TOKEN"]
    else:
        world.settings["ROMA_TOKEN"] = os.fsdecode(content)


def _file(world: World, content: bytes | None) -> None:
    file = world.folder / "secret"
    world.settings["FDI_TOKEN"] = f"file://{file}"
    if world.case.moment == "renewal":
        file.write_text(TOKEN)

    def strike() -> None:
        file.unlink(missing_ok=True)
        if world.case.fault == "a folder":
            file.mkdir()
        elif content is not None:
            file.write_bytes(content)

    def mend() -> None:
        if file.is_dir():
            file.rmdir()
        file.write_text("token-of-the-next-day" if world.case.moment == "renewal" else TOKEN)

    _at_its_moment(world, strike)
    world.mended = mend


LOADED: set[str] = set()


def load_library(url: str, environ: Mapping[str, str]) -> None:
    """Read a good secret once in this process: importing a vendor's library may take longer than the deadline here."""
    if url not in LOADED:
        open_store(parse_secret_url(url), environ).read(Deadline.after(20))
        LOADED.add(url)


def _google(world: World, content: bytes | None) -> None:
    server = world.stack.enter_context(SecretManager(payload=TOKEN.encode()))
    world.settings |= {"FDI_TOKEN": GCP_URL, "SECRET_MANAGER_EMULATOR_HOST": server.host}
    load_library(GCP_URL, world.settings)
    fault = world.case.fault

    def strike() -> None:
        if content is not None:
            server.payload = content
        elif fault == "silent":
            server.silent = True
        elif fault == "wrong checksum":
            server.checksum = 1
        elif fault == "gone":
            server._server.stop(None).wait()
        else:
            server.failures, server.keep_failing = [(getattr(grpc.StatusCode, fault), "s3cr3t words")], True

    _at_its_moment(world, strike)


def _aws(world: World, content: bytes | None) -> None:
    server = world.stack.enter_context(AwsStandIn())
    server.answer = {"Name": "roma", "SecretString": TOKEN}
    world.settings["FDI_TOKEN"] = AWS_URL
    world.patch.setenv("AWS_ENDPOINT_URL", server.url)
    world.patch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    world.patch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    load_library(AWS_URL, os.environ)
    fault = world.case.fault

    def strike() -> None:
        if content is not None:
            server.answer = {"Name": "roma", "SecretString": content.decode()}
        elif fault == "neither string nor binary":
            server.answer = {"Name": "roma", "ARN": "arn"}
        elif fault == "silent":
            server.silent = True
        elif fault == "gone":
            world.patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
        else:
            status = 500 if fault == "InternalServiceError" else 400
            server.failures, server.keep_failing = [(status, fault, "s3cr3t words")], True

    _at_its_moment(world, strike)


def _at_its_moment(world: World, strike: Callable[[], None]) -> None:
    if world.case.moment in ("renewal", KEPT):
        world.strike = strike
    else:
        strike()


BRING = {"statistics": statistics, "network": network, "iam": iam}


@pytest.fixture(autouse=True)
def _few_descriptors() -> Iterator[None]:
    """Look whether threads and descriptors come back."""
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208 -- only counted
    yield
    end = time.monotonic() + SLACK_SECONDS
    while time.monotonic() < end:
        more_threads = threading.active_count() - threads
        more_descriptors = len(os.listdir("/proc/self/fd")) - descriptors  # noqa: PTH208 -- only counted
        # gRPC keeps a few of both for good, once it is loaded.
        if more_threads <= 3 and more_descriptors <= 12:
            return
        time.sleep(0.05)
    pytest.fail(f"{more_threads} threads and {more_descriptors} descriptors more than before")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_combination__has_the_expected_response_in_time(
    case: Combination, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with contextlib.ExitStack() as stack:
        world = World(case, tmp_path, stack, monkeypatch)
        allowed = BRING.get(case.source, vault)(world)
        process = Application(world.environ())
        stack.callback(process.close)
        others = []
        if case.position is not None:
            others = ["healthy"] * len(NAMES)
            (others[neighbour_of(case)],) = oracle.instance(case.neighbour)
            del others[case.position]
        if case.moment == "renewal":
            _hold_a_token_and_lose_it(world, process)
        if case.moment == KEPT:
            _keep_an_answer(world, process, oracle.fleet([*others, "healthy"]))

        began = time.monotonic()
        status, document, text = world.ask(process)
        assert_within(began, DEADLINE + SPARE)
        took = time.monotonic() - began

        out_of_time = took >= DEADLINE * 0.8
        # Once the upstream has asked for fewer calls, those that it was not asked yet are left alone too.
        others_may_wait = out_of_time or oracle.leaves_a_hold(case.fault)
        possible = [{other, "unknown"} if others_may_wait else {other} for other in others]
        possible.append(allowed | {"unknown"} if out_of_time else allowed)
        assert status in {oracle.fleet(list(statuses)) for statuses in itertools.product(*possible)}, text
        if "instances" in document and case.position is not None:
            by_name = {part["name"]: part["status"] for part in document["instances"]}
            kept = [by_name.get(name, "unknown") for at, name in enumerate(NAMES) if at != case.position]
            assert all(one in may_be for one, may_be in zip(kept, possible, strict=False)), text
        _next_is_fine(world, process)
        _no_secret_is_shown(text, caplog.text)


def _keep_an_answer(world: World, process: Application, expected: str) -> None:
    """Get an answer with the fault not there yet, then let the fault be there and the answer grow too old."""
    # On a busy machine one may run into this deadline.
    for _ in range(10):
        status = world.ask(process)[0]
        if status == expected:
            break
        assert status == "unknown"
        time.sleep(KEPT_SECONDS)
    else:
        pytest.fail("there was no answer to keep")
    world.strike()
    time.sleep(KEPT_SECONDS)


def _hold_a_token_and_lose_it(world: World, process: Application) -> None:
    """Get a healthy answer with the fault not there yet, then let the token die and the fault be there."""
    script = list(world.iam._script), world.iam._last
    world.iam.play()
    # The first read of a secrets manager may take longer than this deadline: libraries are loaded.
    for _ in range(10):
        if process.service().readiness(_soon()) == () and world.ask(process)[0] == "healthy":
            break
    else:
        pytest.fail("there was no token to lose")
    world.upstream.tokens.clear()
    world.upstream.tokens.add("token-of-the-next-day")
    world.iam.revoke()
    world.iam._script.extend(script[0])
    world.iam._last = script[1]
    world.strike()


def _soon() -> Deadline:
    return Deadline.after(3)


def _next_is_fine(world: World, process: Application) -> None:
    """Mend what can be mended while the process runs, and want a healthy answer."""
    case = world.case
    mendable = case.source in ("statistics", "iam", "file") and case.fault not in ("refused", "black hole")
    if not mendable or (case.source == "statistics" and oracle.leaves_a_hold(case.fault)):
        return
    world.mended()
    if case.source == "iam" and case.fault == "throttled":
        time.sleep(1.2)
    for _ in range(60):
        if world.ask(process)[0] == "healthy":
            return
        time.sleep(0.1)
    pytest.fail("the process never recovered")


def _no_secret_is_shown(*texts: str) -> None:
    for text in texts:
        assert not CANARY.search(text)
        assert not re.search("s3cr3t|token-of-the-next-day", text)


def test_token__is_sent_to_the_upstream_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The canary is a real one: it is what the upstream is sent."""
    with contextlib.ExitStack() as stack:
        world = World(CASES[0], tmp_path, stack, monkeypatch)
        process = Application(world.settings)
        world.ask(process)
        process.close()
        requests: list[Request] = world.upstream.requests
    assert {request.token for request in requests} == {TOKEN}


def test_sample__contains_every_fault_of_every_source() -> None:
    every = list(combinations())
    assert len(every) >= 2000
    assert len(set(every)) == len(every)
    chosen = sample(SIZE, SEED)
    assert len(chosen) >= 200
    assert {(case.source, case.fault) for case in chosen} == {(case.source, case.fault) for case in every}
    assert {(case.source, case.setup) for case in chosen} == {(case.source, case.setup) for case in every}
