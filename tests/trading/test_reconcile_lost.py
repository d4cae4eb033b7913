"""Orders whose answer was lost: found, given up, or left alone, and never guessed."""

from __future__ import annotations

import asyncio

from polyframe.errors import (
    ExchangeUnavailable,
)
from polyframe.model.order import OrderStatus
from tests.support.fake import (
    FakeExchange,
    trade_report,
)
from tests.support.stage import Stage, play, settle
from tests.trading.reconcile_kit import (
    FIRST,
    LOST,
    ON_DEMAND,
    TEN,
    UP,
    buy,
    lose,
    now,
    orders_of,
    reports,
)


def test_a_lost_order_that_was_accepted_is_found() -> None:
    """A second after the answer was lost the order is looked for, and lives on as it should."""
    exchange = FakeExchange()
    exchange.answers, exchange.accepts_lost = [LOST], True

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        order = await lose(stage)
        await stage.env.clock.sleep(1.5)
        assert OrderStatus.LIVE is now(stage, order).status
        assert 1 == len(exchange.placed)
        assert [(order.client_id,)] == [report.orders for report in reports(stage)]

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_a_lost_order_that_never_existed_is_given_up_after_a_while() -> None:
    """Not known to the venue some seconds after the answer was lost: refused, released, not re-sent."""
    exchange = FakeExchange()
    exchange.answers = [LOST]

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        order = await lose(stage)
        await stage.env.clock.sleep(3)
        assert [order.venue_id] * 2 == exchange.queried
        assert OrderStatus.UNKNOWN is now(stage, order).status
        assert stage.env.account.reserved > 0
        await stage.env.clock.sleep(3)
        ended = now(stage, order)
        assert (OrderStatus.REJECTED, "the venue does not know it") == (ended.status, ended.reason)
        assert 0 == stage.env.account.reserved
        assert 1 == len(exchange.placed)
        assert (order.client_id,) == reports(stage)[-1].not_found
        assert {"venue:not_found": 1} == stage.trading.record().refusals  # type: ignore[union-attr]

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_a_lost_order_that_was_filled_is_not_given_up() -> None:
    """It is not listed and not known by its id any more, but a trade names it."""
    exchange = FakeExchange()
    exchange.answers = [LOST]

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        order = await lose(stage)
        exchange.trades = [trade_report(FIRST, "t1", order.venue_id)]
        await stage.env.clock.sleep(60)
        assert OrderStatus.FILLED is now(stage, order).status
        assert TEN == stage.trading.handle("Recorder").position(UP).size

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_a_lost_order_is_not_given_up_while_the_venue_does_not_answer() -> None:
    """No answer to the question is no answer: the order stays unknown however long that takes."""
    exchange = FakeExchange()
    exchange.answers = [LOST]
    exchange.query_error = ExchangeUnavailable("away")

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        order = await lose(stage)
        await stage.env.clock.sleep(300)
        assert OrderStatus.UNKNOWN is now(stage, order).status
        exchange.query_error = None
        await stage.trading.reconcile()
        assert OrderStatus.REJECTED is now(stage, order).status

    play(act, exchange=exchange)


def test_an_order_that_is_being_sent_is_not_judged() -> None:
    """However long its request takes, it is neither asked for nor given up."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.hold_place = asyncio.get_running_loop().create_future()
        placing = asyncio.create_task(buy(stage))
        await stage.env.clock.sleep(120)
        report = await stage.trading.reconcile()
        assert {} == report.unresolved
        assert () == report.not_found
        assert [] == exchange.queried
        (order,) = orders_of(stage).values()
        assert OrderStatus.SUBMITTING is order.status
        exchange.hold_place.set_result(None)
        assert OrderStatus.LIVE is (await placing).status

    play(act, exchange=exchange)


def test_a_view_does_not_judge_what_was_placed_after_it() -> None:
    """An order that came to be while the venue was asked is missing from the answer, and nothing follows."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.hold_look = asyncio.get_running_loop().create_future()
        looking = asyncio.create_task(stage.trading.reconcile())
        await settle()
        order = await buy(stage)
        exchange.hold_look.set_result(None)
        report = await looking
        assert (0, {}) == (report.listed, report.unresolved)
        assert [] == exchange.queried
        assert OrderStatus.LIVE is now(stage, order).status

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_a_view_is_too_old_for_an_answer_that_was_lost_since() -> None:
    """The grace is counted up to the beginning of the view, not up to its end."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.answers = [LOST]
        order = await lose(stage)
        await stage.env.clock.sleep(0.5)
        exchange.hold_look = asyncio.get_running_loop().create_future()
        looking = asyncio.create_task(stage.trading.reconcile())
        await stage.env.clock.sleep(60)
        exchange.hold_look.set_result(None)
        report = await looking
        assert {
            order.client_id: "not known there, and too young to be given up"
        } == report.unresolved
        assert OrderStatus.UNKNOWN is now(stage, order).status

    play(act, exchange=exchange, reconcile=ON_DEMAND)
