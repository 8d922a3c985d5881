"""Serves fdi-health with granian: `fdi-health serve`, and `deploy/container/serve` in a container.

It reads PORT (8080), THREADS (64) and WORKERS (1) from the environment.

granian reads the heads of requests and writes responses without a Python thread, so a caller who is slow or silent
holds no thread. The values below were tried against such callers (docs/threat-model.md).
"""

from __future__ import annotations

import os
import resource
import socket
from pathlib import Path

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

MAX_CONNECTIONS = 4000
"""How many callers may be connected, per worker; the next ones wait in the backlog."""

KEEP_ALIVE_SECONDS = 75
"""How long a connection may be idle, and a head may take: longer than load balancers keep one (60 s)."""

MAX_HEAD_BYTES = 64 * 1024
"""A longer query than 32 KiB is refused by fdi-health itself."""


def _number(name: str, default: int, highest: int) -> int:
    """Return the number in a variable; the default if it is absent, empty or not a number from 1 to `highest`."""
    text = os.environ.get(name, "").strip()
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    return number if 1 <= number <= highest else default


def _deadline_seconds() -> float:
    """Return FDI_DEADLINE_SECONDS; the default of fdi-health if it is absent or not a number."""
    try:
        return min(max(0.1, float(os.environ.get("FDI_DEADLINE_SECONDS", ""))), 60.0)
    except ValueError:
        return 4.0


def _address(port: int) -> str:
    """Return the address to listen on, so that both IPv4 and IPv6 callers are served; exit if the port is taken.

    One socket on [::] serves both, unless net.ipv6.bindv6only is set; without IPv6 in the kernel there is no such one.
    granian itself would share a port with another server, and each would get some of the requests.
    """
    reason = None
    for family, address in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):  # noqa: S104 -- a container's own network
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
                if family == socket.AF_INET or not probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
                    return address
        except OSError as error:
            reason = error.strerror
    raise SystemExit(f"fdi-health can't listen on port {port}: {reason}")


def main() -> None:
    """Serve until SIGTERM."""
    os.chdir(Path(__file__).resolve().parents[1])  # where main.py is
    # Each connection takes a file descriptor, and so does each call to ROMA Connect.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft if hard == resource.RLIM_INFINITY else hard, hard))
    port = _number("PORT", 8080, 65535)
    threads = _number("THREADS", 64, 9999)
    os.environ["THREADS"] = str(threads)  # fdi-health keeps 8 of them for /live
    Granian(
        "main:app",
        address=_address(port),
        port=port,
        interface=Interfaces.WSGI,
        # "auto" would wait for silent callers to find out which version they speak.
        http=HTTPModes.http1,
        websockets=False,
        workers=_number("WORKERS", 1, 64),
        respawn_failed_workers=True,
        blocking_threads=threads,
        backlog=MAX_CONNECTIONS + 96,
        backpressure=MAX_CONNECTIONS,
        http1_settings=HTTP1Settings(header_read_timeout=KEEP_ALIVE_SECONDS * 1000, max_buffer_size=MAX_HEAD_BYTES),
        # Every response is out by then: what is left are callers who do not send their body or do not read.
        workers_kill_timeout=_deadline_seconds() + 0.6,  # type: ignore[arg-type] # passed to Process.join(), which takes it
        log_level=LogLevels.error,
    ).serve()


if __name__ == "__main__":
    main()
