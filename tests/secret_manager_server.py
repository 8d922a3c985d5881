"""A loopback Secret Manager on the library's own protos, so that tests use the real client."""

from __future__ import annotations

import threading
from concurrent import futures
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import google_crc32c
import grpc
from google.cloud import secretmanager_v1

if TYPE_CHECKING:
    from types import TracebackType

RIGHT = -1
"""Stands for the correct checksum of the payload."""

SERVICE = "google.cloud.secretmanager.v1.SecretManagerService"


@dataclass
class SecretManager:
    """Answers AccessSecretVersion.

    Attributes:
        payload: the secret's bytes.
        checksum: what is sent as CRC-32C; None sends none, RIGHT the right one.
        failures: status codes and texts that answer the next calls before the payload does; the last one for good if
            `keep_failing`.
        names: the names that were asked for.

    """

    payload: bytes = b""
    checksum: int | None = RIGHT
    failures: list[tuple[Any, str]] = field(default_factory=list)
    keep_failing: bool = False
    silent: bool = False
    names: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Listen on a free loopback port."""
        self._over = threading.Event()
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        handler = grpc.unary_unary_rpc_method_handler(
            self._access,
            request_deserializer=secretmanager_v1.AccessSecretVersionRequest.deserialize,
            response_serializer=secretmanager_v1.AccessSecretVersionResponse.serialize,
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {"AccessSecretVersion": handler}),)
        )
        port = self._server.add_insecure_port("127.0.0.1:0")
        self.host = f"127.0.0.1:{port}"
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop, hung calls included."""
        self._over.set()
        self._server.stop(None).wait()

    def _access(self, request: Any, context: Any) -> Any:
        self.names.append(request.name)
        if self.silent:
            self._over.wait(30)
        if self.failures:
            failure = self.failures[0] if self.keep_failing else self.failures.pop(0)
            context.abort(*failure)
        payload = secretmanager_v1.SecretPayload(data=self.payload)
        if self.checksum is not None:
            payload.data_crc32c = google_crc32c.value(self.payload) if self.checksum == RIGHT else self.checksum
        return secretmanager_v1.AccessSecretVersionResponse(name=request.name, payload=payload)
