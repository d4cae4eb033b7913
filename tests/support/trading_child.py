"""A program that trades at the local venue until it is killed, and tells what it believes.

``python -m tests.support.trading_child FOLDER URL CREDENTIALS START ORIGIN SPEED SEED``

It reads commands from its standard input: ``go`` begins to trade at random, ``dump`` prints what
every kept cycle holds as a line of JSON, ``stop`` ends it in order once all cycles are settled.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from attrs import define, field

from polyframe.clock import ScaledClock
from polyframe.environment import Environment
from polyframe.errors import ExchangeError, OrderError, StaleCycleError
from polyframe.exchange.polymarket import Credentials, PolymarketExchange, PolymarketHosts
from polyframe.model.market import Outcome
from polyframe.model.order import OrderType, Side
from polyframe.strategy import PERSIST, Strategy
from polyframe.trader import Trader
from polyframe.trading.ledger import Ledger
from polyframe.trading.limits import RiskLimits
from polyframe.trading.reconcile import ReconcileSettings
from polyframe.trading.state import CycleState

SERIES = "btc-updown-15m"


def say(what: dict[str, Any]) -> None:
    """Print at once: a killed process flushes nothing."""
    os.write(1, f"{json.dumps(what)}\n".encode())


class Orders:
    """What the parent wants, in the environment so that all cycles see it."""

    def __init__(self, seed: int) -> None:
        self.go = asyncio.Event()
        self.rng = random.Random(seed)


@define
class Restless(Strategy):
    """Places and cancels at random, and counts in a field that it keeps."""

    placed: int = field(init=False, default=0, metadata=PERSIST)

    async def on_cycle_start(self) -> None:
        say({"event": "cycle", "generation": self.market.generation, "resumed": self.is_resumed})

    async def run(self) -> None:
        wishes = self.env.get(Orders)
        await wishes.go.wait()
        while True:
            try:
                await self._act(wishes.rng)
            except (OrderError, ExchangeError):
                pass
            except StaleCycleError:
                return
            await asyncio.sleep(wishes.rng.uniform(0.0, 0.03))

    async def _act(self, rng: random.Random) -> None:
        what, outcome = rng.random(), rng.choice(tuple(Outcome))
        price = self.trading.price(outcome)
        tick = self.session.tick_size(outcome)
        if what < 0.3 and (open_orders := self.trading.open_orders()):
            await self.trading.cancel(rng.choice(open_orders))
        elif what < 0.5 and self.trading.sellable(outcome) >= 5 and price.bid:
            await self.trading.sell(
                outcome, price=price.bid, size=Decimal(5), order_type=OrderType.FAK
            )
        elif what < 0.7 and price.ask and price.ask < Decimal("0.9"):
            await self._buy(outcome, price.ask, OrderType.FAK)
        elif price.bid and price.bid > 5 * tick:
            # Some rest where no book comes, so that they are there still after however slow a start.
            is_deep = rng.random() < 0.2
            limit = tick if is_deep else price.bid - tick * rng.randint(0, 4)
            await self._buy(outcome, limit, OrderType.GTC)

    async def _buy(self, outcome: Outcome, price: Decimal, kind: OrderType) -> None:
        self.placed += 1
        await self.trading.buy(outcome, price=price, size=Decimal(5), order_type=kind)


def describe(state: CycleState) -> dict[str, Any]:
    """Return what a cycle holds, as plain values."""
    return {
        "slug": state.market.slug,
        "condition_id": state.market.condition_id,
        "open": {
            order.venue_id: str(order.filled) for order in state.open_orders() if order.is_open
        },
        "foreign": [order.venue_id for order in state.orders.values() if order.is_external],
        "doubtful": [
            order.venue_id
            for order in state.open_orders()
            if order.status.value in {"submitting", "unknown", "cancelling"}
        ],
        "fills": sorted(
            [fill.trade_id, state.orders[fill.client_id].venue_id, str(fill.size), str(fill.price)]
            for fill in state.fills.values()
            if fill.status.value != "FAILED"
        ),
        "shares": {
            state.market.token(outcome): str(
                sum(
                    (
                        fill.size if fill.side is Side.BUY else -fill.size
                        for fill in state.fills.values()
                        if fill.outcome is outcome and fill.status.value != "FAILED"
                    ),
                    Decimal(0),
                )
            )
            for outcome in Outcome
        },
        "held": {
            state.market.token(outcome): str(state.position(outcome).size) for outcome in Outcome
        },
        "winner": state.winner,
    }


async def main() -> None:
    """Trade until killed or told to stop."""
    folder, url, credentials, start, origin, speed, seed = sys.argv[1:]
    clock = ScaledClock(
        float(speed), float(start) + (time.monotonic() - float(origin)) * float(speed)
    )
    exchange = PolymarketExchange(
        PolymarketHosts.local(url), Credentials(*json.loads(credentials)), redeems=True
    )
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()
    loop.add_reader(0, lambda: lines.put_nowait(sys.stdin.readline().strip()))
    async with Environment(
        exchange,
        clock=clock,
        ledger=Ledger(Path(folder) / "ledger.sqlite"),
        snapshots=Path(folder) / "snapshots",
        # A killed request reaches a venue on this machine at once, or not at all.
        reconcile=ReconcileSettings(open_interval=0.5, soon=(0.2, 0.4, 0.6), grace=0.3),
        # At this speed a book is soon old, and the other limits are not what is tested.
        risk=RiskLimits(max_book_age=None, max_cycle_notional=None, max_run_notional=None),
    ) as env:
        orders = Orders(int(seed))
        env.provide(orders)
        trader = Trader(env)
        trader.add(Restless(), on=SERIES)
        trading = asyncio.create_task(trader.run())
        say({"event": "open"})
        while (line := await lines.get()) != "stop":
            if line == "go":
                orders.go.set()
            elif line == "dump":
                states = [describe(state) for state in env.settlement.own.states()]
                say({"event": "dump", "cash": str(env.account.cash), "cycles": states})
        trading.cancel()
        await asyncio.gather(trading, return_exceptions=True)
        await env.settlement.wait_settled()
        say({"event": "settled", "cash": str(env.account.cash)})


if __name__ == "__main__":
    asyncio.run(main())
