"""Comparing with the venue: what was missed is applied, what cannot be known is said."""

from __future__ import annotations

import asyncio
import logging
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from attrs import define
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from polyframe.counters import Count
from polyframe.errors import (
    ConfigError,
    ExchangeError,
    ExchangeUnavailable,
    OrderOutcomeUnknown,
    RateLimited,
    StaleCycleError,
)
from polyframe.exchange.base import PlaceAnswer, UserSink
from polyframe.model.events import OrderEventKind, OrderReport, StreamState
from polyframe.model.market import Market, Outcome
from polyframe.model.order import Order, OrderStatus, PlaceResult
from polyframe.model.trade import TradeStatus
from polyframe.trading.reconcile import ReconcileReport, ReconcileSettings, describe
from tests.support.fake import (
    START,
    FakeExchange,
    FakeStream,
    make_market,
    order_report,
    trade_report,
)
from tests.support.stage import Recorder, Stage, play, settle

FIRST, SECOND = make_market(start=START), make_market(start=START + 900)
UP, TEN = Outcome.UP, Decimal(10)
PRICE = Decimal("0.50")
FEE = Decimal("0.175")
"""10 shares taken at 0.50: 10 × 0.07 × 0.25."""

ON_DEMAND = ReconcileSettings(open_interval=1e6, idle_interval=1e6)
LOST = PlaceAnswer(PlaceResult.UNKNOWN, text="read timed out")


async def buy(stage: Stage) -> Order:
    """Place ten Up at 0.50 in the open cycle."""
    return await stage.trading.handle("Recorder").buy(UP, price=PRICE, size=TEN)


async def lose(stage: Stage) -> Order:
    """Place an order whose answer is lost."""
    with pytest.raises(OrderOutcomeUnknown) as caught:
        await buy(stage)
    return caught.value.order


def now(stage: Stage, order: Order) -> Order:
    """Return an order as it is in the engine."""
    return _orders(stage)[order.client_id]


def _orders(stage: Stage) -> dict[str, Order]:
    return {order.client_id: order for order in stage.trading.snapshot().orders}


def reports(stage: Stage, generation: int = START) -> list[ReconcileReport]:
    """Return the reports that the strategies of a cycle were given."""
    return [value for _, value in stage.diary.of(generation, "reconcile")]


# ------------------------------------------------------------------ what is found


def test_a_missed_fill_is_applied_once() -> None:
    """A trade that the stream lost comes through the gate, to engine and strategy, and only once."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        order = await buy(stage)
        exchange.trades = [trade_report(FIRST, "t1", order.venue_id)]
        del exchange.known[order.venue_id]
        report = await stage.trading.reconcile()
        assert (report.trades, report.orders, report.differs) == (("t1",), (), True)
        assert OrderStatus.FILLED is now(stage, order).status
        assert Decimal(1000) - 5 - FEE == stage.env.account.cash
        again = await stage.trading.reconcile()
        assert (again.trades, again.orders, again.differs) == ((), (), False)
        await settle()
        kinds = [kind for kind, _ in stage.diary.of(START, "order", "trade", "reconcile")]
        assert kinds[-3:] == ["trade", "order", "reconcile"]
        assert [report] == reports(stage)
        assert [] == exchange.queried
        assert 1 == stage.env.counters.get(Count.RECONCILE_REPAIRS, "trade")

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_an_order_that_the_venue_ended_is_asked_for() -> None:
    """It is not listed, so it is asked for by its id, and what the venue says of it is applied."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        order = await buy(stage)
        exchange.end(order.venue_id)
        report = await stage.trading.reconcile()
        assert (order.client_id,) == report.orders
        assert [order.venue_id] == exchange.queried
        assert OrderStatus.CANCELLED is now(stage, order).status
        assert 0 == stage.env.account.reserved

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_absence_alone_proves_nothing() -> None:
    """An order that lived and is neither listed nor known stays open, and that is told once."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        order = await buy(stage)
        del exchange.known[order.venue_id]
        await stage.env.clock.sleep(100)
        report = await stage.trading.reconcile()
        assert {order.client_id: "live here, not known there"} == report.unresolved
        assert OrderStatus.LIVE is now(stage, order).status
        assert stage.env.account.reserved > 0
        assert report.differs
        assert not (await stage.trading.reconcile()).differs

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_a_failed_question_leaves_the_order_as_it_is() -> None:
    """If the venue does not answer for one order, that order is unresolved; the rest is applied."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        gone, filled = await buy(stage), await buy(stage)
        exchange.end(gone.venue_id)
        del exchange.known[filled.venue_id]
        exchange.trades = [trade_report(FIRST, "t1", filled.venue_id)]
        exchange.query_error = ExchangeUnavailable("away")
        report = await stage.trading.reconcile()
        assert {gone.client_id: "not listed, and asking for it failed: away"} == report.unresolved
        assert [OrderStatus.LIVE, OrderStatus.FILLED] == [
            now(stage, order).status for order in (gone, filled)
        ]

    play(act, exchange=exchange, reconcile=ON_DEMAND)


