"""Risk limits, the breaker and intents: what is refused, what always passes, and who is told."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from polyframe.errors import OrderDenied, OrderRejected, StaleCycleError
from polyframe.exchange.base import PlaceAnswer
from polyframe.model.market import Outcome
from polyframe.model.order import OrderType, PlaceResult
from polyframe.trading.handle import StrategyTrading
from tests.support.fake import START, FakeExchange, make_market
from tests.support.stage import Stage, play, settle

FIRST, SECOND = make_market(start=START), make_market(start=START + 900)
TEN = Decimal(10)
UP = Outcome.UP


async def handle(stage: Stage) -> StrategyTrading:
    """Open a cycle and return a strategy's handle in it."""
    await stage.open_cycle()
    return stage.trading.handle("me")


# ------------------------------------------------------------------ why did it not trade


def test_every_refusal_is_counted_in_its_own_cycle() -> None:
    """The record of a cycle tells what was refused in it and why; the next begins with nothing."""
    exchange = FakeExchange()
    exchange.answers = [
        PlaceAnswer(PlaceResult.REJECTED, "not_enough_balance", "no money"),
        PlaceAnswer(PlaceResult.REJECTED, "fak_not_filled", "killed"),
    ]

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        for price in ("0.405", "0.405", "0.001"):
            with pytest.raises(OrderDenied):
                await trading.buy(UP, price=Decimal(price), size=TEN)
        with pytest.raises(OrderRejected):
            await trading.buy(UP, price=Decimal("0.40"), size=TEN)
        await trading.buy(UP, price=Decimal("0.40"), size=TEN, order_type=OrderType.FAK)
        expected = {"tick": 2, "price": 1, "venue:not_enough_balance": 1}
        record = stage.trading.record()
        assert record is not None
        assert expected == record.refusals
        await stage.open_cycle(START + 900)
        record = stage.trading.record()
        assert record is not None
        assert {} == record.refusals
        dead = stage.env.ledger.get(FIRST.slug)
        assert dead is not None
        assert expected == dead.refusals
        with pytest.raises(OrderDenied):
            await stage.trading.cancel(FIRST, "nothing")
        state = stage.env.settlement.state(FIRST.slug)
        assert state is not None
        assert expected | {"unknown_order": 1} == state.refusals
        assert record.refusals == {}

    play(act, exchange=exchange)


def test_a_late_refusal_is_counted_in_the_cycle_that_asked() -> None:
    """A rejection that comes after the switch belongs to the dead cycle's refusals."""
    exchange = FakeExchange()
    exchange.answers = [PlaceAnswer(PlaceResult.REJECTED, "market_not_ready", "closed")]

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        exchange.hold_place = asyncio.get_running_loop().create_future()
        placing = asyncio.create_task(trading.buy(UP, price=Decimal("0.40"), size=TEN))
        await settle()
        await stage.open_cycle(START + 900)
        exchange.hold_place.set_result(None)
        with pytest.raises(StaleCycleError):
            await placing
        state = stage.env.settlement.state(FIRST.slug)
        assert state is not None
        assert {"venue:market_not_ready": 1} == state.refusals
        record = stage.trading.record()
        assert record is not None
        assert {} == record.refusals

    play(act, exchange=exchange)
