"""The end of a program: what is on its way is waited for, within the deadline."""

from __future__ import annotations

import asyncio
import logging
from decimal import Decimal

import pytest
from attrs import define
from typing_extensions import override

from polyframe.exchange.base import PlaceAnswer, PreparedOrder
from polyframe.model.market import Outcome
from polyframe.model.order import OrderStatus
from polyframe.strategy import Strategy
from polyframe.trader import TraderSettings
from tests.support.fake import START, FakeExchange, make_market
from tests.support.stage import Stage, play

FIRST = make_market(start=START)


@define
class Buys(Strategy):
    """Places one order at the start."""

    async def on_cycle_start(self) -> None:
        await self.trading.buy(Outcome.UP, price=Decimal("0.4"), size=Decimal(10))


class Pensive(FakeExchange):
    """Takes so many seconds to answer an order."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    @override
    async def place_order(self, prepared: PreparedOrder) -> PlaceAnswer:
        answer = await super().place_order(prepared)
        await asyncio.sleep(self.seconds)
        return answer


def test_the_end_waits_for_an_answer_that_is_on_its_way(caplog: pytest.LogCaptureFixture) -> None:
    """An order that is under way at the end is answered, and cancelled, before the sockets close."""
    exchange = Pensive(seconds=3)

    async def act(stage: Stage) -> None:
        run = asyncio.create_task(stage.trader.run())
        await stage.env.clock.sleep(1)
        assert [] == exchange.cancelled
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert ["0xorder1"] == exchange.cancelled
        dead = stage.env.settlement.state(FIRST.slug)
        assert dead is not None
        assert [OrderStatus.CANCELLED] == [order.status for order in dead.orders.values()]
        assert START + 3 <= stage.env.clock.time() < START + 4

    with caplog.at_level(logging.ERROR):
        play(act, Buys(), exchange=exchange, settings=TraderSettings(shutdown_timeout=10))
    assert "" == caplog.text


def test_the_end_does_not_wait_longer_than_its_deadline(caplog: pytest.LogCaptureFixture) -> None:
    """An answer that would come later is given up by name, and the program ends in time."""

    async def act(stage: Stage) -> None:
        run = asyncio.create_task(stage.trader.run())
        await stage.env.clock.sleep(1)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert stage.env.clock.time() < START + 4
        # The environment is still open: what was given up is looked for, and cancelled.
        assert not stage.env.settlement.own.any_under_way
        await stage.env.clock.sleep(10)
        assert ["0xorder1"] == stage.exchange.cancelled
        assert 0 == stage.env.account.reserved

    with caplog.at_level(logging.ERROR):
        play(act, Buys(), exchange=Pensive(60), settings=TraderSettings(shutdown_timeout=2))
    assert f"place {FIRST.slug}-1; orders still open: {FIRST.slug}-1" in caplog.text
