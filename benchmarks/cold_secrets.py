"""The first read of a secret in a new process, beside the same call with the vendor's library alone.

Both processes have imported the function. The time includes importing the vendor's library.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

import botocore.session
import requests

from benchmarks.measuring import Row
from tests.servers import ROOT, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 1.35

_OURS = """
import time, main
from fdi_health.clock import Deadline
from fdi_health.secret_stores import open_store, parse_secret_url
began = time.perf_counter()
open_store(parse_secret_url({url!r}), {{}}).read(Deadline.after(20))
print(time.perf_counter() - began)
"""
_BARE = """
import time, main
began = time.perf_counter()
import botocore.session
client = botocore.session.get_session().create_client({service!r}, region_name="eu-west-1")
client.{call}
print(time.perf_counter() - began)
"""


class _Store(NamedTuple):
    """A store to measure: its secret URL, botocore's name of the service, and the same call of botocore's client."""

    url: str
    service: str
    call: str


_STORES = (
    _Store(
        "awssecretsmanager://roma?region=eu-west-1",
        "secretsmanager",
        "get_secret_value(SecretId='roma', VersionStage='AWSCURRENT')",
    ),
    _Store(
        "awsparamstore:///prod/roma?region=eu-west-1", "ssm", "get_parameter(Name='/prod/roma', WithDecryption=True)"
    ),
)


def rows(runs: int = 12) -> Iterator[Row]:
    """Yield a row for each AWS store, against moto."""
    with _moto() as url:
        environ = {**_without_aws(), "AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        for store in _STORES:
            ours: list[float] = []
            bare: list[float] = []
            for _ in range(runs + 1):
                ours.append(_seconds(_OURS.format(url=store.url), environ))
                bare.append(_seconds(_BARE.format(service=store.service, call=store.call), environ))
            # The first of each warms the disk's cache.
            scheme = store.url.partition(":")[0]
            yield Row(
                f"cold read, {scheme} / botocore", statistics.median(ours[1:]), statistics.median(bare[1:]), LIMIT
            )


def _without_aws() -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def _seconds(program: str, environ: dict[str, str]) -> float:
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return float(done.stdout)


@contextlib.contextmanager
def _moto() -> Iterator[str]:
    """Run moto with a secret and a parameter; yields its URL."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(400):
                with contextlib.suppress(requests.ConnectionError):
                    requests.get(f"{url}/moto-api/data.json", timeout=5)
                    break
                time.sleep(0.05)
            session = botocore.session.get_session()
            session.set_credentials("a", "b")
            secrets, parameters = (
                session.create_client(store.service, region_name="eu-west-1", endpoint_url=url) for store in _STORES
            )
            secrets.create_secret(Name="roma", SecretString="MII-made-up")
            parameters.put_parameter(Name="/prod/roma", Value="MII-made-up", Type="SecureString")
            yield url
        finally:
            process.terminate()


if __name__ == "__main__":
    for row in rows():
        print(row)
