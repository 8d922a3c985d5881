"""What holds for each AWS store: which packages it needs, what it logs and sends, and when it ends."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from fdi_health.clock import Deadline
from fdi_health.errors import CheckError
from fdi_health.secret_stores import open_store, parse_secret_url
from tests.machine import assert_within

if TYPE_CHECKING:
    from pathlib import Path

    from tests.aws_stand_in import AwsStandIn

SECRETS_MANAGER = "awssecretsmanager://roma?region=eu-west-1"
PARAMETER_STORE = "awsparamstore://roma?region=eu-west-1"
BOTH = pytest.mark.parametrize("url", [SECRETS_MANAGER, PARAMETER_STORE])
ANSWER = {"Name": "roma", "SecretString": "s3cr3t-token", "Parameter": {"Type": "String", "Value": "s3cr3t-token"}}
SECRET_KEY, SESSION_TOKEN = "Key-Canary8Fj3Lw6Qz1Tv", "Session-Canary2Gk7Mx5Rb"

READ = """
import json, sys
sys.modules["boto3"] = None  # as where only botocore is installed
import main
from fdi_health.clock import Deadline
from fdi_health.secret_stores import open_store, parse_secret_url
stores = [open_store(parse_secret_url(url), {}) for url in sys.argv[1:]]
heavy = sorted(name for name in ("botocore", "urllib3.contrib.socks", "s3transfer") if name in sys.modules)
print(json.dumps([heavy, [store.read(Deadline.after(20)).data.decode() for store in stores]]))
"""


@pytest.fixture
def stand_in(aws_stand_in: AwsStandIn) -> AwsStandIn:
    aws_stand_in.answer = ANSWER
    return aws_stand_in


def failure(url: str, seconds: float = 2.0) -> CheckError:
    with pytest.raises(CheckError) as caught:
        open_store(parse_secret_url(url), {}).read(Deadline.after(seconds))
    assert caught.value.code == "token_unavailable"
    return caught.value


def test_read__without_boto3__needs_botocore_alone_and_only_then(stand_in: AwsStandIn) -> None:
    done = subprocess.run(  # noqa: S603 -- ourselves
        [sys.executable, "-c", READ, SECRETS_MANAGER, PARAMETER_STORE], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [[], ["s3cr3t-token"] * 2]


@BOTH
def test_read__botocore_is_not_installed__says_how_to_install_it(
    aws_environment: None, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    for name in ("botocore", "botocore.session", "botocore.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)
    error = failure(url)
    assert error.message == "the secret could not be read: the libraries of the extra 'aws' are not installed"
    assert error.next_step == "Install them: pip install '.[aws]' in a clone, or the wheel with [aws] after its name."


@BOTH
@pytest.mark.parametrize("code", ["", "AccessDeniedException", "SignatureDoesNotMatch", "SomethingNew"])
def test_log_level_debug__neither_secret_nor_aws_credentials__are_logged_or_shown(
    stand_in: AwsStandIn, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, url: str, code: str
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", SESSION_TOKEN)
    for name in (None, "botocore", "botocore.auth", "botocore.endpoint", "botocore.parsers"):
        caplog.set_level(logging.DEBUG, logger=name)
    shown = ""
    if code:
        stand_in.failures, stand_in.keep_failing = [(400, code, f"s3cr3t-token {SECRET_KEY} {SESSION_TOKEN}")], True
        error = failure(url)
        shown = f"{error!r} {error.message} {error.next_step} {error.__cause__}"
    else:
        assert open_store(parse_secret_url(url), {}).read(Deadline.after(2)).data == b"s3cr3t-token"
    assert len(stand_in.asked) == 1
    for secret in ("s3cr3t-token", SECRET_KEY, SESSION_TOKEN):
        assert secret not in caplog.text + shown


def test_log_level_of_the_operator__is_not_lowered(stand_in: AwsStandIn, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, logger="botocore")
    open_store(parse_secret_url(PARAMETER_STORE), {}).read(Deadline.after(2))
    assert logging.getLogger("botocore").level == logging.ERROR


@BOTH
def test_netrc__has_an_entry_for_the_server__is_not_used(
    stand_in: AwsStandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str
) -> None:  # C29
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login u password p\ndefault login u password p\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    open_store(parse_secret_url(url), {}).read(Deadline.after(2))
    assert stand_in.schemes == ["AWS4-HMAC-SHA256"]


@BOTH
@pytest.mark.parametrize("variable", ["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_EC2_METADATA_SERVICE_ENDPOINT"])
def test_identity_service__silent__ends_near_the_deadline(
    stand_in: AwsStandIn, monkeypatch: pytest.MonkeyPatch, url: str, variable: str
) -> None:  # C11
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv(variable, f"http://127.0.0.1:{listener.getsockname()[1]}")
        began = time.monotonic()
        error = failure(url, 0.5)
        assert_within(began, 0.5 + 0.3)
    assert "credentials" in error.message
    assert stand_in.asked == []


ROLE = {
    "Code": "Success",
    "AccessKeyId": "a",
    "SecretAccessKey": "b",
    "Token": "c",
    "Expiration": "2099-01-01T00:00:00Z",
}
ROLES_PATH = "/latest/meta-data/iam/security-credentials/"


@BOTH
@pytest.mark.parametrize(
    ("variable", "path"), [("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/role"), ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "")]
)
def test_identity_service__answers__its_credentials_are_used_within_a_short_deadline(
    stand_in: AwsStandIn, monkeypatch: pytest.MonkeyPatch, url: str, variable: str, path: str
) -> None:
    role = json.dumps(ROLE)
    stand_in.metadata = {
        "/role": role,
        "/latest/api/token": "made-up",
        ROLES_PATH: "probe",
        f"{ROLES_PATH}probe": role,
    }
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv(variable, f"{stand_in.url}{path}")
    assert open_store(parse_secret_url(url), {}).read(Deadline.after(1)).data == b"s3cr3t-token"


@BOTH
def test_token_file__cannot_be_read__says_so(
    stand_in: AwsStandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str
) -> None:  # D23
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/probe")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", os.fspath(tmp_path / "missing"))
    assert "the token file that AWS_WEB_IDENTITY_TOKEN_FILE names does not exist" in failure(url).message
