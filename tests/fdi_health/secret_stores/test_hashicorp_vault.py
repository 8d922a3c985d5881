"""HashiCorp Vault: hvac against OpenBao's own server, and against a stand-in for what that server cannot do."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from fdi_health.clock import Deadline
from fdi_health.credentials.token_provider import TokenProvider
from fdi_health.errors import CheckError
from fdi_health.secret_stores import InvalidSecretUrl, Secret, open_store, parse_secret_url
from tests.certificates import issue, make_ca, tls_server
from tests.conformance.secret_store import NO_IAM, SecretStoreSuite, message_of
from tests.conftest import TOKEN
from tests.fdi_health.fake_secret_store import token_value
from tests.machine import assert_within
from tests.servers import free_port
from tests.vault_server import (
    ROOT_TOKEN,
    Answer,
    Sent,
    Vault,
    review_token,
    service_account_token,
    stand_in,
    use_kubernetes,
    vault_server,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from simulator import Simulator
    from tests.conftest import Function

URL = "hashivault://secret/roma"
URL_1 = "hashivault://kv1/roma?kv=1"
SECONDS = 2.0


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    with vault_server(tmp_path_factory.mktemp("bao")) as server:
        server.allow("roma-2", "secret/data/roma")
        server.allow("roma-1", "kv1/roma")
        yield server


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the variables and proxies of this machine."""
    for name in [name for name in os.environ if name.startswith(("VAULT_", "BAO_")) or name.upper().endswith("_PROXY")]:
        monkeypatch.delenv(name)


@dataclass
class Harness:
    """A secret in Vault, read with the right to this one path."""

    vault: Vault
    url: str
    api_path: str
    policy: str
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environ |= {"VAULT_ADDR": self.vault.url, "VAULT_TOKEN": self.vault.create_token(self.policy)}

    def put(self, secret: bytes) -> None:
        try:
            text = secret.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = secret.decode("latin-1")
        data = json.loads(text) if text.startswith("{") else {"token": text}
        self.vault.write(self.api_path, {"data": data} if "/data/" in self.api_path else data)

    def remove(self) -> None:
        self.vault.call("DELETE", self.api_path.replace("/data/", "/metadata/"))

    def be_forbidden(self) -> None:
        self.environ["VAULT_TOKEN"] = self.vault.create_token("default")

    def be_unknown(self) -> None:
        self.environ["VAULT_TOKEN"] = "s3cr3t-unknown"

    def be_gone(self) -> None:
        self.environ["VAULT_ADDR"] = f"http://127.0.0.1:{free_port()}"


class VaultSuite(SecretStoreSuite):
    """The suite for a secret that is a JSON object and never bare bytes."""

    states: ClassVar = {
        "forbidden": Harness.be_forbidden,
        "no credentials": Harness.be_unknown,
        "gone": Harness.be_gone,
    }

    @pytest.mark.parametrize(
        ("secret", "message"),
        [
            (b" \n", 'has no text under "token"'),
            (b"s3cr\n3t", "so it was not sent"),
            (b'{"other":"s3cr3t"}', 'a JSON object without "token"'),
            (b'{"token":["s3cr3t"]}', 'has no text under "token"'),
        ],
    )
    def test_secret_store__secret_without_a_token__says_why(self, harness: Any, secret: bytes, message: str) -> None:
        harness.put(secret)
        assert message in message_of(harness)


class TestKvVersion2(VaultSuite):
    """The suite against KV version 2."""

    states: ClassVar = {
        **VaultSuite.states,
        "destroyed": lambda harness: harness.vault.write("secret/destroy/roma", {"versions": list(range(1, 99))}),
    }

    @pytest.fixture
    def harness(self, vault: Vault) -> Harness:
        return Harness(vault, URL, "secret/data/roma", "roma-2")


class TestKvVersion1(VaultSuite):
    """The suite against KV version 1."""

    @pytest.fixture
    def harness(self, vault: Vault) -> Harness:
        return Harness(vault, URL_1, "kv1/roma", "roma-1")


@pytest.fixture
def secret(vault: Vault) -> Harness:
    harness = Harness(vault, URL, "secret/data/roma", "roma-2")
    harness.remove()
    harness.put(b'{"token":"s3cr3t-token"}')
    return harness


def read(environ: Mapping[str, str], url: str = URL, seconds: float = SECONDS) -> Secret:
    return open_store(parse_secret_url(url), environ).read(Deadline.after(seconds))


