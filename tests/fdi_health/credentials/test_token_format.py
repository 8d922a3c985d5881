"""Which texts are accepted as tokens, and which are never sent."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fdi_health.credentials.token_format import find_format_error
from handlers.http import respond
from handlers.request_context import RequestContext
from tests.conftest import CREDENTIALS, TOKEN
from tests.machine import assert_within

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from simulator import Iam, Simulator
    from tests.conftest import Function

COMPACT = json.dumps(json.loads(CREDENTIALS), separators=(",", ":"))
SIGNED_DATA = b"\x30\x82\x18\x2c\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x82"
"""How the tokens of IAM begin: a sequence with the object type of signed data."""


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def iam_token(size: int) -> str:
    """Return a token as IAM makes them: signed JSON in binary form, base64 with `-` for `/`."""
    document = json.dumps({"token": {"methods": ["password"], "catalog": [], "password": "never", "x": "y" * 100}})
    signed = SIGNED_DATA + document.encode() + bytes(range(256)) * 80
    return b64(signed[:size]).replace("/", "-")


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        "MIIToken",
        "M" * 20_000,
        "XMIIToken",
        *(iam_token(size) for size in (300, 301, 302, 6_000, 15_000)),
        "0123456789abcdef0123456789abcdef",
        "fae7ff6c-8e07-4cf8-9e67-589cab2f017c",
        base64.urlsafe_b64encode(b"\x80" + bytes(range(150, 250))).decode(),
        "hF8sk2-LwQ_91.zTn~Xb7+R/4vYpEo3m",
        "rotated-token",
        "good-token",
        "my-token-2",
    ],
)
def test_find_format_error__known_kind_of_token__is_none(text: str) -> None:
    assert find_format_error(text) is None


@pytest.mark.parametrize(
    ("text", "description"),
    [
        (COMPACT, "JSON"),
        ('["MIIToken"]', "JSON"),
        (f"'{COMPACT}'", "quotes"),  # D03
        (f"\u2018{COMPACT}\u2019", "quotes"),
        (f"\u00ab{TOKEN}\u00bb", "quotes"),
        (f"\u300c{TOKEN}\u300d", "quotes"),
        (f"`{TOKEN}`", "quotes"),
        (f"{TOKEN}'", "quotes"),
        (json.dumps(COMPACT), "quotes"),
        (b64(COMPACT), "encoded"),  # D04
        (b64(COMPACT + " ").rstrip("="), "encoded"),
        (base64.urlsafe_b64encode((COMPACT + "\xff\xfe?>").encode()).decode(), "encoded"),
        (b64(b64(COMPACT)), "encoded"),
        (b64(b64(b64(COMPACT))), "encoded"),
        (b64(f"'{COMPACT}'"), "encoded"),
        (b64(COMPACT.encode("utf-16")), "encoded"),
        (b64(COMPACT.encode("utf-16-be")), "encoded"),
        (b64(TOKEN), "encoded"),
        (b64("user:pw"), "encoded"),
        (b64('{"username":"пользователь","password":"пароль","domain_name":"счёт"}'), "encoded"),
        ("base64-" + b64(COMPACT), "encoded"),
        ("b64." + b64(COMPACT).rstrip("="), "encoded"),
        ("b-" + b64('{"username":"п","password":"п","domain_name":"п"}').rstrip("="), "encoded"),
        (base64.b32encode(COMPACT.encode()).decode().rstrip("="), "encoded"),
        (COMPACT.encode().hex(), "encoded"),
        ("H4sIAAAAAAAAA6tWKi1OLUpVslJQKi5JLFGqBQ", "encoded"),
        (".".join(b64(part).rstrip("=") for part in ('{"alg":"RS256"}', '{"sub":"a"}', "signed")), "encoded"),  # a JWT
        (base64.encodebytes((COMPACT * 2).encode()).decode().strip(), "white space"),
        ("MII Token", "white space"),
        ("MII\u00a0Token", "character"),
        ("MIIToken\u200b", "character"),
        ("MIIT*ken", "character"),
        (quote(COMPACT), "percent-encoded"),
        (quote(f"'{COMPACT}'"), "percent-encoded"),
        ("eyJhIjoxfQ%3D%3D", "percent-encoded"),
        (f"FDI_TOKEN={TOKEN}", "NAME=value"),
        (f"export ROMA_TOKEN={TOKEN}", "NAME=value"),
        (f"token={b64(COMPACT)}", "NAME=value"),
        ("ROMA_TOKEN=", "without a value"),
        (f"Bearer {TOKEN}", "authentication scheme"),
        (f"token {TOKEN}", "authentication scheme"),
        (f"X-Auth-Token: {TOKEN}", "name: value"),
        (f"token:{TOKEN}", "name: value"),
        (f"- token: {TOKEN}", "name: value"),
        ("username: probe\npassword: s3cr3t", "name: value"),
        ("probe:s3cr3t-pw", "name: value"),
        ("-----BEGIN CERTIFICATE-----\nMIIToken\n-----END CERTIFICATE-----", "PEM"),
        ("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj", "private key"),
        ("MIIEowIBAAKCAQEAtVKUtcx", "private key"),
        ("MHcCAQEEIAbcdefghijkl", "private key"),
        ("MIIKCQIBAzCCCcUGCSqGSIb3DQEHAaCCCbYEggmy", "private key"),
        ("https://iam.example/v3/auth/tokens", "URL"),
        ("awssecretsmanager://roma", "URL"),
        ("/run/secrets/roma-token", "path"),
        ("<token>", "placeholder"),
        ("${TOKEN}", "placeholder"),
        ("$TOKEN", "placeholder"),
        ("%TOKEN%", "placeholder"),
        ("{{ token }}", "placeholder"),
        ("MII...", "placeholder"),
        ("MII\u2026", "placeholder"),
        ("changeme", "placeholder"),
        ("CHANGE_ME_123", "placeholder"),
        ("your-token-here", "placeholder"),
        ("put.your.iam.token.here", "placeholder"),
        ("xxxxxxxxxxxxxxxx", "placeholder"),
        ("password", "placeholder"),
        ("password123", "placeholder"),
        ("12345678", "placeholder"),
        ("abc12", "placeholder"),
        ("a", "placeholder"),
        ("none", "placeholder"),
    ],
)
def test_find_format_error__other_text__describes_it_without_any_part_of_it(
    text: str, description: str
) -> None:  # D03, D04, D05
    error = find_format_error(text)
    assert error is not None
    assert description in error.description
    assert error.next_step.startswith(("Store ", "Replace ", "Name "))
    shown = error.description + error.next_step
    assert not any(text[start : start + 12] in shown for start in range(len(text) - 11))


@given(st.lists(st.integers(0x80, 0xFF), min_size=6, max_size=300).map(bytes))
def test_find_format_error__opaque_bytes__is_none(data: bytes) -> None:
    assert find_format_error(b64(b"\x80" + data)) is None


@pytest.mark.parametrize(
    "text",
    [
        "a" * 65_000 + "!",
        "a." * 32_000,
        "/a" * 32_000 + "!",
        "\t" * 65_000 + "x",
        "=" * 65_000,
        "pass" * 15 + "!",
        "%" * 65_000,
    ],
)
def test_find_format_error__long_text__is_fast(text: str) -> None:
    began = time.monotonic()
    find_format_error(text)
    assert_within(began, 0.5)


WRAPPINGS: dict[str, Callable[[str], str]] = {
    "single quotes": lambda text: f"'{text}'",
    "double quotes": lambda text: f'"{text}"',
    "typographic quotes": lambda text: f"\u201c{text}\u201d",
    "JSON text": json.dumps,
    "ASCII JSON text": lambda text: json.dumps(text, ensure_ascii=False),
    "base64": b64,
    "base64 without padding": lambda text: b64(text).rstrip("="),
    "base64url": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64url without padding": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "base64 in lines": lambda text: base64.encodebytes(text.encode()).decode(),
    "base64 of UTF-16": lambda text: b64(text.encode("utf-16-le", "surrogatepass")),
    "base32": lambda text: base64.b32encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "percent": lambda text: quote(text, safe=""),
    "Bearer": lambda text: f"Bearer {text}",
    "Token:": lambda text: f"Token: {text}",
    "header": lambda text: f"X-Auth-Token: {text}",
    "NAME=": lambda text: f"ROMA_TOKEN={text}",
    "export": lambda text: f"export ROMA_TOKEN={text}",
    "prefix": lambda text: f"base64-{text}",
    "dotted prefix": lambda text: f"v1.{text}",
    "YAML": lambda text: f"token: |\n  {text}",
    "white space": lambda text: f" \n{text}\n",
    "byte-order mark": lambda text: f"\ufeff{text}",
}
WORD = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@pytest.mark.usefixtures("no_secret_reads")
def test_wrapped_credentials__any_stack_of_wrappings__are_never_sent(
    function: Callable[..., Function], upstream: Simulator, iam: Iam, tmp_path: Path
) -> None:  # D03, D04, D05
    file = tmp_path / "secret"

    @settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
    @given(
        words=st.tuples(WORD, WORD, WORD),
        ascii_only=st.booleans(),
        compact=st.booleans(),
        wrappings=st.lists(st.sampled_from(sorted(WRAPPINGS)), min_size=1, max_size=4),
        under_token=st.booleans(),
    )
    def holds(
        words: tuple[str, str, str], ascii_only: bool, compact: bool, wrappings: list[str], under_token: bool
    ) -> None:
        document = dict(zip(("username", "password", "domain_name"), words, strict=True))
        separators = (",", ":") if compact else None
        text = json.dumps(document, ensure_ascii=ascii_only, separators=separators)
        for wrapping in wrappings:
            text = WRAPPINGS[wrapping](text)
        if under_token:
            text = json.dumps({"token": text})
        elif set(wrappings) <= {"white space", "byte-order mark"}:
            return  # this is what an editor makes of credentials, which are sent to IAM
        file.write_text(text, encoding="utf-8")
        error = function("healthy", FDI_TOKEN=f"file://{file}").instance()["error"]
        assert error["code"] == "token_unavailable"
        assert upstream.requests == []
        assert list(iam.logins) == []

    holds()


def test_agency_token__wrapped__is_not_sent(function: Callable[..., Function], upstream: Simulator) -> None:  # D05
    class Context:
        def getToken(self) -> str:  # noqa: N802 -- the platform's name
            return f"Bearer {TOKEN}"

    checked = function("healthy", FDI_TOKEN="functiongraph://agency")
    response = respond(RequestContext(time.monotonic(), invocation=Context()), checked.process)
    error = json.loads(response.body)["instances"][0]["error"]
    assert error["message"] == ("the secret begins with an authentication scheme, so it was not sent")
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("env://ROMA_TOKEN", f"'{COMPACT}'"),
        ("env://ROMA_TOKEN", json.dumps({"token": b64(COMPACT)})),
        ("env://ROMA_TOKEN#roma", json.dumps({"roma": b64(COMPACT)})),
        ("env://ROMA_TOKEN#roma", json.dumps({"roma": {"token": f"Bearer {TOKEN}"}})),
        ("env://ROMA_TOKEN#token", json.dumps({"token": f"'{COMPACT}'"})),
    ],
)
def test_wrapped_secret__any_place__is_not_sent(
    function: Callable[..., Function], upstream: Simulator, iam: Iam, url: str, secret: str
) -> None:  # D03, D04, D05
    checked = function("healthy", FDI_TOKEN=url, ROMA_TOKEN=secret)
    assert checked.instance()["error"]["code"] == "token_unavailable"
    assert upstream.requests == []
    assert list(iam.logins) == []


@pytest.mark.parametrize(
    "text",
    [
        "in" * 32,
        "pass" * 15,
        "token" * 12 + "!",
        "pass" * 15 + "z",
        "mein" * 15 + "q1",
        "a=" * 20_000,
        "=" * 60_000,
        "/a" * 30_000,
    ],
)
def test_find_format_error__many_ways_to_divide_the_text__is_fast(text: str) -> None:
    began = time.thread_time()
    find_format_error(text)
    assert time.thread_time() - began < 0.5