@pytest.mark.parametrize("failing", ["look_error", "trades_error"])
def test_half_a_view_changes_nothing(failing: str) -> None:
    """If orders or trades cannot be had, nothing of the other is applied, and the report says why."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        order = await buy(stage)
        before = stage.trading.snapshot()
        exchange.change(order.venue_id, size_matched=Decimal(4), kind=OrderEventKind.UPDATE)
        exchange.known["0xforeign"] = order_report(FIRST, "0xforeign")
        exchange.trades = [trade_report(FIRST, "t1", order.venue_id)]
        setattr(exchange, failing, ExchangeUnavailable("page 2 is missing"))
        report = await stage.trading.reconcile()
        assert ("page 2 is missing", False) == (report.error, report.differs)
        assert before == stage.trading.snapshot()
        assert [] == reports(stage)
        assert 1 == stage.env.counters.get(Count.RECONCILES, "failed")

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_a_balance_that_cannot_be_had_is_half_a_view() -> None:
    """The cash belongs to the view: without it nothing is applied either."""

    class Broke(FakeExchange):
        reads = 0

        async def fetch_balance(self) -> Decimal:
            self.reads += 1
            if self.reads > 1:
                msg = "no balance"
                raise ExchangeUnavailable(msg)
            return await super().fetch_balance()

    exchange = Broke()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.known["0xforeign"] = order_report(FIRST, "0xforeign")
        assert "no balance" == (await stage.trading.reconcile()).error
        assert () == stage.trading.snapshot().orders

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_an_order_that_fills_between_two_questions_is_not_missed() -> None:
    """Trades are asked for after orders: a fill in between is in the second answer at the latest."""

    class Quick(FakeExchange):
        async def fetch_open_orders(self, market: Market | None = None) -> list[OrderReport]:
            found = await super().fetch_open_orders(market)
            for venue_id in list(self.known):
                self.trades.append(trade_report(FIRST, "t1", venue_id))
                del self.known[venue_id]
            return found

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        order = await buy(stage)
        assert ("t1",) == (await stage.trading.reconcile()).trades
        assert OrderStatus.FILLED is now(stage, order).status

    play(act, exchange=Quick(), reconcile=ON_DEMAND)


def test_the_gate_holds_for_answers_too() -> None:
    """What is answered for another market or without asset id is dropped, counted, and not cancelled."""

    class Careless(FakeExchange):
        async def fetch_open_orders(self, market: Market | None = None) -> list[OrderReport]:
            return [order_report(SECOND, "0xother"), order_report(FIRST, "0xnone", token="")]

    exchange = Careless()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        assert () == (await stage.trading.reconcile()).foreign
        assert () == stage.trading.snapshot().orders
        assert {"foreign_token": 2, "no_asset": 2} == stage.env.counters.reasons(Count.GATE_DROPPED)
        assert [] == exchange.cancelled

    play(act, exchange=exchange, reconcile=ReconcileSettings(foreign_orders="cancel"))


# ------------------------------------------------------------------ lost answers


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
        (order,) = _orders(stage).values()
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


# ------------------------------------------------------------------ foreign orders


@pytest.mark.parametrize("policy", ["report", "cancel", "leave"])
def test_foreign_orders_are_treated_by_policy(policy: Any) -> None:
    """They are named, cancelled as well, or left alone and unsaid; ours are never touched by it."""
    exchange = FakeExchange()
    settings = ReconcileSettings(open_interval=1e6, idle_interval=1e6, foreign_orders=policy)

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        mine = await buy(stage)
        exchange.known["0xforeign"] = order_report(FIRST, "0xforeign")
        report = await stage.trading.reconcile()
        assert 2 == report.listed
        told = policy != "leave"
        assert (("0xforeign",) if told else ()) == report.foreign
        assert (("0xforeign",) if policy == "cancel" else ()) == report.cancelled
        assert (["0xforeign"] if policy == "cancel" else []) == exchange.cancelled
        assert told is report.differs
        assert told is ("0xforeign" in _orders(stage))
        assert OrderStatus.LIVE is now(stage, mine).status
        await settle()
        heard = [event.order.venue_id for _, event in stage.diary.of(START, "order")]
        assert told is ("0xforeign" in heard)

    play(act, exchange=exchange, reconcile=settings)


# ------------------------------------------------------------------ cash


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


# ------------------------------------------------------------------ when


def test_the_timer_is_faster_while_orders_are_open() -> None:
    """Every 30 s when nothing is open, within 3 s of an order, every 3 s while one is open."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        assert 1 == exchange.looks
        await stage.env.clock.sleep(29.9)
        assert 1 == exchange.looks
        await stage.env.clock.sleep(0.2)
        assert 2 == exchange.looks
        await buy(stage)
        await stage.env.clock.sleep(3.1)
        assert 3 == exchange.looks
        await stage.env.clock.sleep(30)
        assert 13 == exchange.looks
        await stage.trading.handle("Recorder").cancel_all()
        await stage.env.clock.sleep(60)
        assert 15 == exchange.looks

    play(act, exchange=exchange)