def failure(environ: Mapping[str, str], url: str = URL, seconds: float = SECONDS) -> CheckError:
    """Return the error of a read, which contains no secret, no credentials and no name."""
    began = time.monotonic()
    with pytest.raises(CheckError) as caught:
        read(environ, url, seconds)
    assert_within(began, seconds + 0.3)
    error = caught.value
    shown = f"{error!r} {error.next_step}"
    assert error.code == "token_unavailable"
    assert error.__cause__ is None
    assert error.next_step
    for text in ("s3cr3t", *(value for name, value in environ.items() if name.endswith(("TOKEN", "_ID")))):
        assert text not in shown
    return error


def test_check__access_to_one_path__is_enough(
    function: Callable[..., Function], upstream: Simulator, secret: Harness
) -> None:
    secret.put(json.dumps({"token": TOKEN}).encode())

    assert function("healthy", FDI_TOKEN=URL, **secret.environ).verdict()["healthy"] is True

    assert {request.token for request in upstream.requests} == {TOKEN}


def test_check__vault_refuses__shows_and_logs_no_credentials(
    function: Callable[..., Function], vault: Vault, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    for credentials in ({"VAULT_TOKEN": "canary-1"}, {"VAULT_ROLE_ID": "canary-2", "VAULT_SECRET_ID": "canary-3"}):
        checked = function("healthy", FDI_TOKEN="hashivault://secret/canary-4", VAULT_ADDR=vault.url, **credentials)
        assert checked.instance()["error"]["code"] == "token_unavailable"
        shown = checked.get().text + checked.get("/ready").text + caplog.text.replace("/v1/secret/data/canary-4", "")
        output = capfd.readouterr()
        assert "canary" not in shown + output.out + output.err


def test_read__kv_version_2__returns_data_and_version(secret: Harness) -> None:
    assert read(secret.environ) == Secret(b'{"token": "s3cr3t-token"}', "1")
    secret.put('{"access_key":"AK","secret_key":"ü"}'.encode())
    assert read(secret.environ) == Secret('{"access_key": "AK", "secret_key": "ü"}'.encode(), "2")


def test_read__mount_and_path_with_slashes_and_spaces__are_found(vault: Vault) -> None:
    vault.write("sys/mounts/team/kv", {"type": "kv", "options": {"version": "2"}})
    vault.write("team/kv/data/a/b%20c", {"data": {"token": "one"}})
    environ = {"BAO_ADDR": f"{vault.url}/", "BAO_TOKEN": ROOT_TOKEN, "VAULT_ADDR": "http://127.0.0.1:1"}

    assert read(environ, "hashivault://team%2Fkv/a/b%20c?kv=2").data == b'{"token": "one"}'


def test_read__namespace__is_used(vault: Vault) -> None:
    vault.write("sys/namespaces/unit")
    vault.write("sys/mounts/secret", {"type": "kv", "options": {"version": "2"}}, "unit")
    vault.write("secret/data/roma", {"data": {"token": "of-unit"}}, "unit")
    environ = {"VAULT_ADDR": vault.url, "VAULT_TOKEN": ROOT_TOKEN}

    assert read({**environ, "VAULT_NAMESPACE": "unit"}).data == b'{"token": "of-unit"}'

    assert "the Vault namespace does not exist" in failure({**environ, "VAULT_NAMESPACE": "nobody"}).message
    assert "VAULT_NAMESPACE is not the name" in failure({**environ, "VAULT_NAMESPACE": "a\nb"}).message


def test_read__deleted_version__says_deleted(secret: Harness) -> None:  # C50
    secret.vault.call("DELETE", "secret/data/roma")
    error = failure(secret.environ)
    assert error.message == "the secret does not exist: its latest version is deleted"
    assert "undelete" in str(error.next_step)


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize(("destroyed", "message"), [(False, "version is deleted"), (True, "version is destroyed")])
def test_read__null_in_place_of_data__says_why(status: int, destroyed: bool, message: str) -> None:  # C50
    version = {"data": None, "metadata": {"deletion_time": "2026-11-29T02:19:31Z", "destroyed": destroyed}}
    with stand_in(lambda _: Answer(status, json.dumps({"data": version}).encode())) as (address, _):
        assert message in failure({"VAULT_ADDR": address, "VAULT_TOKEN": "hvs.made-up"}, seconds=0.9).message


@pytest.mark.parametrize(
    ("url", "policy_path"), [(URL, 'path "MOUNT/data/PATH" { capab'), (URL_1, 'path "MOUNT/PATH" { capab')]
)
def test_read__token_without_the_right__shows_the_policy(secret: Harness, url: str, policy_path: str) -> None:
    secret.be_forbidden()
    error = failure(secret.environ, url)
    assert error.message == "the secret may not be read by this function"
    assert policy_path in str(error.next_step)


def test_read__wrong_kv_version__says_so(vault: Vault) -> None:
    environ = {"VAULT_ADDR": vault.url, "VAULT_TOKEN": ROOT_TOKEN}
    vault.write("kv1/roma", {"token": "one"})
    assert "add ?kv=1" in str(failure(environ, "hashivault://kv1/roma").next_step)
    assert "its mount is KV version 2" in failure(environ, f"{URL}?kv=1").message
    assert "no secrets engine at this mount" in failure(environ, "hashivault://nowhere/roma").message


def test_read__expired_or_used_up_token__is_refused(secret: Harness) -> None:
    expiring = secret.vault.create_token("roma-2", ttl="1s", explicit_max_ttl="1s")
    secret.environ["VAULT_TOKEN"] = secret.vault.create_token("roma-2", num_uses=1)
    assert read(secret.environ).version == "1"
    assert "it is wrong, expired or revoked" in failure(secret.environ).message

    time.sleep(1.1)
    assert "it is wrong, expired or revoked" in failure({**secret.environ, "VAULT_TOKEN": expiring}).message


def test_read__sealed_vault__says_so(tmp_path: Path) -> None:
    with vault_server(tmp_path) as vault:
        vault.write("sys/seal")
        environ = {"VAULT_ADDR": vault.url, "VAULT_TOKEN": ROOT_TOKEN}
        assert failure(environ).message == "the secret could not be read: Vault is sealed (HTTP 503)"


def test_token_file__replaced_by_an_agent__is_read_again(secret: Harness, tmp_path: Path) -> None:
    sink = tmp_path / "token"
    environ = {"VAULT_ADDR": secret.vault.url, "VAULT_TOKEN_FILE": str(sink)}
    assert failure(environ).message.endswith("the file that VAULT_TOKEN_FILE names does not exist")

    sink.write_text("s3cr3t-old\n")
    assert "it is wrong, expired or revoked" in failure(environ).message
    sink.write_text(f"{secret.environ['VAULT_TOKEN']}\n")
    assert read(environ).version == "1"

    sink.write_bytes(b"s3cr3t \xff")
    assert "contains no usable Vault credentials" in failure(environ).message
    assert failure({**environ, "VAULT_TOKEN_FILE": str(tmp_path)}).message.endswith("cannot be read")


def test_app_role__credentials_from_the_environment_or_files__log_in(secret: Harness, tmp_path: Path) -> None:
    role_id, secret_id = secret.vault.create_app_role("fdi-health", "roma-2")
    environ = {"VAULT_ADDR": secret.vault.url, "VAULT_ROLE_ID": role_id, "VAULT_SECRET_ID": secret_id}
    assert read(environ).version == "1"

    (tmp_path / "role").write_text(role_id)
    (tmp_path / "secret").write_text(f"{secret_id}\n")
    files = {"VAULT_ROLE_ID_FILE": str(tmp_path / "role"), "VAULT_SECRET_ID_FILE": str(tmp_path / "secret")}
    assert read({"VAULT_ADDR": secret.vault.url, **files}).version == "1"

    del environ["VAULT_SECRET_ID"]
    assert "a role ID and no secret ID" in failure(environ).message


def test_app_role__batch_token__is_enough(secret: Harness) -> None:
    role_id, secret_id = secret.vault.create_app_role("batch", "roma-2", token_type="batch")
    environ = {"VAULT_ADDR": secret.vault.url, "VAULT_ROLE_ID": role_id, "VAULT_SECRET_ID": secret_id}
    assert read(environ).version == "1"


def test_app_role__used_up_secret_id__says_so(secret: Harness) -> None:
    role_id, secret_id = secret.vault.create_app_role("once", "roma-2", secret_id_num_uses=1)
    environ = {"VAULT_ADDR": secret.vault.url, "VAULT_ROLE_ID": role_id, "VAULT_SECRET_ID": secret_id}
    assert read(environ).version == "1"

    error = failure(environ)

    assert "wrong, expired or used up" in error.message
    assert "secret_id_num_uses=0" in str(error.next_step)


def test_app_role__other_mount__is_used(secret: Harness) -> None:
    secret.vault.write("sys/auth/team/roles", {"type": "approle"})
    role_id, secret_id = secret.vault.create_app_role("fdi-health", "roma-2", "team/roles")
    environ = {"VAULT_ADDR": secret.vault.url, "VAULT_ROLE_ID": role_id, "VAULT_SECRET_ID": secret_id}

    assert read({**environ, "VAULT_APPROLE_MOUNT": "team/roles/"}).version == "1"

    assert "wrong, expired or used up" in failure(environ).message
    error = failure({**environ, "VAULT_APPROLE_MOUNT": "nowhere"})
    assert "no AppRole login at this mount" in error.message
    assert "VAULT_APPROLE_MOUNT" in str(error.next_step)
    assert "is not the path of a mount" in failure({**environ, "VAULT_APPROLE_MOUNT": "../sys"}).message


@pytest.fixture
def pod(secret: Harness, tmp_path: Path) -> dict[str, str]:
    """Return the environment of a pod of the service account fdi-health."""
    accounts = {"bound_service_account_names": "fdi-health", "bound_service_account_namespaces": "roma"}
    secret.vault.write("auth/kubernetes/role/fdi-health", {**accounts, "token_policies": "roma-2"})
    token_file = tmp_path / "token"
    token_file.write_text(service_account_token())
    return {
        "VAULT_ADDR": secret.vault.url,
        "VAULT_K8S_ROLE": "fdi-health",
        "VAULT_K8S_TOKEN_FILE": str(token_file),
    }


def test_kubernetes__service_account_of_the_role__logs_in(secret: Harness, pod: dict[str, str], tmp_path: Path) -> None:
    with stand_in(review_token) as (kubernetes, reviews):
        use_kubernetes(secret.vault, kubernetes)

        assert read(pod).version == "1"
        assert [review.path for review in reviews] == ["/apis/authentication.k8s.io/v1/tokenreviews"]

        (tmp_path / "token").write_text(service_account_token("other"))
        assert "refuses the credentials of this pod's service account" in failure(pod).message
        assert "does not know the role" in failure({**pod, "VAULT_K8S_ROLE": "nobody"}).message
        assert "VAULT_K8S_MOUNT" in str(failure({**pod, "VAULT_K8S_MOUNT": "nowhere"}).next_step)
        (tmp_path / "token").write_text(service_account_token(expires=2))
        assert "its token has expired" in failure(pod).message


def test_kubernetes__review_refused__says_so(secret: Harness, pod: dict[str, str]) -> None:
    with stand_in(lambda _: Answer(401, b"{}")) as (kubernetes, _):
        use_kubernetes(secret.vault, kubernetes)
        assert "refuses the credentials of this pod's service account" in failure(pod).message


def test_kubernetes__no_service_account_token__says_so(pod: dict[str, str]) -> None:
    (missing := dict(pod)).pop("VAULT_K8S_TOKEN_FILE")
    assert "the service account's token does not exist" in failure(missing).message


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "the address of Vault is not known"),
        ({"VAULT_ADDR": "vault.example"}, "the address in VAULT_ADDR is not usable"),
        ({"VAULT_ADDR": "http://vault.example:8200"}, "the address in VAULT_ADDR is not usable"),
        ({"VAULT_ADDR": "https://user:s3cr3t@vault.example"}, "the address in VAULT_ADDR is not usable"),
        ({"VAULT_ADDR": "https://vault.example", "VAULT_CACERT": "/nowhere"}, "VAULT_CACERT names could not be read"),
        ({"VAULT_ADDR": "http://127.0.0.1:1"}, "no Vault credentials were found"),
        ({"VAULT_ADDR": "http://127.0.0.1:1", "VAULT_TOKEN": "s3cr3t\nx"}, "VAULT_TOKEN contains no usable"),
    ],
)
def test_read__incomplete_environment__says_what_is_missing(environ: dict[str, str], message: str) -> None:
    environ = {"VAULT_TOKEN": "s3cr3t", **environ} if "VAULT_CACERT" in environ else environ
    assert message in failure(environ).message


