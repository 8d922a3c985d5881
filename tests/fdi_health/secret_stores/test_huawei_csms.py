"""Huawei Cloud's CSMS: the store against the simulator, which verifies signatures and the agency's tokens."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from fdi_health.clock import Deadline
from fdi_health.errors import CheckError
from fdi_health.secret_stores import InvalidSecretUrl, open_store, parse_secret_url
from fdi_health.secret_stores.huawei.invocation import invocation
from simulator import AccessKeys, Simulator, json_response
from simulator.csms import csms_error
from simulator.responses import Response, body_response
from tests.conformance.secret_store import SECONDS, SecretStoreSuite, message_of, token_of
from tests.conftest import PROJECT_ID
from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.conftest import Function

ACCESS_KEY, SECRET_KEY = "HPUAEXAMPLE", "s3cr3t-key-of-the-function"
ENDPOINT = "HUAWEICLOUD_SDK_REGION_CSMS_CN_NORTH_4"


@dataclass
class Csms:
    """A secret in the simulated CSMS, and a function with an access key for it."""

    server: Simulator
    url: str = "huaweicsms://roma-key?region=cn-north-4"
    variables: dict[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.environ = self.variables
        self.variables |= {
            ENDPOINT: self.server.url,
            "FDI_PROJECT_ID": PROJECT_ID,
            "HUAWEICLOUD_SDK_AK": ACCESS_KEY,
            "HUAWEICLOUD_SDK_SK": SECRET_KEY,
        }

    def put(self, secret: bytes) -> None:
        self.server.csms.put("roma-key", secret)

    def remove(self) -> None:
        self.server.csms.versions.clear()

    def answer(self, *responses: Response, times: int = 1) -> None:
        self.server.csms.failures = list(responses) * times

    def be_gone(self) -> None:
        self.variables[ENDPOINT] = f"http://127.0.0.1:{free_port()}"


@pytest.fixture
def csms() -> Iterator[Csms]:
    with Simulator(tokens=[], project_id=PROJECT_ID, access_keys=AccessKeys({ACCESS_KEY: SECRET_KEY})) as server:
        yield Csms(server)


class TestCsms(SecretStoreSuite):
    """The suite against the simulator."""

    states: ClassVar = {
        "removed": lambda harness: harness.remove(),
        "pending deletion": lambda harness: harness.server.csms.pending_deletion.add("roma-key"),
        "forbidden": lambda harness: harness.answer(csms_error("CSMS.0401", "s3cr3t words", 403)),
        "silent": lambda harness: harness.answer(Response(end="hang")),
        "gone": lambda harness: harness.be_gone(),
        "no credentials": lambda harness: (
            harness.variables.pop("HUAWEICLOUD_SDK_AK") and harness.variables.pop("HUAWEICLOUD_SDK_SK")
        ),
        "wrong clock": lambda harness: setattr(harness.server.access_keys, "clock", lambda: time.time() + 3600),
        "throttled for good": lambda harness: harness.answer(json_response({}, 429), times=9),
    }
    passing_states: ClassVar = {
        "unavailable once": lambda harness: harness.answer(body_response(b"busy", 503, "text/plain")),
        "reset once": lambda harness: harness.answer(Response(end="reset")),
    }

    @pytest.fixture
    def harness(self, csms: Csms) -> Csms:
        return csms


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (body_response(b"<html>sign in</html>", 200, "text/html"), "another server answered in place of CSMS"),
        (body_response(b"<html>sign in</html>", 401, "text/html"), "another server answered in place of CSMS"),
        (json_response({"version": []}), "another server answered in place of CSMS"),
        (json_response({}), "another server answered in place of CSMS"),
        (json_response([1], 403), "another server answered in place of CSMS"),
        (body_response(b" " * 600_000, 200), "another server answered in place of CSMS"),
        (json_response({"version": {"secret_binary": "%%"}}), "contains neither a string nor a binary"),
        (json_response({"version": {"version_metadata": {}}}), "contains neither a string nor a binary"),
        (json_response({"error_code": "APIG.0101", "error_msg": "s3cr3t"}, 404), "does not exist"),
        (csms_error("CSMS.0002", "s3cr3t"), "CSMS refused the request"),
    ],
)
def test_csms__unexpected_response__says_what_it_is(csms: Csms, response: Response, message: str) -> None:
    csms.answer(response)
    assert message in message_of(csms)


def test_csms__fails_for_good__says_so(csms: Csms) -> None:
    csms.answer(json_response({}, 500), times=9)
    assert message_of(csms) == "the secret could not be read: CSMS failed"


def test_csms__one_read__is_one_request(csms: Csms) -> None:
    csms.put(b"token-one")
    assert token_of(csms) == "token-one"
    (request,) = csms.server.requests
    assert request.target == f"/v1/{PROJECT_ID}/secrets/roma-key/versions/latest"


def test_csms__version__is_the_services_own(csms: Csms) -> None:
    csms.put(b"one")
    csms.put(b"two")
    secret = open_store(parse_secret_url(csms.url), csms.environ).read(Deadline.after(SECONDS))
    assert (secret.data, secret.version) == (b"two", "v2")


def test_csms__wrong_key__is_not_sent_again_until_it_changes(csms: Csms) -> None:
    csms.put(b"token-one")
    csms.variables["HUAWEICLOUD_SDK_SK"] = "another"
    store = open_store(parse_secret_url(csms.url), csms.environ)
    for _ in range(8):
        with pytest.raises(CheckError, match="the signature with HUAWEICLOUD_SDK_AK is wrong"):
            store.read(Deadline.after(SECONDS))
    assert len(csms.server.requests) == 1
    csms.variables["HUAWEICLOUD_SDK_SK"] = SECRET_KEY
    assert store.read(Deadline.after(SECONDS)).data == b"token-one"


class Context:
    """The context of a FunctionGraph invocation."""

    def __init__(self, token: str = "", key: str = ACCESS_KEY) -> None:
        self._token, self._key = token, key

    def getToken(self) -> str:  # noqa: N802 -- the platform's name
        return self._token

    def getSecurityAccessKey(self) -> str:  # noqa: N802 -- as above
        return self._key

    def getSecuritySecretKey(self) -> str:  # noqa: N802 -- as above
        return SECRET_KEY

    def getSecurityToken(self) -> str:  # noqa: N802 -- as above
        return "t0ken-of-agency"


@contextlib.contextmanager
def in_function(csms: Csms, context: Context) -> Iterator[None]:
    del csms.variables["HUAWEICLOUD_SDK_AK"], csms.variables["HUAWEICLOUD_SDK_SK"]
    before = invocation.set(context)
    yield
    invocation.reset(before)


def test_csms__in_a_function_with_an_agency__uses_its_token(csms: Csms) -> None:
    csms.put(b"token-one")
    csms.server.tokens.add("MII-of-agency")
    with in_function(csms, Context("MII-of-agency")):
        assert token_of(csms) == "token-one"
    assert csms.server.requests[0].token == "MII-of-agency"


def test_csms__in_a_function_without_a_token__uses_its_temporary_key(csms: Csms) -> None:
    csms.put(b"token-one")
    with in_function(csms, Context()):
        message_of(csms)  # the simulator's key is a permanent one
    assert csms.server.requests[0].header("X-Security-Token") == "t0ken-of-agency"


def test_csms__in_a_function_without_an_agency__says_so(csms: Csms) -> None:
    with in_function(csms, Context(key="")):
        assert message_of(csms) == "the secret could not be read: there are no credentials for CSMS"
    assert csms.server.requests == []


def test_csms__temporary_key_in_the_environment__sends_its_token(csms: Csms) -> None:
    csms.variables["HUAWEICLOUD_SDK_SECURITY_TOKEN"] = "t0ken"
    message_of(csms)
    assert csms.server.requests[0].header("X-Security-Token") == "t0ken"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"HUAWEICLOUD_SDK_SK": ""}, "HUAWEICLOUD_SDK_SK is not set"),
        ({"HUAWEICLOUD_SDK_AK": ""}, "HUAWEICLOUD_SDK_AK is not set"),
        ({"FDI_PROJECT_ID": ""}, "its project is not known"),
        ({ENDPOINT: "http://kms.example"}, f"{ENDPOINT} is not a URL that begins with https://"),
        ({ENDPOINT: "nonsense"}, f"{ENDPOINT} is not a URL that begins with https://"),
    ],
)
def test_csms__incomplete_environment__names_the_variable(csms: Csms, changes: dict[str, str], message: str) -> None:
    csms.variables |= changes
    assert message in message_of(csms)
    assert csms.server.requests == []


def test_csms__region_of_the_settings__is_the_default(csms: Csms) -> None:
    csms.put(b"token-one")
    csms.url = "huaweicsms://roma-key"
    assert "its region is not known" in message_of(csms)
    csms.variables["FDI_REGION"] = "cn-north-4"
    assert token_of(csms) == "token-one"


def test_csms__project_in_the_url__is_asked(csms: Csms) -> None:
    csms.put(b"token-one")
    csms.url += "&project_id=another"
    assert token_of(csms) == "token-one"
    assert csms.server.requests[0].target.startswith("/v1/another/secrets/")


def test_csms__endpoint_with_a_path__the_whole_path_is_signed(csms: Csms) -> None:
    csms.variables[ENDPOINT] += "/gateway"
    message_of(csms)  # the simulator serves nothing there
    (request,) = csms.server.requests
    assert request.target.startswith("/gateway/v1/")
    assert csms.server.access_keys.refuses(request) is None


@pytest.mark.parametrize("region", ["cn-north-4", "eu-west-101"])
def test_csms__without_an_endpoint_of_its_own__is_the_regions(region: str) -> None:
    environ = {"FDI_PROJECT_ID": "p", "HUAWEICLOUD_SDK_AK": "AK-one", "HUAWEICLOUD_SDK_SK": "Sk-one"}
    proxied = {**environ, "https_proxy": "nonsense://"}
    store = open_store(parse_secret_url(f"huaweicsms://roma-key?region={region}"), proxied)
    with pytest.raises(CheckError, match="could not be read"):
        store.read(Deadline.after(0.3))


@pytest.mark.parametrize(
    "url",
    [
        "huaweicsms://",
        "huaweicsms://roma.key",
        "huaweicsms://folder/roma-key",
        f"huaweicsms://{'a' * 65}",
        "huaweicsms://roma-key?region=",
        "huaweicsms://roma-key?region=CN",
        "huaweicsms://roma-key?region",
        "huaweicsms://roma-key?version=1",
        "huaweicsms://roma-key?region=cn-north-4&region=cn-north-1",
        "huaweicsms://roma-key?project_id=a/b",
    ],
)
def test_open_store__malformed_csms_url__shows_the_form(url: str) -> None:
    with pytest.raises(
        InvalidSecretUrl, match=r"must be huaweicsms:// .* e\.g\. huaweicsms://roma-key\?region=cn-north-4"
    ):
        open_store(parse_secret_url(url), {})


def test_function__with_an_access_key_in_csms__is_healthy(
    function: Callable[..., Function], upstream: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.tokens.clear()
    upstream.access_keys = AccessKeys({ACCESS_KEY: SECRET_KEY, "HPUAOFROMA": "s3cr3t-of-roma"})
    upstream.csms.put("roma-key", b'{"access_key":"HPUAOFROMA","secret_key":"s3cr3t-of-roma"}')
    settings: dict[str, Any] = {
        "FDI_TOKEN": "huaweicsms://roma-key?region=cn-north-4",
        ENDPOINT: upstream.url,
        "HUAWEICLOUD_SDK_AK": ACCESS_KEY,
        "HUAWEICLOUD_SDK_SK": SECRET_KEY,
    }
    checked = function("healthy", **settings)
    assert checked.verdict()["status"] == "healthy"
    assert checked.get("/ready").get_json()["token"] == {
        "source": "huaweicsms",
        "kind": "access_key",
        "version": "v1",
        "expires_at": None,
    }


def test_store__repr__shows_no_credentials(csms: Csms) -> None:
    assert "s3cr3t" not in repr(open_store(parse_secret_url(csms.url), csms.environ))