def test_failures_are_repeated_with_growing_pauses() -> None:
    """After 3, 6, 12 and 24 s, then every 30 s; said once; and as usual again when it answers."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.look_error = ExchangeUnavailable("away")
        await stage.trading.reconcile()
        exchange.looks = 0
        await stage.env.clock.sleep(3 + 6 + 12 + 24 + 30 + 30 + 1)
        assert 6 == exchange.looks
        exchange.look_error = None
        await stage.env.clock.sleep(30)
        assert 7 == exchange.looks
        await stage.env.clock.sleep(30)
        assert 8 == exchange.looks

    play(act, exchange=exchange)


def test_a_venue_that_asks_for_a_pause_gets_it(caplog: pytest.LogCaptureFixture) -> None:
    """After a refusal for its rate the next comparison waits as long as the venue says."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.look_error = RateLimited("slow down", retry_after=77.0)
        await stage.trading.reconcile()
        exchange.look_error = None
        exchange.looks = 0
        await stage.env.clock.sleep(76.5)
        assert 0 == exchange.looks
        await stage.env.clock.sleep(1)
        assert 1 == exchange.looks

    with caplog.at_level(logging.WARNING):
        play(act, exchange=exchange)
    assert 1 == caplog.text.count("slow down")


@pytest.mark.parametrize("reason", ["", "overflow"])
def test_a_gap_of_the_stream_is_filled_at_once(reason: str) -> None:
    """When the account's stream is back, or its full queue is empty, what it missed is fetched."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        order = await buy(stage)
        exchange.trades = [trade_report(FIRST, "t1", order.venue_id)]
        assert exchange.user is not None
        exchange.user.state(StreamState.LOST, reason or "closed")
        await settle()
        assert OrderStatus.LIVE is now(stage, order).status
        exchange.user.state(StreamState.CONNECTED, reason)
        await settle()
        assert OrderStatus.FILLED is now(stage, order).status
        assert [reason or "connected"] == [report.trigger for report in reports(stage)]

    play(act, exchange=exchange)


def test_a_cancel_that_was_not_done_is_looked_into() -> None:
    """A refused cancel says little, so a second later it is found out what became of the order."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        order = await buy(stage)
        exchange.trades = [trade_report(FIRST, "t1", order.venue_id)]
        exchange.cancel_refused = {order.venue_id: "already canceled or matched"}
        after = await stage.trading.handle("Recorder").cancel(order)
        assert OrderStatus.LIVE is after.status
        await stage.env.clock.sleep(1.5)
        assert OrderStatus.FILLED is now(stage, order).status

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_many_lost_answers_do_not_make_many_questions() -> None:
    """Comparisons that nobody asked for keep a distance; one serves all that are due."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.answers, exchange.accepts_lost = [LOST] * 4, True
        for _ in range(4):
            await lose(stage)
            await stage.env.clock.sleep(0.01)
        exchange.looks = 0
        await stage.env.clock.sleep(10)
        assert 3 <= exchange.looks <= 6

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_those_who_ask_while_one_runs_share_the_next() -> None:
    """A comparison that began before the question is no answer to it; one more serves all who wait."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.looks = 0
        first_hold = exchange.hold_look = asyncio.get_running_loop().create_future()
        first = asyncio.create_task(stage.trading.reconcile("first"))
        await settle()
        second = asyncio.create_task(stage.trading.reconcile("second"))
        third = asyncio.create_task(stage.trading.reconcile("third"))
        await settle()
        assert 1 == exchange.looks
        exchange.known["0xforeign"] = order_report(FIRST, "0xforeign")
        first_hold.set_result(None)
        exchange.hold_look = None
        assert ("first", 0) == ((await first).trigger, (await first).listed)
        assert await second == await third
        assert ("second", 1) == ((await second).trigger, (await second).listed)
        assert 2 == exchange.looks

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_a_caller_that_gives_up_does_not_end_the_comparison() -> None:
    """It goes on for the others."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.hold_look = asyncio.get_running_loop().create_future()
        impatient = asyncio.create_task(stage.trading.reconcile())
        patient = asyncio.create_task(stage.trading.reconcile())
        await settle()
        impatient.cancel()
        await settle()
        exchange.hold_look.set_result(None)
        assert "" == (await patient).error

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_without_an_account_nothing_is_asked() -> None:
    """Where there are no credentials, there is nothing to compare."""

    class Anonymous(FakeExchange):
        def user_stream(self, sink: UserSink) -> FakeStream:
            return None  # type: ignore[return-value]

    exchange = Anonymous()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        await stage.env.clock.sleep(100)
        assert 0 == exchange.looks

    play(act, exchange=exchange)


def test_a_defect_does_not_end_the_comparing(caplog: pytest.LogCaptureFixture) -> None:
    """An exception that nobody expected is logged and counted, and it is tried again."""

    class Odd(FakeExchange):
        async def fetch_trades(self, market: Market | None = None, after: int | None = None) -> Any:
            if self.looks == 2:
                msg = "a defect"
                raise RuntimeError(msg)
            return await super().fetch_trades(market, after)

    exchange = Odd()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        await stage.env.clock.sleep(30.5)
        assert 2 == exchange.looks
        assert 1 == stage.env.counters.get(Count.RECONCILES, "failed")
        await stage.env.clock.sleep(3)
        assert 3 == exchange.looks
        exchange.looks = 1
        with pytest.raises(RuntimeError, match="a defect"):
            await stage.trading.reconcile()

    with caplog.at_level(logging.ERROR):
        play(act, exchange=exchange)
    assert "a defect" in caplog.text


def test_trades_are_read_from_a_little_before_the_cycle() -> None:
    """The venue is asked for the trades since the start of the window, with a margin."""

    class Asked(FakeExchange):
        after: int | None = None

        async def fetch_trades(self, market: Market | None = None, after: int | None = None) -> Any:
            self.after = after
            return await super().fetch_trades(market, after)

    exchange = Asked()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        assert START - 60 == exchange.after

    play(act, exchange=exchange)


def test_a_long_answer_does_not_hold_up_others() -> None:
    """Between every few reports that are applied the event loop serves who waits."""
    exchange = FakeExchange()
    seen: list[int] = []

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        for number in range(200):
            exchange.known[f"0x{number}"] = order_report(FIRST, f"0x{number}")
        asking = asyncio.create_task(stage.trading.reconcile())
        while not asking.done():
            seen.append(len(stage.trading.snapshot().orders))
            await asyncio.sleep(0)
        assert 200 == len(stage.trading.snapshot().orders)

    play(act, exchange=exchange, reconcile=ON_DEMAND)
    assert 20 >= max(after - before for before, after in pairwise(seen))


# ------------------------------------------------------------------ the switch


def test_a_comparison_ends_with_its_cycle() -> None:
    """At the switch it is cancelled, whoever waits is told, and no task of it is left."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.hold_look = asyncio.get_running_loop().create_future()
        asking = asyncio.create_task(stage.trading.reconcile())
        await settle()
        exchange.known["0xforeign"] = order_report(FIRST, "0xforeign")
        await stage.open_cycle(START + 900)
        with pytest.raises(StaleCycleError, match="reconcile"):
            await asking
        names = [task.get_name() for task in asyncio.all_tasks()]
        assert [f"reconcile {SECOND.slug}"] == [n for n in names if n == f"reconcile {SECOND.slug}"]
        assert not [name for name in names if "reconcile" in name and FIRST.slug in name]
        stage.scheduler.switch(None)
        await stage.trading.wait_idle()
        with pytest.raises(StaleCycleError, match="reconcile"):
            await stage.trading.reconcile()
        assert not [task for task in asyncio.all_tasks() if "reconcile" in task.get_name()]

    play(act, exchange=exchange)


