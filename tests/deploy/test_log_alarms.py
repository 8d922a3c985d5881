"""The alarms on log lines: their filters, evaluated on the lines of real scheduled runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from fdi_health.clock import format_timestamp
from tests.conformance.platform import settings_for
from tests.conftest import TOKEN
from tests.servers import ROOT, clean_environ

if TYPE_CHECKING:
    from pathlib import Path

    from simulator import Simulator

LAMBDA = ROOT / "deploy" / "lambda" / "alarms.yml"
CLOUD_RUN = ROOT / "deploy" / "cloud-run"
SCHEDULED_RUN = "import main; main.lambda_handler({'source': 'aws.events', 'detail-type': 'Scheduled Event'}, None)"

RUNS: dict[str, tuple[dict[str, str], set[str]]] = {
    # What happens → the settings for it, and the metrics that must count.
    "healthy": ({"FDI_INSTANCES": "orders=id-orders"}, {"verdicts"}),
    "rights lost": ({"FDI_INSTANCES": "sandbox=id-sandbox"}, {"verdicts", "degraded"}),  # G04
    "token expires soon": ({"FDI_INSTANCES": "orders=id-orders", "ROMA_TOKEN": "EXPIRES"}, {"verdicts", "degraded"}),
    "unhealthy": ({"FDI_INSTANCES": "payments=id-payments"}, {"verdicts", "failing"}),
    "unknown": ({"FDI_INSTANCES": "crm=id-crm"}, {"verdicts", "failing"}),
    "no token": ({"FDI_INSTANCES": "orders=id-orders", "ROMA_TOKEN": ""}, {"verdicts", "failing"}),
    "broken settings": ({"FDI_CACHE_SECONDS": "x"}, {"failing"}),
}


class _Tags(yaml.SafeLoader):
    """Reads CloudFormation's short forms: `!Ref X` as {"Ref": "X"}."""


