"""Trading inside a program of your own: the trader is one task among others.

polyframe installs no signal handlers, starts no threads of its own for trading and keeps no global state.
Cancelling the task of ``trader.run()`` ends it in order: strategies get their ``on_cycle_end``, with
working cancels, and then the environment closes.

Run it with ``python examples/embedding.py``. It prints what it answers on a port of this machine while it
trades, asked a few times by itself, and ends in the middle of a cycle.
"""

import asyncio
import json
from decimal import Decimal
from typing import Any

from attrs import define, field

from polyframe import (
    CycleEndReason,
    Environment,
    Outcome,
    PolymarketExchange,
    PriceChanged,
    ScaledClock,
    Strategy,
    Trader,
)
from polyframe.venue import LocalVenue, SyntheticSource

SERIES = "btc-updown-15m"


@define
class Bidder(Strategy):
    """Rests below the market, and goes away when it is told to."""

    has_bid: bool = field(init=False, default=False)

    async def on_price(self, event: PriceChanged) -> None:
        """Bid once, far below."""
        if self.has_bid or event.outcome is Outcome.DOWN or event.bid is None:
            return
        self.has_bid = True
        await self.trading.buy(Outcome.UP, price=Decimal("0.02"), size=Decimal(60))

    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        """Leave nothing behind."""
        cancelled = await self.trading.cancel_all()
        print(f"{self.market.slug} ends ({reason}): {len(cancelled)} orders cancelled")


def status(env: Environment, trader: Trader) -> dict[str, Any]:
    """Return what a dashboard may want to know; reading it asks nobody."""
    session = trader.session(SERIES)
    orders = trader.trading(SERIES).snapshot().orders
    return {
        "market": None if session is None else session.slug,
        "cash": str(env.account.cash),
        "open orders": sum(order.is_open for order in orders),
        "risk": env.risk.state.value,
    }


async def main() -> None:
    """Trade and serve, side by side, and end when the questions are over."""
    clock = ScaledClock(speed=100, start=1_893_456_000)
    async with LocalVenue(SyntheticSource(SERIES, seed=7), clock=clock) as venue:
        exchange = PolymarketExchange.local(venue.url, venue.account)
        async with Environment(exchange, clock=clock) as env:
            trader = Trader(env)
            trader.add(Bidder(), on=SERIES)

            async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.write(json.dumps(status(env, trader)).encode())
                writer.close()

            trading = asyncio.create_task(trader.run(), name="trading")
            async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
                port = server.sockets[0].getsockname()[1]
                for _ in range(3):
                    await clock.sleep(60)
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    print((await reader.read()).decode())
                    writer.close()
            trading.cancel()
            await asyncio.wait({trading})


if __name__ == "__main__":
    asyncio.run(main())
