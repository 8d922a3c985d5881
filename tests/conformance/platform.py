"""The suite that every entry point passes: the same response, byte for byte, as the WSGI application gives.

The test class of an entry point inherits `PlatformSuite` and has a fixture `entry_point` that turns a `Question` into
an `Answer`; requests that its platform answers itself are listed in `not_ours`.
"""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol
from urllib.parse import unquote

import pytest
from werkzeug.test import run_wsgi_app

from handlers.application import Application
from handlers.triggers.wsgi import wsgi_application
from simulator import Simulator
from tests.conftest import PROJECT_ID, TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "conformance-key-0123456789"
PLAYS = {"payments": "doc_example", "orders": "healthy", "sandbox": "no_tasks", "crm": "refuses_token"}
COMPARED = (
    "fdi-verdict",
    "content-type",
    "cache-control",
    "vary",
    "x-content-type-options",
    "allow",
    "www-authenticate",
    "location",
)
_JSON = "application/json"


@dataclass(frozen=True)
class Question:
    """A request as a client sends it; `target` is the raw path and query."""

    method: str = "GET"
    target: str = "/"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]


@dataclass(frozen=True)
class Answer:
    """What came back; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def comparable(self) -> tuple[int, dict[str, str], bytes]:
        """Return what must be the same everywhere, without the times, which can't be."""
        shown = {name: self.headers[name] for name in COMPARED if name in self.headers}
        body = re.sub(rb'"checked_at":"[^"]*"', b'"checked_at":"-"', self.body)
        return self.status, shown, re.sub(rb'("(?:age|duration)_seconds"):[0-9.]+', rb"\1:-", body)


class EntryPoint(Protocol):
    """One entry point."""

    def __call__(self, question: Question) -> Answer:
        """Ask it."""
        ...


def post(body: bytes, content_type: str | None = _JSON) -> Question:
    return Question("POST", headers={"Content-Type": content_type} if content_type else {}, body=body)


def with_headers(**headers: str) -> Question:
    return Question(headers={name.replace("_", "-"): value for name, value in headers.items()})


QUESTIONS: dict[str, Question] = {
    **{f"{method} /": Question(method) for method in ("GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH")},
    **{
        f"GET {target}": Question(target=target)
        for target in (
            "/health",
            "/health/",
            "//health",
            "/live",
            "/ready",
            "/nowhere",
            "/robots.txt",
            "/favicon.ico",
            "/HEALTH",
            "/he%61lth",
            "/health%2F..",
            "/h%C3%A9",
            "/%ff",
            "/?instance=orders",
            "/?instance=orders&instance=crm",
            "/?instance=orders,crm",
            "/?instance=orders%2Ccrm",
            "/?instance=%6Frders",
            "/?instance=id-orders&x=1&cache=b%26uster",
            "/?instance=",
            "/?instance=nope",
            "/?instance=..",
            "/?instance=%2e%2e%2fx",
            "/?instance=a%3Fb%3D1",
            "/?instance=a%23f",
            "/?instance=h%C3%A9",
            "/?instance=%ff",
            "/?instance=a+b",
            "/?instance=orders,",
            "/?instnce=orders",
            "/?instance[]=orders",
            "/?instance",
            "/?",
            "/?fail_on=none",
            "/?fail_on=unknown&instance=payments",
            "/?fail_on=",
            "/?fail_on=everything",
            "/?deadline=0",
            "/?deadline=2.5",
            "/?format=json",
            "/?format=xml",
            "/live?instance=nope",
            f"/?x={'a' * 3000}",
        )
    },
    "HEAD healthy": Question("HEAD", "/?instance=orders"),
    "HEAD nowhere": Question("HEAD", "/nowhere"),
    "OPTIONS with an origin": Question("OPTIONS", headers={"Origin": "https://a.example"}),
    "POST /live": Question("POST", "/live"),
    "POST ours": post(b'{"instance":"orders"}'),
    "POST ours, a list": post(b'{"instance":["orders","crm"],"fail_on":"none"}'),
    "POST ours as octet-stream": post(b'{"instance":"orders"}', "application/octet-stream"),
    "POST ours as text": post(b'{"instance":"orders"}', "text/plain; charset=utf-8"),
    "POST ours and a query": Question("POST", "/?instance=crm", body=b'{"instance":"orders"}'),
    "POST ours, misspelt": post(b'{"instnce":"orders"}'),
    "POST ours, malformed": post(b'{"instance":"a b"}'),
    "POST nothing as JSON": post(b""),
    "POST white space": post(b" \r\n"),
    "POST somebody's": post(b'{"instance":"orders","alert":"x"}'),
    "POST a form": post(b"instance=orders&a=b", "application/x-www-form-urlencoded"),
    "POST no UTF-8": post(b"\xff\xfe\x00{"),
    "POST deep": post(b"[" * 20_000),
    "POST all that is allowed": post(b" " * 64 * 1024),
    "POST too much": post(b" " * (64 * 1024 + 1)),
    "PUT with a body": Question("PUT", body=b'{"instance":"orders"}'),
    "Accept anything": with_headers(Accept="*/*"),
    "Accept HTML": with_headers(Accept="text/html;q=0.9"),
    "Accept nonsense": with_headers(Accept=";;,/"),
    "accept in lower case": with_headers(accept="application/json"),
    "key": with_headers(X_Api_Key=KEY),
    "key in capitals": with_headers(**{"X-API-KEY": KEY}),
    "key with a tab": with_headers(X_Api_Key="wrong\tkey-0123456789abc"),
    "key in lower case": with_headers(**{"x-api-key": KEY}),
    "wrong key": with_headers(X_Api_Key="wrong"),
    "bearer": with_headers(authorization=f"Bearer {KEY}"),
    "BEARER": with_headers(AUTHORIZATION=f"BEARER {KEY}"),
    "basic": with_headers(Authorization="Basic " + base64.b64encode(f"u:{KEY}".encode()).decode()),
    "platform's bearer": with_headers(Authorization="Bearer eyJh.eyJl.c2ln"),
    "key and an unknown instance": Question(target="/?instance=nope", headers={"X-Api-Key": KEY}),
    "range": with_headers(Range="bytes=0-1"),
    "scrape timeout": with_headers(X_Prometheus_Scrape_Timeout_Seconds="9"),
}


