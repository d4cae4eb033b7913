"""Limits for what a strategy may do, and stopping it from outside while it runs.

The limits hold for every order of every strategy. ``env.risk.pause`` and ``halt`` work at any time, from
a signal handler, a web page, a task that watches something; they last until ``resume``.

Run it with ``python examples/limits_and_halt.py``. It prints what an eager strategy could buy, and which
rules refused the rest of its orders.
"""

import asyncio
from decimal import Decimal

from attrs import define

from polyframe import (
    Count,
    Environment,
    OrderError,
    PolymarketExchange,
    PriceChanged,
    RiskLimits,
    ScaledClock,
    Strategy,
    Trader,
)
from polyframe.venue import LocalVenue, SyntheticSource

SERIES = "btc-updown-5m"
START = 1_893_456_000

LIMITS = RiskLimits(
    max_order_notional=Decimal(9),  # USD of one order
    max_cycle_notional=Decimal(12),  # USD that one cycle may spend
    max_run_loss=Decimal(50),  # USD; then no entries any more
    entry_before_end=30.0,  # no entries in the last 30 seconds
)


@define
class Eager(Strategy):
    """Buys on every price, and is stopped."""

    async def on_price(self, event: PriceChanged) -> None:
        """A refusal is an error with a rule and a sentence; here it is not worth more."""
        if event.ask is not None and Decimal("0.1") <= event.ask <= Decimal("0.9"):
            try:
                await self.trading.buy(event.outcome, price=event.ask, size=Decimal(10))
            except OrderError as error:
                self.log.debug("not bought: %s", error)


async def watch(env: Environment, clock: ScaledClock) -> None:
    """Halt everything once a limit was met. Cancels still pass, and nothing else."""
    while not env.counters.reasons(Count.ORDERS_DENIED):
        await clock.sleep(5)
    env.risk.halt("enough for today")
    print("halted:", env.risk.state.value)


async def main() -> None:
    """Trade one cycle, and stop it on the way."""
    clock = ScaledClock(speed=60, start=START)
    async with LocalVenue(SyntheticSource(SERIES, seed=7), clock=clock) as venue:
        exchange = PolymarketExchange.local(venue.url, venue.account)
        async with Environment(exchange, clock=clock, risk=LIMITS) as env:
            trader = Trader(env)
            trader.add(Eager(), on=SERIES)
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(watch(env, clock))
                await trader.run(cycles=1)
                watching.cancel()
            for record in env.ledger:
                rules = ", ".join(sorted(record.refusals))
                print(f"{record.slug}: bought for {record.volume:.2f} USD; refused by: {rules}")


if __name__ == "__main__":
    asyncio.run(main())
