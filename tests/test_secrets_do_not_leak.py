"""No error path puts the token into a response, a log line or a repr."""

from __future__ import annotations

import base64
import json
import logging
import re
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from fdi_health.clock import Deadline
from fdi_health.credentials.authenticators import Token
from fdi_health.credentials.iam_client import IssuedToken
from fdi_health.credentials.secret_format import parse_secret
from fdi_health.errors import CheckError
from fdi_health.models import Instance
from fdi_health.roma.client import Client
from fdi_health.secret_stores import Secret, open_store, parse_secret_url
from handlers.application import Application
from handlers.request_context import RequestContext
from simulator import AccessKeys, SecretKey, fault_names
from simulator.iam import FAULTS as IAM_FAULTS
from simulator.responses import json_response
from tests.conftest import CREDENTIALS, PASSWORD, PROJECT_ID, TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from simulator import Iam, Request, Simulator
    from simulator.responses import Response as SimulatedResponse
    from tests.conftest import Function

KEY = "Key-Canary5Jd8Wq2Zx6Rb"
ACCESS_KEY, SECRET_KEY, SECURITY_TOKEN = "HPUACANARY7QX9ZR4WD2", "Sk-Canary8Lp3Vd6Xw1Qn5Bt9", "St-Canary4Gf7Hs2Jm9Kc0Ry"
SIGNING = json.dumps({"access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "security_token": SECURITY_TOKEN})

CANARY = re.compile(
    "|".join(
        re.escape(secret[start : start + 8])
        for secret in (TOKEN, PASSWORD, KEY, ACCESS_KEY, SECRET_KEY, SECURITY_TOKEN)
        for start in range(len(secret) - 7)
    ),
    re.IGNORECASE,
)
"""Any eight characters in a row of a secret, in any case."""


@pytest.fixture
def clean(caplog: pytest.LogCaptureFixture) -> Callable[..., None]:
    """Return a check that neither some texts nor anything logged since holds the canary."""
    caplog.set_level(logging.DEBUG)

    def check(*texts: Any) -> None:
        for text in (*map(str, texts), *map(repr, texts), caplog.text):
            assert not CANARY.search(text)

    return check


@pytest.mark.parametrize("name", fault_names())
def test_upstream_fault__leaks_nothing(
    function: Callable[..., Function], clean: Callable[..., None], name: str
) -> None:
    response = function(name, FDI_DEADLINE_SECONDS="0.3").get()

    clean(response.text, response.headers)


def test_error_value__holds_no_frames_or_foreign_exceptions(
    function: Callable[..., Function], clean: Callable[..., None], upstream: Simulator
) -> None:
    checked = function("reset")
    checked.get()
    target = checked.process.service().targets[0]
    (result,) = target.checker.check_all([Instance("one", "id-one")], target.tokens, Deadline.after(1))

    assert result.error is not None
    assert result.error.__traceback__ is None
    clean(*traceback.format_exception(result.error), result, checked.process.service(), target)


def test_raised_error__has_a_clean_traceback(
    function: Callable[..., Function], clean: Callable[..., None], upstream: Simulator
) -> None:
    checked = function("close")
    target = checked.process.service().targets[0]

    client = Client(target.api)

    with pytest.raises(CheckError) as caught:
        client.statistics(Instance("one", "id-one"), Token(TOKEN, 1), Deadline.after(1))

    clean(*traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", IAM_FAULTS)
def test_iam_fault__leaks_nothing(
    function: Callable[..., Function], clean: Callable[..., None], iam: Iam, name: str
) -> None:
    iam.play(name, for_ever=True)
    checked = function("healthy", ROMA_TOKEN=CREDENTIALS, FDI_DEADLINE_SECONDS="0.4")
    response, ready = checked.get(), checked.get("/ready")

    assert response.get_json()["instances"][0]["error"]["code"] == "token_unavailable"
    clean(response.text, response.headers, ready.text, checked.process.service())


def test_credentials_and_keys__are_in_no_response_log_or_repr(
    function: Callable[..., Function], clean: Callable[..., None], iam: Iam
) -> None:
    checked = function("healthy", ROMA_TOKEN=CREDENTIALS, FDI_CALLERS="env://CALLERS", CALLERS=KEY)
    answers = [checked.get(path, headers={"X-Api-Key": KEY}) for path in ("/", "/ready", "/live", "/nowhere")]
    service = checked.process.service()

    assert answers[0].get_json()["healthy"] is True
    (token,) = iam.issued
    clean(*(answer.text for answer in answers), service, service.targets[0], service.callers)
    assert token[:8] not in "".join(answer.text for answer in answers) + repr(service)


@pytest.mark.parametrize(
    "echo",
    [
        lambda token: token,
        lambda token: token[:12],
        lambda token: token[-9:],
        lambda token: token.lower(),
        lambda token: f"\x1b[31m{token}\x00",
        lambda token: "\u200b".join(token[start : start + 7] for start in range(0, len(token), 7)),
        lambda token: " ".join([*token]),
        lambda token: "x" * 505 + token,
        lambda token: f"ﬃ{token}",  # grows when its case is folded
    ],
)
@pytest.mark.parametrize("field", ["error_msg", "error_code", "request_id"])
def test_echoed_token__is_redacted(
    function: Callable[..., Function],
    clean: Callable[..., None],
    upstream: Simulator,
    echo: Callable[[str], str],
    field: str,
) -> None:  # C31
    def answer(request: Request) -> SimulatedResponse:
        document = {"error_code": "APIGW.0301", "error_msg": "refused", field: echo(request.token or "")}
        return json_response(document, 401)

    response = function(answer).get()

    assert response.get_json()["status"] == "unknown"
    clean(response.text)


@pytest.mark.parametrize("header", ["Authorization", "X-Security-Token"])
@pytest.mark.parametrize("field", ["error_msg", "error_code", "request_id"])
@pytest.mark.parametrize("status", [401, 500])
def test_echoed_access_key_or_signature__is_redacted(
    function: Callable[..., Function],
    clean: Callable[..., None],
    upstream: Simulator,
    header: str,
    field: str,
    status: int,
) -> None:
    upstream.access_keys = AccessKeys({ACCESS_KEY: SecretKey(SECRET_KEY, SECURITY_TOKEN)})
    signatures: list[str] = []

    def answer(request: Request) -> SimulatedResponse:
        echoed = str(request.header(header))
        signatures.extend(re.findall("Signature=(.{12})", echoed))
        return json_response({"error_code": "FDI.9999", "error_msg": "refused", field: echoed}, status)

    checked = function(answer, ROMA_TOKEN=SIGNING)
    response, ready = checked.get(), checked.get("/ready")

    assert response.get_json()["status"] == "unknown"
    clean(response.text, ready.text, checked.process.service(), checked.process.service().targets[0])
    assert signatures or header != "Authorization"
    assert not [signature for signature in signatures if signature in response.text]


@pytest.mark.parametrize(
    "secret",
    [
        f'{{"access_key":"{ACCESS_KEY}"}}',
        f'{{"secret_key":"{SECRET_KEY}"}}',
        f'{{"ak":"{ACCESS_KEY}","sk":"{SECRET_KEY}"}}',
        f'{{"access_key":"{ACCESS_KEY}","secret_key":["{SECRET_KEY}"]}}',
        f'{{"access_key":"{ACCESS_KEY}","secret_key":"\'{SECRET_KEY}\'"}}',
        f'{{"access_key":"{ACCESS_KEY}","secret_key":"{SECRET_KEY}","token":"{TOKEN}"}}',
        f'{{"access_key":"{ACCESS_KEY}","secret_key":"{SECRET_KEY}","expires_at":"{SECURITY_TOKEN}"}}',
        f'{{"access_key":"{ACCESS_KEY}","secret_key":"{SECRET_KEY}","security_token":7}}',
        base64.b64encode(SIGNING.encode()).decode(),
        f"{ACCESS_KEY}:{SECRET_KEY} ",
        f"{TOKEN[:10]}\n{TOKEN[10:]}",  # C34
        f"{TOKEN}\u200b",  # C35
        f"\u201c{TOKEN}\u201d",
        f"{TOKEN}\0",
        f"{TOKEN}é",
        f'{{"roma_token":"{TOKEN}"}}',  # C86
        f'{{"token":["{TOKEN}"]}}',
        f'{{"token":"{TOKEN}","token":"{TOKEN}"}}',
        f'{{"token":"{TOKEN}","expires_at":"{TOKEN}"}}',
        f'["{TOKEN}"]',
        f'"{TOKEN}"',
        f"{{{TOKEN}",
        f'{{"username":"{TOKEN}"}}',
        f'{{"username":"u","password":"{TOKEN}"}}',
        f'{{"username":"u","password":["{TOKEN}"],"domain_name":"d"}}',
        f'{{"username":"u","password":"{TOKEN}","domain_name":"d","project_id":1}}',
        f'{{"token":"{TOKEN}","password":"{TOKEN}"}}',
        TOKEN * 5000,
        f"'{CREDENTIALS}'",  # D03
        base64.b64encode(CREDENTIALS.encode()).decode(),  # D04
        base64.b64encode(TOKEN.encode()).decode().rstrip("="),
        f"Bearer {TOKEN}",
        f"ROMA_TOKEN={TOKEN}",
        f"https://user:{TOKEN}@iam.example/",
        json.dumps({"token": f"'{TOKEN}'"}),
        json.dumps({"token": TOKEN, "expires_at": "0001-01-01T00:00:00Z"}),  # D51
    ],
)
def test_unusable_secret__is_never_sent_or_shown(
    function: Callable[..., Function], clean: Callable[..., None], upstream: Simulator, secret: str
) -> None:
    checked = function("healthy", ROMA_TOKEN=secret)
    response, ready = checked.get(), checked.get("/ready")

    assert response.status_code == 503
    assert response.get_json()["instances"][0]["error"]["code"] == "token_unavailable"
    assert ready.status_code == 503
    assert upstream.requests == []
    clean(response.text, ready.text)


@pytest.mark.parametrize(
    "variable", ["FDI_TOKEN", "FDI_REGION", "FDI_INSTANCES", "FDI_PROJECT_ID", "FDI_CACHE_SECONDS"]
)
@pytest.mark.parametrize("form", ["{}!", "env://{}!", "{}://x", "file://{}", "a={}!", "https://u:{}@h"])
def test_secret_in_the_wrong_setting__is_not_shown(
    clean: Callable[..., None], function: Callable[..., Function], variable: str, form: str
) -> None:
    checked = function("healthy", **{variable: form.format(TOKEN)})
    response = checked.get()

    assert response.status_code == 500
    clean(response.text, checked.get("/ready").text)


def test_proxy_password__is_not_shown(
    function: Callable[..., Function], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:  # C32
    caplog.set_level(logging.DEBUG)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://svc:s3cr3t@127.0.0.1:9")

    response = function("healthy", FDI_ENDPOINT="https://roma.example").get()

    error = response.get_json()["instances"][0]["error"]
    assert (error["code"], error["message"]) == ("unreachable", "the proxy did not let the request through")
    assert "s3cr3t" not in response.text + caplog.text


def test_name_that_does_not_resolve__is_not_shown(function: Callable[..., Function]) -> None:  # C38
    response = function("healthy", FDI_ENDPOINT="https://roma.invalid", FDI_ANONYMOUS="verdict").get()

    assert response.get_json()["reason"] == "1 of 1 instances unknown (unreachable)"
    assert not re.search("roma|invalid|socket|Error|/v2/", response.text.replace("unreachable", ""))


def test_netrc__is_not_read(
    function: Callable[..., Function], upstream: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # C29
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login u password p\ndefault login u password p\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    assert function("healthy").verdict()["healthy"] is True

    (request,) = upstream.requests
    assert request.header("Authorization") is None
    assert request.token == TOKEN


def test_long_token__is_sent_whole(function: Callable[..., Function], upstream: Simulator) -> None:  # C93
    upstream.tokens.add("M" * 20_000)
    assert function("healthy", ROMA_TOKEN="M" * 20_000).verdict()["healthy"] is True


def test_reprs__hide_the_token() -> None:
    assert f"{Token(TOKEN, 1)}" == repr(Token(TOKEN, 1)) == "Token(generation=1, expires_at=None)"
    assert repr(parse_secret(TOKEN.encode(), None)) == "SecretToken(expires_at=None)"
    assert repr(parse_secret(CREDENTIALS.encode(), None)) == "Credentials()"
    assert repr(Secret(TOKEN.encode(), "7")) == "Secret(version='7')"
    assert repr(IssuedToken(TOKEN, 5.0, 1.0)) == "IssuedToken(expires_at=5.0)"
    assert repr(RequestContext(5.0, headers={"x-api-key": TOKEN})) == "RequestContext(arrived=5.0)"
    assert repr(CheckError("timeout", "late")) == "CheckError('timeout', 'late')"


def test_key_in_the_secret_url__is_not_shown(function: Callable[..., Function]) -> None:  # C26
    checked = function("healthy", FDI_TOKEN="env://ROMA_TOKEN#FDI-OK", ROMA_TOKEN='{"a":"b"}')

    assert "FDI-OK" not in checked.get().text + checked.get("/ready").text


@pytest.mark.parametrize("url", ["env://ROMA_TOKEN", "gcpsecretmanager://projects/p/secrets/s/versions/1"])
def test_secret_store__shows_no_environment(url: str) -> None:
    assert TOKEN not in repr(open_store(parse_secret_url(url), {"ROMA_TOKEN": TOKEN}))


def test_process__shows_no_environment() -> None:
    assert TOKEN not in repr(Application({"ROMA_TOKEN": TOKEN, "FDI_PROJECT_ID": PROJECT_ID}))
