"""Several strategies on one series: they share the market and the cash, and nothing else.

Each trades under its name: it is told of its own orders only, and the ledger knows whose each fill is.
The same class may be mounted twice with other settings, if it gets another name.

Run it with ``python examples/several_strategies.py``. It prints the fills of each strategy by cycle, and
the profit of all together.
"""

import asyncio
import tempfile
from collections import Counter
from decimal import Decimal
from pathlib import Path

from attrs import define, field

from polyframe import (
    CycleEndReason,
    Environment,
    Ledger,
    OrderChanged,
    OrderError,
    Outcome,
    PolymarketExchange,
    PriceChanged,
    ScaledClock,
    Strategy,
    Trader,
)
from polyframe.venue import LocalVenue, SyntheticSource

SERIES = "btc-updown-5m"


@define
class BuyBelow(Strategy):
    """Takes ten shares of one outcome when they are offered at `limit` or less."""

    outcome: Outcome = Outcome.UP
    limit: Decimal = Decimal("0.75")
    has_bought: bool = field(init=False, default=False)

    async def on_price(self, event: PriceChanged) -> None:
        """Look at one outcome only; the other one's prices come here as well."""
        if self.has_bought or event.outcome is not self.outcome or event.ask is None:
            return
        if Decimal("0.20") <= event.ask <= self.limit:
            self.has_bought = True
            try:
                await self.trading.buy(self.outcome, price=event.ask, size=Decimal(10))
            except OrderError as error:
                self.log.info("not bought: %s", error)


@define
class Onlooker(Strategy):
    """Never trades, and says what it was told about the trading of the others: nothing."""

    told: int = field(init=False, default=0)

    async def on_order(self, event: OrderChanged) -> None:
        """An order of one's own would come here, or one that nobody in this program placed."""
        self.told += 1

    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        """Orders of the others are not here, either."""
        orders = self.trading.orders()
        print(
            f"{self.market.slug}: the onlooker was told of {self.told}, sees {len(orders)} orders"
        )


async def main() -> None:
    """Trade two cycles with three strategies, and read from the ledger who did what."""
    clock = ScaledClock(speed=100, start=1_893_456_000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        async with LocalVenue(SyntheticSource(SERIES, seed=7), clock=clock) as venue:
            exchange = PolymarketExchange.local(venue.url, venue.account)
            async with Environment(exchange, clock=clock, ledger=Ledger(path)) as env:
                trader = Trader(env)
                trader.add(BuyBelow(), on=SERIES, name="up")
                trader.add(BuyBelow(Outcome.DOWN, Decimal("0.55")), on=SERIES, name="down")
                trader.add(Onlooker(), on=SERIES)
                await trader.run(cycles=2)
                await env.settlement.wait_settled()
                profit = env.ledger.profit
        with Ledger.open(path) as ledger:
            for cycle in ledger.cycles():
                fills = Counter(fill.strategy for fill in ledger.fills(cycle.record.slug))
                print(f"{cycle.record.slug}: fills of up {fills['up']}, of down {fills['down']}")
    print(f"all together: {profit:+.2f} USD")


if __name__ == "__main__":
    asyncio.run(main())
