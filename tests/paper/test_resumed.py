"""A program that trades on paper is started again within a cycle."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from attrs import define

from polyframe.clock import VirtualClock
from polyframe.environment import Environment
from polyframe.model.events import PriceChanged, TradePrint
from polyframe.model.market import Outcome
from polyframe.model.order import OrderStatus, Side
from polyframe.paper.exchange import PaperExchange
from polyframe.strategy import Strategy
from polyframe.trader import Trader
from polyframe.trading.snapshotstore import MemoryStore
from tests.support.fake import START, FakeExchange, make_market

SERIES = "btc-updown-15m"
MARKET = make_market(SERIES)


SEEN: list[list[tuple[OrderStatus, Decimal]]] = []
"""What the strategy had at each price: it is made afresh, and so would be its own lists."""


@define
class BidOnce(Strategy):
    """Bids for Up unless it has an order, and notes what it has."""

    async def on_price(self, event: PriceChanged) -> None:
        orders = self.trading.orders()
        SEEN.append([(order.status, order.filled) for order in orders])
        if event.outcome is Outcome.UP and not orders:
            await self.trading.buy(Outcome.UP, price=Decimal("0.49"), size=Decimal(20))


async def _sell(clock: VirtualClock, inner: FakeExchange, at: float, size: int) -> None:
    """Let somebody sell Up at 0.49, where a hundred are before us."""
    await clock.sleep_until(START + at)
    sold = TradePrint(
        MARKET.condition_id, MARKET.up_token, 4900, Decimal(size), Side.SELL, START * 1000
    )
    inner.streams[MARKET.slug].push(sold)


def test_a_cycle_goes_on_with_its_orders_on_paper() -> None:
    """Snapshots and the kept account fit together: the order rests, is filled, and is paid."""
    account, snapshots = MemoryStore(), MemoryStore()

    async def first(clock: VirtualClock) -> None:
        inner = FakeExchange()
        exchange = PaperExchange(inner, store=account)
        async with Environment(exchange, clock=clock, snapshots=snapshots) as env:
            trader = Trader(env)
            trader.add(BidOnce(), on=SERIES)
            running = asyncio.create_task(trader.run(cycles=1))
            await _sell(clock, inner, 70, 105)
            await clock.sleep_until(START + 80)
            running.cancel()
            await asyncio.wait({running})

    async def second(clock: VirtualClock) -> None:
        inner = FakeExchange()
        exchange = PaperExchange(inner, store=account)
        SEEN.clear()
        async with Environment(exchange, clock=clock, snapshots=snapshots) as env:
            assert env.account.cash == 1000 - 5 * Decimal("0.49")
            trader = Trader(env)
            trader.add(BidOnce(), on=SERIES)
            running = asyncio.create_task(trader.run(cycles=1))
            await _sell(clock, inner, 110, 15)
            await running
            await env.settlement.wait_settled()
            (record,) = env.ledger
            assert record.profit == 20 - 20 * Decimal("0.49")
            assert env.account.cash == await exchange.fetch_balance() == 1000 + record.profit
        assert SEEN[0] == [(OrderStatus.PARTIALLY_FILLED, Decimal(5))]

    for at, run in ((60, first), (100, second)):
        clock = VirtualClock(START + at)
        clock.run(run(clock))
