"""Azure Key Vault: the real client and the real azure-identity against a stand-in on loopback, over TLS."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import azure.identity
import azure.keyvault.secrets  # noqa: F401 -- its import is not what the tests of deadlines measure
import pytest

from fdi_health.clock import Deadline
from fdi_health.credentials.token_provider import TokenProvider
from fdi_health.errors import CheckError
from fdi_health.secret_stores import InvalidSecretUrl, Secret, open_store, parse_secret_url
from tests.azure_stand_in import ACCESS_TOKEN, IDENTITY_HEADER, TENANT, VERSION, AzureStandIn, entra_error
from tests.azure_stand_in import key_vault_error as failure
from tests.conformance.secret_store import NO_IAM, SecretStoreSuite
from tests.conftest import TOKEN
from tests.fdi_health.fake_secret_store import token_value
from tests.machine import assert_within
from tests.servers import free_port
from tests.tunnel_proxy import TunnelProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Function

URL = "azurekeyvault://acme-vault/roma"
CLIENT_SECRET = "client-secret-canary"
LOCAL_PREFIXES = ("AZURE_", "IDENTITY_", "IMDS_", "MSI_")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureStandIn]:
    with AzureStandIn(tmp_path_factory.mktemp("azure")) as stand_in:
        yield stand_in


@pytest.fixture
def vault(server: AzureStandIn, monkeypatch: pytest.MonkeyPatch) -> AzureStandIn:
    """Let azure-identity find the stand-in's managed identity and nothing of this machine's."""
    for name in [name for name in os.environ if name.startswith(LOCAL_PREFIXES)]:
        monkeypatch.delenv(name)
    for name, value in server.environ().items():
        monkeypatch.setenv(name, value)
    server.reset()
    return server


@pytest.fixture
def principal(vault: AzureStandIn, monkeypatch: pytest.MonkeyPatch) -> AzureStandIn:
    """Let azure-identity find a service principal with a client secret instead."""
    monkeypatch.delenv("IDENTITY_ENDPOINT")
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", f"https://{vault.host}")
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
    monkeypatch.setenv("AZURE_CLIENT_ID", "s3cr3t-client")
    monkeypatch.setenv("AZURE_CLIENT_SECRET", CLIENT_SECRET)
    return vault


@dataclass
class Harness:
    """A secret in the loopback vault."""

    server: AzureStandIn
    monkeypatch: pytest.MonkeyPatch
    url: str = URL

    def __post_init__(self) -> None:
        self.environ = {"KEY_VAULT_EMULATOR_HOST": self.server.host}

    def put(self, secret: bytes) -> None:
        try:
            self.server.put(secret.decode())
        except UnicodeDecodeError:  # a vault stores text only
            self.server.put(secret.decode("latin-1"))

    def remove(self) -> None:
        self.fail(404, "SecretNotFound")

    def fail(self, status: int, code: str, inner: str | None = None, *, once: bool = False) -> None:
        self.server.failures, self.server.keep_failing = [(status, failure(code, inner))], not once

    def be_silent(self) -> None:
        self.server.silent = "vault"

    def be_gone(self) -> None:
        self.environ["KEY_VAULT_EMULATOR_HOST"] = f"127.0.0.1:{free_port()}"

    def lose_credentials(self) -> None:
        self.server.token_failure = (400, {"error": "invalid_request", "error_description": "Identity not found"})


class TestKeyVault(SecretStoreSuite):
    """The suite against Azure Key Vault."""

    states: ClassVar = {
        "removed": Harness.remove,
        "forbidden": lambda harness: harness.fail(403, "Forbidden", "ForbiddenByRbac"),
        "disabled": lambda harness: harness.fail(403, "Forbidden", "SecretDisabled"),
        "throttled for good": lambda harness: harness.fail(429, "Throttled"),
        "no credentials": Harness.lose_credentials,
        "silent": Harness.be_silent,
        "gone": Harness.be_gone,
    }
    passing_states: ClassVar = {
        "throttled once": lambda harness: harness.fail(429, "Throttled", once=True),
        "failed once": lambda harness: harness.fail(503, "ServiceUnavailable", once=True),
    }

    @pytest.fixture
    def harness(self, vault: AzureStandIn, monkeypatch: pytest.MonkeyPatch) -> Harness:
        return Harness(vault, monkeypatch)


def read(seconds: float = 2.0, url: str = URL) -> Secret:
    return open_store(parse_secret_url(url), os.environ).read(Deadline.after(seconds))


def error_of(seconds: float = 2.0, url: str = URL) -> CheckError:
    began = time.monotonic()
    with pytest.raises(CheckError) as caught:
        read(seconds, url)
    assert_within(began, seconds + 0.3)
    error = caught.value
    assert error.__cause__ is None
    assert error.code == "token_unavailable"
    assert error.next_step
    for word in ("s3cr3t", "acme", "roma", "canary", "AADSTS"):
        assert word not in error.message + error.next_step
    return error


def test_check__token_in_key_vault__is_used(function: Callable[..., Function], vault: AzureStandIn) -> None:
    vault.put(TOKEN)
    checked = function("healthy", FDI_TOKEN=URL, KEY_VAULT_EMULATOR_HOST=vault.host)
    assert checked.verdict()["healthy"] is True
    assert checked.get("/ready").get_json()["token"]["version"] == VERSION
    assert len(vault.reads) == vault.tokens_asked == 1


def test_read__cold__is_one_challenge_one_token_and_one_read(
    vault: AzureStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with AzureStandIn(tmp_path) as new:
        for name, value in new.environ().items():
            monkeypatch.setenv(name, value)
        assert read() == Secret(b"s3cr3t-token", VERSION)
        assert (new.challenges, new.tokens_asked, len(new.reads)) == (1, 1, 1)


def test_read__version_in_the_url__is_asked_for(vault: AzureStandIn) -> None:
    read(url=f"{URL}/{VERSION}")
    assert vault.reads[0].startswith(f"/secrets/roma/{VERSION}?")


def test_read__expired_secret__is_returned_as_the_vault_does(vault: AzureStandIn) -> None:  # C89
    vault.put("s3cr3t", exp=1700000000, nbf=1600000000)
    assert read().data == b"s3cr3t"


def test_read__24_cold_callers__share_one_read(vault: AzureStandIn) -> None:
    tokens = TokenProvider(open_store(parse_secret_url(URL), os.environ), NO_IAM)
    with ThreadPoolExecutor(24) as callers:
        calls = [callers.submit(tokens.current, Deadline.after(2)) for _ in range(24)]
        assert {token_value(call.result()) for call in calls} == {"s3cr3t-token"}
    assert len(vault.reads) == 1


@pytest.mark.parametrize(
    ("status", "document", "message"),
    [
        (403, failure("Forbidden", "AccessDenied"), "may not be read by this function"),
        (403, failure("Forbidden", "ForbiddenByPolicy"), "may not be read by this function"),
        (403, failure("Forbidden", "ForbiddenByFirewall"), "the vault's firewall refuses"),
        (403, failure("Forbidden", "ForbiddenByConnection"), "the vault's firewall refuses"),
        (403, failure("Forbidden", "SecretExpired"), "its version has expired"),
        (403, failure("Forbidden", "SecretNotYetValid"), "its version is not yet valid"),
        (403, "<html>s3cr3t", "another server answered"),
        (401, failure("Unauthorized"), "Key Vault refuses this function's credentials"),
        (404, "<html>s3cr3t", "another server answered"),
        (400, failure("BadParameter"), "a name that Key Vault refuses"),
        (302, "", "another server answered"),
        (200, "<html>s3cr3t", "another server answered"),
        (200, {}, "another server answered"),
        (200, {"value": "s3cr3t", "id": "s3cr3t"}, "another server answered"),
    ],
)
def test_read__refused__says_why_and_is_not_retried(
    vault: AzureStandIn, status: int, document: Any, message: str
) -> None:  # C89
    vault.failures, vault.keep_failing = [(status, document)], True
    error = error_of()
    assert message in error.message
    assert error.__context__ is None  # It would keep the response, and with it the open connection.
    assert len(vault.reads) == 1


@pytest.mark.parametrize("document", [failure("InternalError"), "<html>s3cr3t"])
def test_read__failing_vault__says_so_after_three_reads(vault: AzureStandIn, document: Any) -> None:
    vault.failures, vault.keep_failing = [(500, document)], True
    assert error_of().message == "the secret could not be read: Key Vault failed (HTTP 500)"
    assert len(vault.reads) == 3


def test_read__retry_after_beyond_the_deadline__ends_at_once(vault: AzureStandIn) -> None:
    vault.failures, vault.keep_failing, vault.retry_after = [(429, failure("Throttled"))], True, "3600"
    assert "before the deadline: the last response was HTTP 429" in error_of(0.3).message


def test_read__vault_does_not_exist__says_so(vault: AzureStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEY_VAULT_EMULATOR_HOST")
    assert (
        "the vault's host name cannot be resolved"
        in error_of(url="azurekeyvault://acme-none.vault.azure.cn/roma").message
    )


def test_read__certificate_not_trusted__says_so(vault: AzureStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    assert "the TLS connection to Key Vault is not trusted" in error_of().message


@pytest.fixture
def tunnel(vault: AzureStandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[TunnelProxy]:
    """Without the emulator's variable, a proxy leads the requests for vault.azure.net to the stand-in."""
    monkeypatch.delenv("KEY_VAULT_EMULATOR_HOST")
    with TunnelProxy(destination=vault.host) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        yield proxy


