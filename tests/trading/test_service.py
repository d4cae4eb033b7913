"""Placing and cancelling through the facade: what is asked, what is sent, what comes back when."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from polyframe.counters import Count
from polyframe.errors import (
    ExchangeError,
    ExchangeUnavailable,
    OrderDenied,
    OrderOutcomeUnknown,
    OrderRejected,
    StaleCycleError,
)
from polyframe.exchange.base import PlaceAnswer
from polyframe.model.events import OrderEventKind
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, OrderStatus, OrderType, PlaceResult, Side
from polyframe.trading.handle import StrategyTrading
from tests.support.fake import (
    START,
    FakeExchange,
    make_market,
    order_report,
    snapshot,
    trade_report,
)
from tests.support.stage import Stage, play, settle

FIRST, SECOND = make_market(start=START), make_market(start=START + 900)
TEN = Decimal(10)
UP = Outcome.UP


async def handle(stage: Stage) -> StrategyTrading:
    """Open a cycle and return a strategy's handle in it."""
    await stage.open_cycle()
    return stage.trading.handle("me")


def test_placing_returns_the_order_as_the_venue_answered() -> None:
    """A resting order comes back live, reserved, and under the id that the venue uses."""

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        order = await trading.buy(UP, price=Decimal("0.40"), size=TEN)
        assert OrderStatus.LIVE is order.status
        assert order.venue_id == "0xorder1"
        assert order.strategy == "me"
        # 10 × 0.40 and the worst fee 10 × 0.07 × 0.4 × 0.6.
        assert Decimal("4.168") == stage.env.account.reserved
        assert [order] == trading.open_orders()
        assert Decimal(1000) - Decimal("4.168") == trading.cash
        assert stage.env.counters.get(Count.ORDERS_SENT, "live") == 1

    play(act)


@pytest.mark.parametrize(
    ("request_", "rule"),
    [
        (OrderRequest(UP, Side.BUY, Decimal("0.405"), TEN), "tick"),
        (OrderRequest(UP, Side.BUY, Decimal("0.004"), TEN), "price"),
        (OrderRequest(UP, Side.BUY, Decimal("0.999"), TEN), "price"),
        (OrderRequest(UP, Side.BUY, Decimal("0.40"), Decimal("4.99")), "min_size"),
        (OrderRequest(UP, Side.BUY, Decimal("0.40"), Decimal("10.001")), "size"),
        (OrderRequest(UP, Side.BUY, Decimal("0.40"), Decimal(0)), "size"),
        (OrderRequest(UP, Side.BUY, Decimal("0.40"), Decimal("1e15")), "size"),
        (OrderRequest(UP, Side.SELL, Decimal("0.40"), Decimal("1e40")), "size"),
        (
            OrderRequest(UP, Side.BUY, Decimal("0.40"), TEN, OrderType.FAK, usd=Decimal("1e40")),
            "cents",
        ),
        (OrderRequest(UP, Side.BUY, Decimal("0.40"), TEN, OrderType.FOK, True), "post_only"),
        (OrderRequest(UP, Side.BUY, Decimal("0.41"), Decimal("7.5"), OrderType.FAK), "cents"),
        (OrderRequest(UP, Side.BUY, Decimal("0.41"), Decimal("7.5"), OrderType.FOK), "cents"),
        (OrderRequest.market_buy(UP, Decimal("5.005"), Decimal("0.40")), "cents"),
        (OrderRequest.market_buy(UP, Decimal(-5), Decimal("0.40")), "cents"),
        (OrderRequest.market_buy(UP, Decimal("0.99"), Decimal("0.40")), "min_notional"),
        (OrderRequest.market_buy(UP, Decimal(5), Decimal("0.405")), "tick"),
        (OrderRequest.market_buy(UP, Decimal(5), Decimal("0.40"), OrderType.GTC), "usd"),
        (OrderRequest(UP, Side.SELL, Decimal("0.40"), TEN, OrderType.FAK, usd=Decimal(4)), "usd"),
        (OrderRequest(UP, Side.BUY, Decimal("0.40"), TEN, OrderType.FAK, usd=Decimal(5)), "usd"),
        (OrderRequest(UP, Side.BUY, Decimal("0.40"), TEN, OrderType.FAK, usd=Decimal(3)), "usd"),
        (OrderRequest(UP, Side.BUY, Decimal("0.01"), TEN, OrderType.FAK), "min_notional"),
        (OrderRequest(UP, Side.BUY, Decimal("0.40"), TEN, OrderType.GTD), "expires"),
        (OrderRequest(UP, Side.BUY, Decimal("0.40"), TEN, expires=START + 900), "expires"),
        (
            OrderRequest(UP, Side.BUY, Decimal("0.40"), TEN, OrderType.GTD, expires=START + 179),
            "expires",
        ),
        (OrderRequest(UP, Side.BUY, Decimal("0.40"), Decimal(2450)), "cash"),
        (OrderRequest(UP, Side.SELL, Decimal("0.60"), TEN), "shares"),
    ],
)
def test_rules_deny_before_anything_is_sent(request_: OrderRequest, rule: str) -> None:
    """An order that breaks a rule raises OrderDenied with its name, is counted, and costs nothing."""

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        with pytest.raises(OrderDenied, match=f"rule '{rule}'") as caught:
            await trading.place(request_)
        assert rule == caught.value.rule
        assert stage.exchange.placed == []
        assert stage.env.account.reserved == 0
        assert stage.env.counters.get(Count.ORDERS_DENIED, rule) == 1

    play(act)


