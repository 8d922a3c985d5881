"""Fixtures for nearly every test: the function, which uses real HTTP to a simulated upstream."""

from __future__ import annotations

import importlib
import json
import logging
import os
import pkgutil
import ssl
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from hypothesis import Phase, settings
from werkzeug.test import Client

import fdi_health
import handlers
import main  # noqa: F401 -- imported here because it configures logging
import schemas
from fdi_health.clock import now
from handlers.application import Application
from handlers.triggers.wsgi import wsgi_application
from simulator import Iam, Simulator, User
from tests import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from werkzeug.test import TestResponse

    from fdi_health.clock import Instant

pytest.register_assert_rewrite("tests.conformance.secret_store", "tests.conformance.platform")

# Hypothesis takes constants from our imported modules. A module imported by a thread during a test would change the
# examples, so import all of them first.
for _package in (fdi_health, handlers, schemas):
    for _module in pkgutil.walk_packages(_package.__path__, f"{_package.__name__}."):
        if not _module.name.endswith("__main__"):
            importlib.import_module(_module.name)

# No time limit for one example: on a busy machine its duration means nothing.
settings.register_profile("noisy", deadline=None, max_examples=60)
# Mutation testing only needs a failure, so do not spend time on shrinking the example.
settings.register_profile("mutation", settings.get_profile("noisy"), phases=[Phase.explicit, Phase.generate])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "noisy"))

TOKEN = "MIICanary7Qx9Zr4Wd2Lk8"
"""The token of every test; no output of the function may contain any part of it."""

PASSWORD = "Pw-Canary3Hn7Yt5Kc1Mv"
"""The password of every IAM user of the tests; it may be sent to IAM only."""

CREDENTIALS = json.dumps({"username": "fdi-probe", "password": PASSWORD, "domain_name": "Acme"})
"""A secret with credentials that the simulated IAM knows."""

PROJECT_ID = "c53626012ba84727b938ca8bf03108ef"


@dataclass
class Function:
    """One application, called in memory through its WSGI entry point."""

    process: Application
    client: Client

    def get(self, path: str = "/", **kwargs: Any) -> TestResponse:
        """GET a path."""
        return self.client.get(path, **kwargs)

    def verdict(self, path: str = "/", **kwargs: Any) -> dict[str, Any]:
        """GET a path and return the JSON document."""
        document: dict[str, Any] = self.get(path, **kwargs).get_json()
        return document

    def instance(self, path: str = "/", **kwargs: Any) -> dict[str, Any]:
        """GET a path and return the only instance's part of the verdict."""
        (instance,) = self.verdict(path, **kwargs)["instances"]
        document: dict[str, Any] = instance
        return document


SLOW = (
    "tests/container_server",
    "tests/deploy",
    "tests/faults",
    "tests/fdi_health/credentials/test_iam_client.py",
    "tests/fdi_health/credentials/test_logins.py",
    "tests/fdi_health/log",
    "tests/fdi_health/secret_stores",
    "tests/fdi_health/test_command_line_streams.py",
    "tests/fdi_health/transport/test_connections.py",
    "tests/handlers/test_fail_on.py",
    "tests/handlers/triggers",
    "tests/simulator",
    "tests/test_any_bytes.py",
    "tests/test_call_rate.py",
    "tests/test_deadline_holds.py",
    "tests/test_docs.py",
    "tests/test_expensive_responses.py",
    "tests/test_functions_framework.py",
    "tests/test_make_run.py",
    "tests/test_marker.py",
    "tests/test_no_secrets.py",
    "tests/test_openapi.py",
    "tests/test_routing_of_servers.py",
    "tests/test_secrets_do_not_leak.py",
    "tests/test_servers.py",
    "tests/test_status_page_in_browser.py",
    "tests/test_two_days.py",
    "tests/test_upstream_faults.py",
)
"""Folders and modules that take more than five seconds; `make test-fast` leaves them out."""

FIRST = (
    "tests/test_two_days.py",
    "tests/faults",
    "tests/container_server",
    "tests/deploy",
    "tests/test_functions_framework.py",
    "tests/test_marker.py",
)
"""Folders and modules that take longest for each test. A long module that starts last leaves one of two cores idle."""

WAITING = (
    "tests/container_server/test_requests.py",
    "tests/container_server/test_stop.py",
    "tests/deploy/test_alertmanager.py",
    "tests/deploy/test_balancers.py",
    "tests/deploy/test_dashboard.py",
    "tests/faults",
    "tests/fdi_health/credentials/test_iam_client.py",
    "tests/fdi_health/credentials/test_token_provider.py",
    "tests/fdi_health/secret_stores",
    "tests/fdi_health/test_diagnostics.py",
    "tests/fdi_health/test_targets.py",
    "tests/fdi_health/transport/test_connections.py",
    "tests/handlers/test_named_tasks.py",
    "tests/test_access_key",
    "tests/test_any_bytes.py",
    "tests/test_call_rate.py",
    "tests/test_shared_credentials.py",
    "tests/test_status_page_in_browser.py",
    "tests/test_upstream_faults.py",
)
"""Folders and modules that wait most of their time, for example for deadlines. `make test` runs three tests at a time,
of which two may be others: a third one that computes would take a core from their deadlines."""

ALONE = (
    "tests/container_server/test_live.py",
    "tests/test_deadline_holds.py",
    "tests/test_expensive_responses.py",
)
"""Modules in which a server and a simulator compute at the same time, and the time of a response is limited."""

