"""The formats of a secret."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdi_health.credentials.access_key_format import SecretAccessKey
from fdi_health.credentials.secret_format import Credentials, SecretToken, parse_secret
from fdi_health.credentials.signer import AccessKey
from fdi_health.errors import NEXT_STEPS, CheckError

END = 1_763_913_600.0


def not_sent(seen: str) -> str:
    return f"the secret {seen}, so it was not sent"


SPACE = not_sent("contains white space")
ODD = not_sent("contains a character that no token has")
QUOTES = not_sent("has quotes around its text or inside it")
JSON_TEXT = not_sent("is JSON text")


@pytest.mark.parametrize(
    ("secret", "key", "value"),
    [
        (b"MIIToken", None, "MIIToken"),
        (b"MIIToken\n", None, "MIIToken"),  # C34
        (b"XMIIToken", None, "XMIIToken"),
        (b" \r\n\tMIIToken\r\n ", None, "MIIToken"),
        (b"\xef\xbb\xbfMIIToken\r\n", None, "MIIToken"),  # C36
        (b"\r\n\xef\xbb\xbf MIIToken", None, "MIIToken"),
        (b'{"token":"MIIToken\\n"}', None, "MIIToken"),
        (b'{"token":"MIIToken","other":1}', None, "MIIToken"),
        (b'{"roma_token":"MIIToken"}', "roma_token", "MIIToken"),  # C86
        (b"M" * 20_000, None, "M" * 20_000),  # C93
        (b"M" * 65_536, None, "M" * 65_536),
        (b'{"token":"MIIToken","password":"x"}', "token", "MIIToken"),
    ],
)
def test_parse_secret__token__returns_it(secret: bytes, key: str | None, value: str) -> None:
    found = parse_secret(secret, key)
    assert isinstance(found, SecretToken)
    assert found.value == value


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ('"2025-11-23T16:00:00.000000Z"', END),
        ('"2025-11-23T16:00:00+00:00"', END),
        ('"2025-11-23T16:00:00"', END),
        ('"2025-11-23T18:00:00+02:00"', END),
        ("null", None),
    ],
)
def test_parse_secret__expires_at__is_iso_8601(text: str, end: float | None) -> None:
    for key in (None, "token"):
        assert parse_secret(f'{{"token":"MIIToken","expires_at":{text}}}'.encode(), key) == SecretToken("MIIToken", end)


@pytest.mark.usefixtures("far_from_utc")
def test_parse_secret__expires_at_without_zone__is_utc() -> None:
    secret = b'{"token":"MIIToken","expires_at":"2025-11-23T16:00:00"}'
    assert parse_secret(secret, None) == SecretToken("MIIToken", END)


def test_parse_secret__repr_of_the_result__hides_the_value() -> None:
    assert repr(Credentials("u", "p", "d", ("id", "x"))) == "Credentials()"
    assert repr(SecretToken("t", 5.0)) == "SecretToken(expires_at=5.0)"


@pytest.mark.parametrize(
    ("secret", "key", "message"),
    [
        (b"", None, "the secret is empty"),
        (b" \n", None, "the secret is empty"),
        (b"\xef\xbb\xbf", None, "the secret is empty"),
        (b"\xff\xfeM\0I\0", None, "the secret is UTF-16, not UTF-8"),  # C36
        (b"M\xff", None, "the secret is not UTF-8 text"),
        (b"M" * 65_537, None, "the secret is longer than 64 KiB"),
        (b"a b", None, SPACE),
        (b"username=x password=y", None, not_sent("has the form NAME=value")),
        (b'{"token":"{\\"password\\":1}"}', None, JSON_TEXT),
        (b'{"roma":"[1]"}', "roma", JSON_TEXT),
        (b'{"roma":"\\"MII\\""}', "roma", QUOTES),
        (b'{"roma":"{\\"password\\":"}', "roma", "the secret is not valid JSON: a syntax error"),
        (b"MII\nTok", None, SPACE),  # C34
        (b"MIIToken\0", None, ODD),
        ("MIIToken\u200b".encode(), None, ODD),  # C35
        ("\u201cMII\u201d".encode(), None, QUOTES),
        (
            b'{"roma_token":"MII"}',
            None,
            'the secret is a JSON object without "token", an access key or credentials',
        ),  # C86
        (b'{"token":""}', None, 'the JSON secret has no text under "token"'),
        (b'{"token":5}', None, 'the JSON secret has no text under "token"'),
        (b'{"token":null}', None, 'the JSON secret has no text under "token"'),
        (b'{"a":"b"}', "c", "the JSON secret has no text under the key that the secret URL names"),
        (b"MII", "token", "the secret is not valid JSON: a syntax error"),
        (b'["MII"]', None, "the secret is JSON but not an object"),
        (b'"MII"', None, QUOTES),
        (b"{{token}}", None, not_sent("is a placeholder")),
        (b'"MII"', "token", "the secret is JSON but not an object"),
        (b'{"token":"MII"', None, "the secret is not valid JSON: a syntax error"),
        (
            b'{"token":"a","token":"b"}',
            None,
            "the secret is not valid JSON: a key stands twice in one object",
        ),
        *(
            (
                b'{"token":"MIIToken","expires_at":%s}' % end,
                key,
                '"expires_at" of the JSON secret is not a timestamp of the years 2000 to 2099',
            )
            for key in (None, "token")
            for end in (
                b'"soon"',
                b"5",
                b"1795536000",
                b'"1795536000"',
                b"true",
                b"{}",
                b'"0001-01-01T00:00:00Z"',  # D51
                b'"1999-12-31T23:59:59Z"',
                b'"2100-01-01T00:00:00Z"',
                b'"9999-12-31T23:59:59Z"',
                b'"2026-11-25"',
                b'"20261125"',
                b'"2026-W48-3T16:00:00Z"',
                b'"2026-13-25T16:00:00Z"',
                b'"2026-11-25T16:00:00+99:00"',
                '"\uff12\uff10\uff12\uff16-11-25T16:00:00Z"'.encode(),
            )
        ),
        (b'{"token":"a","password":"b"}', None, "the secret contains both a token and credentials"),
        (
            b'{"username":"u","password":"p"}',
            None,
            'the credentials in the secret have no text under "domain_name"',
        ),
        (
            b'{"username":1,"password":" ","domain_name":null}',
            None,
            'the credentials in the secret have no text under "username", "password", "domain_name"',
        ),
        (
            b'{"iam":{"username":"u"}}',
            "iam",
            'the credentials in the secret have no text under "password", "domain_name"',
        ),
        (
            b'{"password":"p"}',
            None,
            'the credentials in the secret have no text under "username", "domain_name"',
        ),
        (
            b'{"domain_name":"d"}',
            None,
            'the credentials in the secret have no text under "username", "password"',
        ),
        (b'{"iam":{}}', "iam", 'the secret is a JSON object without "token", an access key or credentials'),
        *(
            (
                b'{"username":"u","password":"p","domain_name":"d",%s}' % scope,
                None,
                'the credentials in the secret have no text under "project_id" or "project_name", or have both',
            )
            for scope in (b'"project_id":""', b'"project_name":5', b'"project_id":"a","project_name":"b"')
        ),
    ],
)
def test_parse_secret__no_token__says_why(secret: bytes, key: str | None, message: str) -> None:
    with pytest.raises(CheckError) as caught:
        parse_secret(secret, key)
    assert (caught.value.code, caught.value.message) == ("token_unavailable", message)
    assert caught.value.next_step not in (None, "", NEXT_STEPS["token_unavailable"])  # one of its own


@given(st.binary(max_size=40) | st.text(max_size=20).map(lambda text: text.encode("utf-8", "ignore")))
def test_parse_secret__any_bytes__are_a_valid_token_or_an_error(secret: bytes) -> None:
    try:
        found = parse_secret(secret, None)
        assert isinstance(found, SecretToken)
        value = found.value
    except CheckError as error:
        assert error.code == "token_unavailable"
        assert error.__cause__ is None
    else:
        assert value.isascii()
        assert value.isprintable()
        assert value == value.strip() != ""


@pytest.mark.parametrize(
    ("secret", "key", "project"),
    [
        (b'{"username":"u","password":" p ","domain_name":"d"}', None, None),
        (b'\xef\xbb\xbf {"username":"u","password":" p ","domain_name":"d","comment":1}\n', None, None),
        (b'{"username":"u","password":" p ","domain_name":"d","project_id":"x"}', None, ("id", "x")),
        (b'{"iam":{"username":"u","password":" p ","domain_name":"d","project_name":"x"}}', "iam", ("name", "x")),
        # What an editor that knows only text under a key makes of it.
        (b'{"iam":"{\\"username\\":\\"u\\",\\"password\\":\\" p \\",\\"domain_name\\":\\"d\\"}"}', "iam", None),
    ],
)
def test_parse_secret__credentials__returns_them(
    secret: bytes, key: str | None, project: tuple[str, str] | None
) -> None:
    assert parse_secret(secret, key) == Credentials("u", " p ", "d", project)


@pytest.mark.parametrize(
    ("secret", "key", "found"),
    [
        (b'{"access_key":"AK-one","secret_key":"Sk-one"}', None, AccessKey("AK-one", "Sk-one")),
        (b'{"access_key":" AK-one\\n","secret_key":"Sk-one"}', None, AccessKey("AK-one", "Sk-one")),
        (
            b'{"access_key":"AK-one","secret_key":"Sk-one","security_token":null}',
            None,
            AccessKey("AK-one", "Sk-one"),
        ),
        (
            b'{"access_key":"AK-one","secret_key":"Sk-one","security_token":"t0ken+/="}',
            None,
            AccessKey("AK-one", "Sk-one", "t0ken+/="),
        ),
        (b'{"roma":{"access_key":"AK-one","secret_key":"Sk-one"}}', "roma", AccessKey("AK-one", "Sk-one")),
    ],
)
def test_parse_secret__access_key__returns_it(secret: bytes, key: str | None, found: AccessKey) -> None:
    assert parse_secret(secret, key) == SecretAccessKey(found, None)


def test_parse_secret__temporary_access_key_with_its_end__returns_both() -> None:
    secret = (
        b'{"access_key":"AK-one","secret_key":"Sk-one","security_token":"t0ken1","expires_at":"2025-11-23T16:00:00Z"}'
    )
    assert parse_secret(secret, None) == SecretAccessKey(AccessKey("AK-one", "Sk-one", "t0ken1"), END)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ('"access_key":"AK-one"', 'the access key in the secret has no text under "secret_key"'),
        ('"secret_key":"s3cr3t-one"', 'the access key in the secret has no text under "access_key"'),
        (
            '"security_token":"s3cr3t-one"',
            'the access key in the secret has no text under "access_key" and "secret_key"',
        ),
        ('"access_key":5,"secret_key":"s3cr3t-one"', 'the access key in the secret has no text under "access_key"'),
        (
            '"access_key":"AK-one","secret_key":["s3cr3t"]',
            'the access key in the secret has no text under "secret_key"',
        ),
        ('"access_key":"AK-one","secret_key":" "', 'the access key in the secret has no text under "secret_key"'),
        (
            '"access_key":"AK-one","secret_key":"s3cr3t-one","security_token":""',
            'the access key in the secret has no text under "security_token"',
        ),
        (
            '"access_key":"AK-one","secret_key":"s3cr3t one"',
            'the access key in the secret has characters that no access key has under "secret_key", so it was not used',
        ),
        (
            '"access_key":"<your s3cr3t>","secret_key":"s3cr3t-one"',
            'the access key in the secret has a placeholder under "access_key", so it was not used',
        ),
        (
            '"access_key":"AK-one","secret_key":"\u2026"',
            'the access key in the secret has a placeholder under "secret_key", so it was not used',
        ),
        (
            '"access_key":"s3cr3ts3cr3ts3cr3ts3cr3ts3cr3ts3cr3t1234","secret_key":"HPUA1234567890ABCDEF"',
            '"access_key" and "secret_key" in the secret look swapped, so they were not used',
        ),
        (
            '"access_key":"changeme","secret_key":"s3cr3t-one"',
            'the access key in the secret has a placeholder under "access_key", so it was not used',
        ),
        (
            '"access_key":"AK-one","secret_key":"s3cr3t-one","token":"MII"',
            "the secret contains both an access key and a token",
        ),
        (
            '"access_key":"AK-one","secret_key":"s3cr3t-one","password":"p"',
            "the secret contains both an access key and credentials",
        ),
        (
            '"access_key":"AK-one","secret_key":"s3cr3t-one","expires_at":"tomorrow"',
            '"expires_at" of the JSON secret is not a timestamp of the years 2000 to 2099',
        ),
        *(
            (
                f'"{access}":"AK-one","{secret}":"s3cr3t-one"',
                'the secret contains an access key under other names than "access_key" and "secret_key"',
            )
            for access, secret in [
                ("ak", "sk"),
                ("AK", "SK"),
                ("accessKey", "secretKey"),
                ("access-key-id", "secret-access-key"),
                ("AccessKeyId", "SecretAccessKey"),
                ("access", "secret"),
                ("HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK"),
            ]
        ),
    ],
)
def test_parse_secret__access_key_with_a_fault__names_the_field_and_no_value(members: str, message: str) -> None:
    with pytest.raises(CheckError) as caught:
        parse_secret(f"{{{members}}}".encode(), None)
    assert (caught.value.code, caught.value.message) == ("token_unavailable", message)
    assert "s3cr3t" not in str(caught.value.next_step)
    if "other names" in message or "no text" in message:
        assert '{"access_key": "…", "secret_key": "…"}' in str(caught.value.next_step)


@pytest.mark.parametrize("key", ["access_key", "secret_key", "security_token", "username", "password", "domain_name"])
def test_parse_secret__one_part_selected_by_the_url__is_refused(key: str) -> None:
    with pytest.raises(CheckError, match="selects one part of an access key or of credentials") as caught:
        parse_secret(b'{"access_key":"AK-one","secret_key":"Sk-one","username":"u","password":"p"}', key)
    assert "Take the # and the name after it out of the secret URL" in str(caught.value.next_step)
