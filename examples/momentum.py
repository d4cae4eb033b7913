"""A momentum strategy of your own, in twenty lines: strategy and program.

It shows reference prices in a strategy, and a building block: `Velocity` tells how far the price of the
asset moved over the last half minute. If it moved far enough, the strategy buys that side, once a cycle.
That is no edge, it is the shape of a program; `polyframe.strategies.Momentum` shows what is missing.

Run it with ``python examples/momentum.py``. It prints what each cycle did and earned.
"""

import asyncio
from decimal import Decimal

from attrs import define, field

from polyframe import (
    Environment,
    Outcome,
    PolymarketExchange,
    ReferencePrices,
    ScaledClock,
    Strategy,
    Trader,
)
from polyframe.strategies.blocks.velocity import Velocity
from polyframe.venue import LocalVenue, SyntheticSource

SERIES = "btc-updown-5m"


@define
class Momentum(Strategy):
    """Buys what the price moved towards by `threshold` basis points in half a minute."""

    threshold: Decimal = Decimal(3)
    velocity: Velocity = field(init=False, factory=lambda: Velocity(window=30, max_gap=20))

    async def run(self) -> None:
        """Follow the reference price until the window ends, or something was bought."""
        async for price in self.env.get(ReferencePrices).updates(self.market):
            move = self.velocity.add(price.value, price.instant_ms) or Decimal(0)
            outcome = Outcome.UP if move > 0 else Outcome.DOWN
            ask = self.session.price(outcome).ask
            if abs(move) >= self.threshold and ask and Decimal("0.2") <= ask <= Decimal("0.8"):
                await self.trading.buy(outcome, price=ask, size=Decimal(10))
                return


async def main() -> None:
    """Trade two cycles a good deal faster than they are, and print what they earned."""
    clock = ScaledClock(speed=100, start=1_893_456_000)
    async with LocalVenue(SyntheticSource(SERIES, seed=7), clock=clock) as venue:
        exchange = PolymarketExchange.local(venue.url, venue.account)
        env = Environment(exchange, clock=clock)
        env.provide(ReferencePrices(exchange, SERIES))
        async with env:
            trader = Trader(env)
            trader.add(Momentum(), on=SERIES)
            await trader.run(cycles=2)
            await env.settlement.wait_settled()
            for record in env.ledger:
                print(f"{record.slug}: {record.fills} fills, profit {record.profit:+.2f} USD")


if __name__ == "__main__":
    asyncio.run(main())
