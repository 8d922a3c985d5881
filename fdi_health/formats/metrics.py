"""The verdict as metrics, in both text forms that Prometheus reads.

Label values are names from the settings, codes of ours and names of task groups. An instance has at most 18 groups
(`schemas.statistics`), so the settings bound the number of series, not what the upstream sends. The text is written
here rather than by prometheus-client, which takes twice the time that a whole response over 500 instances may; the
tests compare every response with what that library writes and reads.

Sources: https://prometheus.io/docs/instrumenting/exposition_formats/ and the OpenMetrics specification 1.0.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from fdi_health import __version__
from fdi_health.models import WORST_FIRST, TaskCounts, counts_by_group

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fdi_health.models import Details, Status, TargetVerdict, Verdict


class Family(NamedTuple):
    """One metric.

    Attributes:
        name: its name.
        help: what it means.
        samples: (labels as they are written between braces, value).
        kind: a state set has a sample per state, one of which is 1; Prometheus' own form calls it a gauge.

    """

    name: str
    help: str
    samples: list[tuple[str, float]]
    kind: Literal["gauge", "stateset"] = "gauge"


def write(verdict: Verdict, *, openmetrics: bool) -> bytes:
    """Return the metrics as text.

    Args:
        verdict: with details, every instance has series of its own.
        openmetrics: whether in that form, rather than in Prometheus' own.

    """
    lines: list[str] = []
    for family in families(verdict):
        kind = family.kind if openmetrics else "gauge"
        lines += [f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {kind}"]
        lines += [
            f"{family.name}{{{labels}}} {value!r}" if labels else f"{family.name} {value!r}"
            for labels, value in family.samples
        ]
    lines += ["# EOF", ""] if openmetrics else [""]
    return "\n".join(lines).encode()


def families(verdict: Verdict) -> Iterator[Family]:
    """Yield the metrics."""
    states: list[tuple[str, float]] = [
        (f'fdi_verdict="{status}"', int(status == verdict.status)) for status in verdict.instances_count
    ]
    yield Family("fdi_verdict", "Which of the four statuses the verdict has.", states, "stateset")
    yield Family("fdi_healthy", "1 for healthy and degraded, 0 otherwise.", [("", int(verdict.healthy))])
    counts: list[tuple[str, float]] = [
        # A target without a list of instances counts as an unknown one, so that an alert fires.
        (f'status="{status}"', count + (verdict.unlisted_count if status == "unknown" else 0))
        for status, count in verdict.instances_count.items()
    ]
    yield Family("fdi_instances", "Instances asked, by status.", counts)
    arrived = verdict.checked_at.timestamp()
    yield Family("fdi_checked_timestamp_seconds", "When the oldest result arrived.", [("", arrived)])
    yield Family("fdi_age_seconds", "How old the oldest result is.", [("", verdict.age_seconds)])
    yield Family("fdi_duration_seconds", "How long the check took.", [("", verdict.duration_seconds)])
    yield Family("fdi_build_info", "1; the version of fdi-health is a label.", [(f'version="{__version__}"', 1)])
    if verdict.details is not None:
        yield from _details(verdict.details)


def _details(details: Details) -> Iterator[Family]:
    counts = [Family(f"fdi_{name}", f"{name} as the upstream sent it.", []) for name in TaskCounts._fields]
    durations = Family("fdi_instance_duration_seconds", "How long the instance's probe took.", [])
    errors = Family("fdi_instance_error", "1 for an instance with an error, by code.", [])
    statuses = Family("fdi_instance_status", "1 for the status that the instance has after policy and mutes.", [])
    for instance in details.instances:
        # Not called `instance`: Prometheus gives every series a label of that name itself.
        name = _labels(instance.target, instance.name)
        for group, found in counts_by_group(instance).items():
            for family, count in zip(counts, found, strict=True):
                family.samples.append((f'{name},group="{_escaped(group)}"', count))
        durations.samples.append((name, instance.duration_seconds))
        statuses.samples.append((f'{name},status="{instance.status}"', 1))
        if instance.error is not None:
            errors.samples.append((f'code="{_escaped(instance.error.code)}",{name}', 1))
    yield from (*counts, durations, statuses, errors)
    if details.mutes:
        # Names of tasks are in no metric: of the mutes of an instance's tasks, the last end counts.
        ends: dict[str, float] = {}
        for mute in details.mutes:
            labels = _labels(mute.target, mute.instance) + (',scope="tasks"' if mute.task is not None else "")
            ends[labels] = max(ends.get(labels, 0.0), mute.ends.timestamp())
        text = "When a mute of the instance ends, active or not; with a scope, of some of its tasks."
        yield Family("fdi_mute_until_timestamp_seconds", text, list(ends.items()))
    targets = [target for target in details.targets if target.name is not None]
    if targets:
        text = "1 for the worst status of the target's instances; unknown if there is no list of them."
        states = [(f'{_target_label(target.name)}status="{_status_of(target, details)}"', 1.0) for target in targets]
        yield Family("fdi_target_status", text, states)
    held = [(target.name, target.token) for target in targets] or [(None, details.token)]
    expiries = [
        (f'{_target_label(name)}kind="{token.kind}"', token.expires_at)
        for name, token in held
        if token is not None and token.expires_at is not None
    ]
    if expiries:
        yield Family(
            "fdi_token_expiry_timestamp_seconds",
            "When the token in use ends; one of the kind credentials is renewed 5 minutes before.",
            expiries,
        )


def _status_of(target: TargetVerdict, details: Details) -> Status:
    found = {instance.status for instance in details.instances if instance.target == target.name}
    found |= {"unknown"} if target.error is not None else set()
    return next((status for status in WORST_FIRST if status in found), "healthy")


def _labels(target: str | None, instance: str) -> str:
    return f'{_target_label(target)}fdi_instance="{_escaped(instance)}"'


def _target_label(target: str | None) -> str:
    """Return the label of a target with a comma behind it; nothing for that of the environment."""
    return "" if target is None else f'target="{_escaped(target)}",'


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
