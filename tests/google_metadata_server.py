"""A loopback stand-in for Google's metadata server, and for a token service that other clouds' workloads use."""

from __future__ import annotations

import contextlib
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Self

from tests.loopback_server import Quiet, address_of, serving

if TYPE_CHECKING:
    from types import TracebackType


class GoogleMetadataServer:
    """Answers what google.auth asks for.

    Args:
        statuses: the statuses that answer the next requests for a token; the last one answers all further ones.

    Attributes:
        tokens_asked: how many tokens were asked for.

    """

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses) or [200]
        self.tokens_asked = 0
        self._running = contextlib.ExitStack()

    def __enter__(self) -> Self:
        stand_in = self

        class Handler(Quiet, BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.startswith("/computeMetadata/") and "/token" in self.path:
                    self._token()
                elif "/service-accounts/" in self.path:
                    self._send(200, b'{"email": "probe@acme.iam.gserviceaccount.com", "scopes": []}')
                else:
                    self._send(200, b"acme", "text/plain")

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self._token()

            def _token(self) -> None:
                stand_in.tokens_asked += 1
                status = stand_in.statuses[0] if len(stand_in.statuses) == 1 else stand_in.statuses.pop(0)
                token = b'{"access_token": "made-up", "expires_in": 3600, "token_type": "Bearer"}'
                self._send(status, token if status == 200 else b'{"error": "s3cr3t words"}')

            def _send(self, status: int, body: bytes, content_type: str = "application/json") -> None:
                self.send_response(status)
                self.send_header("Metadata-Flavor", "Google")
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.host = address_of(self._running.enter_context(serving(Handler)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._running.close()
