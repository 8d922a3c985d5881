"""The page for people: who sees what, that foreign text stays text, its headers, its size and its well-formedness."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdi_health.clock import now
from fdi_health.errors import CheckError
from fdi_health.evaluation import evaluate, hide_details, name_tasks
from fdi_health.models import Instance, ProbeResult, Statistics, TaskCounts
from fdi_health.policy import Mute, Policy
from fdi_health.redaction import redact
from fdi_health.tasks import AbnormalTask, TaskNames
from handlers.status_page import MAX_FULL_ROWS, Place, render
from schemas.query import Query
from simulator import MonitoredTask
from tests.conftest import TOKEN
from tests.servers import ROOT
from tests.status_pages import HOSTILE, KEY, KEYED, TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from werkzeug.test import TestResponse

    from fdi_health.models import Verdict
    from simulator import Simulator
    from tests.conftest import Function

PLAYS = {"healthy": "healthy", "degraded": "no_tasks", "unhealthy": "doc_example", "unknown": "refuses_token"}
BASIC = {"Authorization": "Basic " + base64.b64encode(f":{KEY}".encode()).decode()}
CONSOLE = "https://console.huaweicloud.com/roma/"
VOID = {"meta", "br"}


class Page(HTMLParser):
    """Reads a page as strictly as it is written: every element but the void ones is closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.comments: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def text(self, tag: str | None = None) -> str:
        """Return what people read: all text but the style and the title, or that of one kind of element."""
        return " ".join(
            "".join(
                data for place, data in self.texts if (place == tag if tag else place not in ("style", "title"))
            ).split()
        )

    def links(self) -> list[str]:
        return [value for _, attrs in self.tags for name, value in attrs.items() if name in ("href", "src") and value]


def page_of(response: TestResponse) -> Page:
    assert response.content_type == "text/html; charset=utf-8"
    check_policy(response)
    return Page(response.text)


def check_policy(response: TestResponse) -> None:
    """Check what is true of every page: nothing runs, nothing comes from elsewhere, and the style is the hashed one."""
    styles = re.findall("<style>(.*?)</style>", response.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256("".join(styles).encode()).digest()).decode()
    assert len(styles) == 1
    assert response.headers["Content-Security-Policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"] == "no-store"
    page = Page(response.text)
    assert not {"script", "link", "iframe", "img", "form", "base", "object"} & {tag for tag, _ in page.tags}
    names = {name for _, attrs in page.tags for name in attrs}
    assert not [name for name in names if name == "style" or name.startswith("on")]
    elsewhere = {link for link in page.links() if ":" in link or link.startswith("//")}
    assert elsewhere <= {CONSOLE}
    assert not page.comments
    assert "url(" not in styles[0]
    assert "@import" not in styles[0]


@pytest.fixture
def keyed(function: Callable[..., Function]) -> Callable[..., Function]:
    """Return a factory of functions with a caller's key."""
    return lambda *plays, **settings: function(*plays, **{**KEYED, **settings})


# ---- who sees what


@pytest.mark.parametrize("status", PLAYS)
def test_page__for_every_verdict__is_200_with_the_marker_at_its_beginning(
    keyed: Callable[..., Function], status: str
) -> None:
    checked = keyed(PLAYS[status])
    marker = "FDI-OK" if status in ("healthy", "degraded") else "FDI-NOT-OK"
    for path, headers in (("/status", {}), ("/status/details", BASIC)):
        response = checked.get(path, headers=headers)
        assert (response.status_code, response.headers["FDI-Verdict"]) == (200, status)
        title = page_of(response).text("title")
        assert title.startswith(f"{marker} {status}: ")
        assert f"<title>{title}</title>" in response.text[:512]
        assert len(re.findall("FDI-(?:NOT-)?OK", response.text, re.IGNORECASE)) == 1
        assert response.headers["Refresh"] == "30"


def test_anonymous__sees_the_verdict_and_the_counts_by_status_only(
    upstream: Simulator, keyed: Callable[..., Function]
) -> None:
    upstream.monitors.put("id-one", TASKS)
    text = page_of(keyed("doc_example", "refuses_token").get("/status")).text()
    assert "1 of 2 instances unhealthy, 1 unknown (token_rejected)" in text
    assert "1 unhealthy 1 unknown of 2 instances" in text
    assert not re.search(r"\bone\b|\btwo\b|id-one|nightly|orders|running|completed|APIGW|console|0\.1\.0", text)
    assert "which asks for a key" in text


