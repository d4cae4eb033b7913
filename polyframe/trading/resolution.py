"""To be told that a market is resolved, so that asking does not have to wait for its turn."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Self

from polyframe.clock import Clock
from polyframe.counters import Count, Counters
from polyframe.exchange.base import DataStream, Exchange, MarketSink
from polyframe.model.events import MarketMessage, MarketResolved, StreamState
from polyframe.model.market import Market
from polyframe.tasks import Nap

log = logging.getLogger(__name__)

Listen = Callable[[Market, MarketSink], DataStream]


class ResolutionHint:
    """Hears of the resolution of one market on a stream, within ``async with``.

    A hint is a reason to ask and nothing more: what the venue sends once on a stream may be missing,
    and what it says there is not final yet (PROTOCOL §1.5).

    Args:
        market: The market.
        counters: Where hints are counted.
        listen: Makes the stream; ``None`` where the venue has none.
    """

    def __init__(self, market: Market, counters: Counters, listen: Listen | None = None) -> None:
        self._market = market
        self._counters = counters
        self._stream = None if listen is None else listen(market, self)
        self._is_told = False
        self._nap = Nap()

    def on_market_message(self, message: MarketMessage) -> None:
        """Take one message; only the resolution of this market matters."""
        if not isinstance(message, MarketResolved):
            return
        if message.market == self._market.condition_id and not self._is_told:
            self._counters.add(Count.RESOLUTIONS, "told")
            log.info("%s: the venue says that it is resolved", self._market.slug)
            self._is_told = True
            self._nap.cut()

    def on_market_stream(self, state: StreamState, reason: str) -> None:
        """Take a change of the connection: what was missed in between is asked for anyway."""

    async def pause(self, clock: Clock, seconds: float) -> bool:
        """Return after market `seconds`, or as soon as it is told: then True."""
        if not self._is_told:
            await self._nap.take(clock.sleep(seconds))
        was_told, self._is_told = self._is_told, False
        return was_told

    async def __aenter__(self) -> Self:
        """Begin to listen."""
        if self._stream is not None:
            self._stream.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the stream."""
        if self._stream is not None:
            await self._stream.close()


def listening(exchange: Exchange, market: Market, counters: Counters) -> ResolutionHint:
    """Return who listens for the resolution of a market, where the venue has a stream that tells it."""
    # As `TellsResolutions`, without what it costs to compare an object with a protocol.
    listen: Listen | None = getattr(exchange, "resolution_stream", None)
    return ResolutionHint(market, counters, listen)
