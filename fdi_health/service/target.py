"""One target: everything that a process keeps to ask the instances of one project."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fdi_health.checker import Checker
from fdi_health.clock import format_timestamp
from fdi_health.concurrency.daemon_thread_pool import DaemonThreadPool
from fdi_health.credentials.iam_client import IamClient
from fdi_health.credentials.token_provider import TokenProvider
from fdi_health.errors import CheckError, Fault
from fdi_health.evaluation_cache import EvaluationCache
from fdi_health.models import Instance, ProbeResult, TargetVerdict
from fdi_health.policy import Mute, Policy
from fdi_health.policy.mutes import may_mute_tasks, mutes_of_tasks
from fdi_health.probe import too_late
from fdi_health.roma.api import Api
from fdi_health.roma.client import Client
from fdi_health.roma.instance_selection import DiscoveredInstances
from fdi_health.roma.task_reader import MAX_INSTANCES, TaskReader
from fdi_health.transport.client import Transport

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping, Sequence

    from fdi_health.clock import Deadline, Instant
    from fdi_health.configuration import ConfiguredSecret
    from fdi_health.credentials.credential_limits import CredentialLimits
    from fdi_health.models import InstanceVerdict, Verdict
    from fdi_health.roma.discovery import Discovery
    from fdi_health.service.paces import Paces
    from fdi_health.tasks import TaskList, TaskNames
    from schemas.targets import TargetSettings


class Limits(NamedTuple):
    """What all targets of a process have in common.

    Attributes:
        deadline_seconds: the longest that a check may take.
        cache_seconds: how long a result is reused.
        token_warn_seconds: how long before the end of a token that cannot be renewed a warning is due.
        max_parallel: how many instances of one target are asked at the same time.
        read_seconds: how long reading a secret or a list of instances may take.
        discovery_seconds: the age at which a list of instances is read again.

    """

    deadline_seconds: float
    cache_seconds: float
    token_warn_seconds: float
    max_parallel: int
    read_seconds: float
    discovery_seconds: float


class Target(NamedTuple):
    """One endpoint of ROMA Connect, its instances, the credentials and the policy for them.

    Attributes:
        settings: what it was made from.
        transport: to ROMA Connect.
        api: ROMA Connect's API.
        iam_transport: to IAM, or None if its endpoint is not known.
        secret: the secret with the access key, the credentials or the token.
        tokens: the credentials for all of the instances.
        checker: asks the instances.
        task_reader: reads the tasks behind the counts.
        evaluations: evaluates results by the operator's policy.
        instances: the instances that the settings name, in their order.
        discovery: lists every instance of the project, if the settings say so; else None.
        pools: the threads that wait for ROMA Connect: for the statistics, and for what explains them.
        clock: reads both clocks.

    """

    settings: TargetSettings
    transport: Transport
    api: Api
    iam_transport: Transport | None
    secret: ConfiguredSecret
    tokens: TokenProvider
    checker: Checker
    task_reader: TaskReader
    evaluations: EvaluationCache
    instances: tuple[Instance, ...]
    discovery: Discovery | None
    pools: tuple[DaemonThreadPool, DaemonThreadPool]
    clock: Callable[[], Instant]

    def listed(self, deadline: Deadline) -> DiscoveredInstances:
        """Return its instances; an error is a value in it. The first call of a target that discovers them waits."""
        return self.discovery.current(deadline) if self.discovery is not None else DiscoveredInstances(self.instances)

    def check(self, instances: Sequence[Instance], deadline: Deadline) -> Verdict:
        """Return the verdict over some of its instances, details included, at the deadline at the latest."""
        began = self.clock()
        results = self.checker.check_all(instances, self.tokens, deadline)
        self.tokens.record_results(results)
        if self.discovery is not None:
            for result in results:
                if result.error is not None and result.error.code == "instance_not_found":
                    self.discovery.not_found(result.instance.instance_id)
        lists = self._lists_for_mutes(results, deadline)
        return self.evaluations.evaluate(
            results,
            self.tokens.expiring(),
            began=began,
            present=self.clock(),
            token=self.tokens.state(),
            task_lists=lists,
        )

    def late_verdict(self, instances: Sequence[Instance], began: Instant) -> Verdict:
        """Return the verdict over some of its instances if no result came before the deadline."""
        present = self.clock()
        results = [ProbeResult(one, None, too_late(), present, began.seconds_until(present)) for one in instances]
        return self.evaluations.evaluate(results, None, began=began, present=present, token=self.tokens.state())

    def names(
        self, instances: Sequence[InstanceVerdict], count: int, deadline: Deadline, *, remarks: bool
    ) -> dict[tuple[str | None, str], TaskNames]:
        """Return the tasks behind the counts of some of its instances; see `TaskReader.names`."""
        return self.task_reader.names(instances, count, self.tokens, deadline, remarks=remarks)

    def part(self, error: CheckError | None = None) -> TargetVerdict:
        """Return what a verdict shows of the target itself; the error says why its instances are not known."""
        settings = self.settings
        return TargetVerdict(settings.name, settings.region, settings.project_id, error, self.tokens.state())

    def credentials_fault(self, deadline: Deadline) -> Fault | None:
        """Return what is wrong with the credentials, or None; the first call reads them. Later ones do not wait."""
        try:
            self.tokens.check_usable(deadline)
        except CheckError as error:
            return Fault(self.fault_place, f"{error.message}. {error.next_step}")
        return None

    @property
    def fault_place(self) -> str:
        """Where its credentials are named."""
        return "FDI_TOKEN" if self.settings.name is None else f"{self.settings.name}: token"

    @property
    def has_token(self) -> bool:
        """Whether its secret was read once and, if it contains IAM credentials, exchanged for a token."""
        return self.tokens.state() is not None

    def token_state(self) -> dict[str, str | None]:
        """Return what callers may know of the token: `source`, `kind`, `version`, `expires_at`; never its value."""
        state = self.tokens.state()
        return {
            "source": self.secret.url.scheme,
            "kind": state.kind if state else None,
            "version": state.version if state else None,
            "expires_at": format_timestamp(state.expires_at) if state and state.expires_at is not None else None,
        }

    def close(self) -> None:
        """End the threads and close the connections."""
        for pool in self.pools:
            pool.close()
        self.transport.close()
        if self.iam_transport:
            self.iam_transport.close()

    def _lists_for_mutes(self, results: Sequence[ProbeResult], deadline: Deadline) -> dict[str, TaskList | str]:
        """Return instance ID → all tasks, for the instances that may be muted for them."""
        policy = self.evaluations.policy
        if not policy.task_mutes:
            return {}
        present = self.clock().wall
        # A list is for one result: a later result may have as many abnormal tasks, and other ones.
        wanted = [(result.instance, result.arrived) for result in results if may_mute_tasks(result, policy, present)]
        return self.task_reader.all_tasks(wanted, self.tokens, deadline) if wanted else {}


def open_target(
    settings: TargetSettings,
    secret: ConfiguredSecret,
    environ: Mapping[str, str],
    limits: Limits,
    clock: Callable[[], Instant],
    paces: Paces,
    credential_limits: CredentialLimits,
    share: int = 1,
    context: ssl.SSLContext | None = None,
) -> Target:
    """Return the target that the settings describe; connects to nothing and starts no thread.

    Args:
        settings: the target.
        secret: the secret with its credentials.
        environ: the process's environment.
        limits: what all targets have in common.
        clock: reads both clocks.
        paces: the call rates of the process.
        credential_limits: the limits of its access keys and users.
        share: how many targets share the threads and the kept connections of the process.
        context: another target's TLS context: to read the CA bundle takes 20 ms of CPU.

    """
    limits = limits._replace(max_parallel=max(1, limits.max_parallel // share))
    # Others of its connections: for the flow tasks of each instance, and for the list of instances.
    kept = limits.max_parallel * (2 if settings.flow_tasks == "check" else 1) + settings.discovers
    transport = Transport.open(settings.endpoint, environ, kept, context)
    iam_url = settings.iam_endpoint
    iam_transport = Transport.open(iam_url, environ, 1, transport.context) if iam_url else None
    iam = IamClient(iam_transport, settings.project_id, clock, limits=credential_limits)
    pools = DaemonThreadPool(limits.max_parallel), DaemonThreadPool(MAX_INSTANCES)
    api = Api(transport, settings.project_id, pace=paces.of(settings))
    seconds = limits.cache_seconds, limits.deadline_seconds
    client = Client(api, settings.optional_task_groups, check_flow_tasks=settings.flow_tasks == "check")
    tokens = TokenProvider(secret.store, iam, secret.url.key, limits.token_warn_seconds, clock, limits.read_seconds)
    policy = Policy(
        settings.allow_empty,
        settings.min_tasks,
        settings.min_running_tasks,
        {key: Mute(*times) for key, times in settings.mute.items()},
        mutes_of_tasks(settings.muted_tasks),
    )
    discovery: Discovery | None = None
    if settings.discovers:
        from fdi_health.roma.discovery import Discovery

        discovery = Discovery(settings, api, tokens, limits.discovery_seconds, clock, limits.read_seconds)
    return Target(
        settings=settings,
        transport=transport,
        api=api,
        iam_transport=iam_transport,
        secret=secret,
        tokens=tokens,
        checker=Checker(client, pools[0], *seconds, clock),
        task_reader=TaskReader(api, pools[1], *seconds, clock),
        evaluations=EvaluationCache(policy),
        instances=tuple(Instance(name, instance_id, settings.name) for name, instance_id in settings.instances),
        discovery=discovery,
        pools=pools,
        clock=clock,
    )