def test_key__shows_names_counts_errors_steps_owners_and_remarks(
    upstream: Simulator, keyed: Callable[..., Function]
) -> None:
    upstream.monitors.put("id-one", TASKS)
    page = page_of(keyed("doc_example", "refuses_token", "healthy").get("/status/details", headers=BASIC))
    text = page.text()
    for shown in (
        "2 abnormal tasks in one (orders-sync, nightly-export); two unknown (token_rejected)",
        "Tasks: 2 abnormal, 6 running, 16 completed, 24 terminated",
        "orders-sync REALTIME, shop to warehouse, at the WRITER, failed 2025-11-28 00:00:02 UTC, 7 dirty records",
        "Duplicate entry for key PRIMARY",
        "Next: Open this instance in the ROMA Connect console",
        "Who can mend it: the team of the integration tasks.",
        "HTTP 401, APIGW.0301",
        "What healthy does not mean.",
    ):
        assert shown in text, shown
    assert CONSOLE in page.links()
    assert text.index("orders-sync REALTIME") < text.index("nightly-export TIMING")


def test_instances__are_listed_worst_first(keyed: Callable[..., Function]) -> None:
    page = page_of(keyed("healthy", "no_tasks", "refuses_token", "doc_example").get("/status/details", headers=BASIC))
    rows = [str(attrs["class"]) for tag, attrs in page.tags if tag == "tr" and "class" in attrs]
    assert rows == ["unhealthy", "unknown", "degraded", "healthy"]


def test_anonymous_details__shows_details_to_everybody_without_remarks(
    upstream: Simulator, function: Callable[..., Function]
) -> None:
    upstream.monitors.put("id-one", TASKS)
    checked = function("doc_example")
    for path in ("/status", "/status/details"):
        text = page_of(checked.get(path)).text()
        assert "orders-sync" in text
        assert "Duplicate entry" not in text


def test_details__without_keys__shows_the_verdict_and_how_to_set_keys(function: Callable[..., Function]) -> None:
    response = function("doc_example", FDI_ANONYMOUS="verdict").get("/status/details")
    text = page_of(response).text()
    assert response.status_code == 200
    assert "FDI_CALLERS" in text
    assert not re.search(r"\bone\b", text)


@pytest.mark.parametrize(
    ("path", "settings", "headers"),
    [
        ("/status/details", {}, {}),
        ("/status/details", {"FDI_ANONYMOUS": "details"}, {}),
        ("/status/details", {}, {"Authorization": "Bearer a.b.c"}),
        ("/status/details", {}, {"X-Api-Key": "wrong"}),
        ("/status", {}, {"X-Api-Key": "wrong"}),
        ("/status", {"FDI_ANONYMOUS": "refuse"}, {}),
    ],
)
def test_caller_without_a_valid_key__is_asked_for_one_by_basic_first(
    keyed: Callable[..., Function], path: str, settings: dict[str, str | None], headers: dict[str, str]
) -> None:
    response = keyed("doc_example", **settings).get(path, headers=headers)
    page = page_of(response)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith('Basic realm="fdi-health", charset="UTF-8"')
    assert "Refresh" not in response.headers
    assert "A key is missing or wrong" in page.text()
    assert not re.search(r"\bone\b", page.text())


# ---- requests


@pytest.mark.parametrize("path", ["/status", "/status/", "/status/details", "/status/details/"])
def test_links__are_relative_and_lead_to_paths_of_ours(function: Callable[..., Function], path: str) -> None:
    checked = function("doc_example")
    links = [link for link in page_of(checked.get(path)).links() if link != CONSOLE and not link.startswith("#")]
    assert links
    for link in links:
        target = urlsplit(urljoin(f"http://host/stage{path}", link))
        assert target.path.startswith("/stage/"), link
        assert checked.get(f"{target.path.removeprefix('/stage')}?{target.query}").status_code in (200, 503), link


def test_head__is_get_without_a_body(keyed: Callable[..., Function]) -> None:
    checked = keyed("doc_example")
    for path in ("/status", "/status/details", "/status?instance=nope"):
        get, head = checked.get(path), checked.client.head(path)
        assert (head.status_code, head.content_type, head.data) == (get.status_code, get.content_type, b"")
        assert head.headers["Content-Security-Policy"] == get.headers["Content-Security-Policy"]
    assert checked.client.post("/status").status_code == 405
    assert checked.client.options("/status").headers["Allow"] == "GET, HEAD, OPTIONS"