def test_a_view_that_comes_after_the_switch_does_not_reach_the_new_cycle() -> None:
    """Even if a request cannot be cancelled, its answer ends at the gate of its own session."""

    class Stubborn(FakeExchange):
        release: asyncio.Event
        is_stubborn = False

        async def fetch_open_orders(self, market: Market | None = None) -> list[OrderReport]:
            if self.is_stubborn:
                self.is_stubborn = False
                while not self.release.is_set():
                    try:
                        await self.release.wait()
                    except asyncio.CancelledError:
                        continue
                return list(self.known.values())
            return await super().fetch_open_orders(market)

    exchange = Stubborn()

    async def act(stage: Stage) -> None:
        exchange.release = asyncio.Event()
        notes: list[Any] = []
        await stage.open_cycle()
        exchange.answers = [LOST]
        await lose(stage)
        exchange.query_error = ExchangeUnavailable("away")
        await stage.env.clock.sleep(10)
        exchange.query_error = None
        exchange.known["0xforeign"] = order_report(FIRST, "0xforeign")
        exchange.trades = [trade_report(FIRST, "t1", "0xforeign")]
        exchange.is_stubborn = True
        asking = asyncio.create_task(stage.trading.reconcile())
        await stage.env.clock.sleep(60)
        session = await stage.prepare(START + 900)
        stage.scheduler.switch(session)
        await settle()
        stage.env.ledger.note = (  # type: ignore[method-assign]
            lambda kind, data, market=None: notes.append((kind, data))
        )
        exchange.release.set()
        await asyncio.wait({asking})
        await stage.env.clock.sleep(1)
        assert () == stage.trading.snapshot().orders
        assert () == stage.trading.snapshot().fills
        assert [] == reports(stage, START + 900)
        assert stage.env.counters.get(Count.GATE_DROPPED, "closed") >= 2
        assert {} == stage.trading.record().refusals  # type: ignore[union-attr]
        assert 1 == stage.env.counters.get(Count.ENGINE_STALE, "ApplyPlaceAnswer")
        assert [] == [data for kind, data in notes if kind == "reconcile"]

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_the_barrier_does_not_wait_for_a_comparison() -> None:
    """With a comparison that hangs the switch happens in the same instant."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.hold_look = asyncio.get_running_loop().create_future()
        asking = asyncio.create_task(stage.trading.reconcile())
        await settle()
        session = await stage.prepare(START + 900)
        stage.scheduler.switch(session)
        assert SECOND == stage.trading.market
        await asyncio.wait({asking})

    play(act, exchange=exchange, reconcile=ON_DEMAND)


# ------------------------------------------------------------------ strategies, ledger, settings


@define
class Asks(Recorder):
    """Compares at its start."""

    async def on_cycle_start(self) -> None:
        report = await self.trading.reconcile()
        self._note("asked", report.listed)


def test_a_strategy_can_ask() -> None:
    """``self.trading.reconcile()`` in a hook compares, and the handle of a dead cycle refuses."""
    exchange = FakeExchange()
    exchange.known["0xforeign"] = order_report(FIRST, "0xforeign")

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        assert [("asked", 1)] == stage.diary.of(START, "asked")
        handle = stage.trading.handle("Recorder")
        handle.kill()
        with pytest.raises(StaleCycleError, match="reconcile"):
            await handle.reconcile()

    play(act, Asks(), exchange=exchange)


def test_a_defect_of_a_strategy_in_the_hook_is_its_own() -> None:
    """``on_reconcile`` that raises ends the strategy's cycle like any other hook."""

    @define
    class Fails(Recorder):
        async def on_reconcile(self, report: ReconcileReport) -> None:
            raise ValueError

    exchange = FakeExchange()
    exchange.known["0xforeign"] = order_report(FIRST, "0xforeign")

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        assert {"on_reconcile": 1} == stage.env.counters.reasons(Count.STRATEGY_ERRORS)

    play(act, Fails(), exchange=exchange)


