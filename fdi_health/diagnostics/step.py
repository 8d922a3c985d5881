"""One step of `doctor`, and the network steps (DNS, TCP, TLS) to ROMA Connect or IAM."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from fdi_health.clock import Deadline
from fdi_health.credentials.iam_error_codes import LOGIN_ERRORS, map_login_error
from fdi_health.errors import CheckError
from fdi_health.transport.connect import Address, Addresses, connect_first, resolve
from fdi_health.transport.deadline_socket import Exchange, bound_to
from fdi_health.transport.exception_mapping import map_exception
from fdi_health.transport.proxies import proxy_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fdi_health.transport.client import Transport

SETTINGS, SECRET, NETWORK, INSTANCE = 10, 11, 12, 13
"""Exit statuses: which part failed."""

StepStatus: TypeAlias = Literal["ok", "warning", "failed", "skipped"]


class Step(NamedTuple):
    """One step and its result.

    Attributes:
        name: what was tried.
        place: the exit status if this step fails.
        ok: false if the step failed; true also for a skipped step.
        seconds: how long it took.
        finding: the result, or why the step was skipped; contains no foreign text.
        next_step: what to do about it, or None.
        status: a warning needs an action but breaks nothing yet.

    """

    name: str
    place: int
    ok: bool
    seconds: float
    finding: str
    next_step: str | None = None
    status: StepStatus = "ok"


def failed(name: str, place: int, began: float, finding: str, next_step: str | None = None) -> Step:
    """Return a step that failed."""
    return Step(name, place, ok=False, seconds=since(began), finding=finding, next_step=next_step, status="failed")


def skipped(name: str, place: int, reason: str) -> Step:
    """Return a step that was not tried, and why."""
    return Step(name, place, ok=True, seconds=0.0, finding=reason, status="skipped")


def tried(
    name: str, place: int, work: Callable[[], str], *, is_iam: bool = False, ca_folder_variable: str | None = None
) -> Step:
    """Do the work of a step and return the step with its result.

    Args:
        name: as in `Step`.
        place: as in `Step`.
        work: returns the finding; may raise CheckError or OSError.
        is_iam: whether the step connects to IAM. Its network errors have their own next steps.
        ca_folder_variable: the variable that names a folder of trusted CA certificates, or None.

    """
    began = time.monotonic()
    try:
        finding = work()
    except (CheckError, OSError) as exception:
        error = exception if isinstance(exception, CheckError) else map_exception(exception, ca_folder_variable)
        next_step = map_login_error(error).next_step if is_iam and error.code in LOGIN_ERRORS else error.next_step
        return failed(name, place, began, error.message, next_step)
    return Step(name, place, ok=True, seconds=since(began), finding=finding)


def since(began: float) -> float:
    """Return the seconds since a time of the monotonic clock."""
    return time.monotonic() - began


def network_steps(transport: Transport, seconds: float, *, is_iam: bool = False) -> Iterator[Step]:
    """Yield DNS, TCP and TLS to the server or to its proxy. The steps after a failure are skipped.

    Args:
        transport: to ROMA Connect or IAM.
        seconds: how long each step may take.
        is_iam: whether it connects to IAM; the names and findings of the steps say so.

    """
    began = time.monotonic()
    prefix, server = ("IAM ", "IAM") if is_iam else ("", "the endpoint")
    if transport.proxy:
        server = "the proxy to IAM" if is_iam else "the proxy"
    fault = proxy_fault(transport.proxy)
    if fault is not None:
        yield failed(f"{prefix}DNS", NETWORK, began, fault.message, fault.next_step)
        yield skipped(f"{prefix}TCP", NETWORK, "not tried: there is no address")
        return
    hop = urlsplit(transport.proxy or transport.endpoint)
    host, port = hop.hostname or "", hop.port or (443 if hop.scheme == "https" else 80)
    with contextlib.ExitStack() as opened:
        addresses: list[Address] = []
        connections: list[socket.socket] = []

        def look_up() -> str:
            addresses.extend(_addresses(host, port, seconds))
            return f"{server} has {len(addresses)} address(es)"

        def connect() -> str:
            connected = connect_first(addresses, Deadline.after(seconds), socket.socket)
            connections.append(opened.enter_context(connected))
            return f"connected to {server}"

        def handshake() -> str:
            if isinstance(transport.context, CheckError):
                raise transport.context
            context = transport.context or ssl.create_default_context()
            with bound_to(Exchange(Deadline.after(seconds), 0, Addresses())):
                secured = opened.enter_context(context.wrap_socket(connections[0], server_hostname=host))
            return f"{secured.version()}, certificate trusted"

        steps = [("DNS", look_up), ("TCP", connect)]
        # TLS through a proxy is tested when the instances are checked.
        steps += [("TLS", handshake)] if hop.scheme == "https" and not transport.proxy else []
        failed_step: str | None = None
        for name, work in steps:
            if failed_step:
                yield skipped(f"{prefix}{name}", NETWORK, f"not tried: {failed_step} failed")
                continue
            step = tried(
                f"{prefix}{name}", NETWORK, work, is_iam=is_iam, ca_folder_variable=transport.ca_folder_variable
            )
            failed_step = None if step.ok else step.name
            yield step


def _addresses(host: str, port: int, seconds: float) -> list[Address]:
    """Return the addresses of a host. A lookup cannot be cancelled, so it runs on a thread that may be left behind."""
    found: list[Address] = []
    errors: list[Exception] = []

    def look_up() -> None:
        try:
            found.extend(resolve(host, port))
        except (OSError, UnicodeError):
            errors.append(socket.gaierror())

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not found:
        raise TimeoutError
    return found
