"""The stream of one market, with somebody who takes each frame down as it came."""

from __future__ import annotations

from typing_extensions import override

from polyframe.counters import Counters
from polyframe.exchange.base import FrameTap, MarketSink
from polyframe.exchange.polymarket.config import StreamSettings
from polyframe.exchange.polymarket.market_stream import MarketStream
from polyframe.exchange.polymarket.wire_market import MarketDecoder
from polyframe.model.market import Market


class TappedMarketStream(MarketStream):
    """Shows each frame to `tap` before it is decoded; a class of its own, so that others pay nothing.

    Args:
        url: WebSocket URL of the market channel.
        market: Whose tokens.
        sink: Takes the messages.
        decoder: Reads the frames.
        settings: Times.
        counters: Where connections and messages are counted.
        tap: Takes the frames, until `detach`.
    """

    def __init__(
        self,
        url: str,
        market: Market,
        sink: MarketSink,
        decoder: MarketDecoder,
        settings: StreamSettings,
        counters: Counters,
        *,
        tap: FrameTap,
    ) -> None:
        super().__init__(url, market, sink, decoder, settings, counters)
        self._tap: FrameTap | None = tap

    @override
    def detach(self) -> None:
        super().detach()
        self._tap = None

    @override
    def _on_frame(self, frame: bytes) -> None:
        if self._tap is not None:
            self._tap(frame)
        super()._on_frame(frame)
