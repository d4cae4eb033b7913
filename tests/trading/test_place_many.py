"""Several orders with one request: each has an end of its own, and each sees those before it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import pytest

from polyframe.counters import Count
from polyframe.errors import (
    ConfigError,
    OrderDenied,
    OrderOutcomeUnknown,
    OrderRejected,
    StaleCycleError,
)
from polyframe.exchange.base import PlaceAnswer, PreparedOrder
from polyframe.model.market import Market, Outcome
from polyframe.model.order import OrderRequest, OrderStatus, OrderType, PlaceResult, Side
from polyframe.trading.breaker import BreakerState
from polyframe.trading.handle import StrategyTrading
from polyframe.trading.limits import RiskLimits
from tests.support.fake import START, FakeExchange, make_market, trade_report
from tests.support.stage import Stage, play, settle

FIRST = make_market(start=START)
UP, DOWN, TEN, FORTY = Outcome.UP, Outcome.DOWN, Decimal(10), Decimal("0.40")
LIVE = PlaceAnswer(PlaceResult.LIVE)
REFUSED = PlaceAnswer(PlaceResult.REJECTED, "not_enough_balance", "no money")
TROUBLE = PlaceAnswer(PlaceResult.REJECTED, "restarting", "425")
KILLED = PlaceAnswer(PlaceResult.REJECTED, "fak_not_filled", "killed")
LOST = PlaceAnswer(PlaceResult.UNKNOWN, "no_answer", "timed out")


def buy(price: str = "0.40", size: int = 10, outcome: Outcome = UP, **more: Any) -> OrderRequest:
    """Return a request to buy."""
    return OrderRequest(outcome, Side.BUY, Decimal(price), Decimal(size), **more)


async def handle(stage: Stage) -> StrategyTrading:
    """Open a cycle and return a strategy's handle in it."""
    await stage.open_cycle()
    return stage.trading.handle("me")


def test_all_leave_in_one_request() -> None:
    """Two orders are one request to the venue; both come back live, reserved and in order."""

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        requests = [buy(), buy(outcome=DOWN)]
        placed = await trading.place_many(requests)
        assert [one.request for one in placed] == requests
        assert [one.order for one in placed] == trading.open_orders()
        assert [one.error for one in placed] == [None, None]
        assert [["0xorder1", "0xorder2"]] == stage.exchange.place_batches
        assert Decimal("8.336") == stage.env.account.reserved
        assert await trading.place_many([]) == ()

    play(act)


def test_fifteen_at_a_time() -> None:
    """What the venue takes at once is 15: of 31 orders two whole requests and a single one leave."""

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        placed = await trading.place_many([buy("0.10", 5)] * 31)
        assert [len(batch) for batch in stage.exchange.place_batches] == [15, 15]
        assert len(stage.exchange.placed) == 31
        assert [one.order for one in placed] == trading.open_orders()

    play(act)


def test_each_has_an_end_of_its_own() -> None:
    """Denied, refused, killed and lost orders stop no other, and each comes with its error."""
    exchange = FakeExchange()
    exchange.answers = [REFUSED, KILLED, LOST, LIVE]

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        fak = buy(order_type=OrderType.FAK)
        placed = await trading.place_many([buy("0.405"), buy(), fak, buy(), buy("0.30")])
        denied, refused, killed, lost, live = placed
        assert denied.order is None
        assert isinstance(denied.error, OrderDenied)
        assert denied.error.rule == "tick"
        assert isinstance(refused.error, OrderRejected)
        assert isinstance(lost.error, OrderOutcomeUnknown)
        assert killed.error is None
        assert live.error is None
        assert [one.order and one.order.status for one in placed] == [
            None,
            OrderStatus.REJECTED,
            OrderStatus.CANCELLED,
            OrderStatus.UNKNOWN,
            OrderStatus.LIVE,
        ]
        # Only the lost one and the live one hold cash: 4 and 3, with the worst fees.
        assert Decimal("4.168") + Decimal("3.147") == stage.env.account.reserved
        assert len(exchange.placed) == 4
        reasons = stage.env.counters.reasons(Count.ORDERS_SENT)
        assert reasons == {"rejected": 2, "unknown": 1, "live": 1}

    play(act, exchange=exchange)