def test_parameters__work_and_are_kept_in_links(upstream: Simulator, function: Callable[..., Function]) -> None:
    upstream.monitors.put("id-two", TASKS)
    checked = function("healthy", "doc_example")
    one = checked.get("/status?instance=one")
    assert one.headers["FDI-Verdict"] == "healthy"
    assert "only the instances that its address names" in page_of(one).text()
    page = page_of(checked.get("/status?instance=one,two&fail_on=none&deadline=2.5&explain=1&x=FDI-OK%22%3E"))
    assert "1 more" in page.text()
    assert "gets HTTP 200" in page.text()
    assert "./status?instance=one,two&fail_on=none&deadline=2.5&explain=1&refresh=off" in page.links()
    drill = checked.get("/status?instance=one&fail_on=healthy")
    assert (drill.status_code, "FDI-NOT-OK healthy: none" in drill.text) == (200, True)
    assert "explain=none" in "".join(page_of(checked.get("/status?explain=none")).links())
    assert "fail_on=unknown" in "".join(page_of(checked.get("/status?fail_on=unknown")).links())


def test_refresh_off__stops_the_refresh_and_offers_it_again(function: Callable[..., Function]) -> None:
    checked = function("healthy")
    paused = checked.get("/status?refresh=off")
    assert "Refresh" not in paused.headers
    assert "./status" in page_of(paused).links()
    assert "./status?refresh=off" in page_of(checked.get("/status")).links()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/status?instnce=a", 400),
        ("/status?format=json", 400),
        ("/status?instance=nope", 404),
        ("/status?deadline=x", 400),
    ],
)
def test_wrong_request__is_a_page_with_its_own_status(
    function: Callable[..., Function], path: str, status: int
) -> None:
    response = function("healthy").get(path)
    assert response.status_code == status
    assert "FDI-Verdict" not in response.headers
    assert page_of(response).text("title").startswith("FDI-NOT-OK ")
    assert "Refresh" not in response.headers


def test_broken_settings__are_a_page_with_every_fault(function: Callable[..., Function]) -> None:
    checked = function("healthy", FDI_CACHE_SECONDS="x", FDI_INSTANCES="a b=1", **{"FDI_<b>": "1"})
    for path in ("/status", "/status/details"):
        response = checked.get(path)
        text = page_of(response).text()
        assert response.status_code == 500
        assert "FDI_CACHE_SECONDS: must be a number from 0 to 60" in text
        assert "FDI_INSTANCES, entry 1" in text
        assert "FDI_<b>" in text
        assert response.headers["Refresh"] == "30"


def test_overload__is_a_page_with_retry_after(function: Callable[..., Function]) -> None:
    checked = function("healthy", THREADS="1")
    with checked.process.admission.check():
        response = checked.get("/status")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert "Too many checks are under way" in page_of(response).text()


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("path", "accept", "links"),
    [
        ("/", BROWSER, True),
        ("/health", BROWSER, True),
        ("/nope", BROWSER, True),
        ("/?instance=nope", BROWSER, True),
        ("/", "text/html", True),
        ("/", "text/html;q=0", False),
        ("/", "application/json", False),
        ("/", None, False),
        ("/live", BROWSER, False),
        ("/openapi.json", BROWSER, False),
        ("/status", BROWSER, False),
        ("/?format=text", BROWSER, False),
    ],
)
def test_json_for_a_browser__links_to_the_page(
    function: Callable[..., Function], path: str, accept: str | None, links: bool
) -> None:
    response = function("healthy").get(path, headers={"Accept": accept} if accept else {})
    assert response.headers.get("Link") == ('</status>; rel="alternate"; type="text/html"' if links else None)
    assert response.status_code < 300 or response.status_code == 404


