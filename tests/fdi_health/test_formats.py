"""Each form of the answer: what it says, that it is sound, and that no text in it can mean what it must not."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError
from prometheus_client.core import GaugeMetricFamily, StateSetMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_latest_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_prometheus
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from fdi_health import __version__
from fdi_health.clock import Instant
from fdi_health.errors import NEXT_STEPS, CheckError
from fdi_health.evaluation import evaluate, hide_details
from fdi_health.formats import FORMATS, metrics
from fdi_health.models import Instance, ProbeResult, Statistics, TaskCounts, TokenState
from fdi_health.policy import Policy
from fdi_health.reasons import UNHEALTHY_NEXT_STEP
from schemas.query import FAILING_STATUSES
from schemas.settings_fields import MARKER, NAME
from schemas.statistics import MAX_COUNT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.metrics_core import Metric

    from fdi_health.models import Verdict

AT = datetime(2026, 11, 25, 16, tzinfo=UTC)
NOW = Instant(AT.timestamp(), 0.0)
HEALTHY = Statistics(TaskCounts(2, 0, 6, 8), TaskCounts(1, 0, 6, 0))
ABNORMAL = Statistics(TaskCounts(2, 2, 6, 8), TaskCounts(1, 1, 6, MAX_COUNT))
EMPTY = Statistics(TaskCounts(0, 0, 0, 0), TaskCounts(0, 0, 0, 0))
TEXTUAL = [name for name in FORMATS if name not in ("prometheus", "openmetrics", "shields")]
HOSTILE = ["\"\\\n'<script>alert(1)</script>", "\x1b[31m\u202e|;,", "FDI_OK", "|" * 512, "☃" * 512]


def result(name: str, statistics: Statistics | None = None, **error: Any) -> ProbeResult:
    fault = CheckError("upstream_error", "the upstream failed", **error) if statistics is None else None
    return ProbeResult(Instance(name, f"id-{name}"), statistics, fault, NOW, 0.0514)


def verdict_of(*results: ProbeResult, **changes: Any) -> Verdict:
    return evaluate(results, Policy(), AT, 1.26, 0.0589, **changes)


VERDICTS = {
    "healthy": verdict_of(result("payments", HEALTHY), result("crm", HEALTHY)),
    "degraded": verdict_of(result("payments", HEALTHY), result("sandbox", EMPTY)),
    "unhealthy": verdict_of(result("payments", ABNORMAL), result("crm")),
    "unknown": verdict_of(result("crm"), result("payments", HEALTHY)),
    "nothing known": verdict_of(result("crm")),
}


def render(name: str, verdict: Verdict) -> str:
    return FORMATS[name].render(verdict).decode("utf-8")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("verdict", VERDICTS.values(), ids=VERDICTS)
@pytest.mark.parametrize("details", [True, False], ids=["details", "anonymous"])
def test_every_form__says_healthy_exactly_when_it_is(name: str, verdict: Verdict, details: bool) -> None:  # C26
    text = render(name, verdict if details else hide_details(verdict))
    assert ("FDI-OK" in text) is (verdict.healthy and name in TEXTUAL)
    if not details:
        assert not re.search("payments|crm|sandbox|id-", text)


@pytest.mark.parametrize("name", TEXTUAL)
@pytest.mark.parametrize("status", ["healthy", "degraded", "unhealthy", "unknown"])
def test_first_512_bytes__hold_verdict_marker_and_reason(name: str, status: str) -> None:
    statistics = {"healthy": HEALTHY, "degraded": EMPTY, "unhealthy": ABNORMAL}.get(status)
    verdict = verdict_of(*(result(f"a-rather-long-name-of-an-instance-{number}", statistics) for number in range(500)))
    head = FORMATS[name].render(verdict)[:512].decode("utf-8", "ignore").replace("&#x27;", "'")
    assert status in head
    assert verdict.marker in head
    assert verdict.reason in head


STATISTICS = {"healthy": HEALTHY, "degraded": EMPTY, "unhealthy": ABNORMAL, "unknown": None}
NAMES = st.from_regex(NAME, fullmatch=True).filter(lambda name: not MARKER.search(name))
FAIL_ON = st.sets(st.sampled_from(FAILING_STATUSES))


@given(
    names=st.lists(NAMES | st.just("-" * 64), min_size=1, max_size=4, unique=True),
    status=st.sampled_from(sorted(STATISTICS)),
    code=st.sampled_from(sorted(NEXT_STEPS)),
    fail_on=FAIL_ON,
    copies=st.sampled_from([1, 100]),
    details=st.booleans(),
)
def test_first_512_bytes__any_names__contain_status_marker_and_reason(
    names: list[str], status: str, code: str, fail_on: set[str], copies: int, details: bool
) -> None:  # G05
    statistics = STATISTICS[status]
    error = CheckError(code, "said so") if statistics is None else None
    found = [ProbeResult(Instance(name, f"id-{name}"), statistics, error, NOW, 0.05) for name in names * copies]
    verdict = verdict_of(*found)._replace(fail_on=fail_on)
    shown = verdict if details else hide_details(verdict)
    for name in TEXTUAL:
        body = FORMATS[name].render(shown)
        head = body[:512].decode()
        assert status in head
        assert verdict.marker in head
        assert shown.reason in head
        # "FDI-OK" is not in "FDI-NOT-OK", so every one there is says health.
        assert (b"fdi-ok" in body.lower()) is (verdict.marker == "FDI-OK")
    assert f'"healthy":{str(verdict.healthy).lower()}' in render("json", shown)[:512]


@pytest.mark.parametrize("name", TEXTUAL)
@pytest.mark.parametrize(
    ("status", "fail_on", "marker"),
    [
        ("degraded", ["degraded"], "FDI-NOT-OK"),
        ("degraded", ["unhealthy"], "FDI-OK"),
        ("unhealthy", [], "FDI-NOT-OK"),
        ("healthy", ["healthy"], "FDI-NOT-OK"),
        ("healthy", ["unhealthy", "unknown", "degraded"], "FDI-OK"),
    ],
)
@pytest.mark.parametrize("details", [True, False], ids=["details", "anonymous"])
def test_marker__follows_fail_on_in_every_form(
    name: str, status: str, fail_on: list[str], marker: str, details: bool
) -> None:  # G05
    verdict = VERDICTS[status]._replace(fail_on=fail_on)
    text = render(name, verdict if details else hide_details(verdict))
    assert set(re.findall("FDI-[A-Z-]*OK", text)) == {marker}


WITH_FLOW = verdict_of(
    result("payments", HEALTHY._replace(other_task_details={"flow_task_details": TaskCounts(1, 3, 0, 5)}))
)


def test_further_group__is_shown_in_every_form() -> None:  # D59
    document = json.loads(render("json", WITH_FLOW))
    assert document["instances"][0]["other_task_details"] == {
        "flow_task_details": dict(zip(TaskCounts._fields, (1, 3, 0, 5), strict=True))
    }
    assert document["totals"]["abnormal_tasks_count"] == 3
    (check,) = json.loads(render("health", WITH_FLOW))["checks"]["payments:abnormal_tasks_count"]
    assert (check["observedValue"], check["output"]) == (3, "unhealthy: 3 abnormal flow tasks")
    assert "3 abnormal flow tasks, 4 running" in render("text", WITH_FLOW)
    assert "3 abnormal flow tasks, 4 running" in render("nagios", WITH_FLOW)
    assert "abnormal_tasks_count=3;;0;0" in render("nagios", WITH_FLOW)
    for name in ("prometheus", "openmetrics"):
        found = samples(WITH_FLOW, name)
        assert found["fdi_abnormal_tasks_count fdi_instance=payments group=flow"] == 3
        assert found["fdi_completed_tasks_count fdi_instance=payments group=flow"] == 5
    assert "3 abnormal tasks in payments" in render("badge", WITH_FLOW)
    assert "other_task_details" not in render("json", VERDICTS["healthy"])


def test_further_group__is_not_named_to_anybody() -> None:  # D59
    assert not [name for name in FORMATS if "flow" in render(name, hide_details(WITH_FLOW))]


@given(texts=st.lists(st.sampled_from(HOSTILE) | st.text(max_size=40), min_size=3, max_size=3))
def test_foreign_texts__are_harmless_in_every_form(texts: list[str]) -> None:
    from fdi_health.redaction import redact

    code, message, request_id = (redact(text, "token", 512) for text in texts)
    verdict = verdict_of(
        result("payments", upstream_status=500, upstream_code=code, upstream_message=message, request_id=request_id)
    )
    for name in FORMATS:
        text = render(name, verdict)
        assert "FDI-OK" not in text
        assert "<script" not in text or name in ("json", "text", "nagios")  # which no browser takes for a page
        assert "\x1b" not in text
    for name in ("json", "health"):
        assert "FDI-OK" not in json.dumps(json.loads(render(name, verdict)), ensure_ascii=False, indent=1)
    first, *more = render("nagios", verdict).splitlines()
    assert first.count("|") == 1
    assert "|" not in "".join(more)
    ET.fromstring(render("badge", verdict))  # noqa: S314 -- our own text
    for name in ("prometheus", "openmetrics"):
        assert samples(verdict, name)["fdi_instances status=unknown"] == 1


COUNT = st.integers(0, MAX_COUNT)
COUNTS = st.builds(TaskCounts, COUNT, COUNT, COUNT, COUNT)


@given(groups=st.lists(st.tuples(COUNTS, COUNTS), min_size=1, max_size=5))
def test_metrics__give_back_exactly_what_the_upstream_sent(groups: list[tuple[TaskCounts, TaskCounts]]) -> None:
    verdict = verdict_of(*(result(f"i{number}", Statistics(*pair)) for number, pair in enumerate(groups)))
    sent = {
        (f"fdi_{field}", f"i{number}", group): count
        for number, pair in enumerate(groups)
        for group, counts in zip(("common", "cdc"), pair, strict=True)
        for field, count in counts._asdict().items()
    }
    for name in ("prometheus", "openmetrics"):
        found = {
            (sample.name, sample.labels["fdi_instance"], sample.labels["group"]): sample.value
            for sample in parsed(verdict, name)
            if "group" in sample.labels
        }
        assert found == sent


def parsed(verdict: Verdict, name: str = "prometheus") -> list[Any]:
    read: Callable[[str], Any] = read_openmetrics if name == "openmetrics" else read_prometheus
    return [sample for family in read(render(name, verdict)) for sample in family.samples]


def samples(verdict: Verdict, name: str = "prometheus") -> dict[str, float]:
    return {
        sample.name + "".join(f" {label}={text}" for label, text in sorted(sample.labels.items())): sample.value
        for sample in parsed(verdict, name)
    }


@pytest.mark.parametrize("name", ["prometheus", "openmetrics"])
def test_metrics__are_these(name: str) -> None:
    verdict = verdict_of(result("payments", ABNORMAL), result("crm"), token=TokenState("token", None, 1_800_000_000.5))
    found = samples(verdict, name)
    assert {key: value for key, value in found.items() if "group=" not in key} == {
        "fdi_verdict fdi_verdict=unhealthy": 1,
        "fdi_verdict fdi_verdict=unknown": 0,
        "fdi_verdict fdi_verdict=degraded": 0,
        "fdi_verdict fdi_verdict=healthy": 0,
        "fdi_healthy": 0,
        "fdi_instances status=unhealthy": 1,
        "fdi_instances status=unknown": 1,
        "fdi_instances status=degraded": 0,
        "fdi_instances status=healthy": 0,
        "fdi_checked_timestamp_seconds": AT.timestamp(),
        "fdi_age_seconds": 1.26,
        "fdi_duration_seconds": 0.0589,
        "fdi_instance_duration_seconds fdi_instance=payments": 0.0514,
        "fdi_instance_duration_seconds fdi_instance=crm": 0.0514,
        "fdi_instance_status fdi_instance=payments status=unhealthy": 1,
        "fdi_instance_status fdi_instance=crm status=unknown": 1,
        "fdi_instance_error code=upstream_error fdi_instance=crm": 1,
        f"fdi_build_info version={__version__}": 1,
        "fdi_token_expiry_timestamp_seconds kind=token": 1_800_000_000.5,
    }
    assert found["fdi_abnormal_tasks_count fdi_instance=payments group=common"] == 2
    assert len([key for key in found if "group=" in key]) == 8


class AsTheLibraryDoes(Collector):
    """The same metrics, for prometheus-client to write."""

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict

    def collect(self) -> Iterator[Metric]:
        for family in metrics.families(self._verdict):
            kind = StateSetMetricFamily if family.kind == "stateset" else GaugeMetricFamily
            made = kind(family.name, family.help)
            for labels, value in family.samples:
                made.samples.append(Sample(family.name, dict(re.findall(r'(\w+)="([^"]*)"', labels)), value))
            yield made


@pytest.mark.parametrize("verdict", VERDICTS.values(), ids=VERDICTS)
def test_metrics__read_as_what_prometheus_client_writes(verdict: Verdict) -> None:
    theirs = generate_latest(AsTheLibraryDoes(verdict)).decode()
    assert list(read_prometheus(render("prometheus", verdict))) == list(read_prometheus(theirs))
    write_openmetrics: Callable[[Any], bytes] = generate_latest_openmetrics
    theirs = write_openmetrics(AsTheLibraryDoes(verdict)).decode()
    read: Callable[[str], Any] = read_openmetrics
    assert list(read(render("openmetrics", verdict))) == list(read(theirs))


def test_label__that_holds_quotes_and_line_ends_is_escaped() -> None:  # C81
    (error,) = [sample for sample in parsed(verdict_of(result('pay"m\\\n'))) if sample.name == "fdi_instance_error"]
    assert error.labels["fdi_instance"] == 'pay"m\\\n'


def test_metrics_for_anybody__name_no_instance() -> None:
    found = samples(hide_details(verdict_of(result("payments", ABNORMAL), token=TokenState("token", None, 5.0))))
    assert not [key for key in found if "fdi_instance=" in key or "token" in key]
    assert found["fdi_instances status=unhealthy"] == 1


def test_health_json__is_what_the_draft_says() -> None:
    document = json.loads(render("health", VERDICTS["unhealthy"]))
    assert document["status"] == "fail"
    assert document["notes"] == ["FDI-NOT-OK unhealthy", VERDICTS["unhealthy"].reason]
    assert document["output"] == VERDICTS["unhealthy"].reason
    (payments,) = document["checks"]["payments:abnormal_tasks_count"]
    assert payments == {
        "componentId": "id-payments",
        "componentType": "system",
        "status": "fail",
        "time": "2026-11-25T16:00:00Z",
        "observedValue": 3,
        "observedUnit": "tasks",
        "output": "unhealthy: 2 abnormal common tasks, 1 abnormal cdc task",
    }
    (crm,) = document["checks"]["crm:abnormal_tasks_count"]
    assert (crm["status"], "observedValue" in crm) == ("fail", False)


@pytest.mark.parametrize(
    ("status", "word"), [("healthy", "pass"), ("degraded", "warn"), ("unhealthy", "fail"), ("unknown", "fail")]
)
def test_health_json__maps_the_statuses(status: str, word: str) -> None:
    document = json.loads(render("health", VERDICTS[status]))
    assert document["status"] == word
    assert ("output" in document) is (word != "pass")
    anonymous = json.loads(render("health", hide_details(VERDICTS[status])))
    assert set(anonymous) == {"status", "notes", "description"}


def test_nagios__is_a_line_with_performance_data() -> None:
    first, *more = render("nagios", VERDICTS["unhealthy"]).splitlines()
    text, _, data = first.partition(" | ")
    assert text == f"CRITICAL - FDI-NOT-OK unhealthy: {VERDICTS['unhealthy'].reason}"
    assert data.split() == [
        "running_tasks_count=3;;;0",
        "abnormal_tasks_count=3;;0;0",
        "terminated_tasks_count=12;;;0",
        f"completed_tasks_count={MAX_COUNT + 8};;;0",
        "instances_unhealthy=1;;;0;2",
        "instances_unknown=1;;;0;2",
        "instances_degraded=0;;;0;2",
        "instances_healthy=0;;;0;2",
        "age=1.3s;;;0",
        "duration=0.059s;;;0",
    ]
    assert [line.strip().partition(" ")[0] for line in more] == ["payments", "->", "Who", "crm", "->", "Who"]
    assert more[1].endswith(UNHEALTHY_NEXT_STEP)
    anonymous = render("nagios", hide_details(VERDICTS["nothing known"]))
    assert anonymous.startswith("UNKNOWN - FDI-NOT-OK unknown: 1 of 1 instances unknown (upstream_error) | instances_")


@pytest.mark.parametrize(
    ("status", "word"), [("healthy", "OK"), ("degraded", "WARNING"), ("unhealthy", "CRITICAL"), ("unknown", "UNKNOWN")]
)
def test_nagios__begins_with_the_plugins_word(status: str, word: str) -> None:
    assert render("nagios", VERDICTS[status]).startswith(f"{word} - FDI-")


def test_shields__has_only_members_that_shields_io_knows() -> None:
    known = {"schemaVersion", "label", "message", "color", "isError", "cacheSeconds"}
    found = {status: json.loads(render("shields", verdict)) for status, verdict in VERDICTS.items()}
    assert {status: badge["message"] for status, badge in found.items() if status != "nothing known"} == {
        status: status for status in ("healthy", "degraded", "unhealthy", "unknown")
    }
    assert [status for status, badge in found.items() if badge["isError"]] == ["unhealthy", "unknown", "nothing known"]
    for badge in found.values():
        assert badge.keys() == known
        assert badge["schemaVersion"] == 1


@pytest.mark.parametrize("status", ["healthy", "degraded", "unhealthy", "unknown"])
def test_badge__is_a_small_svg_with_a_title(status: str) -> None:
    text = render("badge", VERDICTS[status])
    assert text.isascii()
    assert len(text) < 1200
    svg = ET.fromstring(text)  # noqa: S314 -- our own text
    spaced = {"svg": "http://www.w3.org/2000/svg"}
    title = svg.find("svg:title", spaced)
    assert title is not None
    assert title.text == f"{VERDICTS[status].marker} {status}: {VERDICTS[status].reason}"
    assert svg.get("role") == "img"
    assert svg.get("aria-label") == title.text
    assert [node.text for node in svg.iterfind(".//svg:text", spaced)] == ["pipelines", status]


@pytest.mark.parametrize("name", FORMATS)
def test_verdict_that_disagrees_with_itself__is_in_no_form(name: str) -> None:
    with pytest.raises(ValidationError):
        FORMATS[name].render(VERDICTS["unhealthy"]._replace(status="healthy"))