def settings_for(upstream: Simulator) -> dict[str, str]:
    """Return the settings that every entry point is tested with; the upstream plays what they name."""
    for name, play in PLAYS.items():
        upstream.play(f"id-{name}", play)
    return {
        "FDI_ENDPOINT": upstream.url,
        "FDI_PROJECT_ID": PROJECT_ID,
        "FDI_INSTANCES": ",".join(f"{name}=id-{name}" for name in PLAYS),
        "FDI_TOKEN": "env://ROMA_TOKEN",
        "ROMA_TOKEN": TOKEN,
        "FDI_CALLERS": "env://CALLERS",
        "CALLERS": json.dumps({"prometheus": KEY}),
        "THREADS": "64",
    }


def environ_of(question: Question) -> dict[str, Any]:
    """Return the WSGI environ that a server makes of a request (PEP 3333)."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": question.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(question.path, encoding="latin-1"),
        "QUERY_STRING": question.query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(question.body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if question.body:
        environ["CONTENT_LENGTH"] = str(len(question.body))
    for name, value in question.headers.items():
        key = name.upper().replace("-", "_")
        environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    return environ


def over_wsgi(application: Application) -> EntryPoint:
    """Return the entry point that all others are compared with."""

    def ask(question: Question) -> Answer:
        content, status, headers = run_wsgi_app(wsgi_application(application), environ_of(question), buffered=True)
        return Answer(int(status[:3]), {name.lower(): value for name, value in headers.items()}, b"".join(content))

    return ask


class PlatformSuite:
    """Inherit it and give it an `entry_point`. One upstream and one process serve the whole suite."""

    not_ours: ClassVar[frozenset[str]] = frozenset()

    @pytest.fixture(scope="class")
    @classmethod
    def upstream(cls) -> Iterator[Simulator]:
        with Simulator(tokens=[TOKEN], project_id=PROJECT_ID) as simulator:
            yield simulator

    @pytest.fixture(scope="class")
    @classmethod
    def wsgi(cls, upstream: Simulator) -> Iterator[EntryPoint]:
        application = Application(settings_for(upstream))
        yield over_wsgi(application)
        application.close()

    def test_platform__answers_as_wsgi_does(self, entry_point: EntryPoint, wsgi: EntryPoint, question: str) -> None:
        asked = QUESTIONS[question]
        assert entry_point(asked).comparable() == wsgi(asked).comparable()

    def test_platform__responses_are_complete(self, entry_point: EntryPoint) -> None:
        answer = entry_point(Question(target="/?instance=orders", headers={"X-Api-Key": KEY}))
        assert answer.status == 200
        assert answer.headers["fdi-verdict"] == "healthy"
        assert json.loads(answer.body)["instances"][0]["name"] == "orders"
