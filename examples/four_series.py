"""Four series at once: one strategy, one account, four markets that change at the same instant.

A strategy object belongs to one cycle of one series. Nothing in it has to know that there are others.

Run it with ``python examples/four_series.py``. It prints the result of every cycle, and the cash.
"""

import asyncio
from decimal import Decimal

from attrs import define, field

from polyframe import (
    Environment,
    OrderError,
    PolymarketExchange,
    PriceChanged,
    ScaledClock,
    Strategy,
    Trader,
)
from polyframe.venue import LocalVenue, SeveralSources, SyntheticSource

SERIES = ["btc-updown-5m", "eth-updown-5m", "sol-updown-5m", "xrp-updown-5m"]


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


async def main() -> None:
    """Trade one cycle of each series, and print what became of them."""
    clock = ScaledClock(speed=75, start=1_893_456_000)
    source = SeveralSources([SyntheticSource(series, seed=7) for series in SERIES])
    async with LocalVenue(source, clock=clock) as venue:
        exchange = PolymarketExchange.local(venue.url, venue.account)
        async with Environment(exchange, clock=clock) as env:
            trader = Trader(env)
            trader.add(CheapSide(), on=SERIES)
            await trader.run(cycles=1)
            await env.settlement.wait_settled()
            for record in sorted(env.ledger, key=lambda record: record.slug):
                print(f"{record.slug}: {record.fills} fills, profit {record.profit:+.2f} USD")
            print(f"cash: {env.account.cash:.2f} USD")


if __name__ == "__main__":
    asyncio.run(main())
