"""A drill: a strategy trades at the local venue, something goes wrong, and nothing may be lost."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from typing_extensions import override

from polyframe.clock import ScaledClock
from polyframe.counters import Count, Counters
from polyframe.environment import Environment
from polyframe.exchange.polymarket import PolymarketExchange, StreamSettings
from polyframe.model.events import OrderChanged, PriceChanged, TradeChanged
from polyframe.model.market import Market, Outcome
from polyframe.model.order import Order, OrderStatus, OrderType
from polyframe.model.series import Series
from polyframe.model.trade import TradeStatus
from polyframe.reference import ReferencePrices
from polyframe.scheduler import ScheduleSettings
from polyframe.strategy import Strategy
from polyframe.trader import Trader, TraderSettings
from polyframe.trading.ledger import CycleRecord, Ledger
from polyframe.trading.reconcile import ReconcileReport, ReconcileSettings
from tests.drills.books import (
    compare_books,
    compare_ledger,
    trades_are_final,
    venue_fills,
    venue_orders,
)

pytest.importorskip("starlette", reason="the local venue needs the extra 'venue'")
pytest.importorskip("uvicorn", reason="the local venue needs the extra 'venue'")

from polyframe.venue import InjectedFault, LocalVenue, SyntheticSource, VenueFault, VenueSettings

SERIES = Series.parse("btc-updown-15m")
START = 1_893_456_000
SPEED = 10.0
PATIENCE = 5.0
RECORDS = "POLYFRAME_DRILL_RECORDS"
"""Names a folder in which every drill leaves what it has shown."""
TEN = Decimal(10)
LOW = Decimal("0.02")
"""A price at which nothing is offered."""

STREAMS = StreamSettings(
    silence=0.5,
    price_silence=0.5,
    snapshot_timeout=0.5,
    pong_timeout=2.0,
    ping_interval=0.5,
    backoff_base=0.05,
    backoff_cap=0.1,
)
RECONCILE = ReconcileSettings(
    open_interval=0.4, idle_interval=2.0, soon=(0.05, 0.2, 0.5), grace=0.3
)


class DrillClock(ScaledClock):
    """A fast clock that can also be moved forward."""

    def __init__(self, start: float) -> None:
        super().__init__(SPEED, start=start)
        self._moved = asyncio.Event()
        self._ahead = 0.0

    @override
    def time(self) -> float:
        return super().time() + self._ahead

    @override
    async def sleep(self, seconds: float) -> None:
        await self.sleep_until(self.time() + seconds)

    @override
    async def sleep_until(self, when: float) -> None:
        while (left := when - self.time()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left / self.speed):
                    await self._moved.wait()
        await asyncio.sleep(0)

    def move_to(self, when: float) -> None:
        """Make it `when`, if it is earlier."""
        self._ahead += max(when - self.time(), 0.0)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


@define(eq=False)
class Drill:
    """One drill under way, and after it what everybody has seen."""

    venue: LocalVenue
    env: Environment
    trader: Trader
    clock: DrillClock
    source: SyntheticSource
    prices: list[PriceChanged] = field(factory=list)
    orders: list[OrderChanged] = field(factory=list)
    trades: list[TradeChanged] = field(factory=list)
    reports: list[ReconcileReport] = field(factory=list)
    records: list[CycleRecord] = field(factory=list)
    cash: Decimal = Decimal(0)
    _rung: asyncio.Event = field(factory=asyncio.Event)

    def ring(self) -> None:
        """Wake those who wait: something happened."""
        rung, self._rung = self._rung, asyncio.Event()
        rung.set()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Return once something happened after which `is_so` holds."""
        async with asyncio.timeout(PATIENCE):
            while not is_so():
                # What counters say is not told: look again from time to time.
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await self._rung.wait()

    def inject(self, kind: str, **options: Any) -> InjectedFault:
        """Let something go wrong."""
        return self.venue.faults.inject(kind, **options)

    def struck(self, kind: str) -> int:
        """Return how often a kind of fault has struck."""
        return self.venue.faults.happened[VenueFault(kind)]

    def strike(self, market: Market) -> Decimal:
        """Return the price to beat as the source of the venue has it."""
        venue_market = self.source.market(market.slug)
        assert venue_market is not None
        return Decimal(self.source.decided_by(venue_market)[0]).scaleb(-8)

    @property
    def counters(self) -> Counters:
        """What the framework has counted."""
        return self.env.counters

    @property
    def unknown_prices(self) -> int:
        """How often the strategy was told that a price is not known."""
        return sum(not event.known for event in self.prices)

    def statuses(self, order: Order) -> list[OrderStatus]:
        """Return what the strategy was told of one order, in order."""
        return [e.order.status for e in self.orders if e.order.client_id == order.client_id]

    def settled(self, *orders: Order) -> list[TradeStatus]:
        """Return what the strategy was told of the fills of some orders, in order."""
        ids = {order.client_id for order in orders}
        return [e.fill.status for e in self.trades if e.order.client_id in ids]


