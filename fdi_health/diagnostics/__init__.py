"""The steps of the command `doctor`: tries each step to a verdict and reports the ones that fail.

Settings → secret → IAM, if the secret contains credentials: DNS, TCP, TLS, login → ROMA Connect: DNS, TCP, TLS → each
instance → a comparison with the instance's own statistics. Steps that are skipped are reported with the reason.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from fdi_health.clock import Deadline, format_timestamp
from fdi_health.credentials.refreshing_cache import RefreshingCache
from fdi_health.credentials.secret_format import Credentials, parse_secret
from fdi_health.diagnostics.comparison import comparison_steps, suggestion_step
from fdi_health.diagnostics.step import (
    INSTANCE,
    NETWORK,
    SECRET,
    SETTINGS,
    Step,
    failed,
    network_steps,
    since,
    skipped,
    tried,
)
from fdi_health.errors import CheckError
from fdi_health.formats.text_format import describe
from fdi_health.reasons import next_steps
from fdi_health.service import Service
from schemas.settings_fields import MARKER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fdi_health.models import Instance, InstanceVerdict, VerdictWarning
    from fdi_health.service.target import Target

_LOGIN_WARNING = (
    "Correct the secret before the next run: each run of doctor logs in once, and IAM locks a user after 5 failed "
    "logins within 15 minutes."
)
_NEW_TOKEN_STEP = "Store a permanent access key in the secret, or renew what is in it."  # noqa: S105 -- a sentence, not a password


def steps(environ: Mapping[str, str], *, offline: bool = False) -> Iterator[Step]:
    """Yield each step as soon as it is done. None takes longer than FDI_DEADLINE_SECONDS.

    The instances are checked in parallel, and only if there is a token and the endpoint is reachable. The step of an
    unhealthy instance is a warning, since ROMA Connect answered.

    Args:
        environ: the process's environment.
        offline: whether to stop after the settings: no secret is read and nothing is connected to.

    """
    began = time.monotonic()
    try:
        service = Service.open(environ)
    except CheckError as error:
        for fault in error.faults:
            entry = f", entry {fault.entry}," if fault.entry else ""
            text = MARKER.sub("FDI_OK", f"{fault.variable}{entry} {fault.message}")
            yield failed("settings", SETTINGS, began, text)
        if offline:
            return
        for name, place in (("secret", SECRET), ("network", NETWORK), ("instances", INSTANCE)):
            yield skipped(name, place, "not tried: the settings are invalid")
        return
    with contextlib.closing(service):
        discovers = any(target.discovery is not None for target in service.targets)
        count = "from ROMA Connect's list" if discovers else str(sum(len(one.instances) for one in service.targets))
        seconds = time.monotonic() - began
        finding = (
            f"valid; instances: {count}" if service.targets else "valid; the document of FDI_CONFIG is not read yet"
        )
        yield Step("settings", SETTINGS, ok=True, seconds=seconds, finding=finding)
        if offline:
            return
        if not service.targets:
            step = tried("document", SETTINGS, lambda: _load_document(service))
            yield step
            if not step.ok:
                return
        for target in service.targets:
            prefix = "" if target.settings.name is None else f"{target.settings.name}: "
            for step in _target_steps(service, target):
                yield step._replace(name=f"{prefix}{step.name}")
        callers, deadline = service.callers, Deadline.after(service.deadline_seconds)
        if callers is not None:
            yield tried("callers' keys", SECRET, lambda: f"callers with a key: {callers.load(deadline)}")


def _target_steps(service: Service, target: Target) -> Iterator[Step]:
    has_token = True
    for step in _token_steps(service, target):
        has_token &= step.ok and step.status != "skipped"
        yield step
    is_reachable = True
    for step in network_steps(target.transport, service.deadline_seconds):
        is_reachable &= step.ok
        yield step
    reasons = [
        *([] if has_token else ["no usable credentials"]),
        *([] if is_reachable else ["the endpoint is unreachable"]),
    ]
    if reasons:
        for instance in target.instances:
            yield skipped(f"instance {instance.name}", INSTANCE, f"not checked: {' and '.join(reasons)}")
        return
    listed: Sequence[Instance] = target.instances
    if target.discovery is not None:
        step, listed = _list_step(service, target)
        yield step
    if not listed:
        return
    verdict = target.check(listed, Deadline.after(service.deadline_seconds))
    instances, warnings = (verdict.details.instances, verdict.details.warnings) if verdict.details else ((), ())
    yield from (_instance_step(instance, warnings) for instance in instances)
    yield from comparison_steps(target, instances, Deadline.after(service.deadline_seconds))
    yield from suggestion_step(instances, target.evaluations.policy)


def _load_document(service: Service) -> str:
    try:
        service.source.refresh(Deadline.after(service.deadline_seconds))
    except CheckError as error:
        faults = "; ".join(f"{fault.variable} {fault.message}" for fault in error.faults)
        raise CheckError(error.code, MARKER.sub("FDI_OK", f"{error.message}: {faults}")) from None
    return f"describes {len(service.targets)} target(s)"


def _list_step(service: Service, target: Target) -> tuple[Step, Sequence[Instance]]:
    """Return the step that lists the project's instances, and the instances."""
    began = time.monotonic()
    found = target.listed(Deadline.after(service.deadline_seconds))
    if found.error is not None:
        return failed("list of instances", INSTANCE, began, found.error.message, found.error.next_step), ()
    seconds, finding = since(began), f"{len(found.instances)} instances to ask"
    step = Step("list of instances", INSTANCE, ok=True, seconds=seconds, finding=finding)
    if found.warnings:
        texts = " ".join(warning.message for warning in found.warnings)
        next_step = found.warnings[0].next_step
        step = step._replace(finding=f"{finding}. {texts}", next_step=next_step, status="warning")
    return step, found.instances