def test_what_is_found_is_written_down() -> None:
    """The ledger gets a note of each comparison that failed or found something, and of no other."""
    exchange = FakeExchange()
    notes: list[tuple[str, Any]] = []

    async def act(stage: Stage) -> None:
        stage.env.ledger.note = (  # type: ignore[method-assign]
            lambda kind, data, market=None: notes.append((kind, data))
        )
        await stage.open_cycle()
        exchange.known["0xforeign"] = order_report(FIRST, "0xforeign")
        exchange.balance = Decimal(1001)
        await stage.trading.reconcile()
        exchange.look_error = ExchangeError("away")
        await stage.trading.reconcile()
        found = [data for kind, data in notes if kind == "reconcile"]
        assert found == [
            {
                "trigger": "demand",
                "time": float(START),
                "listed": 1,
                "orders": ["0xforeign"],
                "foreign": ["0xforeign"],
                "cash": "1",
                "differs": True,
            },
            {"trigger": "demand", "time": float(START), "error": "away"},
        ]

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_the_log_warns_of_what_is_odd(caplog: pytest.LogCaptureFixture) -> None:
    """What was only made up for is a line of information; what somebody should look at is a warning."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        order = await buy(stage)
        exchange.end(order.venue_id)
        await stage.trading.reconcile()
        exchange.known["0xforeign"] = order_report(FIRST, "0xforeign")
        await stage.trading.reconcile()

    with caplog.at_level(logging.INFO):
        play(act, exchange=exchange, reconcile=ON_DEMAND)
    levels = {r.message: r.levelname for r in caplog.records if "differs" in r.message}
    assert levels == {
        f"{FIRST.slug}: differs from the venue: 1 orders changed (demand)": "INFO",
        f"{FIRST.slug}: differs from the venue: 1 orders changed, 1 foreign orders open (demand)": (
            "WARNING"
        ),
    }


def test_a_report_can_be_read() -> None:
    """Its one line names what was found, and says so when there is nothing."""
    report = ReconcileReport(slug="s", generation=1, trigger="timer", time=0.0)
    assert "nothing (timer)" == describe(report)
    full = ReconcileReport(
        slug="s",
        generation=1,
        trigger="start",
        time=0.0,
        trades=("t1", "t2"),
        foreign=("f",),
        cash=Decimal("-0.5"),
    )
    assert describe(full) == (
        "2 trades learned of, 1 foreign orders open, "
        "the venue has -0.5 USD of cash beyond our books (start)"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("open_interval", 0.0),
        ("idle_interval", -1.0),
        ("soon", ()),
        ("soon", (1.0, 0.0)),
        ("grace", -1.0),
        ("trade_margin", -1.0),
        ("foreign_orders", "adopt"),
        ("late_orders", "ignore"),
    ],
)
def test_settings_that_cannot_be_are_refused(name: str, value: Any) -> None:
    """The error names the field."""
    with pytest.raises(ConfigError, match=f"^{name}: expected "):
        ReconcileSettings(**{name: value})


# ------------------------------------------------------------------ the rule


@define
class Fate:
    """What happens to one order at the venue, and which events of it are lost."""

    is_lost: bool
    exists: bool
    fills: tuple[int, ...]
    ends: bool
    lost_events: tuple[bool, ...]


fates = st.builds(
    Fate,
    is_lost=st.booleans(),
    exists=st.booleans(),
    fills=st.lists(st.integers(1, 4), max_size=3).map(tuple),
    ends=st.booleans(),
    lost_events=st.lists(st.booleans(), min_size=5, max_size=5).map(tuple),
)


@examples(max_examples=150, deadline=None)
@given(st.lists(fates, min_size=1, max_size=5))
def test_after_a_comparison_the_engine_equals_the_venue(plan: list[Fate]) -> None:
    """Whatever answers and events were lost: each order has the venue's state and fills, exactly once."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        tell = stage.env.router.on_user_message
        orders: list[Order] = []
        for number, fate in enumerate(plan):
            exists = fate.exists or not fate.is_lost
            exchange.accepts_lost = fate.exists
            exchange.answers = [LOST] if fate.is_lost else []
            order = await (lose(stage) if fate.is_lost else buy(stage))
            orders.append(order)
            if not exists:
                continue
            done = 0
            events = iter(fate.lost_events)
            for size in fate.fills:
                size = min(size, 10 - done)
                done += size
                trade = trade_report(
                    FIRST, f"t{number}/{done}", order.venue_id, size=Decimal(size), is_taker=False
                )
                if size:
                    exchange.trades.append(trade)
                    exchange.change(
                        order.venue_id, size_matched=Decimal(done), kind=OrderEventKind.UPDATE
                    )
                    if not next(events):
                        tell(trade)
            if fate.ends and done < 10:
                report = exchange.end(order.venue_id)
                if not next(events):
                    tell(report)
        await stage.env.clock.sleep(6)
        for order, fate in zip(orders, plan, strict=True):
            after = now(stage, order)
            if fate.is_lost and not fate.exists:
                assert OrderStatus.REJECTED is after.status
                continue
            done = min(sum(fate.fills), 10)
            assert done == after.filled
            if done == 10:
                wanted = OrderStatus.FILLED
            elif fate.ends:
                wanted = OrderStatus.CANCELLED
            else:
                wanted = OrderStatus.PARTIALLY_FILLED if done else OrderStatus.LIVE
            assert wanted is after.status
        state = stage.trading.state(FIRST)
        assert state is not None
        assert sum(f.size for f in state.fills.values()) == state.position(UP).size
        assert len(state.fills) == len(exchange.trades)
        bought = sum((f.size * f.price for f in state.fills.values()), Decimal(0))
        assert Decimal(1000) - bought == stage.env.account.cash
        assert stage.env.account.reserved == state.reserved_cash
        assert len(plan) == len(exchange.placed)

    play(act, exchange=exchange)
