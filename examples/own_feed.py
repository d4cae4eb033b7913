"""A source of data of your own: a feed that outlives cycles, opened and closed with the environment.

Here it makes up a price every second; a real one would listen to an exchange in `_listen`. Strategies ask
the environment for it by its class. They get the latest value, and know how old it is.

Run it with ``python examples/own_feed.py``. It prints one line for each cycle, and that the feed was
opened once and closed once.
"""

import asyncio
import random
from decimal import Decimal

from attrs import define, field

from polyframe import (
    Clock,
    Counters,
    CycleEndReason,
    Environment,
    PolymarketExchange,
    ScaledClock,
    SharedService,
    Strategy,
    Trader,
)
from polyframe.venue import LocalVenue, SyntheticSource

SERIES = "btc-updown-5m"
STALE = 10.0
"""Seconds of market time after which a price is too old to act on."""


class SpotFeed(SharedService):
    """The latest price of the asset, and when it was heard."""

    def __init__(self) -> None:
        self.price: Decimal | None = None
        self.heard = 0.0
        self._task: asyncio.Task[None] | None = None

    async def open(self, clock: Clock, counters: Counters) -> None:
        """Begin to listen. An error here would keep the environment from opening."""
        print("the feed opens")
        self._task = asyncio.create_task(self._listen(clock), name="spot feed")

    async def close(self) -> None:
        """End, in bounded time."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        print("the feed is closed")

    async def _listen(self, clock: Clock) -> None:
        chance = random.Random(7)  # noqa: S311 - a made-up price is no secret
        price = 65_000
        while True:
            price += chance.randint(-20, 20)
            self.price, self.heard = Decimal(price), clock.time()
            await clock.sleep(1)


@define
class Watcher(Strategy):
    """Compares the price of the feed with that of the market's start; yours would trade on it."""

    first: Decimal | None = field(init=False, default=None)
    largest: Decimal = field(init=False, default=Decimal(0))

    async def run(self) -> None:
        """Look once in ten seconds, as long as the cycle lives."""
        feed = self.env.get(SpotFeed)
        while True:
            if feed.price is not None and self.clock.time() - feed.heard < STALE:
                self.first = self.first or feed.price
                self.largest = max(self.largest, abs(feed.price - self.first))
            await self.clock.sleep(10)

    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        """Say how far it went."""
        print(f"{self.market.slug}: began at {self.first}, went as far as {self.largest} USD away")


async def main() -> None:
    """Let two cycles pass."""
    clock = ScaledClock(speed=100, start=1_893_456_000)
    async with LocalVenue(SyntheticSource(SERIES, seed=7), clock=clock) as venue:
        exchange = PolymarketExchange.local(venue.url, venue.account)
        env = Environment(exchange, clock=clock)
        env.provide(SpotFeed())  # before the environment opens: it opens with it
        async with env:
            trader = Trader(env)
            trader.add(Watcher(), on=SERIES)
            await trader.run(cycles=2)


if __name__ == "__main__":
    asyncio.run(main())
