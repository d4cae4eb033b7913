"""The whole of it: strategies that trade on paper, with the market data of a venue on real sockets."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest
from attrs import define, field

from polyframe.clock import ScaledClock
from polyframe.counters import Count
from polyframe.environment import Environment
from polyframe.exchange.polymarket import PolymarketExchange, PolymarketHosts
from polyframe.model.events import PriceChanged
from polyframe.model.market import Outcome
from polyframe.paper.exchange import PaperExchange
from polyframe.strategy import Strategy
from polyframe.trader import Trader

pytest.importorskip("starlette", reason="the local venue needs the extra 'venue'")
pytest.importorskip("uvicorn", reason="the local venue needs the extra 'venue'")

from polyframe.venue import LocalVenue, SyntheticSource

SERIES = "btc-updown-5m"


@define
class BothWays(Strategy):
    """Takes ten Up once, and bids for Up below the market all the time."""

    has_begun: bool = field(init=False, default=False)

    async def on_price(self, event: PriceChanged) -> None:
        if self.has_begun or event.ask is None or event.bid is None:
            return
        if event.outcome is not Outcome.UP or not Decimal("0.1") < event.ask < Decimal("0.9"):
            return
        self.has_begun = True
        await self.trading.buy(Outcome.UP, price=event.ask, size=Decimal(10))
        await self.trading.buy(Outcome.UP, price=event.bid, size=Decimal(20))


def test_a_trader_trades_on_paper_as_on_any_venue(tmp_path: Path) -> None:
    """Fills, settlement and the ledger are as ever, and the account goes on in the next run."""

    async def run(clock: ScaledClock, venue: LocalVenue) -> tuple[Decimal, Decimal]:
        # No credentials: market data only.
        inner = PolymarketExchange(PolymarketHosts.local(venue.url))
        exchange = PaperExchange(inner, cash=500, store=tmp_path / "account")
        async with Environment(exchange, clock=clock) as env:
            start = env.account.cash
            trader = Trader(env)
            trader.add(BothWays(), on=SERIES)
            async with asyncio.timeout(60):
                await trader.run(cycles=2)
                await env.settlement.wait_settled()
            assert sum(record.fills for record in env.ledger) >= 2
            assert env.account.cash == start + env.ledger.profit
            assert env.account.cash == await exchange.fetch_balance()
            assert env.counters.get(Count.BOOK_MISMATCH) == 0
            assert len(env.ledger) == 2
            return start, env.account.cash

    async def main() -> None:
        clock = ScaledClock(speed=200, start=1_893_456_000)
        async with LocalVenue(SyntheticSource(SERIES, seed=7), clock=clock) as venue:
            first = await run(clock, venue)
            second = await run(clock, venue)
            assert first[0] == 500
            assert second[0] == first[1]
            assert venue.stats.orders == 0

    asyncio.run(main())
