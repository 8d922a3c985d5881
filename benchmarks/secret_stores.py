"""The first read of a secret in a fresh process, import included, beside the vendor's library alone.

Both programs import the part of fdi-health that every deployment has before the clock starts. So a row shows the cost
of a store and not the cost of fdi-health, which `cold_start` measures.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.measuring import Row
from simulator import Simulator
from tests.aws_stand_in import AwsStandIn
from tests.azure_stand_in import AzureStandIn
from tests.secret_manager_server import SecretManager
from tests.servers import ROOT, clean_environ
from tests.vault_server import Answer, stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LIMIT = 1.25
SECRET = "token-of-the-benchmark"  # noqa: S105 -- made up
GCP_NAME = "projects/acme/secrets/roma/versions/latest"

TIMED = """
import os, time
from fdi_health.clock import Deadline
from fdi_health.secret_stores import open_store, parse_secret_url
began = time.perf_counter()
{program}
seconds = time.perf_counter() - began
assert {secret!r} in secret, secret
print(seconds)
"""
OURS = "secret = open_store(parse_secret_url({url!r}), os.environ).read(Deadline.after(30)).data.decode()"
GOOGLE = f"""
import grpc
from google.cloud import secretmanager_v1
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport
channel = grpc.insecure_channel(os.environ["SECRET_MANAGER_EMULATOR_HOST"])
client = secretmanager_v1.SecretManagerServiceClient(transport=SecretManagerServiceGrpcTransport(channel=channel))
secret = client.access_secret_version(name={GCP_NAME!r}).payload.data.decode()
"""
AWS = """
import boto3
secret = boto3.client("secretsmanager", region_name="eu-west-1").get_secret_value(SecretId="roma")["SecretString"]
"""
PARAMETER = """
import boto3
parameter = boto3.client("ssm", region_name="eu-west-1").get_parameter(Name="/prod/roma", WithDecryption=True)
secret = parameter["Parameter"]["Value"]
"""
VAULT = """
import hvac
client = hvac.Client(os.environ["VAULT_ADDR"], os.environ["VAULT_TOKEN"])
secret = client.secrets.kv.v2.read_secret_version("roma", mount_point="secret", raise_on_deleted_version=True)
secret = '{"token": "' + secret["data"]["data"]["token"] + '"}'
"""
AZURE = """
from azure.identity import ManagedIdentityCredential
from azure.keyvault.secrets import SecretClient
vault = "https://" + os.environ["KEY_VAULT_EMULATOR_HOST"]
client = SecretClient(vault, ManagedIdentityCredential(), verify_challenge_resource=False)
secret = client.get_secret("roma").value
"""


class Store(NamedTuple):
    """A store to measure.

    Attributes:
        url: a secret URL.
        bare: the program that reads the same secret by the vendor's library into the variable `secret`, or None.
        environ: the variables of both.

    """

    url: str
    bare: str | None
    environ: Mapping[str, str]


def lines(runs: int = 8) -> Iterator[str]:
    """Yield one line per scheme that has a server on loopback, or needs none."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as servers:
        home = Path(folder)
        for store in _stores(home, servers):
            programs = [OURS.format(url=store.url), *([store.bare] if store.bare else [])]
            # In turn, so that a drifting machine slows all alike; the first of each warms the disk's cache.
            times = [[_seconds(program, store.environ, home) for program in programs] for _ in range(runs + 1)]
            ours, *bare = (statistics.median(column) for column in zip(*times[1:], strict=True))
            what = f"cold first read of {store.url.partition(':')[0]}://"
            yield str(Row(f"{what} / vendor's library", ours, bare[0], LIMIT)) if bare else _line(what, ours)


def _line(what: str, ours: float) -> str:
    return f"{what:<58}{ours * 1000:>8.1f} ms"


def _stores(home: Path, servers: contextlib.ExitStack) -> Iterator[Store]:
    """Yield the stores; each server is started when its turn comes."""
    yield Store("env://ROMA", None, {"ROMA": SECRET})
    file = home / "secret"
    file.write_text(SECRET)
    yield Store(f"file://{file}", None, {})
    google = servers.enter_context(SecretManager(payload=SECRET.encode()))
    yield Store(f"gcpsecretmanager://{GCP_NAME}", GOOGLE, {"SECRET_MANAGER_EMULATOR_HOST": google.host})
    aws = servers.enter_context(AwsStandIn())
    aws.answer = {"Name": "roma", "SecretString": SECRET}
    yield Store(
        "awssecretsmanager://roma?region=eu-west-1",
        AWS,
        {"AWS_ENDPOINT_URL": aws.url, "AWS_ACCESS_KEY_ID": "made-up", "AWS_SECRET_ACCESS_KEY": "made-up"},
    )
    ssm = servers.enter_context(AwsStandIn())
    ssm.answer = {"Parameter": {"Name": "/prod/roma", "Type": "SecureString", "Value": SECRET, "Version": 1}}
    yield Store(
        "awsparamstore:///prod/roma?region=eu-west-1",
        PARAMETER,
        {"AWS_ENDPOINT_URL": ssm.url, "AWS_ACCESS_KEY_ID": "made-up", "AWS_SECRET_ACCESS_KEY": "made-up"},
    )
    version = {"data": {"token": SECRET}, "metadata": {"version": 1}}
    body = json.dumps({"data": version}).encode()
    vault, _ = servers.enter_context(stand_in(lambda _: Answer(200, body)))
    yield Store("hashivault://secret/roma", VAULT, {"VAULT_ADDR": vault, "VAULT_TOKEN": "made-up"})
    csms = servers.enter_context(Simulator(tokens=[], access_keys={"HPUAEXAMPLE": "made-up"}))
    csms.csms.put("roma", SECRET.encode())
    yield Store(
        "huaweicsms://roma?region=cn-north-4",
        None,
        {
            "HUAWEICLOUD_SDK_REGION_CSMS_CN_NORTH_4": csms.url,
            "FDI_PROJECT_ID": "p",
            "HUAWEICLOUD_SDK_AK": "HPUAEXAMPLE",
            "HUAWEICLOUD_SDK_SK": "made-up",
        },
    )
    azure = servers.enter_context(AzureStandIn(home))
    azure.put(SECRET)
    yield Store("azurekeyvault://acme-vault/roma", AZURE, azure.environ())


def _seconds(program: str, environ: Mapping[str, str], home: Path) -> float:
    """Return how long a program takes in a fresh process, without the start of Python itself."""
    source = TIMED.format(program=program, secret=SECRET)
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=ROOT,
        env=clean_environ(environ, home),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return float(done.stdout)
