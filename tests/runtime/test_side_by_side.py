"""Strategies of one cycle side by side: none holds up another, and reading a price costs no request."""

from __future__ import annotations

import asyncio

import pytest
from attrs import define

from polyframe.model.events import OrderChanged, PriceChanged
from polyframe.model.market import Outcome
from polyframe.strategy import Strategy
from tests.support.fake import delta, order_report
from tests.support.stage import Recorder, Stage, play, settle


@define
class Stuck(Strategy):
    """Waits for ever in a hook of its choice."""

    hook: str = "on_price"

    async def on_price(self, event: PriceChanged) -> None:
        if self.hook == "on_price":
            await asyncio.Event().wait()

    async def on_order(self, event: OrderChanged) -> None:
        if self.hook == "on_order":
            await asyncio.Event().wait()


@pytest.mark.parametrize("hook", ["on_price", "on_order"])
def test_a_hook_that_hangs_holds_up_nobody_else(hook: str) -> None:
    """While one strategy is stuck, the other of the same cycle gets prices and orders at once."""

    async def act(stage: Stage) -> None:
        session = await stage.open_cycle()
        market = session.market
        for number in range(1, 4):
            report = order_report(market, f"0xforeign{number}")
            stage.env.router.on_user_message(report)
            top = delta(market, Outcome.UP, 4900 + number, 10, is_bid=True)
            stage.exchange.streams[market.slug].push(top)
            await settle()
        seen = stage.diary.of(market.generation, "price", "order")
        assert 3 == sum(kind == "order" for kind, _ in seen)
        bids = [v.bid for kind, v in seen if kind == "price" and v.outcome is Outcome.UP]
        assert ["0.4901", "0.4902", "0.4903"] == [str(bid) for bid in bids[-3:]]

    play(act, Stuck(hook), Recorder())


def test_reading_prices_and_positions_asks_nobody() -> None:
    """Both tops, positions and cash are read at once from memory: no request, no waiting."""

    async def act(stage: Stage) -> None:
        session = await stage.open_cycle()
        looks = stage.exchange.looks, len(stage.exchange.lookups)
        trading = stage.trading.handle("recorder")
        for outcome in Outcome:
            quote = trading.price(outcome)
            assert quote.known
            assert quote.bid is not None
            assert quote.ask is not None
            assert 0 == trading.position(outcome).size == trading.sellable(outcome)
            assert session.book(outcome).age(stage.env.clock.time()) is not None
        assert 1000 == trading.cash
        assert looks == (stage.exchange.looks, len(stage.exchange.lookups))

    play(act, Recorder())