def _token_steps(service: Service, target: Target) -> Iterator[Step]:
    """Yield the steps to a token: the secret and, if it contains IAM credentials, the login."""
    is_iam = False
    # A vendor's library may hang or raise any exception: the cache limits the time and maps the exception.
    cache = RefreshingCache(
        lambda call: parse_secret(target.secret.store.read(call.deadline).data, target.secret.url.key)
    )

    def read() -> str:
        nonlocal is_iam
        is_iam = isinstance(cache.get(Deadline.after(service.deadline_seconds)).value, Credentials)
        if is_iam:
            return "contains credentials"
        content = (
            "an access key" if target.tokens.current(Deadline.after(service.deadline_seconds)).signs else "a token"
        )
        return f"contains {content}{_describe_expiry(service, target)}"

    secret_step = tried("secret", SECRET, read)
    yield secret_step if is_iam else _warn_of_expiry(secret_step, service, target)
    if not is_iam:
        return
    is_reachable = True
    if target.iam_transport is not None:
        for step in network_steps(target.iam_transport, service.deadline_seconds, is_iam=True):
            is_reachable &= step.ok
            yield step
    if not is_reachable:
        yield skipped("IAM login", SECRET, "not tried: IAM is unreachable")
        return

    def log_in() -> str:
        target.tokens.current(Deadline.after(service.deadline_seconds))
        return f"IAM issued a token for the credentials in the secret{_describe_expiry(service, target)}"

    step = _warn_of_expiry(tried("IAM login", SECRET, log_in), service, target)
    was_sent = target.iam_transport is not None
    yield step if step.ok or not was_sent else step._replace(next_step=f"{step.next_step} {_LOGIN_WARNING}")


def _describe_expiry(service: Service, target: Target) -> str:
    state = target.tokens.state()
    if state is None or state.expires_at is None:
        return ""
    verb = "expires" if state.expires_at > service.clock().wall else "expired"
    return f", which {verb} at {format_timestamp(state.expires_at)}"


def _warn_of_expiry(step: Step, service: Service, target: Target) -> Step:
    """Return the step as a warning if its token has expired or expires soon, and is not renewable.

    Such a token is still used until it is refused, which the steps of the instances show.
    """
    state = target.tokens.state()
    if not step.ok or state is None or state.kind == "credentials":
        return step
    expired = state.expires_at is not None and state.expires_at <= service.clock().wall
    if not expired and target.tokens.expiring() is None:
        return step
    problem = "has expired" if expired else "expires soon"
    return step._replace(finding=f"{step.finding}: it {problem}", next_step=_NEW_TOKEN_STEP, status="warning")


def _instance_step(instance: InstanceVerdict, warnings: Sequence[VerdictWarning]) -> Step:
    is_degraded = instance.status == "degraded"
    steps = next_steps(instance, warnings) or [warning.next_step for warning in warnings if is_degraded]
    ok = instance.status != "unknown"
    return Step(
        name=f"instance {instance.name}",
        place=INSTANCE,
        ok=ok,
        seconds=instance.duration_seconds,
        finding=f"{instance.status}: {describe(instance)}",
        next_step=steps[0] if steps else None,
        status="failed" if not ok else "ok" if instance.status == "healthy" else "warning",
    )
