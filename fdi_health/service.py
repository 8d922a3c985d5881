"""Says whether the data-integration tasks of the instances are healthy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Self

from fdi_health.checker import Checker
from fdi_health.clock import Deadline, format_timestamp, now
from fdi_health.concurrency.daemon_thread_pool import DaemonThreadPool
from fdi_health.configuration import ConfiguredSecret, read_configuration
from fdi_health.credentials.api_keys import ApiKeys
from fdi_health.credentials.iam_client import IamClient
from fdi_health.credentials.refreshing_cache import MAX_READ_SECONDS
from fdi_health.credentials.token_provider import TokenProvider
from fdi_health.errors import CheckError, Fault
from fdi_health.evaluation import name_tasks
from fdi_health.evaluation_cache import EvaluationCache
from fdi_health.models import Instance
from fdi_health.policy import Mute, Policy
from fdi_health.policy.mutes import may_mute_tasks
from fdi_health.roma.api import Api
from fdi_health.roma.client import Client
from fdi_health.roma.task_reader import MAX_INSTANCES, TaskReader
from fdi_health.transport.client import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from fdi_health.clock import Instant
    from fdi_health.models import ProbeResult, Verdict
    from fdi_health.tasks import TaskList
    from schemas.policy_fields import TaskMute


class Target(NamedTuple):
    """One endpoint of ROMA Connect, its instances and the token for them.

    Attributes:
        transport: to ROMA Connect.
        api: ROMA Connect's API.
        iam_transport: to IAM, or None if its endpoint is not known.
        secret: the secret with the token or the credentials.
        tokens: the token for all of the instances.
        checker: asks the instances.
        task_reader: reads the tasks behind the counts.
        instances: the instances in FDI_INSTANCES, in their order.

    """

    transport: Transport
    api: Api
    iam_transport: Transport | None
    secret: ConfiguredSecret
    tokens: TokenProvider
    checker: Checker
    task_reader: TaskReader
    instances: tuple[Instance, ...]


class Service(NamedTuple):
    """Everything that a process keeps between two requests; a restart loses nothing.

    Attributes:
        target: the endpoint and its instances.
        evaluations: evaluates results by the operator's policy.
        pools: the threads that wait for ROMA Connect: for the statistics, and for what explains them.
        deadline_seconds: the longest that a check may take.
        anonymous: what callers without a key see.
        callers: the callers' keys, or None if there are none.
        clock: reads both clocks.

    """

    target: Target
    evaluations: EvaluationCache
    pools: tuple[DaemonThreadPool, DaemonThreadPool]
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
        settings, secret, callers = read_configuration(environ, clock().wall)
        read_seconds = max(settings.deadline_seconds, MAX_READ_SECONDS)
        kept = settings.max_parallel * (2 if settings.flow_tasks == "check" else 1)
        transport = Transport.open(settings.endpoint, environ, kept)
        iam_transport = None
        if settings.iam_endpoint:
            iam_transport = Transport.open(settings.iam_endpoint, environ, 1, transport.context)
        iam = IamClient(iam_transport, settings.project_id, clock)
        pools = DaemonThreadPool(settings.max_parallel), DaemonThreadPool(MAX_INSTANCES)
        api = Api(transport, settings.project_id)
        target = Target(
            transport=transport,
            api=api,
            iam_transport=iam_transport,
            secret=secret,
            tokens=TokenProvider(secret.store, iam, secret.url.key, settings.token_warn_seconds, clock, read_seconds),
            checker=Checker(
                Client(api, settings.optional_task_groups, check_flow_tasks=settings.flow_tasks == "check"),
                pools[0],
                settings.cache_seconds,
                settings.deadline_seconds,
                clock,
            ),
            task_reader=TaskReader(api, pools[1], settings.cache_seconds, settings.deadline_seconds, clock),
            instances=tuple(Instance(name, instance_id) for name, instance_id in settings.instances),
        )
        return cls(
            target=target,
            evaluations=EvaluationCache(
                Policy(
                    settings.allow_empty,
                    settings.min_tasks,
                    settings.min_running_tasks,
                    {key: Mute(*times) for key, times in settings.mute.items()},
                    _task_mutes(settings.muted_tasks),
                )
            ),
            pools=pools,
            deadline_seconds=settings.deadline_seconds,
            anonymous=settings.anonymous,
            callers=ApiKeys(callers.store, callers.url.key, clock, read_seconds) if callers else None,
            clock=clock,
        )

    def select(self, names: Collection[str] | None) -> Sequence[Instance]:
        """Return the instances asked for, in the order of the settings, each once.

        Args:
            names: aliases or IDs; None for all.

        Raises:
            CheckError: `unknown_instance`, if one of them is not configured.

        """
        if names is None:
            return self.target.instances
        unknown = len(self.unknown_names(names))
        if unknown:
            # The message names none: names are the caller's own text, and this caller may not know ours.
            subject, verb = ("instance", "is") if unknown == 1 else ("instances", "are")
            raise CheckError("unknown_instance", f"{unknown} {subject} asked for {verb} not in FDI_INSTANCES")
        return [instance for instance in self.target.instances if not set(instance).isdisjoint(names)]

    def unknown_names(self, names: Collection[str]) -> list[str]:
        """Return the names that are neither an alias nor an ID in FDI_INSTANCES, each once."""
        known = {text for instance in self.target.instances for text in instance}
        return [name for name in dict.fromkeys(names) if name not in known]

    def check(self, instances: Sequence[Instance], deadline: Deadline) -> Verdict:
        """Return the verdict over some instances, details included, at the deadline at the latest."""
        target = self.target
        began = self.clock()
        results = target.checker.check_all(instances, target.tokens, deadline)
        target.tokens.record_results(results)
        lists = self._lists_for_mutes(results, deadline)
        return self.evaluations.evaluate(
            results,
            target.tokens.expiring(),
            began=began,
            present=self.clock(),
            token=target.tokens.state(),
            task_lists=lists,
        )

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
        target = self.target
        instances = verdict.details.instances
        names = target.task_reader.names(instances, count, target.tokens, deadline, remarks=remarks)
        return name_tasks(verdict, names)

    def _lists_for_mutes(self, results: Sequence[ProbeResult], deadline: Deadline) -> dict[str, TaskList | str]:
        """Return instance ID → all tasks, for the instances that may be muted for them."""
        policy = self.evaluations.policy
        present = self.clock().wall if policy.task_mutes else 0.0
        # A list is for one result: a later result may have as many abnormal tasks, and other ones.
        wanted = [
            (result.instance, result.arrived)
            for result in results
            if policy.task_mutes and may_mute_tasks(result, policy, present)
        ]
        return self.target.task_reader.all_tasks(wanted, self.target.tokens, deadline) if wanted else {}

    def is_ready(self) -> bool:
        """Whether the secret was read once and, if it contains IAM credentials, exchanged for a token."""
        return self.target.tokens.state() is not None

    def readiness(self, deadline: Deadline) -> tuple[Fault, ...]:
        """Return what is wrong with the credentials; the first call reads them.

        Once `is_ready`, this does not wait. A token that ROMA Connect refused in the last check is a fault too.
        """
        try:
            self.target.tokens.check_usable(deadline)
        except CheckError as error:
            return (Fault("FDI_TOKEN", f"{error.message}. {error.next_step}"),)
        return ()

    def token_state(self) -> dict[str, str | None]:
        """Return what callers may know of the token: `source`, `kind`, `version`, `expires_at`; never its value."""
        state = self.target.tokens.state()
        return {
            "source": self.target.secret.url.scheme,
            "kind": state.kind if state else None,
            "version": state.version if state else None,
            "expires_at": format_timestamp(state.expires_at) if state and state.expires_at is not None else None,
        }

    def close(self) -> None:
        """End the threads and close the connections."""
        for pool in self.pools:
            pool.close()
        self.target.transport.close()
        if self.target.iam_transport:
            self.target.iam_transport.close()


def _task_mutes(entries: Sequence[TaskMute]) -> dict[str, dict[str, Mute]]:
    """Return instance → task → mute."""
    found: dict[str, dict[str, Mute]] = {}
    for entry in entries:
        found.setdefault(entry.instance, {})[entry.task] = Mute(entry.begins, entry.ends)
    return found
