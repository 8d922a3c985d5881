"""Arranges the troubles of AWS that moto cannot have, for the harnesses of the AWS stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import botocore.session

from tests.servers import free_port

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.aws_stand_in import AwsStandIn

REGION = "eu-west-1"
EXPIRED_SIGNATURE = "Signature expired: 20251128T100000Z is now earlier than 20251128T105500Z"


def open_client(service: str, url: str) -> Any:
    """Return a client of the server at the URL, for arranging secrets."""
    return botocore.session.get_session().create_client(
        service,
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id="made-up",
        aws_secret_access_key="made-up",
    )


@dataclass
class AwsTroubles:
    """A stand-in for AWS and the process's environment. Every trouble makes botocore use the stand-in.

    Attributes:
        server: the stand-in.
        monkeypatch: changes the environment.
        folder: for files.

    """

    server: AwsStandIn
    monkeypatch: pytest.MonkeyPatch
    folder: Path

    def fail(self, code: str, status: int = 400, text: str = "", *, once: bool = False) -> None:
        self.monkeypatch.setenv("AWS_ENDPOINT_URL", self.server.url)
        self.server.failures, self.server.keep_failing = [(status, code, f"s3cr3t words {text}")], not once

    def be_silent(self) -> None:
        self.monkeypatch.setenv("AWS_ENDPOINT_URL", self.server.url)
        self.server.silent = True

    def be_gone(self) -> None:
        self.monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")

    def use_web_identity(self, token_file: Path, failure: str = "InvalidIdentityToken", text: str = "") -> None:
        self.monkeypatch.setenv("AWS_ENDPOINT_URL", self.server.url)
        self.monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        self.monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/s3cr3t-probe")
        self.monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token_file))
        self.server.sts_failure = (400, failure, f"s3cr3t words {text}")

    def be_refused_by_sts(self, failure: str, text: str = "") -> None:
        self.use_web_identity(self.folder / "token", failure, text)
        (self.folder / "token").write_text("eyJ.made.up")

    def be_silent_in_sts(self) -> None:
        self.be_refused_by_sts("InvalidIdentityToken")
        self.server.silent = True

    def lose_pod_token(self) -> None:
        self.monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        self.monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{self.server.url}/v1/credentials")
        self.monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(self.folder / "s3cr3t-missing"))

    def lose_credentials(self) -> None:
        self.monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        self.monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
