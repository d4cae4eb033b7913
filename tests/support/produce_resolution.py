"""For every count of resolutions: something that makes it happen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from polyframe.counters import Count, Counters
from polyframe.exchange.polymarket.resolution_stream import ResolutionStream
from polyframe.exchange.polymarket.wire import Skips
from polyframe.exchange.polymarket.wire_market import MarketDecoder
from polyframe.model.events import StreamState
from tests.exchange import test_resolution_stream as streams
from tests.exchange.kit import MARKET
from tests.exchange.servers import WatchedSink, WsServer
from tests.support.produce_events import Producer
from tests.trading.test_resolution_hint import Telling, life

Play = Callable[[WsServer, WatchedSink], Awaitable[None]]


def _stream(play: Play, **changes: Any) -> Producer:
    async def main() -> Counters:
        counters = Counters()
        async with streams.running(counters=counters, **changes) as (server, _, sink):
            await play(server, sink)
        return counters

    return lambda: asyncio.run(main())


async def _connected(_server: WsServer, _sink: WatchedSink) -> None:
    """Be connected; that is all."""


async def _hang_up(server: WsServer, sink: WatchedSink) -> None:
    await server.connections[0].close()
    await sink.until(lambda: (StreamState.LOST, "closed") in sink.states)


async def _no_pong(_server: WsServer, sink: WatchedSink) -> None:
    await sink.until(lambda: (StreamState.LOST, "no_pong") in sink.states)


class _Broken(MarketDecoder):
    def decode(self, frame: bytes) -> Any:
        """Fail."""
        raise RuntimeError(frame)


def _lost(reason: str, url: str = "") -> Counters:
    """Return the counts of a stream that loses its first connection for that reason."""
    counters, sink = Counters(), WatchedSink()

    async def main() -> None:
        async with WsServer(lambda *_: ["{}"]) as server:
            decoder = _Broken(Skips(counters))
            stream = ResolutionStream(
                url or server.url, MARKET, sink, decoder, streams.SETTINGS, counters
            )
            stream.start()
            try:
                await sink.until(lambda: (StreamState.LOST, reason) in sink.states)
            finally:
                await stream.close()

    asyncio.run(main())
    return counters


def _life(**times: Any) -> Counters:
    """Return the counts of a cycle that died."""
    return life(Telling(), **times).env.counters


RESOLUTION: dict[tuple[Count, str], Producer] = {
    (Count.STREAM_CONNECTS, "resolution"): _stream(_connected),
    (Count.STREAM_LOSSES, "resolution:connect"): lambda: _lost("connect", "ws://127.0.0.1:9"),
    (Count.STREAM_LOSSES, "resolution:closed"): _stream(_hang_up),
    (Count.STREAM_LOSSES, "resolution:no_pong"): _stream(
        _no_pong, react=lambda *_: [], pong_timeout=0.05
    ),
    (Count.STREAM_LOSSES, "resolution:error"): lambda: _lost("error"),
    (Count.RESOLUTIONS, "told"): lambda: _life(told_after=70, final_after=69),
    (Count.RESOLUTIONS, "<source>"): lambda: _life(told_after=None, final_after=1),
}
