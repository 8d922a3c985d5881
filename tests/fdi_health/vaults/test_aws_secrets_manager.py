"""AWS Secrets Manager: boto3 against a moto server process, and against a stand-in for the moods moto does not have."""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import boto3
import pytest
import requests

from fdi_health.errors import CheckError
from fdi_health.vaults import InvalidSecretUrl, open_vault, parse
from tests.aws_stand_in import AwsStandIn
from tests.conformance.vault import VaultSuite, message_of, token_of
from tests.conftest import TOKEN
from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from simulator import Simulator
    from tests.conftest import Function

REGION = "eu-west-1"
ARN = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:roma"


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let boto3 find made-up credentials and nothing of this machine's."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "made-up")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "made-up")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(  # noqa: S603 -- the project's own tool
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        url = f"http://127.0.0.1:{port}"
        for _ in range(400):
            with contextlib.suppress(requests.ConnectionError):
                requests.get(f"{url}/moto-api/data.json", timeout=5)
                break
            time.sleep(0.05)
        yield url
        process.terminate()


@dataclass
class Moto:
    """A secret in the moto server."""

    client: Any
    url: str = f"awssecretsmanager://roma?region={REGION}"
    environ: Mapping[str, str] = field(default_factory=dict)

    def put(self, secret: bytes) -> None:
        try:
            value: dict[str, Any] = {"SecretString": secret.decode()}
        except UnicodeDecodeError:
            value = {"SecretBinary": secret}
        with contextlib.suppress(self.client.exceptions.ResourceExistsException):
            self.client.create_secret(Name="roma")
        self.client.put_secret_value(SecretId="roma", **value)

    def remove(self) -> None:
        with contextlib.suppress(self.client.exceptions.ResourceNotFoundException):
            self.client.delete_secret(SecretId="roma", ForceDeleteWithoutRecovery=True)


@pytest.fixture
def moto(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Moto]:
    requests.post(f"{moto_url}/moto-api/reset", timeout=5)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    client = boto3.client("secretsmanager", region_name=REGION)
    yield Moto(client)
    client.close()


class TestMoto(VaultSuite):
    """The suite against moto."""

    states: ClassVar = {"pending deletion": lambda harness: harness.client.delete_secret(SecretId="roma")}

    @pytest.fixture
    def harness(self, moto: Moto) -> Moto:
        return moto


@dataclass
class StandIn:
    """A secret in the stand-in."""

    server: AwsStandIn
    monkeypatch: pytest.MonkeyPatch
    url: str = f"awssecretsmanager://{ARN}"
    environ: Mapping[str, str] = field(default_factory=dict)

    def put(self, secret: bytes) -> None:
        self.server.answer = {"SecretBinary": base64.b64encode(secret).decode()}

    def remove(self) -> None:
        self.fail("ResourceNotFoundException")

    def fail(self, code: str, status: int = 400, *, once: bool = False) -> None:
        self.server.failures, self.server.keep_failing = [(status, code, "s3cr3t words")], not once

    def be_silent(self) -> None:
        self.server.silent = True

    def be_gone(self) -> None:
        self.monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")

    def lose_credentials(self) -> None:
        self.monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        self.monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    with AwsStandIn() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        yield StandIn(server, monkeypatch)


class TestStandIn(VaultSuite):
    """The suite against the stand-in, with SecretBinary throughout (C85)."""

    states: ClassVar = {
        "forbidden": lambda harness: harness.fail("AccessDeniedException"),
        "pending deletion": lambda harness: harness.fail("InvalidRequestException"),
        "throttled for good": lambda harness: harness.fail("ThrottlingException"),
        "silent": StandIn.be_silent,
        "gone": StandIn.be_gone,
        "no credentials": StandIn.lose_credentials,
    }
    passing_states: ClassVar = {
        "throttled once": lambda harness: harness.fail("ThrottlingException", once=True),
        "failed once": lambda harness: harness.fail("InternalServiceError", 500, once=True),
    }

    @pytest.fixture
    def harness(self, stand_in: StandIn) -> StandIn:
        return stand_in


def test_read__asks_for_the_current_version(stand_in: StandIn) -> None:
    assert token_of(stand_in) == "s3cr3t-token"
    assert stand_in.server.asked == [{"SecretId": ARN, "VersionStage": "AWSCURRENT"}]


def test_rotation__of_a_staged_version_is_seen_within_the_request(
    function: Callable[..., Function], upstream: Simulator, moto: Moto
) -> None:
    moto.put(b"old-token")
    upstream.tokens.add("old-token")
    checked = function("healthy", FDI_TOKEN=moto.url)
    assert checked.verdict()["healthy"] is True

    upstream.tokens.clear()
    upstream.tokens.add("new-token")
    moto.put(b"new-token")

    assert checked.verdict()["healthy"] is True
    assert [request.token for request in upstream.requests] == ["old-token", "old-token", "new-token"]


