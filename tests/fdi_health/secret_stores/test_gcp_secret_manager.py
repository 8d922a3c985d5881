"""Google Cloud Secret Manager: the real client against a loopback server, through the whole function."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import grpc
import pytest

from fdi_health.clock import Deadline
from fdi_health.errors import CheckError
from fdi_health.secret_stores import InvalidSecretUrl, open_store, parse_secret_url
from tests.conformance.secret_store import SecretStoreSuite
from tests.conftest import TOKEN
from tests.machine import assert_within
from tests.secret_manager_server import SecretManager
from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulator import Simulator
    from tests.conftest import Function

NAME = "projects/acme/secrets/roma-token/versions/latest"
URL = f"gcpsecretmanager://{NAME}"
REGIONAL_NAME = "projects/acme/locations/europe-west3/secrets/roma-token/versions/latest"


@pytest.fixture
def manager() -> Iterator[SecretManager]:
    with SecretManager(payload=TOKEN.encode()) as server:
        yield server


@dataclass
class Harness:
    """A secret in the loopback Secret Manager."""

    server: SecretManager
    url: str = URL

    def __post_init__(self) -> None:
        self.environ = {"SECRET_MANAGER_EMULATOR_HOST": self.server.host}

    def put(self, secret: bytes) -> None:
        self.server.payload = secret

    def remove(self) -> None:
        self.fail(grpc.StatusCode.NOT_FOUND)

    def fail(self, code: Any, text: str = "s3cr3t words", *, once: bool = False) -> None:
        self.server.failures, self.server.keep_failing = [(code, text)], not once

    def be_silent(self) -> None:
        self.server.silent = True

    def be_damaged(self) -> None:
        self.server.checksum = 1

    def be_gone(self) -> None:
        self.environ["SECRET_MANAGER_EMULATOR_HOST"] = f"127.0.0.1:{free_port()}"


def failing(code: Any, text: str = "s3cr3t words", *, once: bool = False) -> Callable[[Harness], None]:
    return lambda harness: harness.fail(code, text, once=once)


class TestSecretManager(SecretStoreSuite):
    """The suite against Google Cloud Secret Manager."""

    states: ClassVar = {
        "forbidden": failing(grpc.StatusCode.PERMISSION_DENIED),
        "no credentials": failing(grpc.StatusCode.UNAUTHENTICATED),
        "disabled": failing(grpc.StatusCode.FAILED_PRECONDITION, "[s3cr3t] is in DISABLED state"),
        "destroyed": failing(grpc.StatusCode.FAILED_PRECONDITION, "[s3cr3t] is in DESTROYED state"),
        "throttled for good": failing(grpc.StatusCode.RESOURCE_EXHAUSTED),
        "wrong checksum": Harness.be_damaged,
        "silent": Harness.be_silent,
        "gone": Harness.be_gone,
    }
    passing_states: ClassVar = {
        "throttled once": failing(grpc.StatusCode.RESOURCE_EXHAUSTED, once=True),
        "out of reach once": failing(grpc.StatusCode.UNAVAILABLE, once=True),
    }

    @pytest.fixture
    def harness(self, manager: SecretManager) -> Harness:
        return Harness(manager)


class TestRegionalSecret(SecretStoreSuite):
    """The suite against a regional secret (D17)."""

    states: ClassVar = TestSecretManager.states
    passing_states: ClassVar = TestSecretManager.passing_states

    @pytest.fixture
    def harness(self, manager: SecretManager) -> Harness:
        return Harness(manager, f"gcpsecretmanager://{REGIONAL_NAME}")


def test_read__regional_secret__uses_its_full_name(
    function: Callable[..., Function], manager: SecretManager
) -> None:  # D17
    url = f"gcpsecretmanager://{REGIONAL_NAME}"
    assert function("healthy", FDI_TOKEN=url, SECRET_MANAGER_EMULATOR_HOST=manager.host).verdict()["healthy"] is True
    assert manager.names == [REGIONAL_NAME]


def read(host: str, seconds: float = 2.0) -> bytes:
    return open_store(parse_secret_url(URL), {"SECRET_MANAGER_EMULATOR_HOST": host}).read(Deadline.after(seconds)).data


def failure(host: str, seconds: float = 2.0) -> CheckError:
    with pytest.raises(CheckError) as caught:
        read(host, seconds)
    assert caught.value.code == "token_unavailable"
    assert caught.value.__cause__ is None
    return caught.value


def test_check__token_in_secret_manager__is_used(
    function: Callable[..., Function], upstream: Simulator, manager: SecretManager
) -> None:
    checked = function("healthy", "healthy", FDI_TOKEN=URL, SECRET_MANAGER_EMULATOR_HOST=manager.host)

    assert checked.verdict()["healthy"] is True
    assert checked.verdict()["healthy"] is True
    assert manager.names == [NAME]
    assert {request.token for request in upstream.requests} == {TOKEN}


def test_check__json_key_in_the_url__selects_the_token(
    function: Callable[..., Function], manager: SecretManager
) -> None:
    manager.payload = f'{{"roma":"{TOKEN}"}}'.encode()

    checked = function("healthy", FDI_TOKEN=f"{URL}#roma", SECRET_MANAGER_EMULATOR_HOST=manager.host)

    assert checked.verdict()["healthy"] is True


def test_read__payload_without_checksum__is_accepted(manager: SecretManager) -> None:
    manager.checksum = None
    assert read(manager.host) == TOKEN.encode()


def test_read__damaged_payload__is_read_once_more_and_never_used(
    function: Callable[..., Function], upstream: Simulator, manager: SecretManager
) -> None:  # C80
    manager.checksum = 1

    error = function("healthy", FDI_TOKEN=URL, SECRET_MANAGER_EMULATOR_HOST=manager.host).instance()["error"]

    assert (error["code"], error["message"]) == (
        "token_unavailable",
        "the secret was read twice and failed its checksum",
    )
    assert len(manager.names) == 2
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("code", "text", "message"),
    [
        (grpc.StatusCode.NOT_FOUND, "Secret [x] not found", "the secret does not exist"),
        (grpc.StatusCode.PERMISSION_DENIED, "no", "the secret may not be read by this function"),
        (grpc.StatusCode.PERMISSION_DENIED, "It is in DISABLED state", "the secret may not be read by this function"),
        (grpc.StatusCode.NOT_FOUND, "Secret [disabled-flag] not found", "the secret does not exist"),
        (
            grpc.StatusCode.UNAUTHENTICATED,
            "no",
            "the secret could not be read: Google refuses this function's credentials",
        ),
        (grpc.StatusCode.INVALID_ARGUMENT, "no", "the secret has a name that Secret Manager refuses"),
        (
            grpc.StatusCode.FAILED_PRECONDITION,
            "Secret Version [x] is in DESTROYED state.",
            "the secret cannot be read: its version is destroyed",
        ),
        (
            grpc.StatusCode.FAILED_PRECONDITION,
            "Secret Version [x] is in DISABLED state.",
            "the secret cannot be read: its version is disabled",
        ),
        (grpc.StatusCode.FAILED_PRECONDITION, "odd", "the secret is not in a state to be read"),
        (grpc.StatusCode.INTERNAL, "no", "the secret could not be read"),
    ],
)
def test_read__refused__says_why_and_is_not_retried(
    manager: SecretManager, code: Any, text: str, message: str
) -> None:  # C88
    manager.failures = [(code, text)]
    assert failure(manager.host).message == message
    assert len(manager.names) == 1


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_read__temporary_failure__is_retried(manager: SecretManager, code: Any) -> None:
    manager.failures = [(code, "busy")]
    assert read(manager.host) == TOKEN.encode()


def test_read__unavailable_server__ends_at_the_deadline(manager: SecretManager) -> None:
    manager.failures, manager.keep_failing = [(grpc.StatusCode.UNAVAILABLE, "busy")], True
    began = time.monotonic()

    assert failure(manager.host, 0.6).message == "the secret could not be read before the deadline"

    assert_within(began, 0.6 + 0.3)
    assert len(manager.names) < 10


def test_read__library_missing__says_how_to_install_it(manager: SecretManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    error = failure(manager.host)
    assert error.message == "the secret could not be read: the libraries of the extra 'gcp' are not installed"
    assert "pip install '.[gcp]'" in str(error.next_step)


def test_read__silent_server__ends_at_the_deadline(function: Callable[..., Function], manager: SecretManager) -> None:
    manager.silent = True
    checked = function("healthy", FDI_TOKEN=URL, SECRET_MANAGER_EMULATOR_HOST=manager.host, FDI_DEADLINE_SECONDS="0.5")
    checked.get("/ready")  # what importing grpc costs is not what is measured

    began = time.monotonic()
    error = checked.instance()["error"]

    assert_within(began, 0.5 + 0.3)
    assert error["code"] == "token_unavailable"


def test_check__silent_listener__every_instance_ends_at_the_deadline(function: Callable[..., Function]) -> None:  # C08
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        checked = function(
            "healthy", "healthy", FDI_TOKEN=URL, SECRET_MANAGER_EMULATOR_HOST=host, FDI_DEADLINE_SECONDS="0.5"
        )
        for _ in range(4):
            began = time.monotonic()
            verdict = checked.verdict()
            assert_within(began, 0.5 + 0.3)
            codes = [instance["error"]["code"] for instance in verdict["instances"]]
            assert codes == ["token_unavailable"] * 2


def test_read__unreachable_server__says_so(manager: SecretManager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
    assert failure(host, 0.4).code == "token_unavailable"


def test_emulator__not_on_this_machine__is_refused() -> None:
    assert "SECRET_MANAGER_EMULATOR_HOST" in failure("store.example:443").message


def test_read__log_level_debug__does_not_log_the_payload(
    manager: SecretManager, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("google").setLevel(logging.DEBUG)
    logging.getLogger("google").propagate = True
    assert read(manager.host) == TOKEN.encode()
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    "place",
    [
        "projects/acme/secrets/roma-token",
        "projects/acme/secrets/roma-token/versions/",
        "projects/acme/secrets/../versions/1",
        f"{NAME}?x=1",
        f"{NAME}/",
        "projects/acme/locations//secrets/roma/versions/1",
        "projects/acme/locations/evil.example/secrets/roma/versions/1",  # D17: it must not become another host
        "projects/acme/locations/evil.example:443/secrets/roma/versions/1",
        "projects/acme/locations/x@evil/secrets/roma/versions/1",
        "projects/acme/locations/a/b/secrets/roma/versions/1",
        "projects/acme/locations/-a/secrets/roma/versions/1",
        "projects/acme/locations/a-/secrets/roma/versions/1",
        "projects/acme/locations/EU/secrets/roma/versions/1",
        "projects/acme/locations/1/secrets/roma/versions/1",
        f"projects/acme/locations/{'a' * 33}/secrets/roma/versions/1",
    ],
)
def test_open_store__malformed_url__says_the_form(place: str) -> None:
    url = parse_secret_url(f"gcpsecretmanager://{place}")
    with pytest.raises(InvalidSecretUrl, match=r"gcpsecretmanager://projects/.* e\.g\. gcpsecretmanager://"):
        open_store(url, {})


def test_grpc__other_store__is_not_imported() -> None:
    program = (
        "import sys, main, fdi_health.secret_stores.google.secret_manager\n"
        "print(sorted(set(sys.modules) & {'grpc', 'google.auth', 'google.api_core', 'google_crc32c', 'flask'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603 -- ourselves
    assert done.stdout.strip() == "[]"
