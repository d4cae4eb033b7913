"""The web server below the venue: uvicorn, embedded without touching its host program."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from asyncio.transports import BaseTransport
from collections.abc import Generator
from functools import partial
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from polyframe.venue.settings import VenueSettings

_GRACE = 0.3
"""Real seconds that open connections get to end by themselves."""


class _Http(H11Protocol):
    """Has no patience with a head that does not come, and no room for more than so many others.

    It writes no access log; to switch it off in uvicorn would touch loggers of the whole program.
    """

    def __init__(self, *args: Any, settings: VenueSettings, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False
        self._settings = settings
        self._patience: asyncio.TimerHandle | None = None
        self._upgraded = False

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}
        if len(self.connections) > self._settings.max_connections:
            transport.abort()
        else:
            self._wait()

    @override
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # There is none before the first request, whatever its type says.
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._stop_waiting()
        else:
            self._wait()

    @override
    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._upgraded = True
        self._stop_waiting()
        super().handle_websocket_upgrade(event)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._patience is None and not self._upgraded and not self.transport.is_closing():
            loop = asyncio.get_running_loop()
            self._patience = loop.call_later(self._settings.header_timeout, self._give_up)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        self._patience = None
        self.transport.abort()


class _WebSocket(WebSocketsSansIOProtocol):
    """Hands its transport to the application, which must be able to cut a connection off."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # At DEBUG every frame is logged, and the first one of a user channel holds secrets.
        self.conn.debug = False

    @override
    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self._leave = asyncio.Event()

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals alone, likewise."""
        yield

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @override
    async def main_loop(self) -> None:
        """Wait to be stopped; there is nothing to look after meanwhile."""
        await self._leave.wait()

    def leave(self) -> None:
        """Begin to shut down."""
        self.should_exit = True
        self._leave.set()

    async def abort(self) -> None:
        """Drop the connections that are still there, then end the requests behind them."""
        for connection in list(self.server_state.connections):
            if (transport := connection.transport) is not None:
                transport.abort()
        # The protocols learn in the next round of the loop that nobody waits for an answer.
        await asyncio.sleep(0)
        for task in list(self.server_state.tasks):
            task.cancel()


class EmbeddedServer:
    """Serves an application in the running event loop.

    Args:
        app: The application.
        host: Address to bind.
        port: Port to bind, 0 for any free one.
        settings: How many connections, how large frames and how slow heads there may be.
    """

    def __init__(self, app: ASGIApp, host: str, port: int, settings: VenueSettings) -> None:
        self._app = app
        self._settings = settings
        self._stopping = False
        self._host = host
        self._port = port
        self._listener: socket.socket | None = None
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Begin to serve and return the port.

        Raises:
            OSError: The address cannot be bound.
        """
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        # Named in full: only then does asyncio turn Nagle's delay off, 40 ms for each answer.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self._host, self._port))
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
        port: int = listener.getsockname()[1]
        config = uvicorn.Config(
            self._serve,
            http=partial(_Http, settings=self._settings),  # type: ignore[arg-type]
            ws=_WebSocket,
            ws_max_size=self._settings.max_body,
            interface="asgi3",
            loop="none",
            lifespan="off",
            log_config=None,  # logging belongs to the program around us
            proxy_headers=False,
            server_header=False,
            date_header=False,
            ws_ping_interval=None,
            ws_per_message_deflate=False,
            timeout_keep_alive=60,
        )
        self._listener = listener
        server = self._server = _Server(config)
        task = self._task = asyncio.create_task(server.serve([listener]), name="venue-server")
        ready = asyncio.create_task(server.ready.wait(), name="venue-server-ready")
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            listener.close()
            await task  # raises what went wrong
        return port

    async def stop(self) -> None:
        """Stop to accept, end all connections and free the port. Safe to repeat."""
        listener, server, task = self._listener, self._server, self._task
        if listener is None or server is None or task is None:
            return
        self._listener = self._server = self._task = None
        self._stopping = True
        # A server of asyncio that is closed loses, open, whom it has just accepted: first let nobody
        # in any more, then give those two rounds of the loop, which is what becoming known takes.
        asyncio.get_running_loop().remove_reader(listener)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        server.leave()
        done, _ = await asyncio.wait({task}, timeout=_GRACE)
        while not done:
            # Somebody does not read, or a request hangs: it had its time.
            await server.abort()
            done, _ = await asyncio.wait({task}, timeout=_GRACE)
        await task

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            # Cut off by `stop`: the connection is gone, and to uvicorn this would be an error.
