"""Parameter Store: botocore against a moto server process; a stand-in has the troubles that moto lacks."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from fdi_health.clock import Deadline
from fdi_health.errors import CheckError
from fdi_health.secret_stores import InvalidSecretUrl, Secret, open_store, parse_secret_url
from tests.conformance.secret_store import SecretStoreSuite, message_of
from tests.fdi_health.secret_stores.aws_harness import EXPIRED_SIGNATURE, REGION, AwsTroubles, open_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from simulator import Simulator
    from tests.aws_stand_in import AwsStandIn
    from tests.conftest import Function

NAME = "/prod/roma"
ARN = f"arn:aws:ssm:{REGION}:123456789012:parameter/prod/roma"
NO_KMS_RIGHT = (
    "User: arn:aws:sts::123456789012:assumed-role/probe/probe is not authorized to perform: kms:Decrypt on the "
    "resource associated with this ciphertext because no resource-based policy allows the kms:Decrypt action"
)
NO_SSM_RIGHT = (
    "User: arn:aws:sts::123456789012:assumed-role/probe/probe is not authorized to perform: ssm:GetParameter on "
    f"resource: {ARN} because no identity-based policy allows the ssm:GetParameter action"
)


@dataclass
class Parameters(AwsTroubles):
    """A SecureString in moto; every trouble makes botocore use the stand-in instead."""

    client: Any
    url: str = f"awsparamstore://{NAME}?region={REGION}"
    environ: Mapping[str, str] = field(default_factory=dict)

    def put(self, secret: bytes) -> None:
        value = secret.decode("utf-8", "surrogateescape")
        self.client.put_parameter(Name=NAME, Value=value, Type="SecureString", Overwrite=True)

    def remove(self) -> None:
        with contextlib.suppress(self.client.exceptions.ParameterNotFound):
            self.client.delete_parameter(Name=NAME)


@pytest.fixture(scope="module")
def client(moto_server: str) -> Iterator[Any]:
    opened = open_client("ssm", moto_server)
    opened.describe_parameters()  # moto loads a service at its first request
    yield opened
    opened.close()


@pytest.fixture
def parameters(
    client: Any, aws_stand_in: AwsStandIn, moto_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Parameters:
    aws_stand_in.answer = parameter("s3cr3t")
    return Parameters(aws_stand_in, monkeypatch, tmp_path, client)


@pytest.fixture
def stand_in(parameters: Parameters, monkeypatch: pytest.MonkeyPatch) -> Parameters:
    monkeypatch.setenv("AWS_ENDPOINT_URL", parameters.server.url)
    return parameters


def parameter(value: str, kind: str = "SecureString") -> dict[str, Any]:
    return {"Parameter": {"Name": NAME, "Type": kind, "Value": value, "Version": 7, "ARN": ARN}}


class TestParameters(SecretStoreSuite):
    """The suite."""

    longest = 4096
    states: ClassVar = {
        "forbidden": lambda harness: harness.fail("AccessDeniedException", text=NO_SSM_RIGHT),
        "throttled for good": lambda harness: harness.fail("ThrottlingException"),
        "silent": Parameters.be_silent,
        "gone": Parameters.be_gone,
        "no credentials": Parameters.lose_credentials,
        "wrong clock": lambda harness: harness.fail("InvalidSignatureException", text=EXPIRED_SIGNATURE),
        "refused identity": lambda harness: harness.be_refused_by_sts("IDPRejectedClaim"),
    }
    passing_states: ClassVar = {
        "throttled once": lambda harness: harness.fail("ThrottlingException", once=True),
        "failed once": lambda harness: harness.fail("InternalServerError", 500, once=True),
    }

    @pytest.fixture
    def harness(self, parameters: Parameters) -> Parameters:
        return parameters


def read(harness: Parameters) -> Secret:
    return open_store(parse_secret_url(harness.url), harness.environ).read(Deadline.after(5))


def next_step_of(harness: Parameters) -> str:
    with pytest.raises(CheckError) as caught:
        read(harness)
    return str(caught.value.next_step)


def test_read__secure_string__is_decrypted_and_has_its_version(parameters: Parameters) -> None:  # C87
    parameters.put(b"one")
    assert read(parameters) == Secret(b"one", "1")
    parameters.put(b"two")
    assert read(parameters) == Secret(b"two", "2")
    encrypted = parameters.client.get_parameter(Name=NAME)["Parameter"]["Value"]
    assert encrypted != "two"


def test_check__new_version__is_used_when_the_old_token_is_refused(
    function: Callable[..., Function], upstream: Simulator, parameters: Parameters
) -> None:
    parameters.put(b"old-token")
    upstream.tokens.add("old-token")
    checked = function("healthy", FDI_TOKEN=parameters.url)
    assert checked.verdict()["healthy"] is True

    upstream.tokens.clear()
    upstream.tokens.add("new-token")
    parameters.put(b"new-token")

    assert checked.verdict()["healthy"] is True
    assert [request.token for request in upstream.requests] == ["old-token", "old-token", "new-token"]
    assert checked.get("/ready").get_json()["token"]["version"] == "2"


def test_read__version_or_label__is_selected(parameters: Parameters) -> None:
    parameters.put(b"one")
    parameters.put(b"two")
    parameters.client.label_parameter_version(Name=NAME, ParameterVersion=1, Labels=["live"])
    for selector, found in (("", Secret(b"two", "2")), (":1", Secret(b"one", "1")), (":live", Secret(b"one", "1"))):
        parameters.url = f"awsparamstore://{NAME}{selector}?region={REGION}"
        assert read(parameters) == found


def test_read__unknown_version__says_so(parameters: Parameters) -> None:
    parameters.put(b"one")
    parameters.url = f"awsparamstore://{NAME}:9?region={REGION}"
    assert message_of(parameters) == "the secret does not exist in the version that the secret URL names"


def test_read__plain_string__is_returned(parameters: Parameters) -> None:
    parameters.client.put_parameter(Name=NAME, Value="plain", Type="String")
    assert read(parameters) == Secret(b"plain", "1")


def test_read__string_list__is_refused(parameters: Parameters) -> None:
    parameters.client.put_parameter(Name=NAME, Value="s3cr3t,other", Type="StringList")
    assert message_of(parameters) == "the secret is a parameter of the type StringList, which is not supported"
    assert "SecureString" in next_step_of(parameters)


@pytest.mark.parametrize(
    ("place", "environ", "name", "region"),
    [
        ("roma?region=eu-west-1", {"AWS_REGION": "us-east-1"}, "roma", "eu-west-1"),
        ("/roma", {"AWS_REGION": "us-east-1"}, "/roma", "us-east-1"),
        ("/prod/roma", {"AWS_DEFAULT_REGION": "us-east-2"}, "/prod/roma", "us-east-2"),
        ("/prod/Ro_ma.1-x:3?region=eu-west-1", {}, "/prod/Ro_ma.1-x:3", "eu-west-1"),
        (ARN, {"AWS_REGION": "us-east-1"}, ARN, REGION),
        (f"{ARN}:live?region={REGION}", {}, f"{ARN}:live", REGION),
        ("arn:aws-cn:ssm:cn-north-1:123456789012:parameter/roma", {}, None, "cn-north-1"),
        ("/" + "x" * 1010, {"AWS_REGION": "us-east-1"}, None, "us-east-1"),
    ],
)
def test_read__request__has_the_name_as_written_and_asks_for_decryption(
    stand_in: Parameters, place: str, environ: dict[str, str], name: str | None, region: str
) -> None:  # C87
    stand_in.url, stand_in.environ = f"awsparamstore://{place}", environ
    assert read(stand_in) == Secret(b"s3cr3t", "7")
    assert stand_in.server.asked == [{"Name": name or place, "WithDecryption": True}]
    assert stand_in.server.regions == [region]


def test_read__no_region__says_so(stand_in: Parameters) -> None:  # C84
    stand_in.url = f"awsparamstore://{NAME}"
    assert "?region=" in next_step_of(stand_in)
    assert stand_in.server.asked == []


@pytest.mark.parametrize(
    ("code", "text", "message", "next_step"),
    [
        ("AccessDeniedException", NO_SSM_RIGHT, "may not be read by this function", "ssm:GetParameter"),
        ("AccessDeniedException", NO_KMS_RIGHT, "cannot be decrypted", "kms:Decrypt"),
        ("AccessDeniedException", "The ciphertext refers to a customer master key", "cannot be decrypted", "kms:Decr"),
        ("InvalidKeyId", "DisabledException", "cannot be decrypted: AWS KMS cannot use the key", "Enable the key"),
        ("ParameterNotFound", "", "does not exist", "Create the parameter"),
        ("ParameterVersionNotFound", "", "does not exist in the version", "Correct the version or label"),
        ("ValidationException", "", "has a name that Parameter Store refuses", "Correct the name"),
        ("UnrecognizedClientException", "", "AWS refuses this function's credentials", "access key"),
        ("SomethingNew", "", "could not be read", "status page"),
    ],
)
def test_read__refused__says_why_and_is_not_retried(
    stand_in: Parameters, code: str, text: str, message: str, next_step: str
) -> None:
    stand_in.fail(code, text=text)
    assert message in message_of(stand_in)
    asked = len(stand_in.server.asked)
    assert next_step in next_step_of(stand_in)
    assert len(stand_in.server.asked) == asked + 1


@pytest.mark.parametrize("answer", [{}, {"Parameter": {}}, {"Parameter": {"Name": NAME, "Type": "SecureString"}}])
def test_read__another_server_answers__says_so(stand_in: Parameters, answer: dict[str, Any]) -> None:
    stand_in.server.answer = answer
    assert message_of(stand_in) == "the secret could not be read: another server answered in place of Parameter Store"


@pytest.mark.parametrize(
    "place",
    [
        "",
        "/",
        "prod/roma",  # AWS refuses a name with levels that does not begin with a slash
        "prod/roma:3",
        "/prod/",
        "//prod",
        "/prod//roma",
        "ro%20ma",
        "roma:",
        "roma:1:2",
        "roma+",
        "x" * 1012,
        "roma?region=",
        "roma?region=EU",
        "roma?version=3",
        "roma?region=eu-west-1&x=1",
        f"{ARN}?region=us-east-1",
        "arn:aws:ssm:eu-west-1:1:parameter/roma",
        "arn:aws:ssm:eu-west-1:123456789012:parameter",
        "arn:aws:ssm:eu-west-1:123456789012:parameterroma",
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:roma",
    ],
)
def test_open_store__malformed_url__says_the_form(place: str) -> None:
    with pytest.raises(
        InvalidSecretUrl, match=r"^must be awsparamstore://.* e\.g\. awsparamstore:///prod/roma\?region"
    ):
        open_store(parse_secret_url(f"awsparamstore://{place}"), {})
