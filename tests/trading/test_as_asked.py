"""What leaves is what was asked for: no size is enlarged, no price moved, nothing sent twice."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyframe.errors import OrderDenied, OrderOutcomeUnknown
from polyframe.exchange.base import PlaceAnswer
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, OrderType, PlaceResult, Side
from tests.support.stage import Recorder, Stage, play, settle


@settings(max_examples=25, deadline=None)
@given(
    cents=st.integers(0, 100),
    size=st.decimals(0, 400, places=2, allow_nan=False, allow_infinity=False),
    outcome=st.sampled_from(Outcome),
    order_type=st.sampled_from(OrderType),
)
def test_an_order_leaves_as_it_was_asked_for_or_not_at_all(
    cents: int, size: Decimal, outcome: Outcome, order_type: OrderType
) -> None:
    """A size below the minimum, or any other broken rule, is refused; it is never made to fit."""
    request = OrderRequest(outcome, Side.BUY, Decimal(cents) / 100, size, order_type)

    async def act(stage: Stage) -> None:
        session = await stage.open_cycle()
        try:
            await stage.trading.place(session.generation, "recorder", request)
        except OrderDenied:
            assert [] == stage.exchange.placed
        else:
            assert [request] == [prepared.request for prepared in stage.exchange.placed]

    play(act, Recorder())


def test_an_order_below_the_minimum_size_is_refused_and_not_enlarged() -> None:
    """One hundredth of a share below the minimum nothing leaves, and the denial says how much."""

    async def act(stage: Stage) -> None:
        session = await stage.open_cycle()
        least = session.market.min_size
        request = OrderRequest(Outcome.UP, Side.BUY, Decimal("0.40"), least - Decimal("0.01"))
        with pytest.raises(OrderDenied, match=f"{least}"):
            await stage.trading.place(session.generation, "recorder", request)
        assert [] == stage.exchange.placed

    play(act, Recorder())


def test_a_lost_order_is_never_sent_again() -> None:
    """However long nothing is known of it, one request has left, and no other follows by itself."""

    async def act(stage: Stage) -> None:
        run = asyncio.create_task(stage.trader.run(cycles=2))
        await settle()
        stage.exchange.answers = [PlaceAnswer(PlaceResult.UNKNOWN, text="no answer")]
        request = OrderRequest(Outcome.UP, Side.BUY, Decimal("0.40"), Decimal(10))
        with pytest.raises(OrderOutcomeUnknown):
            await stage.trading.place(stage.session.generation, "recorder", request)
        await stage.env.clock.sleep(1200)
        assert 1 == len(stage.exchange.placed)
        run.cancel()
        await asyncio.wait({run})

    play(act, Recorder())