def test_read__real_host_name__is_asked_through_the_proxy_and_the_identity_endpoint_is_not(
    tunnel: TunnelProxy, vault: AzureStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.challenge_resource = "https://evil.example"
    assert "another server answered" in error_of().message
    assert vault.tokens_asked == 0  # No token is asked for in the name of another server's resource.

    vault.challenge_resource = "https://vault.azure.net"
    monkeypatch.setenv("HTTP_PROXY", tunnel.url)
    assert read().data == b"s3cr3t-token"
    assert {head.split()[1] for head in tunnel.heads} == {"acme-vault.vault.azure.net:443"}


def test_read__proxy_refuses__says_so(vault: AzureStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEY_VAULT_EMULATOR_HOST")
    with TunnelProxy(refusal=403) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert "the proxy refused the request" in error_of().message


def test_read__deadline_has_passed__sends_nothing(vault: AzureStandIn) -> None:
    assert "before the deadline" in error_of(0.0).message
    assert vault.challenges + len(vault.reads) == 0


@pytest.mark.parametrize("kind", ["silent", "black hole"])
def test_check__metadata_service_never_answers__ends_at_the_deadline(
    function: Callable[..., Function], vault: AzureStandIn, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:  # C10
    monkeypatch.delenv("IDENTITY_ENDPOINT")
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0 if kind == "black hole" else 9))
        for _ in range(3 if kind == "black hole" else 0):  # A full backlog drops further connections.
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://127.0.0.1:{listener.getsockname()[1]}")
        checked = function(
            "healthy", "healthy", FDI_TOKEN=URL, KEY_VAULT_EMULATOR_HOST=vault.host, FDI_DEADLINE_SECONDS="0.6"
        )
        began = time.monotonic()
        verdict = checked.verdict()
        assert_within(began, 0.6 + 0.3)
        assert [instance["error"]["code"] for instance in verdict["instances"]] == ["token_unavailable"] * 2
        assert "before the deadline" in error_of(0.3).message


def test_read__no_metadata_service__says_that_there_are_no_credentials(
    vault: AzureStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IDENTITY_ENDPOINT")
    assert error_of().message == "the secret could not be read: no Azure credentials were found"


@pytest.mark.parametrize(
    ("status", "document", "message"),
    [
        (503, {"error": "s3cr3t"}, "issues this function's credentials failed (HTTP 503)"),
        (429, {"error": "s3cr3t"}, "issues this function's credentials failed (HTTP 429)"),
        (200, "<html>", "no Azure credentials were found"),
    ],
)
def test_read__identity_endpoint_fails__says_so(vault: AzureStandIn, status: int, document: Any, message: str) -> None:
    vault.token_failure = (status, document)
    assert message in error_of().message
    assert vault.reads == []


def test_read__identity_endpoint_is_silent__ends_at_the_deadline(vault: AzureStandIn) -> None:
    vault.silent = "identity"
    assert "before the deadline" in error_of(0.3).message


def test_read__identity_endpoint_unreachable__says_so(vault: AzureStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{free_port()}/msi/token")
    assert "issues this function's credentials is unreachable" in error_of().message


def test_read__service_principal__gets_the_secret(principal: AzureStandIn) -> None:
    assert read().data == b"s3cr3t-token"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("7000215", "refuses the client secret"),
        ("7000222", "the client secret of this function's credentials has expired"),
        ("700016", "does not know the application"),
        ("90002", "does not know the tenant"),
        ("700027", "refuses the certificate"),
        ("700213", "refuses the identity token"),
        ("700024", "the identity token has expired"),
        ("53003", "refuses this function's credentials"),
    ],
)
def test_read__entra_id_refuses__says_why(principal: AzureStandIn, code: str, message: str) -> None:
    principal.token_failure = (401, entra_error(code))
    assert message in error_of().message
    assert principal.tokens_asked == 1


def test_read__vault_of_another_tenant__says_so(
    principal: AzureStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with AzureStandIn(tmp_path) as other:
        other.challenge_tenant = "99999999-2222-3333-4444-555555555555"
        monkeypatch.setenv("KEY_VAULT_EMULATOR_HOST", other.host)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other.ca_file))
        assert "belongs to another tenant" in error_of().message


