"""A first strategy, run on a venue of its own: no account, no network, no real money.

Run it with ``python examples/first_strategy.py``. It prints what it bids, and what the cycles earned.
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
from polyframe.venue import LocalVenue, SyntheticSource

SERIES = "btc-updown-5m"


@define
class CheapSide(Strategy):
    """Buys the first outcome that is offered cheaply, and holds it to the end of the cycle."""

    # Settings: every cycle starts with a copy of them.
    floor: Decimal = Decimal("0.20")
    limit: Decimal = Decimal("0.40")
    size: Decimal = Decimal(10)
    # State: dies with the cycle, so there is nothing to reset.
    has_bought: bool = field(init=False, default=False)

    async def on_price(self, event: PriceChanged) -> None:
        """Act on the latest best prices of one outcome."""
        if self.has_bought or event.ask is None or not self.floor <= event.ask <= self.limit:
            return
        self.has_bought = True
        try:
            order = await self.trading.buy(event.outcome, price=event.ask, size=self.size)
        except OrderError as error:  # it says which rule, and which numbers
            print(f"{self.market.slug}: {error}")
        else:
            print(f"{self.market.slug}: bid {order.price} for {order.size} {order.outcome}")


async def main() -> None:
    """Trade two cycles, a hundred seconds of market time a second, and print what they earned."""
    clock = ScaledClock(speed=100, start=1_893_456_000)
    async with LocalVenue(SyntheticSource(SERIES, seed=7), clock=clock) as venue:
        exchange = PolymarketExchange.local(venue.url, venue.account)
        async with Environment(exchange, clock=clock) as env:
            trader = Trader(env)
            trader.add(CheapSide(limit=Decimal("0.45")), on=SERIES)
            await trader.run(cycles=2)
            await env.settlement.wait_settled()
            for record in env.ledger:
                print(f"{record.slug}: {record.winner} won, profit {record.profit:+.2f} USD")
            print(f"all cycles: {env.ledger.profit:+.2f} USD")


if __name__ == "__main__":
    asyncio.run(main())
