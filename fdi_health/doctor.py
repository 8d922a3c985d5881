"""Walks the way to a verdict, settings → secret → DNS, TCP, TLS → each instance, and says where it breaks."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from fdi_health.deadline import Deadline
from fdi_health.errors import CheckError
from fdi_health.formats.text_format import finding
from fdi_health.moments import moment_text
from fdi_health.service import Service
from fdi_health.transport.exception_mapping import map_exception
from fdi_health.transport.proxies import proxy_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from fdi_health.model import InstanceVerdict, VerdictWarning
    from fdi_health.service import Target
    from fdi_health.transport.client import Transport

SETTINGS, SECRET, NETWORK, INSTANCE = 10, 11, 12, 13
"""Exit statuses: where it broke."""

_Address: TypeAlias = "tuple[socket.AddressFamily, Any]"


class Step(NamedTuple):
    """One step and how it went.

    Attributes:
        name: what was tried.
        place: the exit status that names where it broke, if it did.
        ok: whether it went well.
        seconds: how long it took.
        finding: what was seen; ours, no foreign text.
        next_step: what to do about it, or None.

    """

    name: str
    place: int
    ok: bool
    seconds: float
    finding: str
    next_step: str | None = None


def steps(environ: Mapping[str, str]) -> Iterator[Step]:
    """Yield each step as soon as it is done; none goes on longer than FDI_DEADLINE_SECONDS.

    Instances are asked only if there is a token and a way to them. One that is unhealthy is no fault of the way: it was
    asked and it answered.
    """
    began = time.monotonic()
    try:
        service = Service.from_environ(environ)
    except CheckError as error:
        for fault in error.faults:
            entry = f", entry {fault.entry}," if fault.entry else ""
            seen = f"{fault.variable}{entry} {fault.message}"
            yield Step("settings", SETTINGS, ok=False, seconds=_since(began), finding=seen)
        return
    with contextlib.closing(service):
        count = sum(len(target.instances) for target in service.targets)
        yield Step("settings", SETTINGS, ok=True, seconds=_since(began), finding=f"valid; instances to ask: {count}")
        for target in service.targets:
            yield from _target_steps(service, target)
        if service.callers is not None:
            yield _tried("callers' keys", SECRET, lambda: _read_keys(service))


def _target_steps(service: Service, target: Target) -> Iterator[Step]:
    def read_token() -> str:
        target.tokens.current(Deadline.after(service.deadline_seconds))
        state = target.tokens.state()
        credentials = state is not None and state.kind == "credentials"
        ends_at = state.expires_at if state else None
        verb = "ends" if ends_at is None or ends_at > service.clock().wall else "was to end"
        end = f", which {verb} at {moment_text(ends_at)}" if ends_at is not None else ""
        return f"{'holds credentials; IAM gave a token for them' if credentials else 'holds a token'}{end}"

    before = [_tried("secret", SECRET, read_token)]
    yield from before
    for step in _network_steps(target.transports[0], service.deadline_seconds):
        before.append(step)
        yield step
    if all(step.ok for step in before):
        for instance in target.instances:
            verdict = service.check([(target, [instance])], Deadline.after(service.deadline_seconds))
            found, warnings = (verdict.details.instances, verdict.details.warnings) if verdict.details else ((), ())
            yield from (_instance_step(part, warnings) for part in found)


def _read_keys(service: Service) -> str:
    count = service.callers.load(Deadline.after(service.deadline_seconds)) if service.callers else 0
    return f"callers with a key: {count}"


def _instance_step(found: InstanceVerdict, warnings: Sequence[VerdictWarning]) -> Step:
    next_step = found.error.next_step if found.error else None
    if found.status == "degraded":
        next_step = next((w.next_step for w in warnings if w.instance in (found.name, None)), None)
    seen = f"{found.status}: {finding(found)}"
    return Step(f"instance {found.name}", INSTANCE, found.status != "unknown", found.duration_seconds, seen, next_step)


def _network_steps(transport: Transport, seconds: float) -> Iterator[Step]:
    """Yield DNS, TCP and TLS as far as they go: to the endpoint, or to the proxy that leads there."""
    whose = "the proxy" if transport.proxy else "the endpoint"
    fault = proxy_fault(transport.proxy)
    if fault is not None:
        yield Step("DNS", NETWORK, ok=False, seconds=0.0, finding=fault.message, next_step=fault.next_step)
        return
    hop = urlsplit(transport.proxy or transport.endpoint)
    host, port = hop.hostname or "", hop.port or (443 if hop.scheme == "https" else 80)
    with contextlib.ExitStack() as opened:
        addresses: list[_Address] = []
        connections: list[socket.socket] = []

        def resolve() -> str:
            addresses.extend(_addresses(host, port, seconds))
            return f"{whose} has {len(addresses)} address(es)"

        def connect() -> str:
            connections.append(opened.enter_context(_connected(addresses, seconds)))
            return f"connected to {whose}"

        def shake_hands() -> str:
            if isinstance(transport.context, CheckError):
                raise transport.context
            context = transport.context or ssl.create_default_context()
            secured = opened.enter_context(context.wrap_socket(connections[0], server_hostname=host))
            return f"{secured.version()}, certificate trusted"

        walk = [("DNS", resolve), ("TCP", connect)]
        # What a proxy makes of TLS shows when the instances are asked.
        walk += [("TLS", shake_hands)] if hop.scheme == "https" and not transport.proxy else []
        for name, work in walk:
            step = _tried(name, NETWORK, work)
            yield step
            if not step.ok:
                return


def _addresses(host: str, port: int, seconds: float) -> list[_Address]:
    """Return the addresses of a name; a lookup can't be ended, only left alone."""
    found: list[_Address] = []
    failed: list[Exception] = []

    def look_up() -> None:
        try:
            found.extend(
                (family, address)
                for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            )
        except (OSError, UnicodeError):
            failed.append(socket.gaierror())

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not found:
        raise TimeoutError
    return found


def _connected(addresses: Sequence[_Address], seconds: float) -> socket.socket:
    """Return a connection to the first address that accepts one, none of them taking more than its share."""
    deadline = Deadline.after(seconds)
    last: OSError = TimeoutError()
    for untried, (family, address) in zip(range(len(addresses), 0, -1), addresses, strict=True):
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(max(0.001, deadline.remaining() / untried))
            connection.connect(address)
            connection.settimeout(seconds)
        except OSError as error:
            connection.close()
            last = error
        else:
            return connection
    raise last


def _tried(name: str, place: int, work: Callable[[], str]) -> Step:
    began = time.monotonic()
    try:
        seen = work()
    except (CheckError, OSError) as error:
        ours = error if isinstance(error, CheckError) else map_exception(error)
        return Step(name, place, ok=False, seconds=_since(began), finding=ours.message, next_step=ours.next_step)
    return Step(name, place, ok=True, seconds=_since(began), finding=seen)


def _since(began: float) -> float:
    return time.monotonic() - began