def test_orders_of_every_lifetime_leave_as_they_were_asked_for() -> None:
    """GTD with its time, post-only GTD, FAK with odd sizes to sell, and buys for a sum of USD pass."""

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        late = START + 600
        price, odd = Decimal("0.41"), Decimal("7.77")
        await trading.buy(UP, price=price, size=odd, order_type=OrderType.GTD, expires=late)
        request = OrderRequest(UP, Side.BUY, price, odd, OrderType.GTD, True, expires=late)
        await trading.place(request)
        order = await trading.market_buy(UP, usd=Decimal(10), price=price)
        assert Decimal("24.3902") == order.size
        await trading.market_buy(UP, usd=Decimal(1), price=price, order_type=OrderType.FOK)
        sent = [placed.request for placed in stage.exchange.placed]
        kinds = [OrderType.GTD, OrderType.GTD, OrderType.FAK, OrderType.FOK]
        assert kinds == [one.order_type for one in sent]
        assert [late, late, None, None] == [one.expires for one in sent]
        assert [None, None, Decimal(10), Decimal(1)] == [one.usd for one in sent]

    play(act)


def test_a_marketable_buy_below_one_dollar_is_denied() -> None:
    """The venue's minimum notional holds for buys that would take, not for those that rest."""

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        stage.exchange.streams[FIRST.slug].push(snapshot(FIRST, UP, 500, 1000))
        with pytest.raises(OrderDenied, match="'min_notional'"):
            await trading.buy(UP, price=Decimal("0.10"), size=Decimal(5))
        await trading.buy(UP, price=Decimal("0.06"), size=Decimal(5))

    play(act)


def test_a_refusal_raises_and_releases() -> None:
    """A venue's rejection raises OrderRejected with code and order; nothing stays reserved."""
    exchange = FakeExchange()
    exchange.answers = [PlaceAnswer(PlaceResult.REJECTED, "not_enough_balance", "no money")]

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        with pytest.raises(OrderRejected, match=r"\(not_enough_balance\): no money") as caught:
            await trading.buy(UP, price=Decimal("0.40"), size=TEN)
        assert OrderStatus.REJECTED is caught.value.order.status
        assert stage.env.account.reserved == 0

    play(act, exchange=exchange)


@pytest.mark.parametrize("code", ["fok_not_filled", "fak_not_filled"])
def test_a_killed_order_is_an_ordinary_end(code: str) -> None:
    """A FOK or FAK that found nothing comes back cancelled instead of raising."""
    exchange = FakeExchange()
    exchange.answers = [PlaceAnswer(PlaceResult.REJECTED, code, "killed")]

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        order = await trading.buy(UP, price=Decimal("0.40"), size=TEN, order_type=OrderType.FAK)
        assert (order.status, order.reason) == (OrderStatus.CANCELLED, "killed")
        assert stage.env.account.reserved == 0

    play(act, exchange=exchange)


def test_a_lost_answer_keeps_the_reservation() -> None:
    """An unknown outcome raises, is not sent again, and the venue's events settle it later."""
    exchange = FakeExchange()
    exchange.answers = [PlaceAnswer(PlaceResult.UNKNOWN, text="read timed out")]

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        with pytest.raises(OrderOutcomeUnknown, match="read timed out") as caught:
            await trading.buy(UP, price=Decimal("0.40"), size=TEN)
        assert OrderStatus.UNKNOWN is caught.value.order.status
        assert stage.env.account.reserved > 0
        assert len(exchange.placed) == 1
        stage.env.router.on_user_message(
            order_report(FIRST, "0xorder1", kind=OrderEventKind.CANCELLATION, status="CANCELED")
        )
        assert stage.env.account.reserved == 0

    play(act, exchange=exchange)


