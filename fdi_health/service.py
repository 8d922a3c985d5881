"""The whole state of a process in one object, made from its environment."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from marshmallow import ValidationError

from fdi_health.client import Client
from fdi_health.deadline import Deadline, now
from fdi_health.errors import CheckError, Fault
from fdi_health.fleet import Fleet
from fdi_health.model import Instance, Rules, Verdict
from fdi_health.pool import Pool
from fdi_health.tokens import Tokens
from fdi_health.transport import Transport
from fdi_health.vaults import InvalidSecretUrl, open_vault, parse
from fdi_health.verdict import judge
from schemas import settings as settings_schema

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from fdi_health.vaults import Vault


class Target(NamedTuple):
    """One endpoint with its instances and the token for them."""

    transport: Transport
    tokens: Tokens
    fleet: Fleet
    instances: tuple[Instance, ...]


class Service(NamedTuple):
    """Everything that a process keeps between two requests; nothing that a restart would lose.

    Attributes:
        targets: whom to ask; one today.
        rules: how to judge.
        pool: the threads that wait for the upstream.
        deadline_seconds: the longest a check may take.
        anonymous: what callers see who do not say who they are.

    """

    targets: tuple[Target, ...]
    rules: Rules
    pool: Pool
    deadline_seconds: float
    anonymous: Literal["verdict", "details"]

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Return the service that the environment describes; connects to nothing and starts no thread.

        Raises:
            CheckError: `settings_invalid`, with every fault there is.

        """
        settings, vault, key = _load(environ)
        transport = Transport.open(settings["endpoint"], environ, settings["max_parallel"])
        pool = Pool(settings["max_parallel"])
        client = Client(transport, settings["project_id"], frozenset(settings["optional_task_groups"]))
        instances = tuple(Instance(name, instance_id) for name, instance_id in settings["instances"])
        fleet = Fleet(client, pool, settings["cache_seconds"])
        return cls(
            targets=(Target(transport, Tokens(vault, key), fleet, instances),),
            rules=Rules(frozenset(settings["allow_empty"])),
            pool=pool,
            deadline_seconds=settings["deadline_seconds"],
            anonymous=settings["anonymous"],
        )

    def select(self, names: Collection[str] | None) -> list[tuple[Target, list[Instance]]]:
        """Return the instances asked for, in the order of the settings, each once.

        Args:
            names: aliases or IDs; None for all.

        Raises:
            CheckError: `unknown_instance`, if one of them is not configured.

        """
        wanted = None if names is None else set(names)
        selected = [
            (target, [i for i in target.instances if wanted is None or wanted & {i.name, i.instance_id}])
            for target in self.targets
        ]
        found = {text for _, instances in selected for i in instances for text in (i.name, i.instance_id)}
        if wanted is not None and not wanted <= found:
            # Which one is not said: it is the caller's own text, and this one may know no names.
            raise CheckError(
                "unknown_instance",
                f"{len(wanted - found)} of the {len(wanted)} instances asked for are not in FDI_INSTANCES",
            )
        return [(target, instances) for target, instances in selected if instances]

    def check(self, selected: Sequence[tuple[Target, Sequence[Instance]]], deadline: Deadline) -> Verdict:
        """Return the verdict over the selected instances, details included, at the deadline at the latest."""
        began = now()
        findings = [
            finding
            for target, instances in selected
            for finding in target.fleet.check(instances, target.tokens, deadline)
        ]
        present = now()
        ages = [finding.arrived.seconds_until(present) for finding in findings]
        oldest = max(zip(ages, findings, strict=True), key=lambda aged: aged[0])[1]
        return judge(
            findings,
            self.rules,
            checked_at=datetime.fromtimestamp(oldest.arrived.wall, UTC),
            age_seconds=max(ages),
            duration_seconds=began.seconds_until(present),
        )

    def readiness(self, deadline: Deadline) -> tuple[Fault, ...]:
        """Return what keeps the service from answering: a token that is neither held nor readable; else nothing."""
        faults = []
        for target in self.targets:
            try:
                target.tokens.current(deadline)
            except CheckError as error:
                faults.append(Fault("FDI_TOKEN", f"{error.message}. {error.next_step}"))
        return tuple(faults)

    def close(self) -> None:
        """Let the threads end and close the connections."""
        self.pool.close()
        for target in self.targets:
            target.transport.close()


def _load(environ: Mapping[str, str]) -> tuple[dict[str, Any], Vault, str | None]:
    faults: list[Fault] = []
    settings: dict[str, Any] = {}
    try:
        settings = settings_schema.load(environ)
    except ValidationError as error:
        faults += [Fault(variable, message, entry) for variable, entry, message in settings_schema.faults(error)]
    try:
        # Not from the loaded settings: every fault is reported at once.
        secret_url = environ.get("FDI_TOKEN", "").strip()
        url = parse(secret_url) if secret_url else None
        vault = open_vault(url, environ) if url else None
    except InvalidSecretUrl as error:
        faults.append(Fault("FDI_TOKEN", str(error)))
    if faults or url is None or vault is None:
        faults.sort(key=lambda fault: (fault.variable, fault.entry or 0))
        count = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
        variables = ", ".join(dict.fromkeys(fault.variable for fault in faults))
        raise CheckError("settings_invalid", f"the settings have {count}: {variables}", faults=tuple(faults))
    return settings, vault, url.key