def test_read__plain_http_to_another_machine__says_https() -> None:
    assert "must begin with https://" in str(failure({"VAULT_ADDR": "http://vault.example:8200"}).next_step)


def reply(*answers: Answer) -> Callable[[Sent], Answer]:
    """Return the answers in turn, the last one for good."""
    waiting = list(answers)
    return lambda _: waiting.pop(0) if len(waiting) > 1 else waiting[0]


def errors(status: int, *texts: str, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    return Answer(status, json.dumps({"errors": texts}).encode(), headers)


GOOD = Answer(200, b'{"data":{"data":{"token":"a"},"metadata":{"version":7}}}')
LOGIN = {"VAULT_ROLE_ID": "id-1", "VAULT_SECRET_ID": "s3cr3t-2"}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(200, b"<html>s3cr3t</html>"), "another server answered in place of Vault"),
        (Answer(200, b'{"s3cr3t":1}'), "another server answered in place of Vault"),
        (Answer(404, b"not found"), "another server answered in place of Vault"),
        (Answer(200, b'{"data":{"token":"s3cr3t"}}'), "contains no data of a key/value secret"),
        (Answer(200, b'{"data":{"data":["s3cr3t"],"metadata":{}}}'), "contains no data of a key/value secret"),
        (Answer(200, b'{"data":{"data":{"a":"' + b"s" * 300_000), "is longer than 64 KiB"),
        (Answer(502, b"<html>"), "failed (HTTP 502)"),
        (Answer(429, b"<html>", (("Retry-After", "60"),)), "is rate limiting (HTTP 429)"),
        (errors(429, "s3cr3t quota"), "is rate limiting (HTTP 429)"),
        (errors(412, "required index state not present"), "has not caught up"),
        (errors(500, "s3cr3t"), "failed (HTTP 500)"),
        (errors(500, "local node not active but active cluster node not found"), "is in standby"),
        (errors(503, "Vault is in standby mode"), "is in standby"),
        (errors(400, "s3cr3t"), "refused the request (HTTP 400)"),
        (errors(403, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"), "expired or revoked"),
    ],
)
def test_read__other_responses__say_what_they_mean(answer: Answer, message: str) -> None:
    with stand_in(reply(answer)) as (address, _):
        assert message in failure({"VAULT_ADDR": address, "VAULT_TOKEN": "hvs.made-up"}, seconds=0.9).message


