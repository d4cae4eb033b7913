"""Bids that rest: taken back where they are not wanted any more, and placed."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field

from polyframe.errors import ExchangeUnavailable
from polyframe.exchange.base import PlaceAnswer
from polyframe.model.events import CycleEndReason
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, PlaceResult, Side
from polyframe.strategies.blocks.bids import Bids, Wish
from polyframe.strategies.blocks.requote import RequotePolicy
from polyframe.strategy import Strategy
from tests.strategies.pairstage import DOWN, UP, asked, wait
from tests.support.fake import FakeExchange
from tests.support.stage import Stage, play


@define(eq=False)
class Wanted:
    """What is wanted now, and what each look came to."""

    bids: dict[Outcome, Wish] = field(factory=dict)
    looks: list[bool] = field(factory=list)


@define
class Wisher(Strategy):
    """Bids for what is `Wanted`, once a second."""

    _bids: Bids = field(init=False, repr=False, eq=False)

    @_bids.default
    def _make_bids(self) -> Bids:
        return Bids(self, RequotePolicy())

    async def run(self) -> None:
        while True:
            wanted = self.env.get(Wanted)
            wanted.looks.append(await self._bids.take_back(wanted.bids))
            await self._bids.place(
                [
                    OrderRequest(outcome, Side.BUY, wish.price, wish.size, post_only=True)
                    for outcome, wish in wanted.bids.items()
                    if not self._bids.open(outcome)
                ]
            )
            await self.clock.sleep(1)

    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        await self._bids.finish()


def wish(price: str) -> Wish:
    """Return a bid for twenty shares."""
    return Wish(Decimal(price), Decimal(20))


def perform(
    act: Callable[[Stage, Wanted], Awaitable[Any]], exchange: FakeExchange | None = None
) -> FakeExchange:
    """Play one cycle that begins with 0.48 bid for both, and return the venue."""
    wanted = Wanted({UP: wish("0.48"), DOWN: wish("0.48")})

    async def main(stage: Stage) -> FakeExchange:
        await stage.open_cycle()
        assert [request.price for request in asked(stage)] == [Decimal("0.48")] * 2
        await act(stage, wanted)
        return stage.exchange

    return play(main, Wisher(), exchange=exchange, services=[wanted])


def test_only_a_bid_that_is_too_far_off_is_taken_back() -> None:
    """Up moves by three cents and is replaced; Down moves by one and is kept."""

    async def act(stage: Stage, wanted: Wanted) -> None:
        wanted.bids = {UP: wish("0.45"), DOWN: wish("0.49")}
        await wait(stage, 1)
        assert wanted.looks == [False, True]
        assert stage.exchange.cancelled == [stage.exchange.placed[0].venue_id]
        assert asked(stage)[2:] == [
            OrderRequest(UP, Side.BUY, Decimal("0.45"), Decimal(20), post_only=True)
        ]

    perform(act)


def test_one_request_takes_back_all_where_nothing_is_wanted() -> None:
    """Both bids go with one request, and no look after that asks again."""

    class Counting(FakeExchange):
        requests = 0

        async def cancel_orders(self, venue_ids: Any) -> Any:
            self.requests += 1
            return await super().cancel_orders(venue_ids)

    exchange = Counting()

    async def act(stage: Stage, wanted: Wanted) -> None:
        wanted.bids = {}
        await wait(stage, 3)
        assert wanted.looks == [False, True, False, False]
        assert exchange.requests == 1

    assert len(perform(act, exchange).cancelled) == 2


def test_a_cancel_that_fails_is_repeated_with_the_next_look(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A venue that does not answer is ordinary: nothing is raised, and nobody is warned."""
    caplog.set_level(logging.INFO, "polyframe")
    exchange = FakeExchange()

    async def act(stage: Stage, wanted: Wanted) -> None:
        exchange.cancel_error = ExchangeUnavailable("no answer")
        wanted.bids = {}
        await wait(stage, 2)
        exchange.cancel_error = None
        await wait(stage, 1)
        assert wanted.looks == [False, True, True, True]

    assert len(perform(act, exchange).cancelled) == 2
    (first, second) = (r for r in caplog.records if "not cancelled: no answer" in r.getMessage())
    assert (first.levelno, second.levelno) == (logging.INFO, logging.INFO)


def test_a_bid_that_is_refused_is_placed_again_with_the_next_look(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Post-only bids that would take are refused all day: INFO, and the next look decides anew."""
    caplog.set_level(logging.INFO, "polyframe")
    exchange = FakeExchange()
    refused = PlaceAnswer(PlaceResult.REJECTED, "crosses_book", "post-only")
    exchange.answers = [refused, PlaceAnswer(PlaceResult.LIVE), PlaceAnswer(PlaceResult.LIVE)]

    async def act(stage: Stage, wanted: Wanted) -> None:
        await wait(stage, 1)
        assert [request.outcome for request in asked(stage)] == [UP, DOWN, UP]

    perform(act, exchange)
    (told,) = (r for r in caplog.records if "no bid for Up" in r.getMessage())
    assert told.levelno == logging.INFO


def test_what_cannot_be_taken_back_at_the_end_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A person should look then: the bids rest until the venue closes the market."""
    exchange = FakeExchange()

    async def act(stage: Stage, wanted: Wanted) -> None:
        exchange.cancel_error = ExchangeUnavailable("no answer")
        await stage.shut_down()
        exchange.cancel_error = None

    perform(act, exchange)
    (told,) = (r for r in caplog.records if "bids may be left" in r.getMessage())
    assert told.levelno == logging.WARNING
    assert "failed in" not in caplog.text
