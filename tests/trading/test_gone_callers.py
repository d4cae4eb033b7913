"""Callers that are cancelled while the venue is asked: what they asked for goes on without them."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from polyframe.model.market import Outcome
from polyframe.model.order import OrderStatus
from tests.support.fake import START, FakeExchange, make_market
from tests.support.stage import Stage, play, settle

FIRST = make_market(start=START)


@pytest.mark.parametrize("is_over", [False, True])
def test_a_cancel_whose_caller_is_gone_is_applied(is_over: bool) -> None:
    """The answer to a cancel ends the order, also that of a cycle which is over."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        trading = stage.trading.handle("me")
        order = await trading.buy(Outcome.UP, price=Decimal("0.40"), size=Decimal(10))
        if is_over:
            await stage.open_cycle(START + 900)
        exchange.hold_cancel = asyncio.get_running_loop().create_future()
        caller = asyncio.create_task(trading.cancel(order))
        await settle()
        state = stage.trading.state(FIRST)
        assert state is not None
        assert OrderStatus.CANCELLING is state.orders[order.client_id].status
        caller.cancel()
        await asyncio.wait({caller})
        exchange.hold_cancel.set_result(None)
        await stage.trading.wait_idle()
        assert OrderStatus.CANCELLED is state.orders[order.client_id].status
        assert 0 == stage.env.account.reserved

    play(act, exchange=exchange)
