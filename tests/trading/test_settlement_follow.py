"""After the resolution: trades are followed to their end, and payouts that grow are paid."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from polyframe.model.market import Outcome
from polyframe.model.order import Side
from polyframe.model.trade import TradeStatus
from polyframe.trading.ledger import CycleStatus
from tests.support.fake import START, FakeExchange, make_market, trade_report
from tests.support.stage import Stage, play

FIRST = make_market(start=START)
TEN = Decimal(10)
UP = Outcome.UP


async def bought(stage: Stage) -> None:
    """Buy ten Up in a first cycle, and end it."""
    await stage.open_cycle()
    await stage.trading.handle("me").buy(UP, price=Decimal("0.50"), size=TEN)
    matched = trade_report(FIRST, "t1", "0xorder1")
    stage.env.router.on_user_message(matched)
    stage.exchange.trades = [matched]


def test_trades_are_followed_to_their_end() -> None:
    """A trade that fails after the resolution is taken back, though no message told of it."""

    async def act(stage: Stage) -> None:
        await bought(stage)
        stage.scheduler.switch(None)
        await stage.env.clock.sleep_until(FIRST.window.end + 120)
        record = stage.env.ledger.get(FIRST.slug)
        assert record is not None
        assert record.status is CycleStatus.RESOLVED
        assert record.payout == TEN
        stage.exchange.trades = [
            trade_report(FIRST, "t1", "0xorder1", status=TradeStatus.FAILED),
        ]
        async with asyncio.timeout(120):
            await stage.env.settlement.wait_settled()
        record = stage.env.ledger.get(FIRST.slug)
        assert record is not None
        assert record.payout == record.profit == 0
        assert stage.env.account.cash == Decimal(1000)

    play(act)


def test_a_payout_that_grows_is_paid() -> None:
    """When a sell fails after the resolution its shares are back, and their payout is cash."""

    async def act(stage: Stage) -> None:
        await bought(stage)
        await stage.trading.handle("me").sell(UP, price=Decimal("0.60"), size=TEN)
        sold = trade_report(FIRST, "t2", "0xorder2", side=Side.SELL, is_taker=False)
        stage.env.router.on_user_message(sold)
        stage.scheduler.switch(None)
        await stage.env.clock.sleep_until(FIRST.window.end + 120)
        before = stage.env.account.cash
        stage.env.router.on_user_message(
            trade_report(
                FIRST,
                "t2",
                "0xorder2",
                side=Side.SELL,
                is_taker=False,
                status=TradeStatus.FAILED,
            )
        )
        # The proceeds of the sale go back, the shares pay one dollar each.
        assert stage.env.account.cash == before - Decimal(5) + TEN
        assert stage.env.account.claimable == 0

    play(act)


def test_a_late_message_does_not_resolve_a_market() -> None:
    """A cycle that was given up stays unresolved, whatever is told of it later."""
    exchange = FakeExchange()
    exchange.unresolved = {FIRST.slug}

    async def act(stage: Stage) -> None:
        await bought(stage)
        stage.scheduler.switch(None)
        await stage.env.settlement.wait_settled()
        stage.env.router.on_user_message(
            trade_report(FIRST, "t1", "0xorder1", status=TradeStatus.CONFIRMED)
        )
        record = stage.env.ledger.get(FIRST.slug)
        assert record is not None
        assert record.status is CycleStatus.UNRESOLVED

    play(act, exchange=exchange)


def test_the_trades_of_a_market_that_never_ends_are_read() -> None:
    """A fill that no message told of is found, though the market is never resolved."""
    exchange = FakeExchange()
    exchange.unresolved = {FIRST.slug}
    exchange.trades = [trade_report(FIRST, "t1", "0xorder1", status=TradeStatus.CONFIRMED)]

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        await stage.trading.handle("me").buy(UP, price=Decimal("0.50"), size=TEN)
        stage.scheduler.switch(None)
        await stage.env.settlement.wait_settled()
        record = stage.env.ledger.get(FIRST.slug)
        assert record is not None
        assert (record.status, record.fills) == (CycleStatus.UNRESOLVED, 1)
        assert stage.env.account.cash == Decimal(1000) - Decimal("5.175")

    play(act, exchange=exchange)
