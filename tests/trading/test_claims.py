"""What resolved markets owe: kept until it is redeemed, without the cycles that it is from."""

from __future__ import annotations

import asyncio
import gc
from decimal import Decimal

import pytest

from polyframe.errors import ExchangeUnavailable
from polyframe.model.conversion import Receipt, ReceiptState
from polyframe.model.events import TradeReport
from polyframe.model.market import Market, Outcome
from polyframe.model.order import Order
from polyframe.model.trade import TradeStatus
from polyframe.trading import deadcycles
from polyframe.trading.state import CycleState
from tests.support.contracts import ConvertingExchange
from tests.support.fake import START, make_market, trade_report
from tests.support.stage import Stage, play, settle
from tests.trading.builders import dec

UP, DOWN = Outcome.UP, Outcome.DOWN
FIRST = make_market(start=START)
CONFIRMED, FAILED, UNKNOWN = ReceiptState.CONFIRMED, ReceiptState.FAILED, ReceiptState.UNKNOWN


def owing() -> ConvertingExchange:
    """Return an exchange that pays nothing by itself."""
    exchange = ConvertingExchange()
    exchange.redeems = False
    exchange.balance = Decimal(10_000)
    return exchange


async def win_pairs(stage: Stage, cycles: int) -> list[Market]:
    """Live through some cycles, each with ten pairs that its market then owes for."""
    markets = []
    for number in range(cycles):
        market = (await stage.open_cycle(START + 900 * number)).market
        markets.append(market)
        for outcome in Outcome:
            order = await stage.trading.handle("me").buy(
                outcome, price=dec("0.50"), size=Decimal(10)
            )
            for status in (TradeStatus.MATCHED, TradeStatus.CONFIRMED):
                stage.env.router.on_user_message(
                    trade_report(
                        market,
                        f"{market.slug}-{outcome}",
                        order.venue_id,
                        outcome,
                        status=status,
                        is_taker=False,
                    )
                )
        await asyncio.sleep(900)
    await stage.open_cycle(START + 900 * cycles)
    await asyncio.sleep(900 + 120)
    return markets


def test_what_is_owed_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many cycles end after it: of the old ones the claim is left, and it becomes cash."""
    monkeypatch.setattr(deadcycles, "KEPT", 1)
    exchange = owing()

    async def act(stage: Stage) -> None:
        settlement, account = stage.env.settlement, stage.env.account
        markets = await win_pairs(stage, 4)
        slugs = [market.slug for market in markets]
        assert [slug for slug in slugs if settlement.state(slug) is not None] == slugs[3:]
        assert settlement.claims() == slugs
        assert account.claimable == 40
        cash = account.cash
        # Of the first six of ten shares are on chain, and nobody answers for the third.
        for slug in slugs:
            exchange.on_chain[slug] = {UP: Decimal(10), DOWN: Decimal(10)}
        exchange.on_chain[slugs[0]] = {UP: Decimal(6), DOWN: Decimal(10)}
        done = Receipt(CONFIRMED, "0xtx")
        exchange.answers_to_convert = [done, done, ExchangeUnavailable("no answer"), done]
        receipts = await stage.env.redeem()
        assert [receipts[slug].state for slug in slugs] == [
            CONFIRMED,
            CONFIRMED,
            UNKNOWN,
            CONFIRMED,
        ]
        assert receipts[slugs[2]].text == "no answer"
        assert (account.cash, account.claimable) == (cash + 26, Decimal(14))
        assert settlement.claims() == [slugs[0], slugs[2]]
        exchange.chain_error = ExchangeUnavailable("no answer")
        receipts = await stage.env.redeem()
        assert {receipt.state for receipt in receipts.values()} == {FAILED}
        exchange.chain_error = None
        exchange.answers_to_convert = [done, done]
        await stage.env.redeem()
        assert (account.cash, account.claimable) == (cash + 40, Decimal(0))
        assert await stage.env.redeem() == {}

    play(act, exchange=exchange)


def test_claims_cost_no_cycles() -> None:
    """Nobody redeems for forty cycles that owe: as many states are kept as of cycles that do not."""
    exchange = owing()

    async def act(stage: Stage) -> None:
        before = {id(state) for state in gc.get_objects() if isinstance(state, CycleState)}
        markets = await win_pairs(stage, 40)
        gc.collect()
        found = [one for one in gc.get_objects() if isinstance(one, CycleState)]
        assert len([one for one in found if id(one) not in before]) == deadcycles.KEPT + 1
        assert stage.env.settlement.claims() == [market.slug for market in markets]
        assert stage.env.account.claimable == 400

    play(act, exchange=exchange)


def test_a_claim_that_may_change_keeps_its_cycle(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trade that nobody hears the end of for hours may still fail, and take its claim with it."""
    monkeypatch.setattr(deadcycles, "KEPT", 1)
    exchange = owing()

    def told(order: Order, status: TradeStatus) -> TradeReport:
        return trade_report(FIRST, "t1", order.venue_id, status=status, is_taker=False)

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        order = await stage.trading.handle("me").buy(UP, price=dec("0.50"), size=Decimal(10))
        stage.env.router.on_user_message(told(order, TradeStatus.MATCHED))
        settlement = stage.env.settlement
        for number in range(1, 32):  # beyond the hours that trades are asked for
            await stage.open_cycle(START + 900 * number)
            await asyncio.sleep(900)
        assert settlement.state(FIRST.slug) is not None
        stage.env.router.on_user_message(told(order, TradeStatus.FAILED))
        assert settlement.claims() == []
        assert stage.env.account.claimable == 0
        await stage.open_cycle(START + 900 * 32)
        await asyncio.sleep(900 + 120)
        assert settlement.state(FIRST.slug) is None

    play(act, exchange=exchange)


def test_two_who_redeem_at_once_pay_once() -> None:
    """The second finds nothing left of what the first has redeemed meanwhile, and loses no receipt."""
    exchange = owing()

    async def act(stage: Stage) -> None:
        markets = await win_pairs(stage, 2)
        for market in markets:
            exchange.on_chain[market.slug] = {UP: Decimal(10), DOWN: Decimal(10)}
        cash = stage.env.account.cash
        done = Receipt(CONFIRMED, "0xtx")
        exchange.answers_to_convert = [done] * 4
        exchange.hold_convert = first = asyncio.get_running_loop().create_future()
        every = asyncio.create_task(stage.env.redeem())
        await settle()
        exchange.hold_convert = None
        await stage.env.redeem(markets[1].slug)
        first.set_result(None)
        assert list(await every) == [markets[0].slug]
        assert stage.env.account.cash == cash + 20

    play(act, exchange=exchange)


def test_a_lost_question_loses_no_redemption() -> None:
    """Nobody says for a minute how its transaction ended: it is asked for again, and the claim is cash."""
    exchange = owing()

    async def act(stage: Stage) -> None:
        (market,) = await win_pairs(stage, 1)
        exchange.on_chain[market.slug] = {UP: Decimal(10), DOWN: Decimal(10)}
        task = asyncio.create_task(stage.env.redeem())
        await settle()
        exchange.chain_error = ExchangeUnavailable("no answer")
        await asyncio.sleep(60)
        assert not task.done()
        exchange.chain_error = None
        exchange.finish("0xtx1", CONFIRMED)
        assert (await task)[market.slug].state is CONFIRMED
        assert stage.env.account.claimable == 0

    play(act, exchange=exchange)
