"""Record what markets do, then run a strategy on the recording.

The recorder has connections of its own and writes one Parquet file for each market. The same files can
be read by any tool, and a back-test takes them as they are. It needs the extra "data".

Run it with ``python examples/record_and_replay.py``. It prints what was recorded, and what a strategy
would have done there.
"""

import asyncio
import tempfile
from decimal import Decimal

from attrs import define, field

from polyframe import (
    Environment,
    OrderError,
    ParquetRecording,
    PolymarketExchange,
    PolymarketHosts,
    PriceChanged,
    Recorder,
    ScaledClock,
    Strategy,
    Trader,
)
from polyframe.backtest import backtest
from polyframe.venue import LocalVenue, SyntheticSource

SERIES = "btc-updown-5m"


@define
class Idle(Strategy):
    """Does nothing: recording needs no strategy, this program only has to know when to end."""


@define
class CheapSide(Strategy):
    """Buys the first outcome that is offered cheaply, and holds it."""

    limit: Decimal = Decimal("0.45")
    has_bought: bool = field(init=False, default=False)

    async def on_price(self, event: PriceChanged) -> None:
        """Act on the latest best prices of one outcome."""
        if self.has_bought or event.ask is None or not Decimal("0.2") <= event.ask <= self.limit:
            return
        self.has_bought = True
        try:
            await self.trading.buy(event.outcome, price=event.ask, size=Decimal(10))
        except OrderError as error:
            self.log.info("not bought: %s", error)


async def record(folder: str) -> None:
    """Record two markets. With the real venue: PolymarketExchange(), and no clock."""
    # It stands still until everything is open: the first market is recorded from its beginning.
    clock = ScaledClock(speed=100, start=1_893_456_000, held=True)
    async with LocalVenue(SyntheticSource(SERIES, seed=7), clock=clock) as venue:
        exchange = PolymarketExchange(PolymarketHosts.local(venue.url))  # without an account
        env = Environment(exchange, clock=clock)
        env.provide(Recorder(exchange, [SERIES], folder))
        async with env:
            trader = Trader(env)
            trader.add(Idle(), on=SERIES)
            clock.release()
            await trader.run(cycles=2)
            # A market's file is written when it is over, and its winner goes in once it is known.
            while not is_complete(ParquetRecording(folder)):
                await clock.sleep(10)


def is_complete(recording: ParquetRecording) -> bool:
    """Return whether both markets are there, with their winners."""
    tapes = recording.markets()
    return len(tapes) == 2 and all(tape.winner is not None for tape in tapes)


async def main() -> None:
    """Record, and replay."""
    with tempfile.TemporaryDirectory() as folder:
        await record(folder)
        recording = ParquetRecording(folder)
        for tape in recording.markets():
            rows = sum(1 for _ in recording.events(tape))
            print(f"recorded {tape.market.slug}: {rows} rows, {tape.winner} won")
        report = await backtest(CheapSide(), data=recording)
        print(f"replayed {len(report.cycles)} cycles, {report.total.trades} trades")
        print("profit:", report.profit)


if __name__ == "__main__":
    asyncio.run(main())
