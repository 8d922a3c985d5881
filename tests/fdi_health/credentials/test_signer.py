"""Signatures: the documented example, and the vendor's own signer as a second opinion."""

from __future__ import annotations

import random
import string
import time
from typing import Any

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer
from hypothesis import given
from hypothesis import strategies as st

from fdi_health.credentials.signer import AccessKey, sign

KEY = AccessKey("QTWAOYTTINDUT2QVKYUC", "MFyfvK41ba2giqM7Uio6PznpdUKGpownRZlmVmHc")
"""The vendor's documented example."""

NAMES = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=12).map(lambda name: f"X-{name}")
VALUES = st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=20)
HEADERS = st.dictionaries(NAMES, VALUES, max_size=4).filter(
    lambda headers: (
        len({name.lower() for name in headers}) == len(headers)
        and not {name.lower() for name in headers} & {"x-sdk-date", "x-security-token", "x-sdk-content-sha256"}
    )
)
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
PATHS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="%"), max_size=8), max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)
SECONDS = st.integers(0, 4_102_444_800)


def vendors_headers(
    key: AccessKey, method: str, path: str, query: list[tuple[str, str]], headers: dict[str, str], body: bytes, at: int
) -> dict[str, str]:
    """Return what the vendor's signer adds."""
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
    own = {"X-Sdk-Date": date} | ({"X-Security-Token": key.security_token} if key.security_token else {})
    request: Any = SdkRequest(
        method=method,
        host=headers["Host"],
        resource_path=path,
        query_params=list(query),
        header_params={**headers, **own},
        body=body,
    )
    signed = Signer(BasicCredentials(key.access_key, key.secret_key)).sign(request).header_params
    return {name: signed[name] for name in (*own, "Authorization")}


def test_sign__documented_example__has_the_documented_signature() -> None:
    headers = sign(
        KEY,
        "GET",
        "/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs",
        [("marker", "13551d6b-755d-4757-b956-536f674975c0"), ("limit", "2")],
        {"Content-Type": "application/json", "Host": "service.region.example.com"},
        b"",
        1_573_789_015,
    )
    assert headers == {
        "X-Sdk-Date": "20191115T033655Z",
        "Authorization": "SDK-HMAC-SHA256 Access=QTWAOYTTINDUT2QVKYUC, SignedHeaders=content-type;host;x-sdk-date, "
        "Signature=7be6668032f70418fcc22abc52071e57aff61b84a1d2381bb430d6870f4f6ebe",
    }


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "get"]),
    path=PATHS,
    query=st.lists(st.tuples(TEXT, TEXT), max_size=4),
    headers=HEADERS,
    body=st.binary(max_size=40),
    at=SECONDS,
    security_token=st.none() | st.text(string.ascii_letters + "+/=", min_size=1, max_size=40),
    secret_key=st.text(string.printable, min_size=1, max_size=40),
)
def test_sign__any_request__has_the_vendors_signature(
    method: str,
    path: str,
    query: list[tuple[str, str]],
    headers: dict[str, str],
    body: bytes,
    at: int,
    security_token: str | None,
    secret_key: str,
) -> None:
    key = AccessKey("AK-one", secret_key, security_token)
    headers = {"Host": "roma.cn-north-4.myhuaweicloud.com", **headers}
    ours = sign(key, method, path, query, headers, body, at)
    assert ours == vendors_headers(key, method, path, query, headers, body, at)


def test_sign__thousands_of_usual_requests__have_the_vendors_signature() -> None:
    draw = random.Random(15)  # noqa: S311 -- the same examples in every run

    def text(alphabet: str, longest: int) -> str:
        return "".join(draw.choices(alphabet, k=draw.randint(1, longest)))

    for _ in range(3000):
        key = AccessKey(
            text(string.ascii_uppercase + string.digits, 20), text(string.ascii_letters + string.digits, 40)
        )
        path = (
            f"/v2/{text(string.hexdigits, 32)}/fdi/instances/{text(string.ascii_letters + '-_', 36)}/statistics/tasks"
        )
        query = [(text(string.ascii_lowercase + "_-", 8), text(string.printable, 8)) for _ in range(draw.randint(0, 3))]
        headers = {
            "Host": f"{text(string.ascii_lowercase, 20)}:{draw.randint(1, 65535)}",
            "X-Project-Id": text("0a", 32),
        }
        at = draw.randint(0, 4_102_444_800)
        ours = sign(key, "GET", path, query, headers, b"", at)
        assert ours == vendors_headers(key, "GET", path, query, headers, b"", at)


def test_sign__project_header__is_a_signed_header() -> None:
    headers = sign(KEY, "GET", "/v2", [], {"Host": "roma.test", "X-Project-Id": "p"}, b"", 0)
    assert "SignedHeaders=host;x-project-id;x-sdk-date," in headers["Authorization"]


def test_sign__temporary_key__sends_and_signs_its_security_token() -> None:
    headers = sign(KEY._replace(security_token="t0"), "GET", "/v2", [], {"Host": "roma.test"}, b"", 0)
    assert headers["X-Security-Token"] == "t0"
    assert "SignedHeaders=host;x-sdk-date;x-security-token," in headers["Authorization"]


@pytest.mark.parametrize("path", ["/a/b", "/a/b/"])
def test_sign__slash_at_the_end_of_the_path__makes_no_difference(path: str) -> None:
    assert sign(KEY, "GET", path, [], {"Host": "h"}, b"", 0) == sign(KEY, "GET", "/a/b", [], {"Host": "h"}, b"", 0)


@pytest.mark.parametrize("path", ["/id%20one", "/id one"])
def test_sign__encoded_path__is_signed_like_the_decoded_one(path: str) -> None:
    assert sign(KEY, "GET", path, [], {"Host": "h"}, b"", 0) == sign(KEY, "GET", "/id one", [], {"Host": "h"}, b"", 0)


def test_access_key__repr__hides_everything() -> None:
    assert repr(AccessKey("AK-one", "s3cr3t", "t0ken")) == "AccessKey()"
