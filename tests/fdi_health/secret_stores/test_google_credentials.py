"""Google's credentials: the real libraries against loopback servers, and the messages for credentials that fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from fdi_health.clock import Deadline
from fdi_health.errors import CheckError
from fdi_health.secret_stores import open_store, parse_secret_url
from fdi_health.secret_stores.google.credentials import find_credentials
from tests.google_metadata_server import GoogleMetadataServer
from tests.machine import assert_within
from tests.servers import ROOT, free_port
from tests.tunnel_proxy import TunnelProxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = """
import json, sys, time
from fdi_health.clock import Deadline
from fdi_health.errors import CheckError
from fdi_health.secret_stores import open_store, parse_secret_url
import google.cloud.secretmanager_v1, google.auth.compute_engine  # what importing them costs is not what is measured
began = time.monotonic()
try:
    url = parse_secret_url("gcpsecretmanager://projects/acme/secrets/roma/versions/latest")
    open_store(url, {}).read(Deadline.after(4))
except CheckError as error:
    print(json.dumps([error.code, error.message, error.next_step, time.monotonic() - began]))
"""


@dataclass
class Configuration:
    """An external account's configuration, with a token service on this machine."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    source: dict[str, Any] = field(default_factory=dict)

    def use(self, token_service: str, *, content: str | None = "made-up") -> None:
        """Let the process use this configuration; without a token its file is missing."""
        token_file = self.folder / "s3cr3t-token"
        if content is not None:
            token_file.write_text(content)
        document = {
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/p",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": f"http://{token_service}/v1/token",
            "credential_source": self.source or {"file": str(token_file)},
        }
        path = self.folder / "configuration.json"
        path.write_text(json.dumps(document))
        self.monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
        # Otherwise google.auth asks a further service of Google for it.
        self.monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "acme")


@pytest.fixture(autouse=True)
def google(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let google.auth find nothing of this machine's."""
    for name in [name for name in os.environ if name.startswith(("GOOGLE_", "GCE_", "CLOUDSDK_"))]:
        monkeypatch.delenv(name)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "none"))


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configuration:
    return Configuration(tmp_path, monkeypatch)


@pytest.fixture
def token_service() -> Iterator[GoogleMetadataServer]:
    with GoogleMetadataServer() as server:
        yield server


def failure(seconds: float = 2.0) -> CheckError:
    with pytest.raises(CheckError) as caught:
        find_credentials(Deadline.after(seconds))
    assert caught.value.code == "token_unavailable"
    assert "s3cr3t" not in f"{caught.value!r} {caught.value.next_step}"
    return caught.value


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, "the metadata server returned no Google credentials"),
        (404, "the metadata server returned no Google credentials"),
        (500, "the metadata server, which issues this function's credentials, failed (HTTP 500)"),
        (503, "the metadata server, which issues this function's credentials, failed (HTTP 503)"),
    ],
)
def test_metadata_server__refuses_a_token__error_is_about_credentials(
    status: int, words: str, tmp_path: Path
) -> None:  # D15
    with GoogleMetadataServer(status) as server:
        environ = {
            **os.environ,
            "GCE_METADATA_HOST": server.host,
            "GCE_METADATA_IP": server.host,
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(  # noqa: S603 -- ourselves
            [sys.executable, "-c", PROGRAM], env=environ, cwd=tmp_path, capture_output=True, text=True, check=True
        )
    code, message, next_step, seconds = json.loads(done.stdout)
    assert (code, message) == ("token_unavailable", f"the secret could not be read: {words}")
    assert "Workload Identity" in next_step
    assert seconds < 2


def test_find_credentials__no_metadata_server__fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GCE_METADATA_IP", f"127.0.0.1:{free_port()}")
    began = time.monotonic()
    assert failure(4).message == "the secret could not be read: no Google credentials were found"
    assert_within(began, 1)


def test_find_credentials__external_account__returns_a_token(
    configuration: Configuration, token_service: GoogleMetadataServer
) -> None:
    configuration.use(token_service.host)
    assert find_credentials(Deadline.after(2)).token == "made-up"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_token_service__fails_once__is_retried(
    configuration: Configuration, token_service: GoogleMetadataServer, status: int
) -> None:
    token_service.statuses = [status, 200]
    configuration.use(token_service.host)
    assert find_credentials(Deadline.after(2)).token == "made-up"
    assert token_service.tokens_asked == 2


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "Google refused this function's credentials"),
        (403, "Google refused this function's credentials"),
        (500, "the token service, which issues this function's credentials, failed (HTTP 500)"),
    ],
)
def test_token_service__refuses__error_is_about_credentials(
    configuration: Configuration, token_service: GoogleMetadataServer, status: int, words: str
) -> None:  # D28
    token_service.statuses = [status]
    configuration.use(token_service.host)
    began = time.monotonic()
    assert failure(4).message == f"the secret could not be read: {words}"
    assert_within(began, 2)


