"""Answers that come in the same moment as the switch."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from attrs import define, field

from polyframe.counters import Count
from polyframe.model.events import CycleEndReason, PriceChanged
from polyframe.model.market import Outcome
from polyframe.strategy import Strategy
from polyframe.strategyrun import ErrorPolicy
from tests.support.fake import START, FakeExchange
from tests.support.stage import Stage, play, settle


class Ends:
    """The ends of cycles that strategies saw."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, str]] = []


@define
class Buyer(Strategy):
    """Buys at the first price."""

    has_bought: bool = field(init=False, default=False)

    async def on_price(self, event: PriceChanged) -> None:
        if not self.has_bought:
            self.has_bought = True
            await self.trading.buy(Outcome.UP, price=Decimal("0.40"), size=Decimal(10))

    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        self.env.get(Ends).seen.append((self.market.generation, reason.value))


@pytest.mark.parametrize("policy", ["skip_cycle", "raise"])
@pytest.mark.parametrize("rounds", range(8))
def test_an_answer_at_the_switch_is_no_error_of_the_strategy(
    rounds: int, policy: ErrorPolicy
) -> None:
    """However close the answer is to the switch, the old cycle ends once and nothing has failed."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        ends = Ends()
        stage.env.provide(ends)
        exchange.hold_place = asyncio.get_running_loop().create_future()
        await stage.open_cycle()
        session = await stage.prepare(START + 900)
        exchange.hold_place.set_result(None)
        for _ in range(rounds):
            await asyncio.sleep(0)
        stage.scheduler.switch(session)
        await settle()
        assert ends.seen == [(START, "boundary")]
        assert stage.env.counters.get(Count.STRATEGY_ERRORS) == 0

    play(act, Buyer(), exchange=exchange, on_error=policy)
