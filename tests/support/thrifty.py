"""An exchange in memory for long runs."""

from __future__ import annotations

from typing_extensions import override

from polyframe.exchange.base import MarketSink
from polyframe.model.market import Market
from tests.support.fake import FakeExchange, FakeStream


class Thrifty(FakeExchange):
    """Forgets with each market what tests usually look at, so that only the framework could grow."""

    @override
    def market_stream(self, market: Market, sink: MarketSink) -> FakeStream:
        stream = super().market_stream(market, sink)
        for kept in (
            self.all_streams,
            self.streams,
            self.lookups,
            self.placed,
            self.known,
            self.queried,
            self.batches,
            self.cancelled,
        ):
            kept.clear()
        return stream