@pytest.mark.parametrize(
    ("limits", "rule"),
    [
        (RiskLimits(max_open_orders=2), "risk_open_orders"),
        (RiskLimits(max_cycle_notional=Decimal(8)), "risk_cycle_notional"),
        (RiskLimits(max_position=Decimal(20)), "risk_position"),
        (RiskLimits(max_orders_per_second=1.0, order_burst=2), "risk_rate"),
        (RiskLimits(), "cash"),
    ],
)
def test_each_order_sees_those_before_it(limits: RiskLimits, rule: str) -> None:
    """The third of three is denied for what the first two of the same batch will do."""
    exchange = FakeExchange()
    if rule == "cash":
        exchange.balance = Decimal(10)

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        placed = await trading.place_many([buy()] * 3)
        assert [one.error is None for one in placed] == [True, True, False]
        assert isinstance(placed[2].error, OrderDenied)
        assert placed[2].error.rule == rule
        assert len(exchange.placed) == 2

    play(act, exchange=exchange, risk=limits)


def test_two_of_one_intent_do_not_leave_together() -> None:
    """The second order of an intent in one batch is denied."""

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        first, second = await trading.place_many([buy(intent="entry"), buy(intent="entry")])
        assert first.error is None
        assert isinstance(second.error, OrderDenied)
        assert second.error.rule == "duplicate_intent"

    play(act)


def test_shares_are_sold_once() -> None:
    """Two sells of all shares in one batch: the second is denied."""

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        stage.exchange.answers = [PlaceAnswer(PlaceResult.MATCHED)]
        await trading.buy(UP, price=Decimal("0.50"), size=TEN)
        stage.env.router.on_user_message(trade_report(FIRST, "t1", "0xorder1"))
        sell = OrderRequest(UP, Side.SELL, Decimal("0.60"), TEN)
        first, second = await trading.place_many([sell, sell])
        assert first.error is None
        assert isinstance(second.error, OrderDenied)
        assert second.error.rule == "shares"

    play(act)


def test_a_half_open_breaker_lets_one_of_a_batch_through() -> None:
    """After venue errors one order tries; the others of its batch are denied."""
    exchange = FakeExchange()
    exchange.answers = [TROUBLE] * 2
    limits = RiskLimits(breaker_errors=1, breaker_cooldown=10.0)

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        await trading.place_many([buy(), buy()])
        assert BreakerState.OPEN is stage.env.risk.breaker(asyncio.get_running_loop().time())
        await stage.env.clock.sleep(10.1)
        first, second = await trading.place_many([buy(), buy()])
        assert first.error is None
        assert isinstance(second.error, OrderDenied)
        assert second.error.rule == "risk_breaker"
        assert BreakerState.CLOSED is stage.env.risk.breaker(asyncio.get_running_loop().time())

    play(act, exchange=exchange, risk=limits)


def test_a_request_that_fails_is_one_venue_error() -> None:
    """However many orders it had, it is one error of a row; one answered order makes it none."""
    exchange = FakeExchange()
    limits = RiskLimits(breaker_errors=2)

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        now = asyncio.get_running_loop().time

        async def state(*answers: PlaceAnswer) -> BreakerState:
            exchange.answers = list(answers)
            await trading.place_many([buy("0.10", 5)] * len(answers))
            return stage.env.risk.breaker(now())

        assert await state(*[TROUBLE] * 5) is BreakerState.CLOSED
        assert await state(TROUBLE, LIVE, TROUBLE) is BreakerState.CLOSED
        assert await state(TROUBLE, LOST) is BreakerState.CLOSED
        assert await state(LOST, LOST) is BreakerState.OPEN

    play(act, exchange=exchange, risk=limits)


def test_orders_are_registered_before_they_leave() -> None:
    """While the request is under way all orders are known under the venue's ids, and hold cash."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        exchange.hold_place = asyncio.get_running_loop().create_future()
        placing = asyncio.create_task(trading.place_many([buy(), buy()]))
        await settle()
        orders = trading.open_orders()
        assert [order.status for order in orders] == [OrderStatus.SUBMITTING] * 2
        assert [order.venue_id for order in orders] == ["0xorder1", "0xorder2"]
        assert stage.env.settlement.own.is_under_way("0xorder2")
        # A cancel does not overtake the batch.
        cancelling = asyncio.create_task(trading.cancel(orders[1]))
        await settle()
        assert exchange.cancelled == []
        exchange.hold_place.set_result(None)
        await placing
        await cancelling
        assert exchange.cancelled == ["0xorder2"]
        assert not stage.env.settlement.own.any_under_way

    play(act, exchange=exchange)


def test_a_cancelled_caller_loses_no_answer() -> None:
    """All of three requests leave and are answered although their caller is cancelled at once."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        exchange.hold_place = asyncio.get_running_loop().create_future()
        placing = asyncio.create_task(trading.place_many([buy("0.10", 5)] * 31))
        await asyncio.sleep(0)
        placing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await placing
        exchange.hold_place.set_result(None)
        await settle()
        assert [order.status for order in trading.orders()] == [OrderStatus.LIVE] * 31

    play(act, exchange=exchange)


