"""AWS Secrets Manager: botocore against a moto server process, and against a stand-in for behaviors that moto lacks."""

from __future__ import annotations

import base64
import contextlib
import logging
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from fdi_health.clock import Deadline
from fdi_health.errors import CheckError
from fdi_health.secret_stores import InvalidSecretUrl, open_store, parse_secret_url
from tests.conformance.secret_store import SecretStoreSuite, message_of, token_of
from tests.conftest import TOKEN
from tests.fdi_health.secret_stores.aws_harness import EXPIRED_SIGNATURE, REGION, AwsTroubles, open_client
from tests.machine import assert_within
from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from simulator import Simulator
    from tests.aws_stand_in import AwsStandIn
    from tests.conftest import Function

pytestmark = pytest.mark.usefixtures("aws_environment")

NO_CURRENT_VALUE = "no secret value for staging label: AWSCURRENT"
ARN = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:roma"


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


@pytest.fixture(scope="module")
def client(moto_server: str) -> Iterator[Any]:
    opened = open_client("secretsmanager", moto_server)
    opened.list_secrets()  # moto loads a service at its first request
    yield opened
    opened.close()


@pytest.fixture
def moto(client: Any, moto_url: str) -> Moto:
    return Moto(client)


class TestMoto(SecretStoreSuite):
    """The suite against moto."""

    states: ClassVar = {
        "pending deletion": lambda harness: harness.client.delete_secret(SecretId="roma"),
    }

    @pytest.fixture
    def harness(self, moto: Moto) -> Moto:
        return moto


@dataclass
class StandIn(AwsTroubles):
    """A secret in the stand-in."""

    url: str = f"awssecretsmanager://{ARN}"
    environ: Mapping[str, str] = field(default_factory=dict)

    def put(self, secret: bytes) -> None:
        self.server.answer = {"SecretBinary": base64.b64encode(secret).decode()}

    def remove(self) -> None:
        self.fail("ResourceNotFoundException")


@pytest.fixture
def stand_in(aws_stand_in: AwsStandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StandIn:
    return StandIn(aws_stand_in, monkeypatch, tmp_path)


class TestStandIn(SecretStoreSuite):
    """The suite against the stand-in, with SecretBinary throughout (C85)."""

    states: ClassVar = {
        "forbidden": lambda harness: harness.fail("AccessDeniedException"),
        "pending deletion": lambda harness: harness.fail("InvalidRequestException"),
        "throttled for good": lambda harness: harness.fail("ThrottlingException"),
        "silent": StandIn.be_silent,
        "gone": StandIn.be_gone,
        "no credentials": StandIn.lose_credentials,
        "no current value": lambda harness: harness.fail("ResourceNotFoundException", text=NO_CURRENT_VALUE),
        "wrong clock": lambda harness: harness.fail("InvalidSignatureException", text=EXPIRED_SIGNATURE),
        "no token file": lambda harness: harness.use_web_identity(harness.folder / "s3cr3t-missing"),
        "no pod token file": StandIn.lose_pod_token,
        "token file is a folder": lambda harness: harness.use_web_identity(harness.folder),
        "refused identity": lambda harness: harness.be_refused_by_sts("IDPRejectedClaim"),
        "silent STS": StandIn.be_silent_in_sts,
    }
    passing_states: ClassVar = {
        "throttled once": lambda harness: harness.fail("ThrottlingException", once=True),
        "failed once": lambda harness: harness.fail("InternalServiceError", 500, once=True),
    }

    @pytest.fixture
    def harness(self, stand_in: StandIn) -> StandIn:
        return stand_in


def test_read__request__is_for_the_current_version(stand_in: StandIn) -> None:
    assert token_of(stand_in) == "s3cr3t-token"
    assert stand_in.server.asked == [{"SecretId": ARN, "VersionStage": "AWSCURRENT"}]


def test_check__staged_version_becomes_current__uses_it(
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
def test_read__region__comes_from_arn_url_or_environment(
    stand_in: StandIn, place: str, environ: dict[str, str], region: str
) -> None:
    stand_in.url, stand_in.environ = f"awssecretsmanager://{place}", environ
    assert token_of(stand_in) == "s3cr3t-token"
    assert stand_in.server.regions == [region]


def test_read__no_region__says_so(stand_in: StandIn) -> None:  # C84
    stand_in.url = "awssecretsmanager://roma"
    with pytest.raises(CheckError) as caught:
        token_of(stand_in)
    assert "?region=" in str(caught.value.next_step)
    assert stand_in.server.asked == []


def test_read__another_server_answers__says_so(stand_in: StandIn) -> None:
    stand_in.server.answer = {}
    assert message_of(stand_in) == "the secret could not be read: another server answered in place of Secrets Manager"


def test_read__neither_string_nor_binary__says_so(stand_in: StandIn) -> None:  # C85
    stand_in.server.answer = {"Name": "roma"}
    assert message_of(stand_in) == "the secret contains neither a string nor a binary"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("DecryptionFailure", "the secret cannot be decrypted"),
        ("UnrecognizedClientException", "the secret could not be read: AWS refuses this function's credentials"),
        ("ExpiredTokenException", "the secret could not be read: AWS refuses this function's credentials"),
        ("ValidationException", "the secret has a name that Secrets Manager refuses"),
        ("SomethingNew", "the secret could not be read"),
    ],
)
def test_read__refused__says_why_and_is_not_retried(stand_in: StandIn, code: str, message: str) -> None:
    stand_in.fail(code)
    assert message_of(stand_in) == message
    assert len(stand_in.server.asked) == 1


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("InvalidSignatureException", EXPIRED_SIGNATURE),
        ("InvalidSignatureException", "Signature not yet current: 20251128T100000Z is still later than …"),
        ("SignatureDoesNotMatch", EXPIRED_SIGNATURE),
        ("RequestExpired", ""),
        ("RequestTimeTooSkewed", ""),
        ("RequestInTheFuture", ""),
    ],
)
def test_read__wrong_clock__says_so(stand_in: StandIn, code: str, text: str) -> None:  # D21
    stand_in.fail(code, text=text)
    assert "this machine's clock is wrong" in message_of(stand_in)