@pytest.mark.parametrize(
    "answer",
    [errors(412), errors(503, "x"), Answer(502, b"<html>"), errors(429, headers=(("Retry-After", "0"),))],
)
def test_read__temporary_failure__is_retried(answer: Answer) -> None:
    with stand_in(reply(answer, GOOD)) as (address, sent):
        assert read({"VAULT_ADDR": address, "VAULT_TOKEN": "hvs.made-up"}) == Secret(b'{"token": "a"}', "7")
        assert len(sent) == 2


@pytest.mark.parametrize(
    "answer", [errors(503, "x"), Answer(200, b'{"auth":{"client_token":""}}'), Answer(200, b'{"auth":0}')]
)
def test_login__failure__is_not_retried(answer: Answer) -> None:
    with stand_in(reply(answer)) as (address, sent):
        assert failure({"VAULT_ADDR": address, **LOGIN}).message
        assert [(request.method, request.path) for request in sent] == [("POST", "/v1/auth/approle/login")]


def test_read__token__costs_one_request() -> None:
    with stand_in(reply(GOOD)) as (address, sent):
        read({"VAULT_ADDR": address, "VAULT_TOKEN": "hvs.made-up"})
    assert [(request.method, request.path) for request in sent] == [("GET", "/v1/secret/data/roma")]
    assert sent[0].headers["X-Vault-Request"] == "true"


