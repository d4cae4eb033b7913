"""Comparing the cash with the venue's, while nothing moves."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from polyframe.model.events import OrderEventKind
from polyframe.model.trade import TradeStatus
from tests.support.fake import (
    START,
    FakeExchange,
    order_report,
    trade_report,
)
from tests.support.stage import Stage, play, settle
from tests.trading.reconcile_kit import (
    FIRST,
    ON_DEMAND,
    TEN,
    buy,
)


def test_cash_is_compared_when_nothing_moves() -> None:
    """A difference that stays is reported once, until it changes, and never corrected."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        assert 0 == (await stage.trading.reconcile()).cash
        exchange.balance = Decimal("1007.5")
        found = [await stage.trading.reconcile() for _ in range(3)]
        assert [Decimal("7.5")] * 3 == [report.cash for report in found]
        assert [False, True, False] == [report.differs for report in found]
        assert Decimal(1000) == stage.env.account.cash
        exchange.balance = Decimal(1000)
        assert [False, True] == [(await stage.trading.reconcile()).differs for _ in range(2)]

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_a_passing_difference_in_cash_is_no_news() -> None:
    """A fill may move the venue's cash a moment before anybody can know of it."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.balance = Decimal(995)
        assert not (await stage.trading.reconcile()).differs
        exchange.balance = Decimal(1000)
        assert not (await stage.trading.reconcile()).differs

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_cash_is_not_compared_while_something_moves() -> None:
    """Not with a fill that may fail, a match without its trade, an order being sent, a payout to come."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        order = await buy(stage)
        stage.env.router.on_user_message(trade_report(FIRST, "t1", order.venue_id))
        assert (await stage.trading.reconcile()).cash is None
        stage.env.router.on_user_message(
            trade_report(FIRST, "t1", order.venue_id, status=TradeStatus.CONFIRMED)
        )
        exchange.balance = stage.env.account.cash
        assert 0 == (await stage.trading.reconcile()).cash
        exchange.hold_place = asyncio.get_running_loop().create_future()
        placing = asyncio.create_task(buy(stage))
        await settle()
        assert (await stage.trading.reconcile()).cash is None
        exchange.hold_place.set_result(None)
        second = await placing
        stage.env.router.on_user_message(
            order_report(
                FIRST,
                second.venue_id,
                kind=OrderEventKind.UPDATE,
                status="MATCHED",
                size_matched=TEN,
            )
        )
        assert (await stage.trading.reconcile()).cash is None
        stage.env.router.on_user_message(
            trade_report(FIRST, "t2", second.venue_id, status=TradeStatus.CONFIRMED)
        )
        exchange.balance = stage.env.account.cash
        assert 0 == (await stage.trading.reconcile()).cash
        await stage.env.clock.sleep_until(START + 900)
        await stage.open_cycle(START + 900)
        assert (await stage.trading.reconcile()).cash is None
        await stage.env.clock.sleep(120)
        exchange.balance = stage.env.account.cash
        assert 0 == (await stage.trading.reconcile()).cash

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_cash_that_moves_during_the_comparison_is_not_compared() -> None:
    """A fill that is told while the balance is fetched, or found with it, makes the two numbers incomparable."""

    class Moving(FakeExchange):
        stage: Stage
        moves = True

        async def fetch_balance(self) -> Decimal:
            if hasattr(self, "stage") and self.moves:
                done = TradeStatus.CONFIRMED
                self.stage.env.router.on_user_message(
                    trade_report(FIRST, "t1", "0xorder1", status=done)
                )
            return await super().fetch_balance()

    exchange = Moving()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        await buy(stage)
        exchange.stage = stage
        assert (await stage.trading.reconcile()).cash is None
        exchange.moves = False
        await buy(stage)
        exchange.trades = [trade_report(FIRST, "t2", "0xorder2", status=TradeStatus.CONFIRMED)]
        assert (await stage.trading.reconcile()).cash is None

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_cash_that_was_moving_at_the_beginning_is_not_compared() -> None:
    """A trade that is settled while the balance is fetched may or may not be in it."""

    class Settling(FakeExchange):
        stage: Stage | None = None

        async def fetch_balance(self) -> Decimal:
            if self.stage is not None:
                self.stage.env.router.on_user_message(
                    trade_report(FIRST, "t1", "0xorder1", status=TradeStatus.CONFIRMED)
                )
            return await super().fetch_balance()

    exchange = Settling()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        await buy(stage)
        stage.env.router.on_user_message(trade_report(FIRST, "t1", "0xorder1"))
        exchange.stage = stage
        assert (await stage.trading.reconcile()).cash is None

    play(act, exchange=exchange, reconcile=ON_DEMAND)
