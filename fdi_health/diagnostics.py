"""Walks the way to a verdict and says where it breaks.

Settings → secret → IAM, if the secret holds credentials: DNS, TCP, TLS, login → ROMA Connect: DNS, TCP, TLS → each
instance. What could not be tried is named too, and why.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from fdi_health.clock import Deadline, format_timestamp
from fdi_health.credentials.refreshing_cache import RefreshingCache
from fdi_health.credentials.secret_format import Credentials, parse_secret
from fdi_health.diagnostic_steps import INSTANCE, NETWORK, SECRET, SETTINGS, Step, failed, network_steps, skipped, tried
from fdi_health.errors import CheckError
from fdi_health.evaluation import next_steps
from fdi_health.formats.text_format import describe
from fdi_health.service import Service
from schemas.settings_fields import MARKER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fdi_health.models import InstanceVerdict, VerdictWarning
    from fdi_health.service import Target

_EACH_RUN = (
    "Each run of doctor logs in once, and IAM locks a user after 5 failed logins within 15 minutes: correct the secret "
    "before the next run."
)
_NEW_TOKEN = "Put a new token into the secret, or IAM credentials, which renew it by themselves."  # noqa: S105 -- a sentence, not a password


def steps(environ: Mapping[str, str]) -> Iterator[Step]:
    """Yield each step as soon as it is done; none goes on longer than FDI_DEADLINE_SECONDS.

    Instances are asked only if there is a token and a way to them, all at once. One that is unhealthy is not a fault of
    the way: it was asked and it responded.
    """
    began = time.monotonic()
    try:
        service = Service.open(environ)
    except CheckError as error:
        for fault in error.faults:
            entry = f", entry {fault.entry}," if fault.entry else ""
            seen = MARKER.sub("FDI_OK", f"{fault.variable}{entry} {fault.message}")
            yield failed("settings", SETTINGS, began, seen)
        for name, place in (("secret", SECRET), ("network", NETWORK), ("instances", INSTANCE)):
            yield skipped(name, place, "not tried: the settings are broken")
        return
    with contextlib.closing(service):
        count = len(service.target.instances)
        yield Step(
            "settings", SETTINGS, ok=True, seconds=time.monotonic() - began, finding=f"valid; instances to ask: {count}"
        )
        yield from _target_steps(service, service.target)
        if service.callers is not None:
            yield tried("callers' keys", SECRET, lambda: _read_keys(service))


def _target_steps(service: Service, target: Target) -> Iterator[Step]:
    token_is_held = True
    for step in _token_steps(service, target):
        token_is_held &= step.ok and step.status != "skipped"
        yield step
    endpoint_is_reached = True
    for step in network_steps(target.transport, service.deadline_seconds):
        endpoint_is_reached &= step.ok
        yield step
    missing = [
        *(["no token"] if not token_is_held else []),
        *(["the endpoint cannot be reached"] if not endpoint_is_reached else []),
    ]
    if missing:
        for instance in target.instances:
            yield skipped(f"instance {instance.name}", INSTANCE, f"not asked: {' and '.join(missing)}")
        return
    verdict = service.check(target.instances, Deadline.after(service.deadline_seconds))
    found, warnings = (verdict.details.instances, verdict.details.warnings) if verdict.details else ((), ())
    yield from (_instance_step(part, warnings) for part in found)


def _token_steps(service: Service, target: Target) -> Iterator[Step]:
    """Yield the steps to a token: refresh the secret and, for IAM credentials in it, the login."""
    is_iam = False
    # A vendor's library may hang or raise anything: the cache bounds it and maps what it raises.
    held = RefreshingCache(
        lambda refresh: parse_secret(target.secret.store.read(refresh.deadline).data, target.secret.url.key)
    )

    def read() -> str:
        nonlocal is_iam
        found = held.newer_than(0, Deadline.after(service.deadline_seconds)).value
        is_iam = isinstance(found, Credentials)
        if is_iam:
            return "holds credentials"
        target.tokens.current(Deadline.after(service.deadline_seconds))
        return f"holds a token{_end_of_token(service, target)}"

    secret_step = tried("secret", SECRET, read)
    yield secret_step if is_iam else _warn_of_end(secret_step, service, target)
    if not is_iam:
        return
    iam_is_reached = True
    if target.iam_transport is not None:
        for step in network_steps(target.iam_transport, service.deadline_seconds, is_iam=True):
            iam_is_reached &= step.ok
            yield step
    if not iam_is_reached:
        yield skipped("IAM login", SECRET, "not tried: IAM cannot be reached")
        return

    def log_in() -> str:
        target.tokens.current(Deadline.after(service.deadline_seconds))
        return f"the secret holds credentials; IAM gave a token for them{_end_of_token(service, target)}"

    step = _warn_of_end(tried("IAM login", SECRET, log_in), service, target)
    yield step if step.ok else step._replace(next_step=f"{step.next_step} {_EACH_RUN}")


def _end_of_token(service: Service, target: Target) -> str:
    state = target.tokens.state()
    if state is None or state.expires_at is None:
        return ""
    verb = "ends" if state.expires_at > service.clock().wall else "was to end"
    return f", which {verb} at {format_timestamp(state.expires_at)}"


def _warn_of_end(step: Step, service: Service, target: Target) -> Step:
    """Return the step as a warning if its token has ended or ends soon, and nothing renews it.

    Such a token is used until it is refused, which the steps of the instances show.
    """
    state = target.tokens.state()
    if not step.ok or state is None or state.kind != "token":
        return step
    expired = state.expires_at is not None and state.expires_at <= service.clock().wall
    if not expired and target.tokens.expiring() is None:
        return step
    when = "is past its end" if expired else "ends soon"
    return step._replace(finding=f"{step.finding}: it {when}", next_step=_NEW_TOKEN, status="warning")


def _read_keys(service: Service) -> str:
    count = service.callers.load(Deadline.after(service.deadline_seconds)) if service.callers else 0
    return f"callers with a key: {count}"


def _instance_step(found: InstanceVerdict, warnings: Sequence[VerdictWarning]) -> Step:
    steps = next_steps(found, warnings) or [warning.next_step for warning in warnings if found.status == "degraded"]
    ok = found.status != "unknown"
    return Step(
        name=f"instance {found.name}",
        place=INSTANCE,
        ok=ok,
        seconds=found.duration_seconds,
        finding=f"{found.status}: {describe(found)}",
        next_step=steps[0] if steps else None,
        status="failed" if not ok else "ok" if found.status == "healthy" else "warning",
    )
