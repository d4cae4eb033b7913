"""Two hundred cycles on simulated time: nothing grows."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections import Counter
from decimal import Decimal

from attrs import define, field

from polyframe.model.events import PriceChanged
from polyframe.model.market import Outcome
from polyframe.model.trade import TradeStatus
from polyframe.session import ExchangeSession
from polyframe.strategy import Strategy
from polyframe.strategyrun import StrategyRun
from polyframe.trading.deadcycles import KEPT
from polyframe.trading.ledger import CycleRecord
from polyframe.trading.reconcile import ReconcileSettings
from polyframe.trading.state import CycleState
from tests.support.fake import START, trade_report
from tests.support.stage import Stage, play
from tests.support.thrifty import Thrifty

WARM_UP, CYCLES = 40, 240


@define
class Trades(Strategy):
    """Buys once a cycle and runs a task."""

    done: bool = field(init=False, default=False)

    async def on_price(self, event: PriceChanged) -> None:
        if not self.done:
            self.done = True
            order = await self.trading.buy(Outcome.UP, price=Decimal("0.50"), size=Decimal(10))
            self.env.router.on_user_message(
                trade_report(
                    self.market,
                    order.venue_id,
                    order.venue_id,
                    status=TradeStatus.CONFIRMED,
                )
            )
            await self.trading.buy(Outcome.DOWN, price=Decimal("0.30"), size=Decimal(10))

    async def run(self) -> None:
        await asyncio.Event().wait()


def alive(*kinds: type) -> list[object]:
    """Return all objects of some kinds."""
    gc.collect()
    return [thing for thing in gc.get_objects() if type(thing) in kinds]


def counted(things: list[object], besides: list[object]) -> Counter[str]:
    """Return how many of some objects there are by kind, without those that are besides."""
    known = {id(thing) for thing in besides}
    return Counter(type(thing).__name__ for thing in things if id(thing) not in known)


def test_nothing_grows_over_two_hundred_rollovers() -> None:
    """Tasks, sessions, runs, handlers, routes and memory are the same after 40 and 240 cycles."""

    async def act(stage: Stage) -> None:
        stage.env.ledger._limit = WARM_UP // 2
        run = asyncio.create_task(stage.trader.run(cycles=CYCLES + 1))
        measured = []
        before = 0
        for cycles in (WARM_UP, CYCLES):
            await stage.env.clock.sleep_until(START + cycles * 900 + 450)
            measured.append(
                (
                    len(asyncio.all_tasks()),
                    len(stage.session._subscribers),
                    len(stage.env.router._routes),
                    stage.env.settlement._cycles.tokens,
                    len(list(stage.env.counters)),
                    counted(alive(*kinds), others),
                )
            )
            if cycles == WARM_UP:
                tracemalloc.start()
                before = tracemalloc.get_traced_memory()[0]
        growth = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert measured[0] == measured[1]
        objects = measured[1][5]
        assert 1 == objects["ExchangeSession"] == objects["StrategyRun"]
        # The template and the instance of the current cycle.
        assert 2 == objects["Trades"]
        assert KEPT + 1 == objects["CycleState"]
        # What is traced began at the warm-up, so states that replaced older ones count as new:
        # a leak of even one small session per cycle would be a multiple of this.
        assert growth < 1_000_000, growth
        run.cancel()
        await asyncio.wait({run})

    # What an earlier test of this process may still hold.
    kinds = (ExchangeSession, StrategyRun, Trades, CycleState, CycleRecord)
    others = alive(*kinds)
    # Compared with the venue nine times a cycle: as many tasks come and go.
    often = ReconcileSettings(open_interval=100.0, idle_interval=100.0)
    play(act, Trades(), exchange=Thrifty(), reconcile=often)
