"""Several cancels with one request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal

import pytest

from polyframe.errors import ExchangeUnavailable, OrderDenied, StaleCycleError
from polyframe.exchange.base import CancelAnswer
from polyframe.model.market import Market, Outcome
from polyframe.model.order import OrderRequest, OrderStatus, Side
from tests.support.fake import START, FakeExchange, make_market
from tests.support.stage import Stage, play, settle

FIRST = make_market(start=START)
BID = OrderRequest(Outcome.UP, Side.BUY, Decimal("0.10"), Decimal(5))


def test_all_that_rests_goes_with_one_request() -> None:
    """Three bids are one cancel, and come back cancelled, in order."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        trading = stage.trading.handle("me")
        await trading.place_many([BID] * 3)
        done = await trading.cancel_all()
        assert exchange.batches == [["0xorder1", "0xorder2", "0xorder3"]]
        assert done == trading.orders()
        assert {order.status for order in done} == {OrderStatus.CANCELLED}
        assert await trading.cancel_all() == []
        assert len(exchange.batches) == 1

    play(act, exchange=exchange)


def test_an_order_without_an_answer_holds_up_no_cancel() -> None:
    """What rests is cancelled at once; the order that is on its way follows once it is answered."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        trading = stage.trading.handle("me")
        await trading.place_many([BID] * 2)
        exchange.hold_place = asyncio.get_running_loop().create_future()
        placing = asyncio.create_task(trading.place(BID))
        await settle()
        cancelling = asyncio.create_task(trading.cancel_all())
        await settle()
        assert exchange.batches == [["0xorder1", "0xorder2"]]
        exchange.hold_place.set_result(None)
        await placing
        assert [order.status for order in await cancelling] == [OrderStatus.CANCELLED] * 3
        assert exchange.batches[1:] == [["0xorder3"]]

    play(act, exchange=exchange)


class Flaky(FakeExchange):
    """Answers no cancel that has the first order."""

    async def cancel_orders(self, venue_ids: Sequence[str]) -> CancelAnswer:
        """Fail for a batch."""
        if "0xorder1" in venue_ids:
            self.batches.append(list(venue_ids))
            msg = "no answer"
            raise ExchangeUnavailable(msg)
        return await super().cancel_orders(venue_ids)


def test_a_hundred_at_a_time() -> None:
    """The venue's limiter admits a request as a whole: of 101 two leave, and both are tried."""
    exchange = Flaky()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        trading = stage.trading.handle("me")
        for _ in range(7):
            await trading.place_many([BID] * 15)
            await stage.env.clock.sleep(10)
        with pytest.raises(ExchangeUnavailable, match="no answer"):
            await trading.cancel_all()
        assert [len(batch) for batch in exchange.batches] == [100, 5]
        assert len(trading.open_orders()) == 100

    play(act, exchange=exchange)


def test_an_unknown_order_stops_the_whole_call() -> None:
    """A client id that is none is denied before anything is sent."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        order = await stage.trading.handle("me").place(BID)
        with pytest.raises(OrderDenied, match="unknown_order"):
            await stage.trading.cancel_many(FIRST, [order.client_id, "nobody"])
        assert exchange.batches == []

    play(act, exchange=exchange)


def test_orders_of_a_dead_cycle_go_with_one_request_too() -> None:
    """As long as the settlement side has them; a cycle that nobody knows is stale."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        placed = await stage.trading.handle("me").place_many([BID] * 2)
        ids = [one.order.client_id for one in placed if one.order is not None]
        await stage.open_cycle(START + 900)
        done = await stage.trading.cancel_many(FIRST, ids)
        assert [order.status for order in done] == [OrderStatus.CANCELLED] * 2
        assert exchange.batches == [["0xorder1", "0xorder2"]]
        never: Market = make_market(start=START - 900)
        with pytest.raises(StaleCycleError):
            await stage.trading.cancel_many(never, ids)

    play(act, exchange=exchange)
