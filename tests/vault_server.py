"""OpenBao's own server in development mode, and loopback stand-ins for what it cannot do or needs."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, NamedTuple

import requests

from tests.certificates import make_ca
from tests.loopback_server import Quiet, address_of, serving
from tests.servers import free_port
from tests.tools import bao

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROOT_TOKEN = "root-s3cr3t"


class Vault(NamedTuple):
    """A server to arrange, as its operator does.

    Attributes:
        url: its address.

    """

    url: str

    def call(self, method: str, path: str, document: Any = None, namespace: str = "") -> Any:
        """Return the document of a successful response, or None."""
        headers = {"X-Vault-Token": ROOT_TOKEN, **({"X-Vault-Namespace": namespace} if namespace else {})}
        response = requests.request(method, f"{self.url}/v1/{path}", json=document, headers=headers, timeout=5)
        response.raise_for_status()
        return response.json() if response.content else None

    def write(self, path: str, document: Any = None, namespace: str = "") -> Any:
        """Return the document of a successful POST, or None."""
        return self.call("POST", path, document or {}, namespace)

    def allow(self, name: str, path: str) -> None:
        """Create a policy that allows reading one path."""
        self.write(f"sys/policies/acl/{name}", {"policy": f'path "{path}" {{ capabilities = ["read"] }}'})

    def create_token(self, policy: str, **options: Any) -> str:
        """Return a token with one policy."""
        token: str = self.write("auth/token/create", {"policies": [policy], **options})["auth"]["client_token"]
        return token

    def create_app_role(self, name: str, policy: str, mount: str = "approle", **options: Any) -> tuple[str, str]:
        """Return role ID and secret ID of a new role."""
        self.write(f"auth/{mount}/role/{name}", {"token_policies": policy, "token_ttl": "60s", **options})
        role_id = self.call("GET", f"auth/{mount}/role/{name}/role-id")["data"]["role_id"]
        return role_id, self.write(f"auth/{mount}/role/{name}/secret-id")["data"]["secret_id"]


@contextlib.contextmanager
def vault_server(home: Path) -> Iterator[Vault]:
    """Run OpenBao in memory: KV version 2 at secret/, version 1 at kv1/, AppRole and Kubernetes enabled."""
    program = bao()
    for _ in range(3):  # another process may take the port first
        port = free_port()
        command = [program, "server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={ROOT_TOKEN}"]
        with subprocess.Popen(  # noqa: S603 -- the project's own tool
            [*command, f"-dev-listen-address=127.0.0.1:{port}"],
            env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            vault = Vault(f"http://127.0.0.1:{port}")
            if not _is_up(vault, process):
                continue
            vault.write("sys/mounts/kv1", {"type": "kv", "options": {"version": "1"}})
            vault.write("sys/auth/approle", {"type": "approle"})
            vault.write("sys/auth/kubernetes", {"type": "kubernetes"})
            try:
                yield vault
            finally:
                process.terminate()
            return
    raise RuntimeError("OpenBao did not start")


def _is_up(vault: Vault, process: subprocess.Popen[bytes]) -> bool:
    end = time.monotonic() + 15
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(requests.RequestException):
            vault.call("GET", "sys/mounts/secret/tune")
            return True
        time.sleep(0.05)
    return False


class Sent(NamedTuple):
    """A request that a stand-in received.

    Attributes:
        method, path, headers, body: its parts.

    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    """What a stand-in sends.

    Attributes:
        status, body, headers: the parts of the response.
        seconds: how long it waits first.

    """

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0


@contextlib.contextmanager
def stand_in(answer: Callable[[Sent], Answer]) -> Iterator[tuple[str, list[Sent]]]:
    """Serve what a function returns; yields the address and the requests so far."""
    requests_so_far: list[Sent] = []
    over = threading.Event()

    class Handler(Quiet, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = Sent(self.command, self.path, dict(self.headers), body)
            requests_so_far.append(request)
            found = answer(request)
            over.wait(found.seconds)
            with contextlib.suppress(OSError):  # the client may have left
                self.send_response(found.status)
                self.send_header("Content-Length", str(len(found.body)))
                for header in found.headers:
                    self.send_header(*header)
                self.end_headers()
                self.wfile.write(found.body)

        def do_POST(self) -> None:
            self.do_GET()

    with serving(Handler) as server:
        try:
            yield f"http://{address_of(server)}", requests_so_far
        finally:
            over.set()


def service_account_token(name: str = "fdi-health", namespace: str = "roma", expires: int = 4_000_000_000) -> str:
    """Return a token as Kubernetes projects it into a pod; its signature is for the TokenReview API to check."""
    claims = {
        "iss": "https://kubernetes.default.svc",
        "aud": ["https://kubernetes.default.svc"],
        "sub": f"system:serviceaccount:{namespace}:{name}",
        "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": "1"}},
        "iat": 1,
        "nbf": 1,
        "exp": expires,
    }
    parts = (json.dumps({"alg": "RS256", "typ": "JWT"}).encode(), json.dumps(claims).encode(), b"s3cr3t")
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def review_token(request: Sent) -> Answer:
    """Answer as the TokenReview API of Kubernetes does for a token that it issued."""
    token = json.loads(request.body)["spec"]["token"]
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    status = {
        "authenticated": True,
        "user": {"username": claims["sub"], "uid": "1", "groups": ["system:serviceaccounts"]},
        "audiences": claims["aud"],
    }
    document = {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status}
    return Answer(201, json.dumps(document).encode(), (("Content-Type", "application/json"),))


def use_kubernetes(vault: Vault, kubernetes_url: str) -> None:
    """Let Vault review tokens at a Kubernetes API; it asks for a CA even for plain HTTP."""
    config = {"kubernetes_host": kubernetes_url, "disable_local_ca_jwt": True}
    vault.write("auth/kubernetes/config", {**config, "kubernetes_ca_cert": make_ca().pem().decode()})