def _reference(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> dict[str, Any]:
    return {"Ref": loader.construct_scalar(node)}


_Tags.add_constructor("!Ref", _reference)


def resources() -> dict[str, dict[str, Any]]:
    document = yaml.load(LAMBDA.read_text(), _Tags)  # noqa: S506 -- a SafeLoader with one constructor more
    found: dict[str, dict[str, Any]] = document["Resources"]
    return found


def lines_of(settings: dict[str, str], home: Path) -> list[dict[str, Any]]:
    """Run the function once by a schedule's event, in a process of its own, and return its log lines."""
    done = subprocess.run(  # noqa: S603 -- this Python, with a line of ours
        [sys.executable, "-c", SCHEDULED_RUN],
        cwd=ROOT,
        env=clean_environ(settings, home),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [json.loads(line) for line in done.stderr.splitlines()]


def counts_in_cloudwatch(pattern: str, line: dict[str, Any]) -> bool:
    """Evaluate a metric filter of the form `{ $.field = "value" || … }`."""
    inside = re.fullmatch(r"\{ (.*) \}", pattern)
    assert inside, pattern
    terms = [re.fullmatch(r'\$\.(\w+) = "(\w+)"', term) for term in inside[1].split(" || ")]
    assert all(terms), pattern
    return any(line.get(term[1]) == term[2] for term in terms if term)


def counts_in_cloud_logging(log_filter: str, line: dict[str, Any]) -> bool:
    """Evaluate what a filter says of the line itself: a severity, or the values that a field may have."""
    # Cloud Run writes a line of its own for each request, with severity ERROR for a 503, to another log.
    head = (
        'resource.type="cloud_run_revision" AND resource.labels.service_name="fdi-health" AND '
        'logName:"run.googleapis.com%2Fstderr" AND '
    )
    assert log_filter.startswith(head)
    term = log_filter.removeprefix(head)
    if term == "severity>=ERROR":
        return line["severity"] in ("ERROR", "CRITICAL", "ALERT", "EMERGENCY")
    field = re.fullmatch(r'jsonPayload\.(\w+)=(?:"\w+"|\("\w+"(?: OR "\w+")*\))', term)
    assert field, term
    return line.get(field[1]) in re.findall(r'"(\w+)"', term)


@pytest.mark.parametrize("run", RUNS)
def test_filters__on_the_lines_of_a_scheduled_run__count_what_happened(
    upstream: Simulator, tmp_path: Path, run: str
) -> None:
    changes, expected = RUNS[run]
    settings = {**settings_for(upstream), **changes}
    if settings["ROMA_TOKEN"] == "EXPIRES":
        settings["ROMA_TOKEN"] = json.dumps({"token": TOKEN, "expires_at": format_timestamp(time.time() + 600)})
    lines = lines_of(settings, tmp_path)
    assert lines

    filters = {name: found["Properties"] for name, found in resources().items() if "MetricFilter" in found["Type"]}
    names = {"FailingLines": "failing", "DegradedLines": "degraded", "VerdictLines": "verdicts"}
    assert filters.keys() == names.keys()
    in_cloudwatch = {
        names[name] for name in filters if any(counts_in_cloudwatch(filters[name]["FilterPattern"], _) for _ in lines)
    }
    assert in_cloudwatch == expected

    metrics = {path: yaml.safe_load(path.read_text()) for path in CLOUD_RUN.glob("metric-*.yaml")}
    assert len(metrics) == 3
    in_cloud_logging = {
        metric["name"].removeprefix("fdi_health_")
        for metric in metrics.values()
        if any(counts_in_cloud_logging(metric["filter"], line) for line in lines)
    }
    assert in_cloud_logging == expected


def test_cloudwatch__has_an_alarm_for_each_metric_and_one_for_silence() -> None:
    found = resources()
    metrics = {
        (transformation["MetricNamespace"], transformation["MetricName"])
        for resource in found.values()
        for transformation in resource["Properties"].get("MetricTransformations", [])
    }
    alarms = [resource["Properties"] for resource in found.values() if resource["Type"] == "AWS::CloudWatch::Alarm"]
    assert {(alarm["Namespace"], alarm["MetricName"]) for alarm in alarms} == metrics
    for alarm in alarms:
        assert alarm["AlarmActions"] == [{"Ref": "AlarmTopic"}]
    (silent,) = (alarm for alarm in alarms if alarm["MetricName"] == "VerdictLines")
    assert silent["Period"] * silent["EvaluationPeriods"] == 15 * 60
    # No line at all means no data point, which CloudWatch would ignore by default.
    assert silent["TreatMissingData"] == "breaching"
    assert silent["ComparisonOperator"] == "LessThanThreshold"


def test_cloudwatch__with_a_late_schedule__does_not_alarm() -> None:
    # Runs every 5 minutes may leave a period of 5 minutes without one: two of three periods are enough.
    for resource in resources().values():
        properties = resource["Properties"]
        if resource["Type"] == "AWS::CloudWatch::Alarm" and properties["MetricName"] != "VerdictLines":
            assert properties["Period"] == 300
            assert properties["DatapointsToAlarm"] < properties["EvaluationPeriods"]


def test_cloud_run__has_a_policy_for_each_metric_and_one_for_silence() -> None:
    metrics = {yaml.safe_load(path.read_text())["name"] for path in CLOUD_RUN.glob("metric-*.yaml")}
    policies = {path.stem: yaml.safe_load(path.read_text()) for path in CLOUD_RUN.glob("alert-*.yaml")}
    watched = set()
    for policy in policies.values():
        (condition,) = policy["conditions"]
        kind = condition.get("conditionThreshold") or condition["conditionAbsent"]
        watched |= set(re.findall(r'user/(\w+)"', kind["filter"]))
    assert watched == metrics
    (silent,) = policies["alert-silent"]["conditions"]
    assert silent["conditionAbsent"]["duration"] == "900s"


@pytest.mark.parametrize("path", sorted(CLOUD_RUN.glob("*-*.yaml")), ids=lambda path: path.stem)
def test_cloud_run_page__shows_the_command_for_each_policy(path: Path) -> None:
    page = (ROOT / "docs" / "deploy" / "cloud-run.md").read_text()
    assert path.name in page or f"{path.stem.partition('-')[0]}-$name.yaml" in page