def test_an_event_before_the_answer_finds_its_order() -> None:
    """Placement and trade that overtake the HTTP reply are applied once; the reply changes nothing."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        exchange.hold_place = asyncio.get_running_loop().create_future()
        exchange.answers = [PlaceAnswer(PlaceResult.MATCHED)]
        placing = asyncio.create_task(trading.buy(UP, price=Decimal("0.50"), size=TEN))
        await settle()
        router = stage.env.router
        router.on_user_message(order_report(FIRST, "0xorder1"))
        router.on_user_message(trade_report(FIRST, "t1", "0xorder1"))
        assert trading.position(UP).size == TEN
        exchange.hold_place.set_result(None)
        order = await placing
        assert (OrderStatus.FILLED, TEN, Decimal("0.50")) == (
            order.status,
            order.filled,
            order.average_price,
        )
        assert len(trading.fills()) == 1
        # 10 × 0.50 and the taker's 10 × 0.07 × 0.25.
        assert Decimal(1000) - Decimal("5.175") == stage.env.account.cash
        assert stage.env.account.reserved == 0

    play(act, exchange=exchange)


def test_selling_needs_free_shares() -> None:
    """Shares that an open sell order holds cannot be sold twice; its cancel frees them."""

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        await trading.buy(UP, price=Decimal("0.50"), size=TEN)
        stage.env.router.on_user_message(trade_report(FIRST, "t1", "0xorder1"))
        assert trading.sellable(UP) == TEN
        sell = await trading.sell(UP, price=Decimal("0.60"), size=TEN)
        assert trading.sellable(UP) == 0
        with pytest.raises(OrderDenied, match="'shares'"):
            await trading.sell(UP, price=Decimal("0.60"), size=Decimal(5))
        await trading.cancel(sell)
        assert trading.sellable(UP) == TEN

    play(act)


def test_cancelling_an_order() -> None:
    """A cancel returns the order cancelled; cancelling a final order changes and sends nothing."""

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        order = await trading.buy(UP, price=Decimal("0.40"), size=TEN)
        cancelled = await trading.cancel(order)
        assert OrderStatus.CANCELLED is cancelled.status
        assert stage.env.account.reserved == 0
        again = await trading.cancel(order.client_id)
        assert cancelled == again
        assert stage.exchange.cancelled == ["0xorder1"]
        assert stage.env.counters.get(Count.CANCELS_SENT, "cancelled") == 1

    play(act)


def test_a_refused_cancel_leaves_the_order_open() -> None:
    """What the venue did not cancel is open again: only an event of its end ends it."""
    exchange = FakeExchange()
    exchange.cancel_refused = {"0xorder1": "already canceled or matched"}

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        order = await trading.buy(UP, price=Decimal("0.40"), size=TEN)
        after = await trading.cancel(order)
        assert after.is_open
        assert stage.env.account.reserved > 0
        assert stage.env.counters.get(Count.CANCELS_SENT, "refused") == 1

    play(act, exchange=exchange)


def test_a_cancel_that_gets_no_answer_raises() -> None:
    """The error reaches the caller, and the order is as open as before."""
    exchange = FakeExchange()
    exchange.cancel_error = ExchangeUnavailable("no connection")

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        order = await trading.buy(UP, price=Decimal("0.40"), size=TEN)
        with pytest.raises(ExchangeUnavailable, match="no connection"):
            await trading.cancel(order)
        assert [o.status for o in trading.open_orders()] == [OrderStatus.LIVE]
        assert stage.env.counters.get(Count.CANCELS_SENT, "error") == 1

    play(act, exchange=exchange)


def test_cancel_all_tries_every_order() -> None:
    """All open orders (of one outcome, if asked) are cancelled; a failure is raised at the end."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        for outcome in (UP, UP, Outcome.DOWN):
            await trading.buy(outcome, price=Decimal("0.40"), size=TEN)
        done = await trading.cancel_all(UP)
        assert sorted(order.venue_id for order in done) == ["0xorder1", "0xorder2"]
        assert [order.venue_id for order in trading.open_orders()] == ["0xorder3"]
        exchange.cancel_error = ExchangeUnavailable("no connection")
        with pytest.raises(ExchangeError):
            await trading.cancel_all()

    play(act, exchange=exchange)


