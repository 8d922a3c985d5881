"""A loopback stand-in for Secrets Manager, Parameter Store and STS in the states that moto does not have."""

from __future__ import annotations

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Self

from tests.loopback_server import Quiet, address_of, serving

if TYPE_CHECKING:
    from types import TracebackType


class AwsStandIn:
    """Answers GetSecretValue and GetParameter alike, and AssumeRoleWithWebIdentity with a refusal.

    Attributes:
        answer: the document of a success.
        failures: (status, error code, message) that answer the next calls before the success does; the last one for
            good if `keep_failing`.
        sts_failure: (status, error code, message) that STS refuses with.
        metadata: path → answer of the services that give an EC2 instance or a container its credentials.
        silent: whether it never answers.
        asked: the documents that were sent.
        regions: the region that each call was signed for.
        schemes: the authentication scheme of each call.

    """

    def __init__(self) -> None:
        self.answer: dict[str, Any] = {"Name": "roma", "SecretString": "s3cr3t-token"}
        self.failures: list[tuple[int, str, str]] = []
        self.keep_failing = False
        self.sts_failure = (400, "InvalidIdentityToken", "s3cr3t words")
        self.metadata: dict[str, str] = {}
        self.silent = False
        self.asked: list[dict[str, Any]] = []
        self.regions: list[str] = []
        self.schemes: list[str] = []
        self._over = threading.Event()
        self._running = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Listen on a free loopback port."""
        stand_in = self

        class Handler(Quiet, BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = stand_in.metadata.get(self.path)
                self._send(501 if text is None else 200, "text/plain", (text or "").encode())

            def do_PUT(self) -> None:
                self.do_GET()

            def do_POST(self) -> None:
                if "X-Amz-Target" not in self.headers:
                    self._refuse_for_sts()
                    return
                # AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, …
                stand_in.schemes.append(self.headers["Authorization"].split()[0])
                stand_in.regions.append(self.headers["Authorization"].split("/")[2])
                status, document = stand_in.reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self._send(status, "application/x-amz-json-1.1", json.dumps(document).encode())

            def _refuse_for_sts(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                status, code, message = stand_in.sts_failure
                stand_in.wait_if_silent()
                body = (
                    '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
                    f"<Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
                ).encode()
                self._send(status, "text/xml", body)

            def _send(self, status: int, media_type: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", media_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.url = f"http://{address_of(self._running.enter_context(serving(Handler)))}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop, silent calls included."""
        self._over.set()
        self._running.close()

    def wait_if_silent(self) -> None:
        """Answer nothing for as long as this stands in, if it is to be silent."""
        if self.silent:
            self._over.wait(30)

    def reply(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return status and document for a call."""
        self.asked.append(asked)
        self.wait_if_silent()
        if self.failures:
            status, code, message = self.failures[0] if self.keep_failing else self.failures.pop(0)
            return status, {"__type": code, "message": message}
        return 200, self.answer
