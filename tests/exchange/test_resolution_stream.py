"""The stream that waits for a resolution, over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from attrs import evolve

from polyframe.counters import Count, Counters
from polyframe.exchange.polymarket import StreamSettings
from polyframe.exchange.polymarket.resolution_stream import ResolutionStream
from polyframe.exchange.polymarket.wire import Skips
from polyframe.exchange.polymarket.wire_market import MarketDecoder
from polyframe.model.events import MarketResolved, StreamState
from tests.exchange.kit import CONDITION, DOWN, MARKET, UP
from tests.exchange.servers import (
    BOOKS,
    Reaction,
    WatchedSink,
    WsServer,
    change,
    only_this_task,
    pong,
)

SETTINGS = StreamSettings(
    ping_interval=60, silence=0.01, pong_timeout=60, backoff_base=0.02, backoff_cap=0.05
)


def resolved(market: str = CONDITION) -> str:
    """Return a frame that tells of a resolution."""
    return json.dumps(
        {
            "event_type": "market_resolved",
            "market": market,
            "winning_asset_id": UP,
            "timestamp": "1",
        }
    )


@asynccontextmanager
async def running(
    react: Reaction = pong, counters: Counters | None = None, **changes: Any
) -> AsyncIterator[tuple[WsServer, ResolutionStream, WatchedSink]]:
    """Run a stream against a server of its own."""
    sink, counts = WatchedSink(), counters or Counters()
    async with WsServer(react) as server:
        settings, decoder = evolve(SETTINGS, **changes), MarketDecoder(Skips(counts))
        stream = ResolutionStream(server.url, MARKET, sink, decoder, settings, counts)
        stream.start()
        try:
            await server.until(lambda: bool(server.frames))
            yield server, stream, sink
        finally:
            await stream.close()
            assert only_this_task()


def test_only_the_resolution_of_its_market_is_told() -> None:
    """Books, changes and other markets' resolutions stay here; no books are asked for (§4.1)."""

    async def main() -> None:
        async with running() as (server, _, sink):
            subscription = json.loads(server.frames[0][1])
            assert subscription["assets_ids"] == [UP, DOWN]
            assert subscription["custom_feature_enabled"] is True
            assert subscription["initial_dump"] is False
            for frame in (BOOKS, change(), resolved("0xother"), "junk", resolved()):
                await server.send(frame)
            await sink.until(lambda: bool(sink.messages))
            assert sink.messages == [MarketResolved(CONDITION, UP, 1000)]

    asyncio.run(main())


def test_silence_is_no_reason_to_reconnect_and_unanswered_pings_are() -> None:
    """Nothing is traded in a market that is over; only a ping without an answer says "dead"."""

    async def main() -> None:
        counters = Counters()
        async with running(counters=counters, ping_interval=0.02, pong_timeout=0.3) as scene:
            server, _, sink = scene
            await server.until(lambda: len(server.frames) > 10)
            assert len(server.connections) == 1
            server.react = lambda *_: []
            await sink.until(lambda: (StreamState.LOST, "no_pong") in sink.states)
            await server.until(lambda: len(server.connections) == 2)
        assert counters.get(Count.STREAM_LOSSES, "resolution:no_pong") == 1

    asyncio.run(main())


def test_nothing_is_told_after_detaching_and_a_resync_connects_anew() -> None:
    """A detached stream is silent; a resync replaces the connection."""

    async def main() -> None:
        async with running() as (server, stream, sink):
            stream.resync("wanted")
            await server.until(lambda: len(server.connections) == 2)
            stream.detach()
            told = len(sink.all)
            await server.until(lambda: len(server.frames) == 2)
            await server.send(resolved())
            await server.connections[-1].close()
            await server.until(lambda: len(server.connections) == 3)
            assert len(sink.all) == told

    asyncio.run(main())
