"""The whole state of a process in one object, made from its environment."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from marshmallow import ValidationError

from fdi_health.checker import Checker
from fdi_health.clock import Deadline, format_timestamp, now
from fdi_health.concurrency.daemon_thread_pool import DaemonThreadPool
from fdi_health.credentials.api_keys import ApiKeys
from fdi_health.credentials.credentials_history import CredentialsHistory
from fdi_health.credentials.iam_client import IamClient
from fdi_health.credentials.refreshing_cache import READ_SECONDS
from fdi_health.credentials.token_provider import TokenProvider
from fdi_health.errors import CheckError, Fault
from fdi_health.evaluation import evaluate
from fdi_health.models import Instance, Policy, ProbeResult, Verdict
from fdi_health.roma.client import Client
from fdi_health.secret_stores import InvalidSecretUrl, open_store, parse_secret_url
from fdi_health.transport.client import Transport
from schemas import settings as settings_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from fdi_health.clock import Instant
    from fdi_health.secret_stores import SecretStore, SecretUrl


class Target(NamedTuple):
    """One endpoint with its instances and the token for them.

    Attributes:
        transports: to ROMA Connect, and to IAM where it is known.
        tokens: the token for all of them.
        token_source: the scheme of the secret's URL.
        store: where the secret is.
        secret_key: which key of a JSON secret holds the token or the credentials, or None.
        history: what happened to the credentials so far.
        checker: asks the instances.
        instances: whom to ask.

    """

    transports: tuple[Transport, ...]
    tokens: TokenProvider
    token_source: str
    store: SecretStore
    secret_key: str | None
    history: CredentialsHistory
    checker: Checker
    instances: tuple[Instance, ...]


class Service(NamedTuple):
    """Everything that a process keeps between two requests; nothing that a restart would lose.

    Attributes:
        targets: whom to ask; one today.
        rules: how to evaluate.
        pool: the threads that wait for the upstream.
        deadline_seconds: the longest a check may take.
        anonymous: what callers see who do not say who they are.
        callers: the keys of those who do, or None where there are none.
        clock: reads both clocks.

    """

    targets: tuple[Target, ...]
    rules: Policy
    pool: DaemonThreadPool
    deadline_seconds: float
    anonymous: Literal["verdict", "details", "refuse"]
    callers: ApiKeys | None
    clock: Callable[[], Instant]

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], clock: Callable[[], Instant] = now) -> Self:
        """Return the service that the environment describes; connects to nothing and starts no thread.

        Raises:
            CheckError: `settings_invalid`, with every fault there is.

        """
        settings, secrets = _load(environ)
        transport = Transport.open(settings["endpoint"], environ, settings["max_parallel"])
        transports = [transport]
        if settings["iam_endpoint"]:
            transports.append(Transport.open(settings["iam_endpoint"], environ, 1, transport.context))
        read_seconds = max(settings["deadline_seconds"], READ_SECONDS)
        url, store = secrets["FDI_TOKEN"]
        iam = IamClient(transports[1] if settings["iam_endpoint"] else None, settings["project_id"], clock)
        pool = DaemonThreadPool(settings["max_parallel"])
        client = Client(transport, settings["project_id"], frozenset(settings["optional_task_groups"]))
        target = Target(
            transports=tuple(transports),
            tokens=TokenProvider(store, iam, url.key, settings["token_warn_seconds"], clock, read_seconds),
            token_source=url.scheme,
            store=store,
            secret_key=url.key,
            history=CredentialsHistory(),
            checker=Checker(client, pool, settings["cache_seconds"], settings["deadline_seconds"], clock),
            instances=tuple(Instance(name, instance_id) for name, instance_id in settings["instances"]),
        )
        callers = None
        if "FDI_CALLERS" in secrets:
            url, store = secrets["FDI_CALLERS"]
            callers = ApiKeys(store, url.key, clock, read_seconds)
        return cls(
            targets=(target,),
            rules=Policy(frozenset(settings["allow_empty"])),
            pool=pool,
            deadline_seconds=settings["deadline_seconds"],
            anonymous=settings["anonymous"],
            callers=callers,
            clock=clock,
        )

    def select(self, names: Collection[str] | None) -> list[tuple[Target, list[Instance]]]:
        """Return the instances asked for, in the order of the settings, each once.

        Args:
            names: aliases or IDs; None for all.

        Raises:
            CheckError: `unknown_instance`, if one of them is not configured.

        """
        unknown = len(self.unknown_names(names or ()))
        if unknown:
            # Which one is not said: it is the caller's own text, and this one may know no names.
            subject, verb = ("instance", "is") if unknown == 1 else ("instances", "are")
            raise CheckError("unknown_instance", f"{unknown} {subject} asked for {verb} not in FDI_INSTANCES")
        wanted = None if names is None else set(names)
        selected = [
            (target, [i for i in target.instances if wanted is None or wanted & {i.name, i.instance_id}])
            for target in self.targets
        ]
        return [(target, instances) for target, instances in selected if instances]

    def unknown_names(self, names: Collection[str]) -> list[str]:
        """Return the names that are neither an alias nor an ID in FDI_INSTANCES, each once."""
        known = {text for target in self.targets for i in target.instances for text in (i.name, i.instance_id)}
        return [name for name in dict.fromkeys(names) if name not in known]

    def check(self, selected: Sequence[tuple[Target, Sequence[Instance]]], deadline: Deadline) -> Verdict:
        """Return the verdict over the selected instances, details included, at the deadline at the latest."""
        began = self.clock()
        findings: list[ProbeResult] = []
        for target, instances in selected:
            found = target.checker.check_all(instances, target.tokens, deadline)
            target.history.note(found)
            expires_at = target.tokens.expiring()
            findings += found if expires_at is None else [f._replace(token_expires_at=expires_at) for f in found]
        present = self.clock()
        ages = [finding.arrived.seconds_until(present) for finding in findings]
        is_fresh = any(finding.arrived.monotonic >= began.monotonic for finding in findings)
        oldest = max(zip(ages, findings, strict=True), key=lambda aged: aged[0])[1]
        return evaluate(
            findings,
            self.rules,
            checked_at=datetime.fromtimestamp(oldest.arrived.wall, UTC),
            age_seconds=max(ages),
            duration_seconds=began.seconds_until(present),
            token=self.targets[0].tokens.state(),
            is_fresh=is_fresh,
        )

    def is_ready(self) -> bool:
        """Whether the credentials were held once: read and, where they are IAM's, exchanged for a token."""
        for target in self.targets:
            target.history.held |= target.tokens.state() is not None
        return any(target.history.held for target in self.targets)

    def readiness(self, deadline: Deadline) -> tuple[Fault, ...]:
        """Return what is wrong with the credentials, refresh them first if none were held yet.

        Once `is_ready`, this does not wait. A token that ROMA Connect refused in the last check is a fault too.
        """
        faults = []
        for target in self.targets:
            error = target.history.refusal
            try:
                target.tokens.be_ready(deadline)
            except CheckError as failure:
                error = failure
            if error is not None:
                faults.append(Fault("FDI_TOKEN", f"{error.message}. {error.next_step}"))
        return tuple(faults)

    def token_state(self) -> dict[str, str | None]:
        """Return what may be told of the token: `source`, `kind`, `version`, `expires_at`; never its value."""
        target = self.targets[0]
        state = target.tokens.state()
        return {
            "source": target.token_source,
            "kind": state.kind if state else None,
            "version": state.version if state else None,
            "expires_at": format_timestamp(state.expires_at) if state and state.expires_at is not None else None,
        }

    def close(self) -> None:
        """Let the threads end and close the connections."""
        self.pool.close()
        for target in self.targets:
            for transport in target.transports:
                transport.close()


def _load(environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, tuple[SecretUrl, SecretStore]]]:
    """Return the settings, and for each variable that names a secret its URL and store."""
    faults: list[Fault] = []
    settings: dict[str, Any] = {}
    secrets: dict[str, tuple[SecretUrl, SecretStore]] = {}
    try:
        settings = settings_schema.load(environ)
    except ValidationError as error:
        faults += [Fault(variable, message, entry) for variable, entry, message in settings_schema.faults(error)]
    for variable in ("FDI_TOKEN", "FDI_CALLERS"):
        # Not from the loaded settings: every fault is reported at once.
        text = environ.get(variable, "").strip()
        try:
            if text:
                url = parse_secret_url(text)
                secrets[variable] = url, open_store(url, environ)
        except InvalidSecretUrl as error:
            faults.append(Fault(variable, str(error)))
    if faults:
        faults.sort(key=lambda fault: (fault.variable, fault.entry or 0))
        count = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
        names = list(dict.fromkeys(fault.variable for fault in faults))
        variables = ", ".join([*names[:20], *([f"+{len(names) - 20} more"] if len(names) > 20 else [])])
        raise CheckError("settings_invalid", f"the settings have {count}: {variables}", faults=tuple(faults))
    return settings, secrets