# ---- foreign text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts__stay_text(upstream: Simulator, keyed: Callable[..., Function], text: str) -> None:
    task = MonitoredTask(
        task_id="t1", task_name=text, remarks=text, position=text, source_app_name=text, target_app_name=text
    )
    upstream.monitors.put("id-one", [task, replace(task, task_id="t2")])
    response = keyed("doc_example").get("/status/details", headers=BASIC)
    page = page_of(response)
    shown = " ".join((redact(text, "", 128) or "").split())
    assert page.text().count(shown) >= 6
    assert len(re.findall("FDI-(?:NOT-)?OK", response.text, re.IGNORECASE)) == 1
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", response.text)


def verdict_with(names: Sequence[str | None], *, abnormal: int = 2) -> Verdict:
    """Return an unhealthy verdict over instances, each with these abnormal tasks."""
    statistics = Statistics(TaskCounts(1, abnormal, 0, 0), TaskCounts(0, 0, 0, 0))
    instances = [Instance(f"i{n}", f"id-{n}") for n in range(3)]
    results = [ProbeResult(instance, statistics, None, now(), 0.05) for instance in instances]
    tasks = tuple(AbnormalTask(None, name, name, name, None, name, None, datetime.now(UTC), name, 3) for name in names)
    named: dict[tuple[str | None, str], TaskNames] = {
        (None, instance.instance_id): TaskNames(tasks, names[0], (), None) for instance in instances
    }
    return name_tasks(evaluate(results, Policy(), datetime.now(UTC)), named)


@given(st.lists(st.text(max_size=200).map(lambda text: redact(text, "", 128)), min_size=1, max_size=8))
def test_any_names__make_a_well_formed_page_with_the_marker_first(names: list[str | None]) -> None:
    verdict = verdict_with(names)
    body = render(verdict, Place())
    page = Page(body.decode())
    assert page.text("title") == " ".join(f"FDI-NOT-OK unhealthy: {verdict.reason}".split())
    assert b"</title>" in body[:512]
    assert {tag for tag, _ in page.tags} <= ALLOWED_TAGS
    assert len(re.findall("FDI-(?:NOT-)?OK", body.decode(), re.IGNORECASE)) == 1


ALLOWED_TAGS = {
    *("html", "meta", "title", "style", "body", "header", "main", "footer", "nav", "div", "h1", "h2", "p", "ul", "li"),
    *("table", "thead", "tbody", "tr", "th", "td", "a", "b", "strong", "small", "span", "code", "bdi", "q", "br"),
    *("details", "summary", "svg", "symbol", "use", "rect", "path", "circle"),
}


def test_longest_reason_of_quotes__ends_within_512_bytes() -> None:
    body = render(verdict_with(['"' * 25, "'" * 25, "&" * 50]), Place())
    assert b"</title>" in body[:512]


# ---- rows


def test_more_than_five_tasks__are_in_an_element_that_opens() -> None:
    page = Page(render(verdict_with([f"task-{n}" for n in range(8)], abnormal=8), Place()).decode())
    assert page.text("summary").count("3 further abnormal tasks") == 3


def test_same_next_step__is_written_once_and_then_linked() -> None:
    page = Page(render(verdict_with(["a"]), Place()).decode())
    assert page.text().count("Open this instance in the ROMA Connect console") == 1
    assert page.links().count("#i-i0") == 2


def test_mutes__are_marked_and_listed(function: Callable[..., Function]) -> None:
    day = timedelta(days=1)
    today = datetime.now(UTC)
    times = [f"{time:%Y-%m-%dT%H:%MZ}" for time in (today - day, today + day, today + 2 * day)]
    mutes = f"one={times[0]}/{times[1]},two={times[1]}/{times[2]}"
    page = page_of(function("doc_example", "healthy", FDI_MUTE=mutes).get("/status"))
    text = page.text()
    assert "degraded" in text
    assert "one is muted until" in text
    assert "mute planned" in text
    assert f"two from {today + day:%Y-%m-%d}" in text


def test_muted_task_with_markup__stays_text() -> None:
    statistics = Statistics(TaskCounts(1, 0, 0, 0), TaskCounts(0, 0, 0, 0))
    mute = {"i": {"<b>x</b>": Mute(None, now().wall + 3600)}}
    verdict = evaluate(
        [ProbeResult(Instance("i", "id"), statistics, None, now(), 0.05)],
        Policy(task_mutes=mute),
        datetime.now(UTC),
        present=now().wall,
    )
    page = Page(render(verdict, Place()).decode())
    assert page.text().count("<b>x</b>") == 2


