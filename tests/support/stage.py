"""A trader on an in-memory exchange, with its parts in reach of the test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from attrs import define, field

from polyframe.clock import VirtualClock
from polyframe.environment import Environment
from polyframe.model.events import (
    CycleEndReason,
    MarketTraded,
    OrderChanged,
    PriceChanged,
    TradeChanged,
)
from polyframe.model.market import Outcome
from polyframe.scheduler import MarketScheduler
from polyframe.session import ExchangeSession
from polyframe.strategy import Strategy
from polyframe.trader import Trader, TraderSettings
from polyframe.trading.ledger import Ledger
from polyframe.trading.limits import RiskLimits
from polyframe.trading.reconcile import ReconcileReport, ReconcileSettings
from polyframe.trading.service import TradingService
from polyframe.trading.snapshotstore import Store
from tests.support.fake import START, FakeExchange, make_market

T = TypeVar("T")


async def settle(rounds: int = 20) -> None:
    """Let every task that can go on do so, without letting time pass."""
    for _ in range(rounds):
        await asyncio.sleep(0)


@define(eq=False)
class Diary:
    """What recording strategies saw, by generation; given to them through the environment."""

    seen: list[tuple[int, str, Any]] = field(factory=list)

    def of(self, generation: int, *kinds: str) -> list[tuple[str, Any]]:
        """Return what the strategies of one cycle saw, in order."""
        return [
            (kind, value)
            for gen, kind, value in self.seen
            if gen == generation and (not kinds or kind in kinds)
        ]


@define
class Recorder(Strategy):
    """Writes all that it sees into the environment's `Diary`."""

    def _note(self, kind: str, value: Any) -> None:
        self.env.get(Diary).seen.append((self.market.generation, kind, value))

    async def on_cycle_start(self) -> None:
        self._note("start", self.market.slug)

    async def on_price(self, event: PriceChanged) -> None:
        self._note("price", event)

    async def on_book(self, outcome: Outcome) -> None:
        self._note("book", outcome)

    async def on_market_trade(self, event: MarketTraded) -> None:
        self._note("market_trade", event)

    async def on_order(self, event: OrderChanged) -> None:
        self._note("order", event)

    async def on_trade(self, event: TradeChanged) -> None:
        self._note("trade", event)

    async def on_reconcile(self, report: ReconcileReport) -> None:
        self._note("reconcile", report)

    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        self._note("end", reason)


@define(eq=False)
class Stage:
    """An open environment with a trader on `series`."""

    exchange: FakeExchange
    env: Environment
    trader: Trader
    diary: Diary
    series: str

    @property
    def trading(self) -> TradingService:
        return self.trader.trading(self.series)

    @property
    def session(self) -> ExchangeSession:
        session = self.trader.session(self.series)
        assert session is not None
        return session

    @property
    def scheduler(self) -> MarketScheduler:
        """The scheduler of the series, made on first use: for tests that switch by hand."""
        desk = next(iter(self.trader._desks.values()))
        return desk.scheduler or self.trader._scheduler(desk)

    async def prepare(self, start: int) -> ExchangeSession:
        """Return a prepared session of the market that starts at `start`, its books known."""
        session = await self.scheduler._prepare(make_market(self.series, start).window)
        assert session is not None
        if self.exchange.auto_books:
            await session.wait_books()
        return session

    async def open_cycle(self, start: int = START) -> ExchangeSession:
        """Switch to the market that starts at `start` and let its strategies begin."""
        session = await self.prepare(start)
        self.scheduler.switch(session)
        await settle()
        return session

    async def shut_down(self) -> None:
        """End the open cycle as the trader does."""
        await self.trader._shut_down()


def play(
    act: Callable[[Stage], Awaitable[T]],
    *strategies: Strategy,
    series: str = "btc-updown-15m",
    start: float = START,
    exchange: FakeExchange | None = None,
    settings: TraderSettings | None = None,
    risk: RiskLimits | None = None,
    ledger: Ledger | None = None,
    reconcile: ReconcileSettings | None = None,
    snapshots: Store | None = None,
    services: Iterable[object] = (),
    **mount: Any,
) -> T:
    """Run `act` on a stage in simulated time, with `strategies` (a `Recorder`) mounted."""
    clock = VirtualClock(start)
    venue = exchange or FakeExchange()

    async def main() -> T:
        env = Environment(
            exchange=venue,
            clock=clock,
            risk=risk,
            ledger=ledger,
            reconcile=reconcile,
            snapshots=snapshots,
        )
        diary = Diary()
        for service in (diary, *services):
            env.provide(service)
        async with env:
            trader = Trader(env, settings)
            for strategy in strategies or (Recorder(),):
                trader.add(strategy, on=series, **mount)
            stage = Stage(venue, env, trader, diary, series)
            try:
                return await act(stage)
            finally:
                await stage.shut_down()

    return clock.run(main())