@pytest.mark.parametrize(("content", "message"), [(None, "names does not exist"), ("s3cr3t", "settings are not valid")])
def test_read__bad_client_certificate__says_so(
    principal: AzureStandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None, message: str
) -> None:
    monkeypatch.delenv("AZURE_CLIENT_SECRET")
    monkeypatch.setenv("AZURE_CLIENT_CERTIFICATE_PATH", str(tmp_path / "s3cr3t.pem"))
    if content:
        (tmp_path / "s3cr3t.pem").write_text(content)
    assert message in error_of().message


def test_read__workload_identity__needs_its_token_file(
    principal: AzureStandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AZURE_CLIENT_SECRET")
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "s3cr3t"))
    assert "the token file that AZURE_FEDERATED_TOKEN_FILE names cannot be read" in error_of().message
    (tmp_path / "s3cr3t").write_text("eyJ.made.up")
    assert read().data == b"s3cr3t-token"


def test_read__setting_that_azure_identity_refuses__says_so(
    vault: AzureStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "dev")
    assert "Check AZURE_TOKEN_CREDENTIALS" in str(error_of().next_step)


def test_emulator__not_on_this_machine__is_refused(vault: AzureStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_VAULT_EMULATOR_HOST", "vault.example:443")
    assert "KEY_VAULT_EMULATOR_HOST" in error_of().message


def test_read__library_missing__says_how_to_install_it(vault: AzureStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    assert "pip install '.[azure]'" in str(error_of().next_step)


def test_read__netrc__is_not_read(vault: AzureStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # C29
    (tmp_path / "netrc").write_text("default login u password p\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    read()
    assert vault.authorizations == [f"Bearer {ACCESS_TOKEN}"]


def test_read__log_level_debug__logs_no_secret(principal: AzureStandIn, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("azure", "azure.core", "azure.identity", "azure.keyvault", "msal", "urllib3"):
        caplog.set_level(logging.DEBUG, name)
    caplog.set_level(logging.DEBUG)
    read()
    principal.token_failure = (401, entra_error("7000215"))
    error_of()
    for canary in ("s3cr3t", ACCESS_TOKEN, IDENTITY_HEADER, CLIENT_SECRET):
        assert canary not in caplog.text


@pytest.mark.parametrize(
    "host", ["acme-vault", "Acme-Vault.vault.azure.net", "abc.vault.azure.cn", "a1-b2.VAULT.usgovcloudapi.net"]
)
def test_open_store__vault_of_each_cloud__is_accepted(host: str) -> None:
    open_store(parse_secret_url(f"azurekeyvault://{host}/roma-key"), {})


@pytest.mark.parametrize(
    ("place", "rule"),
    [
        ("", "names a vault and a secret"),
        ("acme-vault", "names a vault and a secret"),
        (f"acme-vault/roma/{VERSION}/x", "names a vault and a secret"),
        ("/roma", "has a vault name of 3 to 24"),
        ("ab/roma", "has a vault name of 3 to 24"),
        (f"{'a' * 25}/roma", "has a vault name of 3 to 24"),
        ("1acme/roma", "has a vault name of 3 to 24"),
        ("acme-/roma", "has a vault name of 3 to 24"),
        ("a--b/roma", "has a vault name of 3 to 24"),
        ("user@acme.vault.azure.net/roma", "has a vault name of 3 to 24"),
        ("acme./roma", "a vault's host name in one of"),
        ("acme.evil.example/roma", "a vault's host name in one of"),
        ("acme.vault.azure.net.evil.example/roma", "a vault's host name in one of"),
        ("acme.vault.azure.net:444/roma", "a vault's host name in one of"),
        ("acme.x.vault.azure.net/roma", "a vault's host name in one of"),
        ("acme-vault/", "has a secret name"),
        ("acme-vault/ro_ma", "has a secret name"),
        ("acme-vault/..", "has a secret name"),
        (f"acme-vault/{'r' * 128}", "has a secret name"),
        ("acme-vault/roma/", "has a version"),
        ("acme-vault/roma/latest", "has a version"),
        ("acme-vault/roma?version=1", "has no query"),
    ],
)
def test_open_store__malformed_url__says_the_part(place: str, rule: str) -> None:
    with pytest.raises(InvalidSecretUrl) as caught:
        open_store(parse_secret_url(f"azurekeyvault://{place}"), {})
    assert rule in str(caught.value)
    assert "e.g. azurekeyvault://acme-vault/roma-key" in str(caught.value)


def test_azure__other_store__is_not_imported() -> None:
    program = (
        "import sys, main, fdi_health.secret_stores.azure.key_vault\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('azure', 'msal', 'cryptography')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603 -- ourselves
    assert done.stdout.strip() == "[]"
