"""The last steps of `doctor`: they show whether CountTasks misses tasks of an instance.

In an instance, an IAM user without Tenant Administrator sees only the integration applications that it created or that
were shared with it (the vendor's user guide). CountTasks also knows two of the three kinds of tasks only. In both cases
an abnormal task would be missed. The instance's own statistics are the second opinion. Whether they depend on the
user's rights is not documented, so equal numbers are no proof.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fdi_health.diagnostics.step import INSTANCE, Step, since, skipped
from fdi_health.errors import CheckError
from fdi_health.models import Instance, counts_by_group, total
from fdi_health.roma.instance_statistics import KINDS, count_all_tasks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fdi_health.clock import Deadline
    from fdi_health.models import InstanceVerdict
    from fdi_health.policy import Policy
    from fdi_health.service.target import Target

_SHARE_STEP = (
    "Share the integration applications with this user in the ROMA Connect console (integration application "
    "authorization, read permission), or compare with the number of tasks in the console."
)
_MAX_SUGGESTED = 20
"""For how many instances settings are suggested."""

_FLOW_STEP = "Watch the orchestration tasks in the console: fdi-health does not see them."


def comparison_steps(target: Target, instances: Sequence[InstanceVerdict], deadline: Deadline) -> Iterator[Step]:
    """Yield one step per instance that responded, all together before the deadline. None of them fails."""
    for instance in instances:
        shown = {kind: sum(counts) for kind, counts in counts_by_group(instance).items()}
        if not shown:
            continue
        name, began = f"tasks of {instance.label}", time.monotonic()
        if deadline.expired:
            yield skipped(name, INSTANCE, "not compared: no time is left")
            continue
        try:
            asked = Instance(instance.name, instance.instance_id, instance.target)
            found = count_all_tasks(target.api, asked, target.tokens.current(deadline), deadline)
        except CheckError as error:
            yield skipped(name, INSTANCE, f"not compared with the instance's own statistics: {error.message}")
        else:
            yield _compare(name, began, shown, found)


def suggestion_step(instances: Sequence[InstanceVerdict], policy: Policy) -> Iterator[Step]:
    """Yield a step with settings that page when tasks vanish or stop, unless the settings have such a policy."""
    began = time.monotonic()
    answered = [instance for instance in instances if counts_by_group(instance)]
    if policy.min_tasks or policy.min_running_tasks or not answered:
        return
    counts = [(instance.name, total(instance)) for instance in answered][:_MAX_SUGGESTED]
    visible = ",".join(f"{name}={sum(found)}" for name, found in counts if sum(found))
    running = ",".join(f"{name}={found.running_tasks_count}" for name, found in counts if found.running_tasks_count)
    settings = [f"FDI_MIN_TASKS={visible}"] if visible else []
    settings += [f"FDI_MIN_RUNNING_TASKS={running}"] if running else []
    finding = "no tasks are visible"
    if settings:
        finding = f"to be paged when tasks vanish or stop, as of now: {' '.join(settings)}"
    yield Step("policy", INSTANCE, ok=True, seconds=since(began), finding=finding)


def _compare(name: str, began: float, shown: Mapping[str, int], found: Mapping[str, int]) -> Step:
    hidden = {kind: found[kind] - shown.get(kind, 0) for kind in KINDS}
    flow = hidden.pop("flow") if "flow" not in shown else 0
    counted, visible = sum(found.values()), sum(shown.values())
    if any(count > 0 for count in hidden.values()):
        finding, step = f"this user sees {visible} of the instance's {counted} tasks", _SHARE_STEP
    elif flow > 0:
        finding, step = (
            f"the instance has {flow} orchestration (flow) tasks, which CountTasks does not show",
            _FLOW_STEP,
        )
    else:
        agrees = f"the instance's own statistics agree: {counted} tasks"
        return Step(name, INSTANCE, ok=True, seconds=since(began), finding=agrees)
    return Step(name, INSTANCE, ok=True, seconds=since(began), finding=finding, next_step=step, status="warning")
