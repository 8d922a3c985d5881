"""What a response that is not statistics means, by its code, its status and its form."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdi_health.errors import NEXT_STEPS
from fdi_health.roma.error_responses import ErrorResponse, is_html_page, map_error_response

if TYPE_CHECKING:
    from fdi_health.roma.error_codes import MappedError

ENDPOINT = "https://roma.cn-north-4.myhuaweicloud.com"
PAGE = b"<html><body>Please log in</body></html>"
PREFIXES = ["APIG", "APIGW", "APIC"]


def explain(
    status: int, document: Any = None, body: bytes = b"", error_msg: str | None = None, **headers: str
) -> MappedError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    content = json.dumps(document).encode() if document is not None else body
    return map_error_response(ErrorResponse(status, named, content, document, ENDPOINT), error_msg)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(
    ("number", "status", "code", "words"),
    [
        ("0101", 404, "api_not_found", "FDI_ENDPOINT"),  # D37
        ("0101", 400, "api_not_found", "FDI_ENDPOINT"),
        ("0103", 404, "upstream_error", "ticket"),
        ("0104", 400, "upstream_error", "ticket"),
        ("0105", 500, "upstream_error", "ticket"),
        ("0106", 400, "upstream_error", "ticket"),
        ("0201", 400, "bad_request", None),
        ("0201", 413, "bad_request", "header size"),
        ("0201", 414, "bad_request", "header size"),
        ("0201", 494, "blocked", "header size"),
        ("0201", 504, "upstream_error", None),
        ("0301", 401, "token_rejected", None),
        ("0301", 500, "token_rejected", None),
        ("0302", 403, "blocked", "allow or deny list"),  # D38
        ("0303", 401, "token_rejected", "FDI_ENDPOINT"),
        ("0304", 403, "forbidden", "FDI_ENDPOINT"),
        ("0305", 401, "token_rejected", "FDI_ENDPOINT"),
        ("0306", 403, "blocked", "IP address"),
        ("0307", 401, "token_rejected", "changed rights"),
        ("0308", 429, "throttled", None),
        ("0309", 403, "forbidden", "quota"),
        ("0310", 403, "forbidden", "unfrozen"),
        ("0311", 401, "upstream_error", "ticket"),
        ("0606", 503, "upstream_error", "Ask again"),
        ("0607", 400, "upstream_error", "Ask again"),
        ("0801", 500, "upstream_error", "Ask again"),
        ("0802", 403, "blocked", "region"),
        ("1005", 403, "forbidden", None),
    ],
)
def test_gateway_code__has_a_code_and_a_step_of_its_own(
    prefix: str, number: str, status: int, code: str, words: str | None
) -> None:
    error_code = f"{prefix}.{number}"
    found = explain(status, {"error_code": error_code, "error_msg": "m"})
    assert found.code == code
    assert found.message.endswith(f"(HTTP {status})") is (code != "token_rejected")
    assert words is None or words in str(found.next_step)


@pytest.mark.parametrize("error_code", ["APIG.9999", "apig.0101", "XAPIG.0101", "APIG.01011", "ROMA.0101", 101, None])
def test_code_that_is_not_in_the_tables__falls_back_to_the_status(error_code: Any) -> None:
    assert explain(404, {"error_code": error_code}).code == "instance_not_found"


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"404 page not found", "api_not_found"), (b"", "api_not_found"), (b'{"message":"no"}', "api_not_found")],
)
def test_404_that_is_not_of_the_vendor__is_not_a_missing_instance(body: bytes, code: str) -> None:
    assert explain(404, body=body).code == code


def test_404_in_json_of_somebody_else__is_not_a_missing_instance() -> None:
    assert explain(404, {"message": "Not Found"}).code == "api_not_found"


@pytest.mark.parametrize("status", [407, 418, 421, 451, 511])
@pytest.mark.parametrize("body", [b"", PAGE, b"denied"])
def test_status_of_a_proxy__is_blocked(status: int, body: bytes) -> None:  # D39
    found = explain(status, body=body)
    assert found.code == "blocked"
    assert found.message.endswith(f"(HTTP {status})")


def test_statuses_of_proxies__each_have_a_step_of_their_own() -> None:  # D39
    steps = [explain(status).next_step for status in (407, 418, 421, 431, 451, 511)]
    assert len(set(steps)) == 6


@pytest.mark.parametrize("status", [200, 202, 400, 402, 403, 404, 405, 406, 409, 410, 422, 499])
def test_html_page__is_blocked(status: int) -> None:  # D40
    assert explain(status, body=PAGE).code == "blocked"


@pytest.mark.parametrize(
    ("status", "code"), [(401, "token_rejected"), (408, "bad_request"), (429, "throttled"), (502, "upstream_error")]
)
def test_html_page_with_a_status_that_says_more__keeps_its_code(status: int, code: str) -> None:
    assert explain(status, body=PAGE).code == code


def test_known_code__decides_before_the_label_html() -> None:
    assert explain(403, {"error_code": "APIG.1005"}, Content_Type="text/html").code == "forbidden"


@pytest.mark.parametrize("scheme", ["Basic realm=x", "NTLM", "Negotiate", 'Bearer, digest realm="x"'])
def test_401_that_asks_for_a_password__is_blocked(scheme: str) -> None:
    assert explain(401, body=PAGE, WWW_Authenticate=scheme).code == "blocked"


@pytest.mark.parametrize("scheme", ["Keystone uri=x", "Bearer", "", "BasicX"])
def test_401_that_asks_for_no_password__is_a_refused_token(scheme: str) -> None:
    assert explain(401, body=PAGE, WWW_Authenticate=scheme).code == "token_rejected"


def test_401_of_the_vendor__is_a_refused_token() -> None:
    found = explain(401, {"error_msg": "no"}, WWW_Authenticate="Basic realm=x")
    assert (found.code, found.next_step) == ("token_rejected", None)


def test_403_without_a_code__may_be_a_proxy() -> None:
    assert "proxy" in str(explain(403, body=b"denied").next_step)
    assert explain(403, {"error_msg": "no"}).next_step is None


@pytest.mark.parametrize(
    "location",
    [
        "https://login.example/",
        "//login.example/",
        "http://LOGIN.example",
        "https://roma.cn-north-4.myhuaweicloud.com@evil.example/",
        " https://login.example/ ",
    ],
)
@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_redirect_to_another_host__is_blocked(status: int, location: str) -> None:  # D39
    assert explain(status, Location=location).code == "blocked"


@pytest.mark.parametrize(
    "location",
    [
        "",
        "/login",
        "?x=1",
        "https://ROMA.cn-north-4.myhuaweicloud.com./x",
        f"{ENDPOINT}:8443/",
        "mailto:x",
        "http://[x",
    ],
)
def test_redirect_to_the_same_host__is_an_upstream_error(location: str) -> None:
    assert explain(302, Location=location).code == "upstream_error"


@pytest.mark.parametrize(
    "text",
    [
        "Request Header Or Cookie Too Large",
        "Size of a request header field exceeds server limit.",
        "Request header is too large",
        "The size of the request headers is too long.",
        "Bad Request - Request Too Long",
        "HTTP header is larger than 8192 bytes.",
        "Request header fields too large",
        "too big header",
    ],
)
@pytest.mark.parametrize("form", ["{}", "<html><body><h1>{}</h1></body></html>", '{{"message": "{}"}}'])
def test_400_about_large_headers__is_the_tokens_length(text: str, form: str) -> None:  # D40
    found = explain(400, body=form.format(text).encode())
    assert found.code == "blocked"
    assert "the token is too long" in found.message


@pytest.mark.parametrize("text", ["header", "too large", "The header is wrong. The body is too large.", "Bad Request"])
def test_400_about_something_else__is_a_bad_request(text: str) -> None:
    assert explain(400, body=text.encode()).code == "bad_request"


def test_0201_about_large_headers__is_the_tokens_length() -> None:
    found = explain(400, {"error_code": "APIG.0201", "error_msg": "request header too large"})
    assert found.code == "blocked"


@pytest.mark.parametrize("status", [0, 99, 100, 101, 204, 206, 600, 999])
def test_status_that_says_nothing__is_an_invalid_response(status: int) -> None:
    assert explain(status).code == "invalid_response"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/html", b""),
        ("Text/HTML; charset=utf-8", b"denied"),
        ("application/xhtml+xml", b"x"),
        (None, b"<html>"),
        ("application/json", b"<!DOCTYPE html>"),
        ("application/json", b"\xef\xbb\xbf \r\n\t<!doctype HTML>"),
        ("text/plain", b"<HTML lang=en>"),
        (None, b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "x">'),
        (None, b"<!-- padding -->\n<html>"),
    ],
)
def test_html_page__is_known_by_its_type_or_its_beginning(content_type: str | None, body: bytes) -> None:
    assert is_html_page(content_type, body)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (None, b""),
        ("text/plain", b"OK"),
        ("application/json", b'{"a": "<html>"}'),
        ("text/htmlx", b"x"),
        (None, b"<htmlx>"),
        (None, b"<xml/>"),
        (None, b"x <html>"),
    ],
)
def test_other_body__is_not_an_html_page(content_type: str | None, body: bytes) -> None:
    assert not is_html_page(content_type, body)


CODES = st.one_of(
    st.none(),
    st.builds("{}.{:04d}".format, st.sampled_from([*PREFIXES, "FDI", "ROMA"]), st.integers(0, 9999)),
    st.text(max_size=8),
    st.integers(),
)
DOCUMENTS = st.one_of(
    st.none(),
    st.lists(st.integers(), max_size=1),
    st.fixed_dictionaries({}, optional={"error_code": CODES, "error_msg": st.text(max_size=20)}),
)


@given(
    st.integers(0, 999),
    DOCUMENTS,
    st.one_of(st.just(PAGE), st.binary(max_size=40)),
    st.one_of(st.none(), st.text(max_size=40)),
    st.text(max_size=30),
    st.text(max_size=30),
)
def test_any_response__has_a_known_code_and_names_its_status(
    status: int, document: Any, body: bytes, error_msg: str | None, location: str, scheme: str
) -> None:
    found = explain(status, document, body, error_msg, Location=location, WWW_Authenticate=scheme)
    assert found.code in NEXT_STEPS
    assert (f"(HTTP {status})" in found.message) is (found.code != "token_rejected")
    error_code = document.get("error_code") if isinstance(document, dict) else None
    assert ("FDI_PROJECT_ID" in (found.next_step or NEXT_STEPS[found.code])) is (error_code == "FDI.3039")


def test_response_of_angle_brackets__is_searched_at_once() -> None:
    body = b"<" * 16_000
    began = time.thread_time()
    map_error_response(ErrorResponse(400, {"Content-Type": "text/html"}, body, None, "https://roma.example"), None)
    assert time.thread_time() - began < 0.5
