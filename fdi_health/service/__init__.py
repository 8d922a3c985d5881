"""Says whether the data-integration tasks of the instances are healthy."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

from fdi_health.clock import Deadline, now
from fdi_health.configuration import read_configuration
from fdi_health.credentials.refreshing_cache import MAX_READ_SECONDS
from fdi_health.errors import CheckError, Fault
from fdi_health.evaluation import name_tasks
from fdi_health.merging import merge
from fdi_health.service.fan_out import FanOut
from fdi_health.service.selection import Asked, known_labels, may_have, select, with_instances
from fdi_health.service.sources import open_source
from fdi_health.service.target import Limits, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from fdi_health.clock import Instant
    from fdi_health.configuration import ConfiguredSecret
    from fdi_health.credentials.api_keys import ApiKeys
    from fdi_health.models import InstanceVerdict, Verdict
    from fdi_health.service.sources import TargetSource
    from fdi_health.tasks import TaskNames


FREE_INSTANCES = 100
EVALUATING_SECONDS = RENDERING_SECONDS = 0.00012
"""What evaluating and rendering one instance more than `FREE_INSTANCES` may take on two busy cores. It is
kept in reserve, so that thousands of instances end at the deadline too (benchmarks/scale.py)."""


class Service(NamedTuple):
    """Everything that a process keeps between two requests; a restart loses nothing.

    Attributes:
        source: provides the targets: the endpoints and their instances.
        fan_out: the threads that wait for targets.
        deadline_seconds: the longest that a check may take.
        anonymous: what callers without a key see.
        callers: the callers' keys, or None if there are none.
        clock: reads both clocks.

    """

    source: TargetSource
    fan_out: FanOut
    deadline_seconds: float
    anonymous: Literal["verdict", "details", "refuse"]
    callers: ApiKeys | None
    clock: Callable[[], Instant]

    @classmethod
    def open(cls, environ: Mapping[str, str], clock: Callable[[], Instant] = now) -> Self:
        """Return the service that the environment describes; connects to nothing and starts no thread.

        Raises:
            CheckError: `settings_invalid`, with every fault there is.

        """
        configuration = read_configuration(environ, clock().wall)
        settings, callers = configuration.settings, configuration.callers
        read_seconds = max(settings.deadline_seconds, MAX_READ_SECONDS)
        limits = Limits(
            settings.deadline_seconds,
            settings.cache_seconds,
            settings.token_warn_seconds,
            settings.max_parallel,
            read_seconds,
            settings.discovery_seconds,
        )
        return cls(
            source=open_source(configuration, environ, limits, clock),
            fan_out=FanOut(),
            deadline_seconds=settings.deadline_seconds,
            anonymous=settings.anonymous,
            callers=_api_keys(callers, clock, read_seconds) if callers else None,
            clock=clock,
        )

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets in use."""
        return self.source.targets

    def select(
        self,
        names: Collection[str] | None,
        targets: Collection[str] | None,
        deadline: Deadline,
        allowed: Collection[str] | None = None,
    ) -> Asked:
        """Return what is asked: the instances in the order of the settings, each once, by target.

        A target without a list of instances is part of it, with the error: what is asked for may be in it. If several
        targets are asked, one that must read its list first does so in `check`, where it delays no other one.

        Args:
            names: aliases or IDs, or target, slash and one of them; None for all.
            targets: names of targets; None for all.
            deadline: when the document of FDI_CONFIG and the list of a single target must be here.
            allowed: the targets that the caller may ask, None for all; others do not exist for this caller.

        Raises:
            CheckError: `unknown_instance`, if one of them is not configured, or nothing has both; `settings_invalid`,
                if the document of FDI_CONFIG cannot be used.

        """
        rejected = self.source.refresh(deadline)
        visible = [target for target in self.targets if allowed is None or target.settings.name in allowed]
        known = {target.settings.name for target in visible}
        if not visible or not known.issuperset(targets or ()):
            raise CheckError("unknown_instance", "a target asked for is not configured")
        asked = [target for target in visible if targets is None or target.settings.name in targets]
        if names is not None:
            asked = [target for target in asked if may_have(target, names)]
        selections = select(asked, names)
        if len(selections) == 1:
            selections = [selections[0].listed(deadline)]
        return Asked(with_instances(selections, names, self._place), rejected)

    def unknown_names(self, names: Collection[str], targets: Collection[str], deadline: Deadline) -> list[str]:
        """Return the names that no target has, and those that no instance has, each once."""
        known_targets = {target.settings.name for target in self.targets}
        listed = self.fan_out.run(lambda one: one.listed(deadline), select(self.targets, None), deadline)
        known = known_labels(one for one in listed if one is not None)
        return list(
            dict.fromkeys(
                [
                    *(name for name in targets if name not in known_targets),
                    *(name for name in names if name not in known),
                ]
            )
        )

    @property
    def _place(self) -> str:
        """The setting that names the instances."""
        return "FDI_INSTANCES" if [target.settings.name for target in self.targets] == [None] else "FDI_CONFIG"

    def check(self, asked: Asked, deadline: Deadline) -> Verdict:
        """Return the verdict over some instances, details included, at the deadline at the latest.

        Raises:
            CheckError: `unknown_instance`, as `select` does, if a list was read here.

        """
        selections = asked.selections
        count = sum(len(one.instances or ()) for one in selections)
        deadline = deadline.earlier(_seconds_for(count, RENDERING_SECONDS))
        ask_by = deadline.earlier(_seconds_for(count, EVALUATING_SECONDS))
        first, *others = selections
        is_plain = not others and first.target.settings.name is None and not first.warnings and first.error is None
        if is_plain and asked.warning is None:
            return first.target.check(first.instances or (), ask_by)
        began = self.clock()
        found = self.fan_out.run(lambda one: one.check(ask_by), selections, deadline)
        checked = [result or one.late(began) for one, result in zip(selections, found, strict=True)]
        with_instances([result.selection for result in checked], first.names, self._place)
        parts = [result.part for result in checked if result.part is not None]
        if asked.warning is not None:
            parts[0] = parts[0]._replace(warnings=(asked.warning, *parts[0].warnings))
        present = self.clock()
        return merge(parts, datetime.fromtimestamp(present.wall, UTC), began.seconds_until(present))

    def name_tasks(self, verdict: Verdict, count: int, deadline: Deadline, *, remarks: bool) -> Verdict:
        """Return the verdict with the tasks behind the counts, in the time that is left. No status or count changes.

        Args:
            verdict: with details.
            count: how many tasks of each instance; 0 for none.
            deadline: when the names must be here.
            remarks: whether to show why a task failed, which may hold customers' data.

        """
        if verdict.details is None or not count:
            return verdict
        deadline = deadline.earlier(_seconds_for(len(verdict.details.instances), RENDERING_SECONDS))
        by_target: dict[str | None, list[InstanceVerdict]] = {}
        for instance in verdict.details.instances:
            by_target.setdefault(instance.target, []).append(instance)
        asked = [(target, by_target[name]) for target in self.targets if (name := target.settings.name) in by_target]
        found = self.fan_out.run(lambda one: one[0].names(one[1], count, deadline, remarks=remarks), asked, deadline)
        names: dict[tuple[str | None, str], TaskNames] = {}
        for of_target in found:
            names |= of_target or {}
        return name_tasks(verdict, names)

    def is_ready(self) -> bool:
        """Whether the secret of a target was read once and, if it contains IAM credentials, exchanged for a token."""
        return self.source.is_ready

    def readiness(self, deadline: Deadline) -> tuple[Fault, ...]:
        """Return what is wrong with the credentials; the first call reads them.

        Once `is_ready`, this does not wait. A token that ROMA Connect refused in the last check is a fault too.
        """
        try:
            rejected = self.source.refresh(deadline)
        except CheckError as error:
            return error.faults
        found = self.fan_out.run(lambda target: target.credentials_fault(deadline), self.targets, deadline)
        faults = [Fault("FDI_CONFIG", rejected.message)] if rejected is not None else []
        return (*faults, *(fault for fault in found if fault is not None))

    def may_see(self, fault: Fault, allowed: Collection[str] | None) -> bool:
        """Whether a caller who may see some targets, or all for None, may see what is wrong with the credentials."""
        hidden = [target for target in self.targets if allowed is not None and target.settings.name not in allowed]
        return fault.variable not in {target.fault_place for target in hidden}

    def token_states(self, allowed: Collection[str] | None = None) -> dict[str, object]:
        """Return what callers may know of the tokens: `token` of the only target, `targets` with theirs otherwise.

        Args:
            allowed: the targets that the caller may see, or None for all.

        """
        state = self.source.state
        if state is None and self.targets:
            return {"token": self.targets[0].token_state()}
        targets = [
            {"name": target.settings.name, "token": target.token_state()}
            for target in self.targets
            if allowed is None or target.settings.name in allowed
        ]
        return {"targets": targets, "config": state._asdict() if state is not None else None}

    def close(self) -> None:
        """End the threads and close the connections."""
        self.fan_out.close()
        for target in self.targets:
            target.close()


def _api_keys(secret: ConfiguredSecret, clock: Callable[[], Instant], read_seconds: float) -> ApiKeys:
    from fdi_health.credentials.api_keys import ApiKeys

    return ApiKeys(secret.store, secret.url.key, clock, read_seconds)


def _seconds_for(count: int, seconds: float) -> float:
    """Return what a step takes that is done for every instance; nothing for the first `FREE_INSTANCES`."""
    return max(0, count - FREE_INSTANCES) * seconds
