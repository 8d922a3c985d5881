"""A simulator over TLS as a program of its own: writes its CA where it is told, prints its URL, ends with its stdin."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path

import certifi
import trustme

from benchmarks.upstream import PROJECT_ID, TOKEN, fleet_names
from simulator import Simulator


def main() -> None:
    """Serve `argv[2]` healthy instances, 50 ms away, until stdin ends."""
    authority = trustme.CA()
    # Behind all the CAs of the world, as a deployment has them: many clients load those for every connection.
    bundle = Path(certifi.where()).read_bytes() + authority.cert_pem.bytes()
    Path(sys.argv[1]).write_bytes(bundle)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Simulator(
        tokens=[TOKEN], project_id=PROJECT_ID, latency_seconds=0.05, ssl_context=context, remember=10
    ) as simulator:
        for name in fleet_names(int(sys.argv[2])):
            simulator.play(name, "healthy")
        print(simulator.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