REPETITIVE = (
    "tests/container_server",
    "tests/deploy",
    "tests/faults",
    "tests/handlers/test_fail_on.py",
    "tests/simulator",
    "tests/test_any_bytes.py",
    "tests/test_expensive_responses.py",
    "tests/test_marker.py::test_bad_settings__never_show_the_marker",
    "tests/test_openapi.py",
    "tests/test_recipes.py",
    "tests/test_secrets_do_not_leak.py::test_upstream_fault__leaks_nothing",
    "tests/test_servers.py",
    "tests/test_status_page_in_browser.py",
    "tests/test_two_days.py",
    "tests/test_upstream_faults.py",
)
"""Tests that run the same lines thousands of times, or other programs. `make coverage` leaves them out, and property
tests: the others cover every line and branch."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark slow and repetitive tests, and let those of FIRST start first."""
    for item in items:
        if item.nodeid.startswith(SLOW):
            item.add_marker("slow")
        if item.nodeid.startswith(REPETITIVE) or getattr(getattr(item, "function", None), "is_hypothesis_test", False):
            item.add_marker("repetitive")
    items.sort(key=lambda item: not item.nodeid.startswith(FIRST))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool | None, bool | None]:
    """Let a test that computes wait for a core, if several processes run tests."""
    if "PYTEST_XDIST_WORKER" not in os.environ or item.nodeid.startswith(WAITING):
        return (yield)
    with machine.core(alone=item.nodeid.startswith(ALONE)):
        return (yield)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize the conformance suites: each secret store with its states, each entry point with its questions."""
    for fixture, table in (("state", "states"), ("passing_state", "passing_states")):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, sorted(getattr(metafunc.cls, table)))
    if "question" in metafunc.fixturenames:
        from tests.conformance.platform import QUESTIONS

        metafunc.parametrize("question", sorted(QUESTIONS.keys() - metafunc.cls.not_ours))


@pytest.fixture(autouse=True)
def _captured_log() -> None:
    """Let pytest capture our log: `main` and the command line send it to stderr only."""
    logger = logging.getLogger("fdi_health")
    logger.propagate = True
    logger.handlers.clear()


@pytest.fixture
def no_secret_reads() -> None:
    """Wait until secret reads of earlier tests have ended: vendors' retries use Python's global random generator.

    Hypothesis controls that generator, and reports a property as flaky if other code used it during the run. Tests that
    run Hypothesis inside themselves request this fixture by name.
    """
    for thread in threading.enumerate():
        if thread.name == "fdi-health-secret":
            thread.join(10)


@pytest.fixture(autouse=True)
def _no_secret_reads_in_properties(request: pytest.FixtureRequest) -> None:
    """Apply `no_secret_reads` to every Hypothesis test."""
    if getattr(request.function, "is_hypothesis_test", False):
        request.getfixturevalue("no_secret_reads")


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    """Return a simulated ROMA Connect with IAM. It knows TOKEN and CREDENTIALS, and no instance yet."""
    iam = Iam({"fdi-probe": User(PASSWORD)}, project_id=PROJECT_ID)
    with Simulator(tokens=[TOKEN], project_id=PROJECT_ID, iam=iam) as simulator:
        yield simulator


@pytest.fixture
def iam(upstream: Simulator) -> Iam:
    """Return the simulated IAM."""
    assert upstream.iam is not None
    return upstream.iam


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Return a certificate authority that is not trusted yet."""
    return trustme.CA()


@pytest.fixture
def tls_upstream(authority: trustme.CA, request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """Return an upstream over TLS; its certificate is for the names in the fixture's parameter."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*getattr(request, "param", ["127.0.0.1"])).configure_cert(context)
    with Simulator(tokens=[TOKEN], project_id=PROJECT_ID, ssl_context=context) as simulator:
        yield simulator


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    """Return the path of the authority's own certificate."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return str(tmp_path / "ca.pem")


@pytest.fixture
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set this process's time zone to New York."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def function(upstream: Simulator) -> Iterator[Callable[..., Function]]:
    """Return a factory of functions.

    Positional arguments are what instances `one`, `two`, … play at the upstream: each a behaviour or a tuple of them.
    Keywords are settings, None to leave one out. By default anonymous callers see details and nothing is cached.
    """
    made: list[Application] = []

    def make(*plays: Any, clock: Callable[[], Instant] = now, **settings: str | None) -> Function:
        names = [f"{word}" for word, _ in zip(("one", "two", "three", "four"), plays, strict=False)]
        for name, play in zip(names, plays, strict=True):
            upstream.play(f"id-{name}", *(play if isinstance(play, tuple) else (play,)))
        environ: dict[str, str | None] = {
            "FDI_ENDPOINT": upstream.url,
            "FDI_IAM_ENDPOINT": upstream.url,
            "FDI_PROJECT_ID": PROJECT_ID,
            "FDI_INSTANCES": ",".join(f"{name}=id-{name}" for name in names),
            "FDI_TOKEN": "env://ROMA_TOKEN",
            "ROMA_TOKEN": TOKEN,
            "FDI_ANONYMOUS": "details",
            "FDI_CACHE_SECONDS": "0",
            **settings,
        }
        process = Application({name: value for name, value in environ.items() if value is not None}, clock)
        made.append(process)
        return Function(process, Client(wsgi_application(process)))

    yield make
    for process in made:
        process.close()