def test_read__redirect__is_not_followed() -> None:
    with stand_in(reply(GOOD)) as (other, sent_there):
        answer = Answer(307, headers=(("Location", f"{other}/v1/secret/data/roma"),))
        with stand_in(reply(answer)) as (address, _):
            error = failure({"VAULT_ADDR": address, "VAULT_TOKEN": "hvs.made-up"})
    assert "redirects to another address, which is not followed" in error.message
    assert sent_there == []


def test_read__netrc_file__adds_no_authorization(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:  # C29
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login u password p\ndefault login u password p\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (tmp_path / ".vault-token").write_text("of-somebody-else")
    monkeypatch.setenv("HOME", str(tmp_path))
    login = Answer(200, b'{"auth":{"client_token":"fresh"}}')
    with stand_in(reply(login, GOOD)) as (address, sent):
        read({"VAULT_ADDR": f"{address}/prefix", "VAULT_NAMESPACE": "team", **LOGIN})
    assert [request.path for request in sent] == ["/prefix/v1/auth/approle/login", "/prefix/v1/secret/data/roma"]
    assert [request.headers.get("Authorization") for request in sent] == [None, None]
    assert [request.headers.get("X-Vault-Token") for request in sent] == [None, "fresh"]
    assert [request.headers.get("X-Vault-Namespace") for request in sent] == ["team", "team"]


@pytest.mark.parametrize("login", [{"VAULT_TOKEN": "hvs.made-up"}, LOGIN], ids=["read", "login"])
def test_read__silent_server__ends_at_the_deadline(login: dict[str, str]) -> None:
    with stand_in(reply(Answer(200, seconds=30))) as (address, sent):
        error = failure({"VAULT_ADDR": address, **login}, seconds=0.4)
        assert error.message == "the secret could not be read before the deadline"
        assert len(sent) == 1


def test_read__proxy_variables__are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with stand_in(reply(Answer(200))) as (proxy, _):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        environ = {"VAULT_ADDR": "https://vault.example:8200", "VAULT_TOKEN": "hvs.made-up"}
        error = failure(environ)
        assert "Vault is unreachable: the proxy" in error.message
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        closed = f"https://127.0.0.1:{free_port()}"
        assert "the connection was refused" in failure({**environ, "VAULT_ADDR": closed}).message


def test_read__private_ca__is_trusted_through_vault_cacert(tmp_path: Path) -> None:
    ca = make_ca()
    (tmp_path / "ca.pem").write_bytes(ca.pem())
    context = issue(ca, hosts=("127.0.0.1",)).server_context(tmp_path)
    with tls_server(context) as port:
        environ = {"VAULT_ADDR": f"https://127.0.0.1:{port}", "VAULT_TOKEN": "hvs.made-up"}
        error = failure(environ)
        assert "no trusted TLS connection to Vault: the server's certificate comes from an unknown CA" in error.message
        assert "VAULT_CACERT" in str(error.next_step)
        trusted = failure({**environ, "VAULT_CACERT": str(tmp_path / "ca.pem")})
        assert "another server answered in place of Vault" in trusted.message  # it is only a web server


def test_read__24_concurrent_cold_callers__cost_one_login_and_one_read() -> None:
    login = Answer(200, b'{"auth":{"client_token":"fresh"}}', seconds=0.2)
    version = {"data": {"token": TOKEN}, "metadata": {"version": 7}}
    secret = Answer(200, json.dumps({"data": version}).encode())
    with stand_in(reply(login, secret)) as (address, sent):
        store = open_store(parse_secret_url(URL), {"VAULT_ADDR": address, **LOGIN})
        tokens = TokenProvider(store, NO_IAM)
        with ThreadPoolExecutor(24) as callers:
            found = callers.map(lambda _: token_value(tokens.current(Deadline.after(SECONDS))), range(24))
            assert set(found) == {TOKEN}
        assert len(sent) == 2


def test_read__log_level_debug__logs_no_secret(secret: Harness, caplog: pytest.LogCaptureFixture) -> None:
    role_id, secret_id = secret.vault.create_app_role("logged", "roma-2")
    caplog.set_level(logging.DEBUG)
    assert read({"VAULT_ADDR": secret.vault.url, "VAULT_ROLE_ID": role_id, "VAULT_SECRET_ID": secret_id}).data
    for text in ("s3cr3t", role_id, secret_id):
        assert text not in caplog.text
    assert secret_id not in repr(open_store(parse_secret_url(URL), {"VAULT_SECRET_ID": secret_id}))


@pytest.mark.parametrize("place", ["", "secret", "secret/", "/roma", "secret//roma", "secret/../roma", "secret/a%00b"])
def test_open_store__malformed_place__says_the_form(place: str) -> None:
    with pytest.raises(InvalidSecretUrl, match=r"hashivault://MOUNT/PATH, e\.g\. hashivault://secret/roma"):
        open_store(parse_secret_url(f"hashivault://{place}"), {})


@pytest.mark.parametrize("query", ["kv=3", "kv=", "version=1", "kv=1&kv=2"])
def test_open_store__malformed_query__says_the_form(query: str) -> None:
    with pytest.raises(InvalidSecretUrl, match=r"\?kv=1 or \?kv=2, e\.g\. hashivault://secret/roma\?kv=1"):
        open_store(parse_secret_url(f"{URL}?{query}"), {})


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603 -- ourselves
    return done.stdout.strip()


def test_hvac__other_store__is_not_imported() -> None:
    program = "import sys, main, fdi_health.secret_stores.vault.key_value\nprint('hvac' in sys.modules)"
    assert run(program) == "False"


def test_hvac__not_installed__says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hvac", None)
    error = failure({})
    assert "the extra 'vault'" in error.message
    assert "pip install '.[vault]'" in str(error.next_step)
