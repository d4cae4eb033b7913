"""An exchange whose frames a recorder taps, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec

from polyframe.errors import ExchangeError
from polyframe.exchange.base import DataStream, FrameTap, MarketSink
from polyframe.model.events import MarketMessage, StreamState, TradePrint
from polyframe.model.market import Market
from polyframe.model.reference import PriceRecord
from polyframe.model.series import Series, Window
from tests.support.fake import FakeExchange, FakeStream


class TappedExchange(FakeExchange):
    """Each connection brings two trades at once; more comes when a test sends it."""

    def __init__(self) -> None:
        super().__init__()
        self.taps: dict[str, FrameTap] = {}
        self.record = PriceRecord(Decimal("64000.5"))
        self.record_error: ExchangeError | None = None
        self.frames = 2
        self.shown = 0

    def tapped_market_stream(self, market: Market, sink: MarketSink, tap: FrameTap) -> FakeStream:
        """Return a stream that connects at once."""

        def show() -> None:
            stream.state(StreamState.CONNECTED)
            for number in range(self.frames):
                self.send(market, 4000 + number)
            self.shown += 1

        stream = FakeStream(sink, show)
        self.streams[market.slug] = stream
        self.taps[market.slug] = tap
        return stream

    def send(self, market: Market, price: int) -> None:
        """Let the market's stream bring one trade."""
        message = TradePrint(market.condition_id, market.up_token, price, None, None)
        self.taps[market.slug](msgspec.msgpack.encode(message))

    def frame_decoder(self) -> Callable[[bytes], Sequence[MarketMessage]]:
        """Return what decodes the frames of `send`."""
        decode = msgspec.msgpack.Decoder(TradePrint).decode
        return lambda frame: [decode(frame)]

    def reference_streams(self, *_: object) -> list[DataStream]:
        """Return nothing: a recorder asks for the record only."""
        return []

    async def fetch_price_record(self, series: Series, window: Window) -> PriceRecord:
        """Return the same for every window."""
        del series, window
        if self.record_error is not None:
            raise self.record_error
        return self.record


async def until(condition: Callable[[], bool]) -> None:
    """Return when `condition` holds; what it waits for may happen in a thread."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - threads set no events of a loop
            await asyncio.sleep(0.001)
