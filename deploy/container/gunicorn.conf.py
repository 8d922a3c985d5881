"""gunicorn's settings for fdi-health in a container; each can be overridden on the command line.

Source of the names: https://docs.gunicorn.org/en/stable/settings.html
"""

from __future__ import annotations

import os
import resource
import socket


def _number(name: str, default: int) -> int:
    """Return the number in a variable; the default if it is absent, empty or not a number, as in fdi-health itself."""
    text = os.environ.get(name, "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else default


def _addresses(port: int) -> list[str]:
    """Return the addresses to listen on, so that both IPv4 and IPv6 callers are served.

    On Linux one socket on [::] serves both, unless net.ipv6.bindv6only is set: then IPv4 needs a socket of its own.
    Without IPv6 in the kernel no such socket can be made, and gunicorn would not start.
    """
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
            serves_ipv4 = not probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    except OSError:
        return [f"0.0.0.0:{port}"]
    return [f"[::]:{port}"] if serves_ipv4 else [f"[::]:{port}", f"0.0.0.0:{port}"]


bind = _addresses(_number("PORT", 8080))
wsgi_app = "main:app"
# gthread, with bounds on what a caller may take.
worker_class = "handlers.gunicorn_worker.Worker"
workers = max(1, _number("WORKERS", 1))
# How many requests a worker lets in at once, which it tells fdi-health: that keeps 8 of them free for /live.
threads = max(1, _number("THREADS", 64))
# How many may be connected; idle ones make room, but one that is asked over has a thread or waits for one.
worker_connections = max(1000, 2 * threads)

# Each connection takes a descriptor, and so does each call to an upstream.
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (_soft if _hard == resource.RLIM_INFINITY else _hard, _hard))

# A check ends by its own deadline (FDI_DEADLINE_SECONDS, 60 at most); gunicorn's must never come first.
timeout = 75
graceful_timeout = 65
# Longer than a load balancer's, which would otherwise send into a connection that is just being closed.
keepalive = 75

# Where there are several, a worker is replaced now and then, so that nothing can pile up for ever; the jitter keeps
# them apart. A single one is not: nobody would answer until its slowest check has ended.
max_requests = _number("MAX_REQUESTS", 100_000 if workers > 1 else 0)
max_requests_jitter = max_requests // 10

# Our longest query is 32 KiB, which goes into a POST body; 8 KiB is what most proxies let through in front.
limit_request_line = 8190
limit_request_fields = 64
limit_request_field_size = 16380

# No peer may change the path with a SCRIPT_NAME header; by default those on this machine may.
forwarder_headers = ""

# Heartbeats of workers: memory, not a disk that may be slow or read-only.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: PTH112, S108 -- what gunicorn takes is a text
# No socket to control it by: nobody here would use one, and a read-only file system has no place for it.
control_socket_disable = True
