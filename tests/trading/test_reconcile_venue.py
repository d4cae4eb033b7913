"""Comparing with the local venue, over real sockets: whatever is lost, the books agree in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field, frozen

from polyframe.clock import ScaledClock
from polyframe.counters import Count, Counters
from polyframe.environment import Environment
from polyframe.errors import OrderOutcomeUnknown
from polyframe.exchange.polymarket import PolymarketExchange, StreamSettings
from polyframe.model.events import OrderChanged, PriceChanged, TradeChanged
from polyframe.model.market import Outcome
from polyframe.model.order import Order, OrderRequest, OrderStatus, OrderType, Side
from polyframe.model.series import Series
from polyframe.model.trade import TradeStatus
from polyframe.strategy import Strategy
from polyframe.trader import Trader
from polyframe.trading.handle import StrategyTrading
from polyframe.trading.reconcile import ReconcileReport, ReconcileSettings
from polyframe.trading.service import TradingService
from tests.support.fake import START

pytest.importorskip("starlette", reason="the local venue needs the extra 'venue'")
pytest.importorskip("uvicorn", reason="the local venue needs the extra 'venue'")

from polyframe.venue import LocalVenue, SyntheticSource, VenueSettings

SERIES = Series.parse("btc-updown-15m")
UP, TEN = Outcome.UP, Decimal(10)
AFTER_GAPS = ReconcileSettings(open_interval=30.0, soon=(0.1, 0.3, 0.8), grace=0.5)
"""So slow a timer that it is the gap that makes up for what was lost in it."""


@define
class Bell:
    """Rings whenever something happens."""

    _condition: asyncio.Condition = field(factory=asyncio.Condition)
    reports: list[ReconcileReport] = field(factory=list)

    async def ring(self) -> None:
        """Wake everybody who waits."""
        async with self._condition:
            self._condition.notify_all()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Return once something happened after which `is_so` holds."""
        async with self._condition:
            await self._condition.wait_for(is_so)


@define
class Rings(Strategy):
    """Does nothing but tell that something happened."""

    async def on_price(self, event: PriceChanged) -> None:
        await self.env.get(Bell).ring()

    async def on_order(self, event: OrderChanged) -> None:
        await self.env.get(Bell).ring()

    async def on_trade(self, event: TradeChanged) -> None:
        await self.env.get(Bell).ring()

    async def on_reconcile(self, report: ReconcileReport) -> None:
        self.env.get(Bell).reports.append(report)
        await self.env.get(Bell).ring()


@frozen
class Scene:
    """A venue, a trader that runs at it, and a second client of the same account."""

    venue: LocalVenue
    env: Environment
    trading: TradingService
    other: PolymarketExchange
    bell: Bell

    @property
    def handle(self) -> StrategyTrading:
        """A strategy's handle in the open cycle."""
        return self.trading.handle("Rings")

    def now(self, order: Order) -> Order:
        """Return an order as it is here now."""
        orders = {known.client_id: known for known in self.trading.snapshot().orders}
        return orders[order.client_id]

    async def until(self, order: Order, status: OrderStatus) -> None:
        """Wait until an order has a status."""
        await self.bell.until(lambda: self.now(order).status is status)

    async def buy(self, price: Decimal, order_type: OrderType = OrderType.GTC) -> Order:
        """Buy ten Up; the order if its answer was lost, too."""
        try:
            return await self.handle.buy(UP, price=price, size=TEN, order_type=order_type)
        except OrderOutcomeUnknown as lost:
            return lost.order

    def high(self) -> Decimal:
        """Return a price that takes what is offered."""
        ask = self.handle.price(UP).ask
        assert ask is not None
        return ask + Decimal("0.05")

    async def agree(self) -> None:
        """Check that orders, fills and cash are the venue's, to the last unit."""
        market = self.trading.market
        assert market is not None
        orders = self.trading.snapshot().orders
        for order in orders:
            there = await self.other.fetch_order(order.venue_id)
            if order.status is OrderStatus.REJECTED:
                assert there is None
                continue
            assert there is not None
            assert there.size_matched == order.filled
            wanted = {
                OrderStatus.LIVE: "LIVE",
                OrderStatus.CANCELLED: "CANCELED",
                OrderStatus.FILLED: "MATCHED",
            }[order.status]
            assert wanted == there.status
        listed = {report.order_id for report in await self.other.fetch_open_orders(market)}
        assert {order.venue_id for order in orders if order.is_open} == listed
        trades = {
            (trade.trade_id, leg.order_id): (leg.size, leg.price, trade.status)
            for trade in await self.other.fetch_trades(market)
            for leg in trade.legs
        }
        venue_ids = {order.client_id: order.venue_id for order in orders}
        assert trades == {
            (fill.trade_id, venue_ids[fill.client_id]): (fill.size, fill.price, fill.status)
            for fill in self.trading.snapshot().fills
        }
        assert await self.other.fetch_balance() == self.env.account.cash
        assert 0 == (await self.trading.reconcile()).cash