@pytest.mark.parametrize("code", ["InvalidSignatureException", "SignatureDoesNotMatch"])
def test_read__wrong_signature__is_not_called_a_wrong_clock(stand_in: StandIn, code: str) -> None:
    stand_in.fail(code, text="the secret expired-signature is not current")
    assert message_of(stand_in) == "the secret could not be read: AWS refuses this function's credentials"


def test_read__secret_name_like_the_label__does_not_exist(stand_in: StandIn) -> None:  # D20
    stand_in.fail("ResourceNotFoundException", text="the secret AWSCURRENT")
    assert message_of(stand_in) == "the secret does not exist"


def test_sts__wrong_clock__says_so(stand_in: StandIn) -> None:  # D21
    stand_in.be_refused_by_sts("SignatureDoesNotMatch", EXPIRED_SIGNATURE)
    assert "this machine's clock is wrong" in message_of(stand_in)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("IDPRejectedClaim", "refuses the identity token"),
        ("IDPRejectedClaimException", "refuses the identity token"),
        ("InvalidIdentityToken", "refuses the identity token"),
        ("InvalidIdentityTokenException", "refuses the identity token"),
        ("IDPCommunicationError", "with their identity provider"),
        ("IDPCommunicationErrorException", "with their identity provider"),
        ("ExpiredTokenException", "AWS refuses this function's credentials"),
        ("RegionDisabledException", "in this region"),
        ("AccessDenied", "may not be read by this function"),
    ],
)
def test_sts__identity_refused__error_is_about_credentials(stand_in: StandIn, code: str, words: str) -> None:  # D28
    stand_in.be_refused_by_sts(code)
    assert words in message_of(stand_in, seconds=5)
    assert stand_in.server.asked == []


def test_token_file__named_by_the_configuration__message_names_no_variable(stand_in: StandIn) -> None:
    config = stand_in.folder / "config"
    config.write_text(
        "[default]\nrole_arn = arn:aws:iam::123456789012:role/probe\nweb_identity_token_file = /nowhere/s3cr3t\n"
    )
    stand_in.monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    stand_in.monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    message = "the secret could not be read: a file that the AWS configuration names does not exist"
    assert message_of(stand_in) == message


def test_sts__silent__leaves_no_thread_behind(stand_in: StandIn) -> None:
    stand_in.be_silent_in_sts()
    began = time.monotonic()
    with pytest.raises(CheckError, match="before the deadline"):
        open_store(parse_secret_url(stand_in.url), {}).read(Deadline.after(0.6))
    assert_within(began, 0.6 + 1.3)  # botocore waits up to a second between its two attempts


def test_credentials_source__refuses__error_is_about_credentials(stand_in: StandIn) -> None:
    stand_in.monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    # The stand-in answers 501 there.
    stand_in.monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{stand_in.server.url}/v1/credentials")
    assert "the source of this function's AWS credentials returned none" in message_of(stand_in, seconds=4)


def test_read__unreachable_proxy__says_so(stand_in: StandIn) -> None:
    stand_in.monkeypatch.setenv("AWS_ENDPOINT_URL", "https://secretsmanager.example")
    stand_in.monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    stand_in.monkeypatch.delenv("NO_PROXY", raising=False)
    stand_in.monkeypatch.delenv("no_proxy", raising=False)
    assert "the proxy" in message_of(stand_in, seconds=3)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("AWS_PROFILE", "nobody", "the secret could not be read: no AWS credentials were found"),
        (
            "AWS_ENDPOINT_URL",
            "not a url",
            "the secret could not be read: the secrets manager's response or our credentials for it are malformed",
        ),
    ],
)
def test_read__broken_configuration__says_so(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    assert message_of(stand_in) == message


def test_metadata_service__silent__ends_at_the_deadline(
    function: Callable[..., Function], monkeypatch: pytest.MonkeyPatch
) -> None:  # C11
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{listener.getsockname()[1]}")
        checked = function("healthy", FDI_TOKEN=f"awssecretsmanager://{ARN}", FDI_DEADLINE_SECONDS="1")
        began = time.monotonic()
        error = checked.instance()["error"]
        assert_within(began, 1 + 0.3)
        assert error["code"] == "token_unavailable"
        began = time.monotonic()
        assert checked.get("/live").status_code == 200
        assert_within(began, 0.3)


def test_read__log_level_debug__does_not_log_the_secret(stand_in: StandIn, caplog: pytest.LogCaptureFixture) -> None:
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
def test_open_store__malformed_url__says_the_form(place: str) -> None:
    with pytest.raises(InvalidSecretUrl, match=r"^must be .*e\.g\. "):
        open_store(parse_secret_url(f"awssecretsmanager://{place}"), {})
