"""State that survives a restart: the program ends within a cycle, and the next one goes on with it.

The environment keeps a snapshot in a folder. What comes back is what the venue knows (orders, fills,
positions), and the fields that are marked with `PERSIST`. Other cycles get none of it.

Run it with ``python examples/restart.py``. It prints what each of two programs finds at its start, which
are played one after the other on one venue and one folder.
"""

import asyncio
import tempfile
from decimal import Decimal

from attrs import define, field

from polyframe import (
    PERSIST,
    Environment,
    Outcome,
    PolymarketExchange,
    ScaledClock,
    Strategy,
    Trader,
)
from polyframe.venue import LocalVenue, SyntheticSource

SERIES = "btc-updown-15m"


@define
class Bidder(Strategy):
    """Bids once in a cycle, however often the program is started in it."""

    bids: int = field(init=False, default=0, metadata=PERSIST)

    async def on_cycle_start(self) -> None:
        """Look at what is there, and bid if this cycle has no bid yet."""
        orders = len(self.trading.open_orders())
        print(f"goes on: {self.is_resumed}, bids so far: {self.bids}, open orders: {orders}")
        if not self.bids:
            self.bids += 1
            await self.trading.buy(Outcome.UP, price=Decimal("0.02"), size=Decimal(60))
        self.env.get(asyncio.Event).set()


async def program(venue: LocalVenue, clock: ScaledClock, folder: str) -> None:
    """Trade until the strategy has begun its cycle, then end: by Ctrl-C, say, or by an update."""
    exchange = PolymarketExchange.local(venue.url, venue.account)
    async with Environment(exchange, clock=clock, snapshots=folder) as env:
        begun = asyncio.Event()
        env.provide(begun)
        trader = Trader(env)
        trader.add(Bidder(), on=SERIES)
        running = asyncio.create_task(trader.run())
        await begun.wait()
        running.cancel()
        await asyncio.wait({running})


async def main() -> None:
    """Start the same program twice within one cycle."""
    clock = ScaledClock(speed=10, start=1_893_456_000)
    with tempfile.TemporaryDirectory() as folder:
        async with LocalVenue(SyntheticSource(SERIES, seed=7), clock=clock) as venue:
            await program(venue, clock, folder)
            await program(venue, clock, folder)


if __name__ == "__main__":
    asyncio.run(main())
