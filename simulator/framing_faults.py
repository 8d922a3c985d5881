"""Responses with a broken or unusual framing or content coding around a healthy document."""

from __future__ import annotations

import gzip
import json
import zlib

from simulator.documented_responses import HEALTHY
from simulator.responses import (
    Behaviour,
    End,
    Headers,
    LazyResponse,
    Response,
    body_response,
    head_bytes,
    raw_response,
    response_bytes,
)

_BODY = json.dumps(HEALTHY).encode()
_GZIPPED = gzip.compress(_BODY, mtime=0)
_JSON = ("Content-Type", "application/json")
_LENGTH = ("Content-Length", str(len(_BODY)))
_CHUNKED = ("Transfer-Encoding", "chunked")
_ONE_CHUNK = b"%x\r\n%b\r\n" % (len(_BODY), _BODY)
_LAST_CHUNK = b"0\r\n\r\n"
_BOMB_MEBIBYTES = 64


def _framed(headers: Headers, body: bytes, end: End = "keep") -> Response:
    """Return a 200 with exactly these headers after Content-Type, and these bytes as they are."""
    return raw_response(head_bytes(200, (_JSON, *headers)) + body, end)


def _encoded(coding: str, body: bytes) -> Response:
    return body_response(body, headers=(("Content-Encoding", coding),))


def _gzip_bomb() -> Response:
    packer = zlib.compressobj(level=9, wbits=31)
    mebibyte = b" " * (1024 * 1024)
    parts = [packer.compress(mebibyte) for _ in range(_BOMB_MEBIBYTES)]
    return _encoded("gzip", b"".join((*parts, packer.compress(_BODY), packer.flush())))


def _one_byte_chunks() -> Response:
    padded = b" " * (250 * 1024) + _BODY
    chunks = b"".join(b"1\r\n%b\r\n" % padded[place : place + 1] for place in range(len(padded)))
    return _framed((_CHUNKED,), chunks + _LAST_CHUNK)


def _folded_headers() -> Response:
    folded = tuple((f"X-Filler-{number}", "f\r\n " * 16_000 + "f") for number in range(97))
    return _framed((*folded, _LENGTH), _BODY)


def _interim(status: int, times: int) -> Response:
    head = head_bytes(status, (("Link", "</style.css>; rel=preload"),))
    return raw_response(head * times + response_bytes(200, _BODY))


FRAMING_FAULTS: dict[str, Behaviour] = {
    # C46: content codings, true and false
    "gzip_real": _encoded("gzip", _GZIPPED),  # fine
    "gzip_mislabelled": _encoded("gzip", _BODY),
    "gzip_truncated": _encoded("gzip", _GZIPPED[: len(_GZIPPED) // 2]),
    "gzip_bomb": LazyResponse(_gzip_bomb),  # 65 KB that unpack to 64 MiB of white space and a healthy document
    "encoding_br": _encoded("br", _BODY),  # a coding nobody asked for, and untrue: the body is plain
    "encoding_identity": _encoded("identity", _BODY),  # fine
    # Chunks: case C47
    "chunked_ok": _framed((_CHUNKED,), _ONE_CHUNK + _LAST_CHUNK),  # fine
    "chunked_bad_size": _framed((_CHUNKED,), b"zz\r\n" + _BODY + b"\r\n" + _LAST_CHUNK),
    "chunked_eof": _framed((_CHUNKED,), _ONE_CHUNK, "close"),  # the document is whole, the last chunk never comes
    "chunked_and_length": _framed((_CHUNKED, _LENGTH), _ONE_CHUNK + _LAST_CHUNK),  # two framings that disagree
    # Lengths: case C47
    "content_length_twice_differing": _framed((_LENGTH, ("Content-Length", str(len(_BODY) - 1))), _BODY),
    "content_length_negative": _framed((("Content-Length", "-1"),), _BODY),
    "content_length_word": _framed((("Content-Length", "many"),), _BODY),
    "content_length_short": _framed((("Content-Length", str(len(_BODY) - 20)),), _BODY),  # the rest follows unannounced
    "no_length_close": _framed((), _BODY, "close"),  # fine: the end of the connection ends the body
    "extra_bytes_after_body": _framed(
        (_LENGTH,), _BODY + response_bytes(200, _BODY)
    ),  # the response to the next request?
    # C47: status line and headers
    "header_without_colon": raw_response(
        response_bytes(200, _BODY).replace(b"\r\n", b"\r\nthis line has no colon\r\n", 1)
    ),
    "status_line_garbage": raw_response(b"ROMA says hello\r\n" + response_bytes(200, _BODY), "close"),
    "http_0_9": raw_response(_BODY, "close"),  # a body and nothing else
    "http_1_0": raw_response(response_bytes(200, _BODY).replace(b"HTTP/1.1", b"HTTP/1.0", 1), "close"),  # fine
    "huge_header": _framed((("X-Filler", "f" * (100 * 1024)), _LENGTH), _BODY),  # one header of 100 KiB
    "many_headers": _framed((*((f"X-Filler-{number}", "f") for number in range(1000)), _LENGTH), _BODY),
    # A value holding line ends: a header smuggled in by CR LF, then a bare LF and a bare CR
    "crlf_in_header": _framed(
        (
            ("X-Request-Id", "one\r\nSet-Cookie: smuggled=1"),
            ("X-Note", "two\nX-Smuggled: 1"),
            ("X-Rest", "three\rX: 1"),
            _LENGTH,
        ),
        _BODY,
    ),
    # H01: dear to decode
    "one_byte_chunks": LazyResponse(_one_byte_chunks),  # 250 KiB, in chunks of a byte
    "folded_headers": LazyResponse(_folded_headers),  # 97 headers of 65 kB, on 16,000 lines each
    # D06, D07: interim responses before the final one
    "interim_102": _interim(102, 1),  # fine
    "interim_103": _interim(103, 1),  # fine
    "interim_100_many": _interim(100, 1000),
    "interim_103_many": _interim(103, 1000),
    # D01: a second response that nobody asked for
    "stray_later": Response(((0.0, response_bytes(200, _BODY)), (0.03, response_bytes(200, _BODY)))),  # fine
}