def test_token_service__unreachable__says_so(configuration: Configuration) -> None:
    configuration.use(f"127.0.0.1:{free_port()}")
    words = "the token service, which issues this function's credentials, is unreachable"
    assert failure().message == f"the secret could not be read: {words}"


def test_token_service__fails_until_the_deadline__ends_in_time(
    configuration: Configuration, token_service: GoogleMetadataServer
) -> None:
    token_service.statuses = [500]
    configuration.use(token_service.host)
    began = time.monotonic()
    failure(0.15)
    assert_within(began, 0.15 + 0.3)


def test_token_file__missing__message_names_the_variable(
    configuration: Configuration, token_service: GoogleMetadataServer
) -> None:  # D23
    configuration.use(token_service.host, content=None)
    words = "the token file that the configuration in GOOGLE_APPLICATION_CREDENTIALS names does not exist"
    assert failure().message == f"the secret could not be read: {words}"


def test_token_file__unreadable__says_so(configuration: Configuration, token_service: GoogleMetadataServer) -> None:
    configuration.source = {"file": str(configuration.folder)}
    configuration.use(token_service.host)
    words = "the file that the configuration in GOOGLE_APPLICATION_CREDENTIALS names cannot be read"
    assert failure().message == f"the secret could not be read: {words}"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "does not exist"),
        ("", "contains no Google credentials"),
        ("no JSON", "contains no Google credentials"),
        ('{"type": "s3cr3t"}', "contains no Google credentials"),
    ],
)
def test_credentials_file__unusable__message_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None, words: str
) -> None:  # D23
    path = tmp_path / "s3cr3t.json"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    message = f"the secret could not be read: the file that GOOGLE_APPLICATION_CREDENTIALS names {words}"
    error = failure()
    assert error.message == message
    assert "GOOGLE_APPLICATION_CREDENTIALS" in str(error.next_step)


def test_credentials_file__folder__says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path))
    error = failure()
    assert "GOOGLE_APPLICATION_CREDENTIALS" in error.message


@pytest.fixture
def service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the process use an invented service account. The client makes its tokens itself."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    document = {
        "type": "service_account",
        "project_id": "acme",
        "private_key_id": "1",
        "private_key": pem,
        "client_email": "probe@acme.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.invalid/token",
    }
    (tmp_path / "account.json").write_text(json.dumps(document))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))


@pytest.mark.usefixtures("service_account")
@pytest.mark.parametrize(
    ("place", "host"),
    [
        ("projects/acme/secrets/roma/versions/latest", "secretmanager.googleapis.com"),
        (
            "projects/acme/locations/europe-west3/secrets/roma/versions/latest",
            "secretmanager.europe-west3.rep.googleapis.com",
        ),
    ],
)
def test_read__regional_secret__uses_the_endpoint_of_its_region(
    monkeypatch: pytest.MonkeyPatch, place: str, host: str
) -> None:  # D17
    with TunnelProxy(refusal=403) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        with pytest.raises(CheckError) as caught:
            open_store(parse_secret_url(f"gcpsecretmanager://{place}"), {}).read(Deadline.after(1))
    assert caught.value.code == "token_unavailable"
    assert {head.split()[1] for head in proxy.heads} == {f"{host}:443"}