@pytest.mark.parametrize(
    ("place", "environ", "region"),
    [
        (ARN, {}, REGION),  # C84
        (ARN, {"AWS_REGION": "us-east-1"}, REGION),
        (f"{ARN}?region={REGION}", {}, REGION),
        ("roma?region=ap-south-1", {"AWS_REGION": "us-east-1"}, "ap-south-1"),
        ("roma", {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-2"}, "us-east-1"),
        ("roma", {"AWS_DEFAULT_REGION": "us-east-2"}, "us-east-2"),
    ],
)
def test_region__comes_from_the_arn_the_url_or_the_environment(
    stand_in: StandIn, place: str, environ: dict[str, str], region: str
) -> None:
    stand_in.url, stand_in.environ = f"awssecretsmanager://{place}", environ
    assert token_of(stand_in) == "s3cr3t-token"
    assert stand_in.server.regions == [region]


def test_region__that_nobody_says_is_named(stand_in: StandIn) -> None:  # C84
    stand_in.url = "awssecretsmanager://roma"
    with pytest.raises(CheckError) as caught:
        token_of(stand_in)
    assert "?region=" in str(caught.value.next_step)
    assert stand_in.server.asked == []


def test_answer__of_somebody_else_is_named(stand_in: StandIn) -> None:
    stand_in.server.answer = {}
    assert message_of(stand_in) == "the secret was not read: what answered is not Secrets Manager"


def test_answer__with_neither_string_nor_binary_is_named(stand_in: StandIn) -> None:  # C85
    stand_in.server.answer = {"Name": "roma"}
    assert message_of(stand_in) == "the secret holds neither a string nor a binary"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("DecryptionFailure", "the secret can't be decrypted"),
        ("UnrecognizedClientException", "the secret was asked for with credentials that AWS refuses"),
        ("ExpiredTokenException", "the secret was asked for with credentials that AWS refuses"),
        ("ValidationException", "the secret has a name that Secrets Manager refuses"),
        ("SomethingNew", "the secret could not be read"),
    ],
)
def test_refusal__is_named_and_not_repeated(stand_in: StandIn, code: str, message: str) -> None:
    stand_in.fail(code)
    assert message_of(stand_in) == message
    assert len(stand_in.server.asked) == 1


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("AWS_PROFILE", "nobody", "the secret was not asked for: no AWS credentials were found"),
        (
            "AWS_ENDPOINT_URL",
            "not a url",
            "the secret could not be read: its secrets manager's answer or our credentials for it are malformed",
        ),
    ],
)
def test_configuration_that_is_broken__is_named(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    assert message_of(stand_in) == message


def test_black_holed_metadata_service__ends_at_the_deadline(
    function: Callable[..., Function], monkeypatch: pytest.MonkeyPatch
) -> None:  # C11
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{listener.getsockname()[1]}")
        checked = function("healthy", FDI_TOKEN=f"awssecretsmanager://{ARN}", FDI_DEADLINE_SECONDS="1")
        began = time.monotonic()
        error = checked.instance()["error"]
        assert time.monotonic() - began < 1 + 0.3
        assert error["code"] == "token_unavailable"
        began = time.monotonic()
        assert checked.get("/live").status_code == 200
        assert time.monotonic() - began < 0.3


def test_secret__is_not_logged_at_debug(stand_in: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    stand_in.server.answer = {"SecretString": TOKEN}
    assert token_of(stand_in) == TOKEN
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    "place",
    [
        "",
        "ro ma",
        "roma?region=",
        "roma?region=EU",
        "roma?x=1",
        "roma?region=eu-west-1&x=1",
        f"{ARN}?region=us-east-1",
        "arn:aws:secretsmanager:eu-west-1:1:secret:x",
        "arn:aws:ssm:eu-west-1:123456789012:parameter/x",
    ],
)
def test_malformed_url__says_the_form(place: str) -> None:
    with pytest.raises(InvalidSecretUrl, match=r"^must be .*e\.g\. "):
        open_vault(parse(f"awssecretsmanager://{place}"), {})


def test_boto3__is_imported_only_where_it_is_used() -> None:
    program = (
        "import sys, main, fdi_health.vaults.aws_secrets_manager\n"
        "print(sorted(set(sys.modules) & {'boto3', 'botocore'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603 -- ourselves
    assert done.stdout.strip() == "[]"
