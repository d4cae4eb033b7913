"""The stream that outlives a market: it waits for the word that it is resolved (PROTOCOL §4.9)."""

from __future__ import annotations

import json

from typing_extensions import override

from polyframe.counters import Counters
from polyframe.exchange.base import MarketSink
from polyframe.exchange.polymarket.config import StreamSettings
from polyframe.exchange.polymarket.stream import QuietStream
from polyframe.exchange.polymarket.wire_market import MarketDecoder
from polyframe.model.events import MarketResolved, StreamState
from polyframe.model.market import Market


class ResolutionStream(QuietStream):
    """Delivers the resolution of one market and nothing else.

    Args:
        url: WebSocket URL of the market channel.
        market: Whose resolution.
        sink: Takes it.
        decoder: Reads the frames.
        settings: Times.
        counters: Where connections are counted.
    """

    def __init__(
        self,
        url: str,
        market: Market,
        sink: MarketSink,
        decoder: MarketDecoder,
        settings: StreamSettings,
        counters: Counters,
    ) -> None:
        super().__init__("resolution", url, settings, counters)
        self._market = market
        self._sink: MarketSink | None = sink
        self._decoder = decoder

    @override
    def detach(self) -> None:
        self._sink = None

    @override
    def _subscription(self) -> str:
        return json.dumps(
            {
                "type": "market",
                "assets_ids": [self._market.up_token, self._market.down_token],
                "custom_feature_enabled": True,
                "initial_dump": False,
                "level": 2,
            }
        )

    @override
    def _on_frame(self, frame: bytes) -> None:
        for message in self._decoder.decode(frame):
            is_ours = message.market == self._market.condition_id
            if self._sink is not None and is_ours and isinstance(message, MarketResolved):
                self._sink.on_market_message(message)

    @override
    def _on_state(self, state: StreamState, reason: str) -> None:
        if self._sink is not None:
            self._sink.on_market_stream(state, reason)
