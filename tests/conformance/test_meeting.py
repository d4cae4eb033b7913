"""polyframe's client and an official one meet in the book of the local venue."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from polyframe.clock import WallClock
from polyframe.counters import Counters
from polyframe.exchange.polymarket import PolymarketExchange
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, Side
from tests.conformance.harness import drive, interpreter, open_scene


def test_two_clients_mint_shares_together() -> None:
    """One buys Down, the other Up, for 1 USD together: both are told of the same trade, each its part."""
    interpreter("py-clob-client-v2")  # else it is skipped before anything is open

    async def main() -> None:
        async with open_scene() as scene:
            account = scene.venue.add_account()
            exchange = PolymarketExchange.local(scene.venue.url, account)
            await exchange.open(WallClock(), Counters())
            facts = scene.market.market
            market = await exchange.fetch_market(facts.series, facts.window)
            assert market is not None
            request = OrderRequest(Outcome.DOWN, Side.BUY, Decimal("0.49"), Decimal(10))
            prepared = exchange.prepare_order(market, request)
            await exchange.place_order(prepared)
            script = "py_clob_client_v2_meet.py"
            theirs = await drive("py-clob-client-v2", script, scene.task())
            (ours,) = await exchange.fetch_trades(market)
            order = await exchange.fetch_order(prepared.venue_id)
            await exchange.close()

            assert theirs["answer"]["status"] == "matched"
            (row,) = theirs["trades"]
            assert (row["trader_side"], row["side"], row["price"]) == ("TAKER", "BUY", "0.51")
            (maker,) = row["maker_orders"]
            assert (maker["side"], maker["price"], maker["outcome"]) == ("BUY", "0.49", "Down")
            assert maker["order_id"] == prepared.venue_id
            assert maker["maker_address"] == account.address
            assert account.api_key not in str(theirs)

            assert ours.trade_id == row["id"]
            (leg,) = ours.legs
            assert (leg.order_id, leg.token) == (prepared.venue_id, market.down_token)
            assert (leg.side, leg.is_taker) == (Side.BUY, False)
            assert leg.size == 10
            assert leg.price == Decimal("0.49")
            assert order is not None
            assert order.status == "MATCHED"
            other = scene.venue.accounts[-1]
            assert account.shares == {market.down_token: Decimal(10)}
            assert other.shares == {market.up_token: Decimal(10)}
            assert account.cash == Decimal(1000) - Decimal("4.9")

    asyncio.run(main())