@define
class Probe(Strategy):
    """Notes what it is told, and does what the drill says."""

    async def on_price(self, event: PriceChanged) -> None:
        self.env.get(Drill).prices.append(event)
        self.env.get(Drill).ring()

    async def on_order(self, event: OrderChanged) -> None:
        self.env.get(Drill).orders.append(event)
        self.env.get(Drill).ring()

    async def on_trade(self, event: TradeChanged) -> None:
        self.env.get(Drill).trades.append(event)
        self.env.get(Drill).ring()

    async def on_reconcile(self, report: ReconcileReport) -> None:
        self.env.get(Drill).reports.append(report)
        self.env.get(Drill).ring()

    async def run(self) -> None:
        drill = self.env.get(Drill)
        await self.known()
        cycle = (self.market.window.start - START) // (
            self.market.window.end - self.market.window.start
        )
        script = self.env.get(Script)
        if cycle < len(script.acts):
            try:
                await script.acts[cycle](drill, self)
            except pytest.fail.Exception as failed:
                # It is no Exception, and only those end a strategy.
                raise AssertionError(failed.msg) from failed
            drill.clock.move_to(self.market.window.end - 0.5)

    async def known(self) -> None:
        """Wait until both prices are known."""
        both = [self.trading.price(outcome) for outcome in Outcome]
        if not all(price.known for price in both):
            await self.env.get(Drill).until(
                lambda: all(self.trading.price(outcome).known for outcome in Outcome)
            )

    async def rest(self, price: Decimal = LOW, size: Decimal = TEN) -> Order:
        """Place an order that rests, whatever becomes of the answer."""
        return await self.trading.buy(Outcome.UP, price=price, size=size)

    async def take(self, size: Decimal = TEN) -> Order:
        """Place an order that takes what is offered."""
        await self.known()
        ask = self.trading.price(Outcome.UP).ask
        assert ask is not None
        return await self.trading.buy(
            Outcome.UP,
            price=min(ask + Decimal("0.05"), Decimal("0.99")),
            size=size,
            order_type=OrderType.FAK,
        )

    def now(self, order: Order) -> Order:
        """Return an order as it is now."""
        return next(o for o in self.trading.orders() if o.client_id == order.client_id)


Act = Callable[[Drill, Probe], Awaitable[None]]


@define
class Script:
    """What the strategy does, cycle by cycle."""

    acts: Sequence[Act]


def drill(*acts: Act, reference: bool = False) -> Drill:
    """Trade as many cycles as there are acts, wait until all is settled, and compare everything.

    With `reference`, reference prices are provided, and their record is waited for.
    """
    with tempfile.TemporaryDirectory() as folder:
        done = asyncio.run(_drill(acts, Path(folder) / "ledger.sqlite", reference=reference))
    if target := os.environ.get(RECORDS):
        _record(done, Path(target))
    return done


def _record(done: Drill, folder: Path) -> None:
    """Write down what a drill has shown, under the name of its test."""
    name = os.environ["PYTEST_CURRENT_TEST"].split("::")[-1].split(" ")[0].removeprefix("test_")
    repairs = done.counters.reasons(Count.RECONCILE_REPAIRS)
    known = {
        "struck": {kind.value: times for kind, times in sorted(done.venue.faults.happened.items())},
        "prices": len(done.prices),
        "unknown prices": done.unknown_prices,
        "order events": len(done.orders),
        "trade events": len(done.trades),
        "reports": len(done.reports),
        "answers": done.counters.reasons(Count.ORDERS_SENT),
        "streams lost": done.counters.reasons(Count.STREAM_LOSSES),
        "comparisons": done.counters.get(Count.RECONCILES),
        "repairs": repairs,
        "orders": len(venue_orders(done)),
        "fills": len(venue_fills(done)),
        "cash": str(done.cash),
        "cash at the venue": str(done.venue.account.cash),
    }
    (folder / f"{name}.json").write_text(json.dumps(known), encoding="utf-8")


async def _drill(acts: Sequence[Act], path: Path, *, reference: bool) -> Drill:
    clock = DrillClock(START + 60)
    settings = VenueSettings(resolve_after=5.0, mined_after=1.0, confirmed_after=2.0, skew=3_600)
    source = SyntheticSource(SERIES, seed=3)
    trader_settings = TraderSettings(
        cycle_end_timeout=1.0, schedule=ScheduleSettings(retry_first=1.0, retry_cap=2.0)
    )
    async with (
        asyncio.timeout(4 * PATIENCE),
        LocalVenue(source, clock=clock, settings=settings) as venue,
    ):
        exchange = PolymarketExchange.local(venue.url, venue.account)
        exchange.stream_settings = STREAMS
        ledger = Ledger(path)
        env = Environment(exchange, clock=clock, reconcile=RECONCILE, ledger=ledger)
        if reference:
            env.provide(ReferencePrices(exchange, SERIES))
        async with env:
            trader = Trader(env, trader_settings)
            trader.add(Probe(), on=SERIES, on_error="raise")
            done = Drill(venue, env, trader, clock, source)
            env.provide(done)
            env.provide(Script(acts))
            await trader.run(cycles=len(acts))
            await _settle(done)
            if reference:
                await _wait_record(done)
            compare_books(done)
            done.records = list(ledger)
            done.cash = env.account.cash
        compare_ledger(done, path)
        assert done.cash == venue.account.cash
        return done


async def _settle(done: Drill) -> None:
    """Let time pass until every cycle and every trade is settled."""
    settled = asyncio.create_task(done.env.settlement.wait_settled())
    while not (settled.done() and trades_are_final(done)):
        done.clock.move_to(done.clock.time() + 3)
        await asyncio.sleep(0.02)
    await settled


async def _wait_record(done: Drill) -> None:
    """Let time pass until every price to beat is compared with the venue's record."""
    followed = len(done.env.get(ReferencePrices)._followed)
    async with asyncio.timeout(PATIENCE):
        while done.counters.get(Count.REFERENCE_CHECKS) < followed:
            done.clock.move_to(done.clock.time() + 10)
            await asyncio.sleep(0.02)


def now() -> float:
    """Return real seconds, to measure how long something took."""
    return time.monotonic()
