"""Secrets that a process has used before are redacted as well as the one in use."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdi_health.credentials.authenticators import Token
from fdi_health.redaction import MAX_SECRETS, SecretHistory, redact, redact_credentials
from simulator import User
from simulator.responses import json_response
from tests.conftest import CREDENTIALS, PASSWORD, TOKEN
from tests.machine import assert_within

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from simulator import Iam, Request, Simulator
    from simulator.responses import Response as SimulatedResponse
    from tests.conftest import Function

ROTATED = "MIIRotated5Hs8Wd1Qk3Vb"


def echoes(text: Callable[[], str], status: int = 500) -> Callable[[Request], SimulatedResponse]:
    def answer(_: Request) -> SimulatedResponse:
        return json_response({"error_code": "FDI.9999", "error_msg": f"saw {text()} before"}, status)

    return answer


def test_earlier_token__in_a_later_response__is_redacted(
    function: Callable[..., Function], upstream: Simulator, tmp_path: Path
) -> None:  # H09
    file = tmp_path / "token"
    file.write_text(TOKEN)
    checked = function("healthy", FDI_TOKEN=f"file://{file}")
    assert checked.verdict()["healthy"] is True
    upstream.tokens.clear()
    upstream.tokens.add(ROTATED)
    file.write_text(ROTATED)
    assert checked.verdict()["healthy"] is True

    for echoed in (TOKEN, TOKEN.lower(), TOKEN[3:14], " ".join(TOKEN), ROTATED):
        upstream.play("id-one", echoes(lambda echoed=echoed: echoed))  # type: ignore[misc] # a default binds the variable
        response = checked.get()
        assert response.get_json()["instances"][0]["error"]["upstream_message"] == "saw [redacted] before"


def test_earlier_tokens_and_passwords__in_a_later_response__are_redacted(
    function: Callable[..., Function], upstream: Simulator, iam: Iam, tmp_path: Path
) -> None:  # H09
    file = tmp_path / "credentials"
    file.write_text(CREDENTIALS)
    checked = function("healthy", FDI_TOKEN=f"file://{file}")
    assert checked.verdict()["healthy"] is True
    (first,) = iam.issued
    second_password = "Pw-Second8Gf2Lz6Tn4Xc"
    iam.users["fdi-probe"] = User(second_password)
    file.write_text(CREDENTIALS.replace(PASSWORD, second_password))
    iam.revoke()
    assert checked.verdict()["healthy"] is True
    (second,) = iam.issued

    # A cut between other letters than those beside it in the text: those would be taken for a part of the token.
    start = next(number for number in range(100, 300) if first[number - 1] not in "wW")
    end = next(number for number in range(400, 600) if first[number] not in "bB")
    second_end = next(number for number in range(300, 500) if second[number] not in "bB")
    for echoed in (first[start:end], second[:second_end], PASSWORD, second_password):
        upstream.play("id-one", echoes(lambda echoed=echoed: echoed))  # type: ignore[misc] # a default binds the variable
        error = checked.instance()["error"]
        assert error["upstream_message"] == "saw [redacted] before"


def test_password_that_iam_refused__in_a_later_response__is_redacted(
    function: Callable[..., Function], upstream: Simulator, tmp_path: Path
) -> None:  # H09
    file = tmp_path / "credentials"
    file.write_text(CREDENTIALS.replace(PASSWORD, "Pw-Mistyped9Rk2"))
    checked = function("healthy", FDI_TOKEN=f"file://{file}")
    assert checked.verdict()["status"] == "unknown"
    file.write_text(CREDENTIALS)
    upstream.play("id-one", echoes(lambda: "pw-mistyped9rk2"))
    assert checked.instance()["error"]["upstream_message"] == "saw [redacted] before"


def test_history__keeps_the_newest_secrets_each_once() -> None:
    history = SecretHistory()
    for number in range(MAX_SECRETS + 4):
        history.add("the password")
        history.add(f"token-{number}")
    values = history.values()
    assert len(values) == MAX_SECRETS
    assert values[-2:] == ("the password", f"token-{MAX_SECRETS + 3}")
    assert values.count("the password") == 1
    assert "password" not in repr(history)


def test_token__with_known_secrets__shows_none_of_them() -> None:
    assert repr(Token(TOKEN, 1, known_secrets=(PASSWORD,))) == "Token(generation=1, expires_at=None)"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("abc and XYZ", "[redacted] and [redacted]"),  # short ones are redacted whole
        ("a b c", "[redacted]"),
        ("abab ab", "abab ab"),
        ("first-secret-1 second-secret-2", "[redacted] [redacted]"),
        ("FIRST-SEC and secret-2", "[redacted] and [redacted]"),
        ("first-se", "[redacted]"),
        ("first-s", "first-s"),
        ("secret-", "secret-"),
        ("xfirst-secret-1second-secret-2x", "x[redacted]x"),
        ("first-secret-9", "[redacted]9"),
        ("other-second-secret-2", "other-[redacted]"),
        ("wörter-öffnen", "[redacted]"),
    ],
)
def test_parts_of_several_secrets__are_redacted(text: str, shown: str) -> None:
    secrets = ("first-secret-1", "second-secret-2", "abc", "xyz", "", "wörter-öffnen", "first-secret-1")
    assert redact(text, secrets, 512) == shown


def test_redaction__with_many_long_secrets__is_quick() -> None:
    secrets = tuple(f"{number:02}" + "0123456789abcdefghijklmnopqrstuv" * 625 for number in range(MAX_SECRETS))
    redact("nothing", secrets, 512)
    began = time.monotonic()
    for _ in range(10):
        assert redact(secrets[0][5:1000], secrets, 512) == "[redacted]"
    assert_within(began, 1.0)


def test_redaction__after_many_rotations__keeps_one_index_per_secret() -> None:
    tokens = [f"{number:02}" + secrets.token_hex(2000) for number in range(MAX_SECRETS + 8)]
    redact("nothing", tokens[0], 512)
    tracemalloc.start()
    try:
        for newest in range(1, len(tokens) + 1):
            redact("nothing", tokens[max(0, newest - MAX_SECRETS) : newest], 512)
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A token of 4,000 characters takes some 100 kB.
    assert kept_bytes < 3 * 1024 * 1024


def test_log_and_body__after_a_rotation__hold_no_earlier_secret(
    function: Callable[..., Function], upstream: Simulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:  # H09
    file = tmp_path / "token"
    file.write_text(TOKEN)
    checked = function("healthy", FDI_TOKEN=f"file://{file}")
    checked.get()
    upstream.tokens.clear()
    file.write_text(json.dumps({"token": ROTATED}))
    upstream.play("id-one", echoes(lambda: TOKEN, 401))
    texts = checked.get().text + checked.get("/?format=text").text + caplog.text
    assert TOKEN[:8] not in texts
    assert ROTATED[:8] not in texts


def test_text_of_many_parts_of_a_token__is_redacted_whole_and_at_once() -> None:
    token = "".join(f"{number:05d}" for number in range(4000))
    text = "".join(token[start : start + 5] + "x" for start in range(0, 1000, 5))
    began = time.thread_time()
    assert redact(text, [token], 512) == "[redacted]"
    assert time.thread_time() - began < 0.5


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("connection to ftp.acme.example timed out", "connection to ftp.acme.example timed out"),
        ("Duplicate entry for key PRIMARY", "Duplicate entry for key PRIMARY"),
        ("table customer_orders_2026_partition_1 is missing", "table customer_orders_2026_partition_1 is missing"),
        ("run 7d1f0c5b-e2a9-4386-b1c0-de55a1e4f00d failed", "run 7d1f0c5b-e2a9-4386-b1c0-de55a1e4f00d failed"),
        ("basic problem", "basic problem"),
        ("password=hunter2", "password=[redacted]"),
        ("db.password: 'two words'!", "db.password: [redacted]!"),
        ('{"secretKey": "a b"}', '{"secretKey": [redacted]}'),
        ("PASSWORD hunter2 is wrong", "PASSWORD [redacted] is wrong"),
        ("token is abcdef", "token is [redacted]"),
        ("sk = abc", "sk = [redacted]"),
        ("sftp://root:s3cr3t@files:22/x refused", "sftp://[redacted]files:22/x refused"),
        ("Authorization: Basic dXNlcjpw", "Authorization: [redacted]"),
        ("sent Bearer abc.DEF.ghi", "sent [redacted]"),
        ("AKIAIOSFODNN7EXAMPLE denied", "[redacted] denied"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.sig expired", "[redacted] expired"),
        ("key wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY", "key [redacted]"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE", "[redacted]"),
        ("passphrase:\nabc", "passphrase: [redacted]"),
        ("pass=abc", "pass=[redacted]"),
        ("cannot pass: abc", "cannot pass: [redacted]"),
        ("redis://:pa/ss@host", "redis://[redacted]host"),
        ("AccountKey=ab/cd==;x", "AccountKey=[redacted]"),
        ("?sig=abc", "?sig=[redacted]"),
        ("IDENTIFIED BY 'a b'", "IDENTIFIED BY [redacted]"),
        ("密码=abc", "密码=[redacted]"),
        ("password\uff1aabc", "password:[redacted]"),
        ("\uff50\uff41\uff53\uff53word=abc", "password=[redacted]"),
        ("<password>abc</password>", "<password>[redacted]</password>"),
        ("mysql --password abc", "mysql --password [redacted]"),
        (f"{'a' * 40}_password=abc", f"{'a' * 40}_password=[redacted]"),
        (r'{"password": "a\"b c"}', '{"password": [redacted]}'),
        ("the password was wrong", "the password was wrong"),
        ("tokens expire", "tokens expire"),
        (7, None),
        ("", None),
    ],
)
def test_redact_credentials__what_looks_like_one__is_not_shown(text: Any, shown: str | None) -> None:
    assert redact_credentials(text, (), 512) == shown


@given(st.text(max_size=300), st.text("abcdefgh0123456789", min_size=8, max_size=20))
def test_redact_credentials__any_text_around_a_password__does_not_show_it(around: str, password: str) -> None:
    shown = redact_credentials(f"{around} password={password} {around}", (), 1000) or ""
    assert password not in shown or password in around


@pytest.mark.parametrize("before", ["", "u:", "user:"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode, binascii.hexlify])
def test_secret__in_base64_or_hexadecimal__is_redacted(encode: Callable[[bytes], bytes], before: str) -> None:
    secret = "s3cr3t?>~token/with+signs"
    encoded = encode((before + secret).encode()).decode()
    assert redact(f"your header {encoded} is wrong", secret, 512) == "your header [redacted] is wrong"
    assert redact(f"your header {encoded[:-3]}", secret, 512) == "your header [redacted]"


@pytest.mark.parametrize("text", ["task-monitors-of-payments", "0123456789abcdef0123456789abcdef", "AAAAAAAAAAAAAAAAA"])
def test_other_text__that_can_be_decoded__stays(text: str) -> None:
    assert redact(text, "s3cr3t?>~token/with+signs", 512) == text
