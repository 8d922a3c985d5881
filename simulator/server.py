"""The listening socket, and the thread with its own event loop in which all connections live."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from simulator.connection import Connection

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from simulator.request_parser import Request
    from simulator.responses import Response

HOST = "127.0.0.1"
_BACKLOG = 1024
# Clients are on this machine, so a TLS handshake that takes longer than this will not finish.
_TLS_HANDSHAKE_SECONDS = 5.0
# asyncio needs three turns of the loop from accepting a connection to one that it can close without a leak.
_TURNS_TO_SETTLE = 5


class LoopbackServer:
    """A server on 127.0.0.1 that answers with what `decide` returns, from a daemon thread of its own."""

    def __init__(self, decide: Callable[[Request], Response], port: int, ssl_context: ssl.SSLContext | None) -> None:
        """Bind and start; `port` 0 takes a free one. Raises: OSError when the port cannot be had."""
        self._decide = decide
        self._ssl_context = ssl_context
        self._connections: set[Connection] = set()
        self._serials = itertools.count(1)
        self._stopping = False
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((HOST, port))
            self.port: int = listener.getsockname()[1]
            started: Future[None] = Future()
            self._thread = threading.Thread(target=self._run, args=(listener, started), name="simulator", daemon=True)
            self._thread.start()
            started.result()
        except BaseException:
            listener.close()
            raise

    @property
    def connections_open(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def drop_idle_connections(self) -> int:
        """Reset every idle connection and return how many there were, once they are gone."""
        return asyncio.run_coroutine_threadsafe(self._drop_idle(), self._loop).result()

    def stop(self) -> None:
        """Close the listener and every connection, and wait for the thread to end."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self, listener: socket.socket, started: Future[None]) -> None:
        try:
            asyncio.run(self._serve(listener, started))
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    async def _serve(self, listener: socket.socket, started: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await self._loop.create_server(
            self._new_connection,
            sock=listener,
            backlog=_BACKLOG,
            ssl=self._ssl_context,
            ssl_handshake_timeout=_TLS_HANDSHAKE_SECONDS if self._ssl_context else None,
        )
        started.set_result(None)
        await self._stop.wait()
        self._stopping = True
        # No new connections; those just accepted settle first, since asyncio leaks one it meets after Server.close.
        self._loop.remove_reader(listener)
        for _ in range(_TURNS_TO_SETTLE):
            await asyncio.sleep(0)
        server.close()
        # What is still in its TLS greeting ends with its task, which asyncio.run cancels.
        await self._until_gone(self._connections.copy(), Connection.abort)

    async def _drop_idle(self) -> int:
        idle = {connection for connection in self._connections if connection.idle}
        await self._until_gone(idle, Connection.reset)
        return len(idle)

    async def _until_gone(self, connections: set[Connection], end: Callable[[Connection], None]) -> None:
        for connection in connections:
            end(connection)
        while connections & self._connections:
            await asyncio.sleep(0)

    def _new_connection(self) -> Connection:
        return Connection(next(self._serials), self._decide, self._opened, self._connections.discard)

    def _opened(self, connection: Connection) -> None:
        self._connections.add(connection)
        if self._stopping:
            connection.abort()
