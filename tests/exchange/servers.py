"""A WebSocket server for tests of the streams, and a sink that can be waited on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

from typing_extensions import override
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from polyframe.model.events import MarketMessage, StreamState, UserMessage
from polyframe.model.reference import ReferencePrice
from tests.exchange.kit import CONDITION, DOWN, UP, Sink

Reaction = Callable[["WsServer", ServerConnection, str], list[str]]


def book(token: str, market: str = CONDITION) -> dict[str, Any]:
    """Return a snapshot of one token."""
    return {
        "event_type": "book",
        "market": market,
        "asset_id": token,
        "bids": [{"price": "0.4", "size": "10"}],
        "asks": [{"price": "0.6", "size": "10"}],
        "timestamp": "1790586000000",
    }


def change(size: str = "5", market: str = CONDITION) -> str:
    """Return a frame with one level change of the Up token."""
    element = {"asset_id": UP, "price": "0.41", "size": size, "side": "BUY"}
    return json.dumps({"event_type": "price_change", "market": market, "price_changes": [element]})


BOOKS = json.dumps([book(UP), book(DOWN)])


def pong(_server: WsServer, _connection: ServerConnection, frame: str) -> list[str]:
    """Answer pings and nothing else."""
    return ["PONG"] if frame == "PING" else []


def market_venue(server: WsServer, connection: ServerConnection, frame: str) -> list[str]:
    """Answer pings, and send both books for every subscription."""
    if "subscribe" in frame or '"market"' in frame:
        return [] if '"unsubscribe"' in frame else [BOOKS]
    return pong(server, connection, frame)


class WsServer:
    """Accepts WebSockets on loopback; keeps what comes and answers as `react` says.

    Attributes:
        refusals: Answers to the next handshakes in place of a connection: HTTP status, ``Location``.
        connections: All that were made, in order.
        frames: All text frames, with the number of their connection from 0.
    """

    def __init__(self, react: Reaction = pong, port: int = 0) -> None:
        self.react = react
        self.refusals: list[tuple[int, str]] = []
        self.connections: list[ServerConnection] = []
        self.frames: list[tuple[int, str]] = []
        self._port = port
        self._server: Server | None = None
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            self._port,
            process_request=self._refuse,
            ping_interval=None,
            close_timeout=0.2,
        )
        self._port = next(iter(self._server.sockets)).getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Base URL."""
        return f"ws://127.0.0.1:{self._port}"

    def _refuse(self, connection: ServerConnection, _request: Request) -> Response | None:
        if not self.refusals:
            return None
        status, location = self.refusals.pop(0)
        response = connection.respond(status, "")
        response.headers["Location"] = location
        return response

    async def _serve(self, connection: ServerConnection) -> None:
        number = len(self.connections)
        self.connections.append(connection)
        await self._tell()
        try:
            async for frame in connection:
                assert isinstance(frame, str)
                self.frames.append((number, frame))
                await self._tell()
                for answer in self.react(self, connection, frame):
                    await connection.send(answer)
        except ConnectionClosed:
            pass

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` of what has come holds."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(condition)

    async def send(self, frame: str) -> None:
        """Send a frame on the latest connection."""
        await self.connections[-1].send(frame)

    def sent_by(self, number: int) -> list[str]:
        """Return the frames of one connection without pings."""
        return [frame for which, frame in self.frames if which == number and frame != "PING"]


class WatchedSink(Sink):
    """A sink that can be waited on."""

    def __init__(self) -> None:
        super().__init__()
        self._event = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` of what has come holds."""
        async with asyncio.timeout(10):
            while not condition():
                self._event.clear()
                await self._event.wait()

    @override
    def on_market_message(self, message: MarketMessage) -> None:
        super().on_market_message(message)
        self._event.set()

    @override
    def on_user_message(self, message: UserMessage) -> None:
        super().on_user_message(message)
        self._event.set()

    @override
    def on_market_stream(self, state: StreamState, reason: str) -> None:
        super().on_market_stream(state, reason)
        self._event.set()

    @override
    def on_user_stream(self, state: StreamState, reason: str) -> None:
        super().on_user_stream(state, reason)
        self._event.set()


@asynccontextmanager
async def silent_peer() -> AsyncIterator[str]:
    """Accept TCP connections and never say a word; gives the URL."""
    writers: list[asyncio.StreamWriter] = []

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()


def only_this_task() -> bool:
    """Whether no other task of the test is alive (those of the server are its own)."""
    return not [task for task in asyncio.all_tasks() if task.get_name().startswith("polyframe-")]


def price_frame(instant_ms: int, value: str = "65000.5", asset: str = "btc") -> str:
    """Return a frame of RTDS with one average."""
    payload = {
        "symbol": f"{asset}/usd",
        "value": float(value),
        "full_accuracy_value": value,
        "timestamp": instant_ms,
        "window_s": 60,
    }
    topic = "crypto_prices_twap_sixty"
    return json.dumps({"topic": topic, "type": "update", "timestamp": 1, "payload": payload})


def live_frame(*instants_ms: int, value: str = "65000.5") -> str:
    """Return a frame of the live feed: a snapshot of these instants."""
    data = [{"timestamp": at, "value": float(value)} for at in instants_ms]
    payload = {"symbol": "btcusd", "window_seconds": 60, "data": data}
    return json.dumps({"v": 1, "channel": "price.crypto.twap", "seq": 1, "payload": payload})


def live_venue(server: WsServer, connection: ServerConnection, frame: str) -> list[str]:
    """Accept credentials and subscriptions of the live feed."""
    op = json.loads(frame).get("op")
    return [json.dumps({"op": {"auth": "authed", "subscribe": "subscribed"}.get(op, "pong")})]


class PriceSink:
    """Keeps reference prices and can be waited on."""

    def __init__(self) -> None:
        self.prices: list[ReferencePrice] = []
        self._event = asyncio.Event()

    def on_reference(self, price: ReferencePrice) -> None:
        """Keep one price."""
        self.prices.append(price)
        self._event.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` of what has come holds."""
        async with asyncio.timeout(10):
            while not condition():
                self._event.clear()
                await self._event.wait()