def test_a_batch_of_a_cycle_that_is_over() -> None:
    """Placed too late nothing is sent; answered too late all are cancelled and the cash is back."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        exchange.hold_place = asyncio.get_running_loop().create_future()
        placing = asyncio.create_task(trading.place_many([buy(), buy()]))
        await settle()
        await stage.open_cycle(START + 900)
        with pytest.raises(StaleCycleError):
            await trading.place_many([buy(), buy()])
        exchange.hold_place.set_result(None)
        with pytest.raises(StaleCycleError, match="it was sent"):
            await placing
        assert sorted(exchange.cancelled) == ["0xorder1", "0xorder2"]
        assert len(exchange.placed) == 2
        assert stage.env.account.reserved == 0
        assert stage.trading.snapshot().orders == ()

    play(act, exchange=exchange)


class Odd(FakeExchange):
    """Breaks the promises of `Exchange.place_orders`."""

    def __init__(self, answers: Sequence[PlaceAnswer] | Exception) -> None:
        super().__init__()
        self.odd = answers

    async def place_orders(self, prepared: Sequence[PreparedOrder]) -> list[PlaceAnswer]:
        """Raise, or return another number of answers."""
        await super().place_orders(prepared)
        if isinstance(self.odd, Exception):
            raise self.odd
        return list(self.odd)


@pytest.mark.parametrize("odd", [RuntimeError("bug"), [LIVE], [LIVE] * 3])
def test_a_batch_without_proper_answers_is_unknown(odd: Any) -> None:
    """If the answers are lost, too few or too many, nothing is guessed and nothing sent again."""
    exchange = Odd(odd)

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        placed = await trading.place_many([buy(), buy()])
        assert all(isinstance(one.error, OrderOutcomeUnknown) for one in placed)
        assert [order.status for order in trading.orders()] == [OrderStatus.UNKNOWN] * 2
        # What became of them is asked for, and found.
        await stage.env.clock.sleep(10)
        assert [order.status for order in trading.orders()] == [OrderStatus.LIVE] * 2
        assert len(exchange.placed) == 2

    play(act, exchange=exchange)


class CannotSign(FakeExchange):
    """Signs orders above 20 cents only."""

    def prepare_order(self, market: Market, request: OrderRequest) -> PreparedOrder:
        """Fail for a cheap one."""
        if request.price < Decimal("0.20"):
            msg = "signer: no key"
            raise ConfigError(msg)
        return super().prepare_order(market, request)


def test_what_cannot_be_signed_leaves_nothing_behind() -> None:
    """A mistake in the set-up raises; orders that were registered before it are not left open."""
    exchange = CannotSign()
    limits = RiskLimits(max_orders_per_second=0.001, order_burst=3)

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        with pytest.raises(ConfigError, match="no key"):
            await trading.place_many([buy(intent="a"), buy(intent="b"), buy("0.10")])
        assert exchange.placed == []
        assert [order.status for order in trading.orders()] == [OrderStatus.REJECTED] * 2
        assert stage.env.account.reserved == 0
        assert stage.env.counters.get(Count.ORDERS_DENIED, "withdrawn") == 2
        assert not stage.env.settlement.own.any_under_way
        # Nor do they count for the pace, or stand in the way of their intents.
        placed = await trading.place_many([buy(intent="a"), buy(intent="b"), buy()])
        assert [one.error for one in placed] == [None, None, None]

    play(act, exchange=exchange, risk=limits)


class PanicError(BaseException):
    """What an extension in another language raises when it panics."""


def test_an_iterator_that_panics_leaves_nothing_behind() -> None:
    """Also if what escapes from the caller's own code is no exception."""

    def requests() -> Iterator[OrderRequest]:
        yield buy()
        raise PanicError

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        with pytest.raises(PanicError):
            await trading.place_many(requests())
        assert [order.status for order in trading.orders()] == [OrderStatus.REJECTED]
        assert stage.env.account.reserved == 0
        assert not stage.env.settlement.own.any_under_way

    play(act)
