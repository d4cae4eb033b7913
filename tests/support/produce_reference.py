"""For every count of the reference prices: something that makes it happen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from typing import Any

from typing_extensions import override
from websockets.asyncio.server import ServerConnection

from polyframe.counters import Count, Counters
from polyframe.errors import ExchangeUnavailable
from polyframe.exchange.polymarket.reference_stream import RtdsStream
from polyframe.exchange.polymarket.wire import Skips
from polyframe.model.events import StreamState
from polyframe.model.reference import PriceRecord, PriceSource, ReferencePrice
from polyframe.reference import ReferencePrices
from tests.exchange import test_reference_stream as streams
from tests.exchange import test_wire_reference as wire
from tests.exchange.kit import MARKET
from tests.exchange.servers import PriceSink, WsServer, price_frame
from tests.exchange.test_wire_reference import LIVE, TWAP
from tests.runtime.test_reference import END, START, Prices, play
from tests.support.produce_events import Producer

# ------------------------------------------------------------------ streams


def _stream(
    act: Callable[[streams.Scene], Awaitable[None]], kind: str = "rtds", **settings: Any
) -> Producer:
    async def main() -> Counters:
        async with streams.scene(kind, **settings) as found:
            await act(found)
        return found.counters

    return lambda: asyncio.run(main())


async def _nothing(_found: streams.Scene) -> None:
    """Be connected; that is all."""


async def _second_connection(found: streams.Scene) -> None:
    await found.server.until(lambda: len(found.server.connections) == 2)


async def _hang_up(found: streams.Scene) -> None:
    await found.server.connections[0].close()
    await _second_connection(found)


async def _drained(found: streams.Scene) -> None:
    """Be sent away, and be gone before the pause is over."""
    await found.server.connections[0].close(4003)
    async with asyncio.timeout(10):
        while not found.counters.get(Count.STREAM_LOSSES):  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.01)


def _refusal(code: int) -> Producer:
    async def act(found: streams.Scene) -> None:
        await found.server.connections[0].close(code)
        task = found.stream._task
        assert task is not None
        await task

    return _stream(act, "live")


class Clumsy(PriceSink):
    """Fails with every price."""

    def on_reference(self, price: ReferencePrice) -> None:
        """Fail."""
        msg = "a mistake"
        raise RuntimeError(msg)


class Losing(RtdsStream):
    """Says when it has lost a connection."""

    @override
    def _on_state(self, state: StreamState, reason: str) -> None:
        if state is StreamState.LOST:
            self.lost.set()

    lost: asyncio.Event


def _tries(url: str, sink: PriceSink) -> Counters:
    """Return the counters of a stream that was left alone until it lost its first connection."""
    counters = Counters()

    def send(_server: WsServer, _connection: ServerConnection, _frame: str) -> list[str]:
        return [price_frame(streams.MS)]

    async def main() -> None:
        async with WsServer(send) as server:
            stream = Losing(
                url or server.url, sink, [streams.BTC], streams.SETTINGS, counters, Skips(counters)
            )
            stream.lost = asyncio.Event()
            stream.start()
            try:
                async with asyncio.timeout(10):
                    await stream.lost.wait()
            finally:
                await stream.close()

    asyncio.run(main())
    return counters


def _skips(frame: dict[str, Any], decode: Callable[[Any], tuple[Any, dict[str, int]]]) -> Counters:
    counters = Counters()
    for reason, count in decode(frame)[1].items():
        counters.add(Count.WIRE_SKIPPED, reason, count)
    return counters


def _venue_error() -> Counters:
    async def act(found: streams.Scene) -> None:
        task = found.stream._task
        assert task is not None
        await task

    refuse = ['{"op":"error","code":"auth_invalid"}']
    return _stream(act, "live", react=lambda *_: refuse)()


# ------------------------------------------------------------------ the service


def _service(*records: PriceRecord | Exception, source: PriceSource = PriceSource.TWAP) -> Counters:
    """Return the counters of a cycle with a price to beat of 1, until well after its end."""
    series = "btc-updown-15m" if source is PriceSource.TWAP else "btc-updown-1h"

    async def act(prices: ReferencePrices, venue: Prices) -> None:
        if records:
            venue.records[START] = records[0]
        await venue.clock.sleep_until(START)
        venue.tick(START, "1", source=source)
        venue.tick(START, "2", source=source)
        venue.tick(END + 10_000, source=source)
        if source is PriceSource.TWAP:
            prices.price_to_beat(MARKET)
        await venue.clock.sleep_until(END + 5000)

    return play(act, series)


def _missed() -> Counters:
    async def act(prices: ReferencePrices, venue: Prices) -> None:
        venue.records[START] = PriceRecord(price_to_beat=Decimal(1))
        prices.price_to_beat(MARKET)
        await venue.clock.sleep_until(END + 200)

    return play(act)


NOBODY = "ws://127.0.0.1:9"  # the port of "discard": nobody listens there

REFERENCE: dict[tuple[Count, str], Producer] = {
    (Count.STREAM_CONNECTS, "rtds"): _stream(_nothing),
    (Count.STREAM_CONNECTS, "live"): _stream(_nothing, "live"),
    (Count.STREAM_LOSSES, "<feed>:connect"): lambda: _tries(NOBODY, PriceSink()),
    (Count.STREAM_LOSSES, "<feed>:closed"): _stream(_hang_up),
    (Count.STREAM_LOSSES, "<feed>:silence"): _stream(_second_connection, price_silence=0.05),
    (Count.STREAM_LOSSES, "<feed>:error"): lambda: _tries("", Clumsy()),
    (Count.STREAM_LOSSES, "live:draining"): _stream(_drained, "live"),
    (Count.STREAM_LOSSES, "live:auth"): _refusal(4001),
    (Count.STREAM_LOSSES, "live:policy"): _refusal(4008),
    (Count.WIRE_SKIPPED, "unknown_topic:<topic>"): lambda: _skips(
        TWAP | {"topic": "weather"}, wire.rtds
    ),
    (Count.WIRE_SKIPPED, "venue_error:<code>"): _venue_error,
    (Count.WIRE_SKIPPED, "venue_dropped"): lambda: _skips(LIVE | {"dropped": 1}, wire.live),
    (Count.REFERENCE_PRICES, "chainlink_twap"): _service,
    (Count.REFERENCE_PRICES, "binance"): partial(_service, source=PriceSource.BINANCE),
    (Count.REFERENCE_SKIPPED, "implausible_time"): _service,
    (Count.REFERENCE_SKIPPED, "conflict"): _service,
    (Count.REFERENCE_CHECKS, "agrees"): partial(_service, PriceRecord(Decimal(1))),
    (Count.REFERENCE_CHECKS, "differs"): partial(_service, PriceRecord(Decimal(3))),
    (Count.REFERENCE_CHECKS, "unknown_here"): _missed,
    (Count.REFERENCE_CHECKS, "no_record"): _service,
    (Count.REFERENCE_CHECKS, "error"): partial(_service, ExchangeUnavailable("not now")),
}
