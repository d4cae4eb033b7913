"""Cancel what an earlier run left, before anything of it fills into your cycle.

One call in ``on_cycle_start`` asks the venue for all open orders of the account, and cancels those that
this program has not placed, whoever did.

Run it with ``python examples/clean_start.py``. An "earlier run" leaves two orders. It prints what the
next one found and cancelled, and what was left then.
"""

import asyncio
from decimal import Decimal

from attrs import define

from polyframe import (
    Counters,
    Environment,
    OrderRequest,
    Outcome,
    PolymarketExchange,
    ScaledClock,
    Series,
    Side,
    Strategy,
    Trader,
)
from polyframe.venue import LocalVenue, SyntheticSource

SERIES = Series.parse("btc-updown-15m")
START = 1_893_456_000


@define
class Careful(Strategy):
    """Begins each cycle with an account that has no other orders."""

    async def on_cycle_start(self) -> None:
        """Spare our own orders: those of other strategies of this program are ours, too."""
        found = await self.trading.cancel_exchange_open_orders(only_untracked=True)
        print(f"{self.market.slug}: found {found.total} orders, cancelled {found.cancelled}")
        again = await self.trading.cancel_exchange_open_orders(only_untracked=True)
        print(f"left: {again.total}")
        self.env.get(asyncio.Event).set()


async def leave_orders(venue: LocalVenue, clock: ScaledClock) -> None:
    """Be the earlier run: bid low for both outcomes, and go away."""
    exchange = PolymarketExchange.local(venue.url, venue.account)
    await exchange.open(clock, Counters())
    market = await exchange.fetch_market(SERIES, SERIES.window_at(START))
    assert market is not None
    for outcome in Outcome:
        request = OrderRequest(outcome, Side.BUY, Decimal("0.02"), Decimal(60))
        await exchange.place_order(exchange.prepare_order(market, request))
    await exchange.close()


async def main() -> None:
    """Begin with the orders of somebody who has gone."""
    clock = ScaledClock(speed=10, start=START)
    async with LocalVenue(SyntheticSource(SERIES, seed=7), clock=clock) as venue:
        await leave_orders(venue, clock)
        exchange = PolymarketExchange.local(venue.url, venue.account)
        async with Environment(exchange, clock=clock) as env:
            begun = asyncio.Event()
            env.provide(begun)
            trader = Trader(env)
            trader.add(Careful(), on=SERIES)
            running = asyncio.create_task(trader.run())
            await begun.wait()
            running.cancel()
            await asyncio.wait({running})


if __name__ == "__main__":
    asyncio.run(main())