def test_an_answer_after_the_switch_does_not_touch_the_new_cycle() -> None:
    """A late acceptance is recorded on the dead cycle and cancelled at the venue; cash comes back."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        exchange.hold_place = asyncio.get_running_loop().create_future()
        placing = asyncio.create_task(trading.buy(UP, price=Decimal("0.40"), size=TEN))
        await settle()
        reserved = stage.env.account.reserved
        await stage.open_cycle(START + 900)
        assert reserved == stage.env.account.reserved > 0
        exchange.hold_place.set_result(None)
        with pytest.raises(StaleCycleError):
            await placing
        assert exchange.cancelled == ["0xorder1"]
        assert stage.env.account.reserved == 0
        assert stage.trading.snapshot().orders == ()
        old = stage.env.settlement.state(FIRST.slug)
        assert old is not None
        assert [o.status for o in old.orders.values()] == [OrderStatus.CANCELLED]
        assert stage.env.counters.get(Count.LATE_ANSWERS, "live") == 1
        assert stage.env.counters.get(Count.ENGINE_STALE, "ApplyPlaceAnswer") == 1

    play(act, exchange=exchange)


def test_a_late_refusal_releases_the_cash() -> None:
    """An order that the venue refused after the switch holds nothing and is not cancelled."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        exchange.hold_place = asyncio.get_running_loop().create_future()
        exchange.answers = [PlaceAnswer(PlaceResult.REJECTED, "market_not_ready", "closed")]
        placing = asyncio.create_task(trading.buy(UP, price=Decimal("0.40"), size=TEN))
        await settle()
        await stage.open_cycle(START + 900)
        exchange.hold_place.set_result(None)
        with pytest.raises(StaleCycleError):
            await placing
        assert stage.env.account.reserved == 0
        assert exchange.cancelled == []

    play(act, exchange=exchange)


def test_a_late_cancel_answer_reaches_the_dead_cycle() -> None:
    """A cancel under way at the switch is applied to the old state when its answer comes."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        order = await trading.buy(UP, price=Decimal("0.40"), size=TEN)
        exchange.hold_cancel = asyncio.get_running_loop().create_future()
        cancelling = asyncio.create_task(trading.cancel(order))
        await settle()
        await stage.open_cycle(START + 900)
        exchange.hold_cancel.set_result(None)
        await cancelling
        assert stage.env.account.reserved == 0
        assert stage.env.counters.get(Count.LATE_ANSWERS, "cancel") == 1

    play(act, exchange=exchange)


def test_a_cancelled_caller_does_not_lose_the_answer() -> None:
    """When the hook that places is cancelled, the answer is still applied."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        exchange.hold_place = asyncio.get_running_loop().create_future()
        placing = asyncio.create_task(trading.buy(UP, price=Decimal("0.40"), size=TEN))
        await settle()
        placing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await placing
        assert [o.status for o in trading.orders()] == [OrderStatus.SUBMITTING]
        exchange.hold_place.set_result(None)
        await settle()
        assert [o.status for o in trading.orders()] == [OrderStatus.LIVE]

    play(act, exchange=exchange)


def test_an_exchange_that_breaks_its_promise_leaves_the_outcome_unknown() -> None:
    """place_order must not raise; if it does, the order counts as sent with a lost answer."""

    class Broken(FakeExchange):
        async def place_order(self, prepared: Any) -> PlaceAnswer:
            msg = "bug"
            raise RuntimeError(msg)

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        with pytest.raises(OrderOutcomeUnknown, match="bug"):
            await trading.buy(UP, price=Decimal("0.40"), size=TEN)
        assert [o.status for o in trading.orders()] == [OrderStatus.UNKNOWN]

    play(act, exchange=Broken())


def test_commands_of_another_generation_are_stale() -> None:
    """The service refuses a generation that is not current, counts it, and sends nothing."""

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        request = OrderRequest(UP, Side.BUY, Decimal("0.40"), TEN)
        for generation in (START - 900, START + 900):
            with pytest.raises(StaleCycleError):
                await stage.trading.place(generation, "me", request)
        assert stage.env.counters.get(Count.ENGINE_STALE, "PlaceOrder") == 2
        with pytest.raises(StaleCycleError):
            await stage.trading.cancel(SECOND, "x")
        stage.trading.apply_order_report(START - 900, order_report(FIRST, "0x1"))
        stage.trading.apply_trade_report(START - 900, trade_report(FIRST, "t", "0x1"))
        assert stage.trading.snapshot().orders == ()
        assert stage.env.counters.get(Count.ENGINE_STALE, "ApplyOrderReport") == 1
        assert stage.env.counters.get(Count.ENGINE_STALE, "ApplyTradeReport") == 1
        stage.scheduler.switch(None)
        with pytest.raises(StaleCycleError):
            stage.trading.snapshot()

    play(act)


def test_a_market_that_is_not_newer_is_refused() -> None:
    """set_current_market never goes back in time."""

    async def act(stage: Stage) -> None:
        await stage.open_cycle(START + 900)
        with pytest.raises(ValueError, match="newer"):
            stage.trading.set_current_market(FIRST, None)

    play(act)


def test_repeated_messages_are_counted_as_ignored() -> None:
    """A message that tells nothing new is counted by reason."""

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        for _ in range(2):
            stage.env.router.on_user_message(order_report(FIRST, "0x1"))
        assert stage.env.counters.get(Count.ENGINE_IGNORED, "duplicate") == 1

    play(act)