@asynccontextmanager
async def scene(reconcile: ReconcileSettings) -> AsyncIterator[Scene]:
    """Open everything, and wait until the books are known."""
    clock = ScaledClock(1, start=START + 60)
    settings = VenueSettings(mined_after=0.2, confirmed_after=0.4)
    source = SyntheticSource(SERIES, seed=7)
    async with LocalVenue(source, clock=clock, settings=settings) as venue, asyncio.timeout(60):
        other = PolymarketExchange.local(venue.url, venue.account)
        await other.open(clock, Counters())
        exchange = PolymarketExchange.local(venue.url, venue.account)
        exchange.stream_settings = StreamSettings(backoff_base=0.1, backoff_cap=0.2)
        try:
            async with Environment(exchange=exchange, clock=clock, reconcile=reconcile) as env:
                bell = Bell()
                env.provide(bell)
                trader = Trader(env)
                trader.add(Rings(), on=SERIES)
                running = asyncio.create_task(trader.run())
                trading = trader.trading(SERIES)
                await bell.until(
                    lambda: trading.market is not None and trading.handle("Rings").price(UP).known
                )
                yield Scene(venue, env, trading, other, bell)
                running.cancel()
                await asyncio.wait({running})
        finally:
            await other.close()


@asynccontextmanager
async def away(scene: Scene) -> AsyncIterator[None]:
    """Cut the account's stream off, and let it not come back."""
    refused = scene.venue.faults.inject("connect_refused", path="/ws/user", seconds=60)
    scene.venue.drop_connections("user")
    try:
        yield
    finally:
        refused.stop()


def run(act: Callable[[Scene], Any], reconcile: ReconcileSettings = AFTER_GAPS) -> None:
    """Play a scene."""

    async def main() -> None:
        async with scene(reconcile) as everything:
            await act(everything)

    asyncio.run(main())


def test_what_happens_while_the_stream_is_away_is_made_up_for() -> None:
    """Fills, ends and settlements of the gap are there after it, each once."""

    async def act(scene: Scene) -> None:
        stays = await scene.buy(Decimal("0.02"))
        ends = await scene.buy(Decimal("0.03"))
        await scene.until(ends, OrderStatus.LIVE)
        assert scene.env.router.connected
        async with away(scene):
            taken = await scene.buy(scene.high(), OrderType.FAK)
            await scene.other.cancel_orders([ends.venue_id])
        assert [OrderStatus.LIVE] * 2 == [scene.now(order).status for order in (taken, ends)]
        await scene.until(taken, OrderStatus.FILLED)
        await scene.until(ends, OrderStatus.CANCELLED)
        await scene.bell.until(
            lambda: {f.status for f in scene.handle.fills()} == {TradeStatus.CONFIRMED}
        )
        # The trade may be told by the stream, too: it is mined when that is back. The cancel is told once,
        # by a comparison, whose report comes when all of it is done.
        await scene.bell.until(
            lambda: any(ends.client_id in report.orders for report in scene.bell.reports)
        )
        assert OrderStatus.LIVE is scene.now(stays).status
        await scene.agree()

    run(act)


def test_lost_replies_are_found_out() -> None:
    """An order that rests, one that was filled and one that never came: each is what it is at the venue."""

    async def act(scene: Scene) -> None:
        oops = {"error": "Internal server error"}
        async with away(scene):
            scene.venue.fail_next("/order", 500, oops, accept=True)
            rests = await scene.buy(Decimal("0.02"))
            scene.venue.fail_next("/order", 500, oops, accept=True)
            taken = await scene.buy(scene.high(), OrderType.FAK)
            scene.venue.fail_next("/order", 500, oops)
            never = await scene.buy(Decimal("0.04"))
        await scene.until(rests, OrderStatus.LIVE)
        await scene.until(taken, OrderStatus.FILLED)
        await scene.until(never, OrderStatus.REJECTED)
        await scene.bell.until(
            lambda: {f.status for f in scene.handle.fills()} == {TradeStatus.CONFIRMED}
        )
        assert 3 == scene.env.counters.get(Count.ORDERS_SENT, "unknown")
        await scene.agree()

    run(act)


def test_a_view_that_fails_is_fetched_again() -> None:
    """A comparison whose trades cannot be had fails as a whole; a moment later all of it is there."""

    async def act(scene: Scene) -> None:
        market = scene.trading.market
        assert market is not None
        scene.venue.drop_connections("user")
        scene.venue.fail_next("/data/trades", 503)
        request = OrderRequest(UP, Side.BUY, Decimal("0.02"), TEN)
        prepared = scene.other.prepare_order(market, request)
        async with away(scene):
            await scene.other.place_order(prepared)
        await scene.bell.until(
            lambda: any(prepared.venue_id in report.foreign for report in scene.bell.reports)
        )
        assert 1 == scene.env.counters.get(Count.RECONCILES, "failed")
        (order,) = scene.trading.snapshot().orders
        assert order.is_external
        await scene.agree()

    run(act, ReconcileSettings(open_interval=0.3))