def test_stopped_tasks__are_named(upstream: Simulator, function: Callable[..., Function]) -> None:
    upstream.monitors.put("id-one", [MonitoredTask(task_name="invoices", status=0, execute_status="CANCELLED")])
    text = page_of(function("healthy", FDI_MIN_RUNNING_TASKS="*=9").get("/status")).text()
    assert "invoices is stopped, last ran 2025-11-28 00:00:00 UTC" in text
    assert "3 of at least 9 tasks running" in text


def test_warning_of_all_instances__is_above_them(function: Callable[..., Function]) -> None:
    ends = f"{datetime.now(UTC) + timedelta(minutes=30):%Y-%m-%dT%H:%M:%SZ}"
    text = page_of(function("healthy", ROMA_TOKEN=f'{{"token":"{TOKEN}","expires_at":"{ends}"}}').get("/status")).text()
    assert text.index("token_expires_soon") < text.index("Needs attention")
    assert "Who can mend it: the team that runs fdi-health." in text


def test_bar__shows_one_abnormal_task_among_a_million() -> None:
    statistics = Statistics(TaskCounts(1_000_000, 1, 0, 0), TaskCounts(0, 0, 0, 0))
    verdict = evaluate([ProbeResult(Instance("i", "id"), statistics, None, now(), 0.05)], Policy(), datetime.now(UTC))
    page = Page(render(verdict, Place()).decode())
    bar = [attrs for tag, attrs in page.tags if tag == "rect" and "x" in attrs and "%" in str(attrs["x"])]
    assert [(part["class"], part["x"], part["width"]) for part in bar] == [
        ("abnormal", "0%", "3%"),
        ("running", "3%", "97%"),
    ]
    assert "1,000,000" in page.text()


def test_no_instance__is_a_page_too() -> None:
    verdict = evaluate([], Policy(), datetime.now(UTC))
    for shown in (verdict, hide_details(verdict)):
        assert "no instance was asked" in Page(render(shown, Place(query=Query(instance=["a"]))).decode()).text()


# ---- cost


@pytest.mark.parametrize("bad", [0, 20, 200])
def test_200_instances__are_at_most_120_kilobytes(bad: int) -> None:
    task = AbnormalTask(
        "t", "nightly-export", "TIMING", "READER", None, "orders", "warehouse", datetime.now(UTC), None, 0
    )
    good = Statistics(TaskCounts(12, 0, 6, 8), TaskCounts(1, 0, 6, 0))
    broken = Statistics(TaskCounts(12, 2, 6, 8), TaskCounts(1, 0, 6, 0))
    instances = [Instance(f"pipeline-{n:03d}", f"fae7ff6c-8e07-4cf8-9e67-589cab2f{n:04d}") for n in range(200)]
    results = [
        ProbeResult(instance, broken if n < bad else good, None, now(), 0.05) for n, instance in enumerate(instances)
    ]
    named: dict[tuple[str | None, str], TaskNames] = {
        (None, instance.instance_id): TaskNames((task, task)) for instance in instances[:bad]
    }
    body = render(name_tasks(evaluate(results, Policy(), datetime.now(UTC)), named), Place())
    page = Page(body.decode())
    assert len(body) <= 120_000
    assert sum(tag == "tr" for tag, _ in page.tags) == 200 + (bad > 0) + (bad < 200)
    assert page.text("a").count("ROMA Connect console") == min(bad, MAX_FULL_ROWS)
    assert page.text("a").count("more") == max(0, bad - MAX_FULL_ROWS)


def test_200_unknown_instances__are_at_most_120_kilobytes() -> None:
    error = CheckError("upstream_error", "ROMA Connect failed (HTTP 503)", upstream_status=503, request_id="a" * 32)
    results = [ProbeResult(Instance(f"i{n}", f"id-{n}"), None, error, now(), 0.05) for n in range(200)]
    assert len(render(evaluate(results, Policy(), datetime.now(UTC)), Place())) <= 120_000


def test_jinja__is_not_imported_before_the_first_page() -> None:
    program = (
        "import sys, main\n"
        "from werkzeug.test import Client\n"
        "client = Client(main.app)\n"
        "client.get('/')\n"
        "before = 'jinja2' in sys.modules\n"
        "client.get('/status')\n"
        "print(before, 'jinja2' in sys.modules)\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)  # noqa: S603 -- our own program
    assert done.stdout.split() == ["False", "True"]
