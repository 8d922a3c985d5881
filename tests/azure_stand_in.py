"""A loopback stand-in for Azure Key Vault, Microsoft Entra ID and the managed identity endpoint."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Self

import trustme

from tests.loopback_server import Quiet, address_of, serving

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

VERSION = "0123456789abcdef0123456789abcdef"
TENANT = "11111111-2222-3333-4444-555555555555"
ACCESS_TOKEN = "eyJ.access-t0ken.canary"
IDENTITY_HEADER = "identity-header-canary"


class AzureStandIn:
    """Answers GetSecret over TLS with a challenge first, and issues tokens.

    Attributes:
        bundle: the document of a success.
        failures: (status, document) that answer the next authorised reads before the success does; the last one for
            good if `keep_failing`. A document that is text is sent as HTML.
        token_failure: (status, document) of both endpoints that issue tokens, or None.
        silent: which server never answers: "vault", "identity" or "".
        challenge_tenant, challenge_resource: the tenant and the resource that the challenge names.
        retry_after: value of that header in failures, or "".
        reads: the paths of the authorised reads.
        challenges: how many reads came without a token.
        tokens_asked: how many tokens were asked for.
        authorizations: the Authorization header of each authorised read.

    """

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self.ca_file = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca_file)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "acme-vault.vault.azure.net", key_type=trustme.KeyType.ECDSA).configure_cert(
            self._context
        )
        self._over = threading.Event()
        self._running = contextlib.ExitStack()
        self.reset()

    def reset(self) -> None:
        """Forget the last test."""
        self.bundle: dict[str, Any] = {}
        self.put("s3cr3t-token")
        self.failures: list[tuple[int, Any]] = []
        self.keep_failing = False
        self.token_failure: tuple[int, Any] | None = None
        self.silent = ""
        self.retry_after = ""
        self.challenge_tenant = TENANT
        self.challenge_resource = "https://vault.azure.net"
        self.reads: list[str] = []
        self.challenges = 0
        self.tokens_asked = 0
        self.authorizations: list[str] = []

    def put(self, value: str, **attributes: Any) -> None:
        """Store the secret."""
        self.bundle = {
            "value": value,
            "id": f"https://acme-vault.vault.azure.net/secrets/roma/{VERSION}",
            "attributes": {"enabled": True, "created": 1764000000, "updated": 1764000000, **attributes},
        }

    def __enter__(self) -> Self:
        """Listen on two free loopback ports: TLS for the vault and Entra ID, plain for the managed identity."""
        stand_in = self

        class Handler(Quiet, BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.startswith("/secrets/"):
                    self._read()
                elif "openid-configuration" in self.path:
                    base = f"https://{stand_in.host}/{TENANT}"
                    self._send(
                        200,
                        {
                            "token_endpoint": f"{base}/oauth2/v2.0/token",
                            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                            "issuer": f"{base}/v2.0",
                        },
                    )
                elif self.headers.get("X-IDENTITY-HEADER", IDENTITY_HEADER) == IDENTITY_HEADER:
                    self._token()
                else:
                    self._send(401, {"error": "unauthorized"})

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self._token()

            def _token(self) -> None:
                stand_in.tokens_asked += 1
                stand_in.wait_if_silent("identity")
                if stand_in.token_failure:
                    self._send(*stand_in.token_failure)
                    return
                token = {"access_token": ACCESS_TOKEN, "token_type": "Bearer", "resource": "https://vault.azure.net"}
                self._send(200, {**token, "expires_in": 3600, "expires_on": "4102444800"})

            def _read(self) -> None:
                stand_in.wait_if_silent("vault")
                authorization = self.headers.get("Authorization")
                if authorization is None:
                    stand_in.challenges += 1
                    authority = f"https://login.microsoftonline.com/{stand_in.challenge_tenant}"
                    challenge = f'Bearer authorization="{authority}", resource="{stand_in.challenge_resource}"'
                    error = {"code": "Unauthorized", "message": "AKV10000: Request is missing a Bearer or PoP token."}
                    self._send(401, {"error": error}, {"WWW-Authenticate": challenge})
                    return
                stand_in.reads.append(self.path)
                stand_in.authorizations.append(authorization)
                if stand_in.failures:
                    failure = stand_in.failures[0] if stand_in.keep_failing else stand_in.failures.pop(0)
                    self._send(*failure, {"Retry-After": stand_in.retry_after} if stand_in.retry_after else None)
                    return
                self._send(200, stand_in.bundle)

            def _send(self, status: int, document: Any, headers: dict[str, str] | None = None) -> None:
                is_text = isinstance(document, str)
                body = (document if is_text else json.dumps(document)).encode()
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "text/html" if is_text else "application/json; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        vault, identity = (self._running.enter_context(serving(Handler, context)) for context in (self._context, None))
        self.host, self.identity_host = address_of(vault), address_of(identity)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop, silent calls included."""
        self._over.set()
        self._running.close()

    def wait_if_silent(self, server: str) -> None:
        """Answer nothing for as long as this stands in, if that server is to be silent."""
        if self.silent == server:
            self._over.wait(30)

    def environ(self) -> dict[str, str]:
        """Return the variables that point the function at this stand-in, with a managed identity."""
        return {
            "KEY_VAULT_EMULATOR_HOST": self.host,
            "REQUESTS_CA_BUNDLE": str(self.ca_file),
            "IDENTITY_ENDPOINT": f"http://{self.identity_host}/msi/token",
            "IDENTITY_HEADER": IDENTITY_HEADER,
        }


def key_vault_error(code: str, inner: str | None = None) -> dict[str, Any]:
    """Return Key Vault's error document."""
    error: dict[str, Any] = {"code": code, "message": "s3cr3t words about acme-vault"}
    return {"error": {**error, "innererror": {"code": inner}} if inner else error}


def entra_error(code: str) -> dict[str, Any]:
    """Return the error document of Microsoft Entra ID."""
    return {"error": "invalid_client", "error_description": f"AADSTS{code}: s3cr3t words about app 'acme'."}
