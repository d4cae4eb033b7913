"""A paper exchange over an exchange in memory, with both streams open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

from attrs import define

from polyframe.clock import Clock, VirtualClock
from polyframe.counters import Counters
from polyframe.exchange.base import PlaceAnswer
from polyframe.model.events import (
    MarketMessage,
    OrderReport,
    StreamState,
    TradePrint,
    TradeReport,
    UserMessage,
)
from polyframe.model.market import Market
from polyframe.model.order import OrderRequest, Side
from polyframe.model.series import Series
from polyframe.paper.exchange import PaperExchange
from polyframe.paper.models import PaperModels
from polyframe.trading.snapshotstore import MemoryStore
from tests.support.fake import START, FakeExchange, FakeStream

SERIES = Series.parse("btc-updown-15m")


@define
class Sink:
    """Keeps what both streams say."""

    messages: list[MarketMessage | UserMessage]
    states: list[tuple[StreamState, str]]

    def on_market_message(self, message: MarketMessage) -> None:
        self.messages.append(message)

    def on_market_stream(self, state: StreamState, reason: str) -> None:
        self.states.append((state, reason))

    def on_user_message(self, message: UserMessage) -> None:
        self.messages.append(message)

    def on_user_stream(self, state: StreamState, reason: str) -> None:
        self.states.append((state, reason))


@define
class Scene:
    """A paper exchange, its market, and what its streams said."""

    exchange: PaperExchange
    inner: FakeExchange
    counters: Counters
    market: Market
    market_sink: Sink
    user_sink: Sink

    @property
    def stream(self) -> FakeStream:
        """The stream of the market at the real venue."""
        return self.inner.streams[self.market.slug]

    async def place(self, request: OrderRequest) -> tuple[str, PlaceAnswer]:
        """Send one order; return its id and the answer."""
        prepared = self.exchange.prepare_order(self.market, request)
        return prepared.venue_id, await self.exchange.place_order(prepared)

    def told(self) -> list[str]:
        """Return the statuses that the user stream told, of orders and trades."""
        return [
            message.status
            for message in self.user_sink.messages
            if isinstance(message, OrderReport | TradeReport)
        ]

    def sell(self, units: int, size: int) -> None:
        """Let somebody sell Up."""
        token = self.market.up_token
        self.stream.push(
            TradePrint(self.market.condition_id, token, units, Decimal(size), Side.SELL)
        )


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop go on until `condition` holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)


def play(act: Callable[[VirtualClock], Awaitable[None]], start: float = START + 60) -> None:
    """Run `act` in simulated time."""
    clock = VirtualClock(start)

    async def main() -> None:
        await act(clock)

    clock.run(main())


@asynccontextmanager
async def scene(
    clock: Clock,
    store: MemoryStore | str | Path | None = None,
    inner: FakeExchange | None = None,
    models: PaperModels | None = None,
) -> AsyncIterator[Scene]:
    """Open an exchange with both streams."""
    inner = inner or FakeExchange()
    exchange = PaperExchange(inner, store=store, models=models)
    counters = Counters()
    await exchange.open(clock, counters)
    try:
        user = Sink([], [])
        account = exchange.user_stream(user)
        account.start()
        market = await exchange.fetch_market(SERIES, SERIES.window_at(START))
        assert market is not None
        prices = Sink([], [])
        stream = exchange.market_stream(market, prices)
        stream.start()
        await clock.sleep(0.001)
        yield Scene(exchange, inner, counters, market, prices, user)
        await stream.close()
        await account.close()
    finally:
        await exchange.close()
