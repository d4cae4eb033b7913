"""Several orders that are meant as one: all of them, or what the policy says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from polyframe.counters import Count
from polyframe.errors import (
    ConfigError,
    ExchangeUnavailable,
    OrderDenied,
    OrderOutcomeUnknown,
    OrderRejected,
    StaleCycleError,
)
from polyframe.exchange.base import PlaceAnswer
from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import OrderRequest, OrderStatus, PlaceResult, Side
from polyframe.trading.legs import LegsResult
from polyframe.trading.limits import RiskLimits
from tests.support.fake import START, FakeExchange, snapshot
from tests.support.stage import Stage, play, settle
from tests.trading.scripted import FAK, FIRST, TEN, UP, Scripted, buy, handle

DOWN = Outcome.DOWN

PAIR = (buy(UP), buy(DOWN))
FAKS = (buy(UP, order_type=FAK), buy(DOWN, order_type=FAK))


def placed(
    exchange: FakeExchange, requests: Sequence[OrderRequest], *args: Any, **more: Any
) -> tuple[LegsResult, Stage]:
    """Place legs and return what became of them."""

    async def act(stage: Stage) -> tuple[LegsResult, Stage]:
        trading = await handle(stage)
        return await trading.place_legs(requests, *args, **more), stage

    return play(act, exchange=exchange)


# ------------------------------------------------------------------ before they leave


def test_all_legs_leave_in_one_request() -> None:
    """Two resting legs are complete: one request, nothing missing, nothing done."""
    exchange = Scripted("rest", "rest")
    result, stage = placed(exchange, PAIR)
    assert result.is_complete
    assert stage.env.counters.reasons(Count.LEGS) == {"complete": 1}
    assert [leg.order.status for leg in result.legs] == [OrderStatus.LIVE] * 2
    assert exchange.place_batches == [["0xorder1", "0xorder2"]]
    assert not any((result.missing, result.cancelled, result.failures))
    assert exchange.cancelled == []


def test_no_leg_leaves_if_one_is_denied() -> None:
    """The error names the leg; those before it are withdrawn, and hold and count for nothing."""
    limits = RiskLimits(max_orders_per_second=0.001, order_burst=2)

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        with pytest.raises(OrderDenied, match=r"'tick': leg 2 of 2: price 0\.405") as caught:
            await trading.place_legs([buy(intent="a"), buy(DOWN, "0.405")])
        assert caught.value.rule == "tick"
        assert stage.exchange.placed == []
        assert stage.env.account.reserved == 0
        assert trading.open_orders() == []
        (withdrawn,) = trading.orders()
        assert withdrawn.status is OrderStatus.REJECTED
        assert withdrawn.reason == "not sent: another leg cannot leave"
        assert stage.env.counters.get(Count.ORDERS_SENT) == 0
        # Neither its intent nor its token of the pace is used up.
        assert (await trading.place_legs([buy(intent="a"), buy(DOWN)])).is_complete

    play(act, exchange=FakeExchange(), risk=limits)


def test_cash_for_all_legs_or_none() -> None:
    """Two legs that the cash covers one by one, but not together, do not leave."""
    exchange = FakeExchange()
    exchange.balance = Decimal(5)

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        with pytest.raises(OrderDenied, match="'cash': leg 2 of 2"):
            await trading.place_legs(PAIR)
        assert exchange.placed == []
        assert stage.env.account.available == 5

    play(act, exchange=exchange)


def test_a_half_open_breaker_is_as_it_was() -> None:
    """Legs cannot be the one order that tries the venue; withdrawn, they leave its place free."""
    exchange = FakeExchange()
    exchange.answers = [PlaceAnswer(PlaceResult.REJECTED, "restarting", "425")]

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        with pytest.raises(OrderRejected):
            await trading.place(buy())
        await stage.env.clock.sleep(10.1)
        with pytest.raises(OrderDenied, match="'risk_breaker': leg 2"):
            await trading.place_legs(PAIR)
        assert (await trading.place(buy())).status is OrderStatus.LIVE
        assert (await trading.place_legs(PAIR)).is_complete

    play(act, exchange=exchange, risk=RiskLimits(breaker_errors=1, breaker_cooldown=10.0))


@pytest.mark.parametrize(
    ("requests", "more", "text"),
    [
        (PAIR[:1], {}, "requests: expected 2 to 15 legs, got 1"),
        (PAIR * 8, {}, "requests: expected 2 to 15 legs, got 16"),
        (PAIR, {"on_missing": "hope"}, "on_missing: expected one of cancel, keep, unwind"),
        (PAIR, {"missing_timeout": 0.0}, "missing_timeout: expected seconds above 0"),
        (PAIR, {"unwind_floor": [None, None]}, "unwind_floor: it needs on_missing='unwind'"),
        (
            PAIR,
            {"on_missing": "unwind", "unwind_floor": [None]},
            "unwind_floor: expected 2 prices, one a leg, got 1",
        ),
    ],
)
def test_what_cannot_be(requests: Sequence[OrderRequest], more: Any, text: str) -> None:
    """A wrong argument is named with the fix, before anything is checked or sent."""

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        with pytest.raises(ConfigError, match=text):
            await trading.place_legs(requests, **more)
        assert trading.orders() == []

    play(act)


# ------------------------------------------------------------------ a leg is missing


def test_cancel_takes_the_other_legs_back() -> None:
    """One leg is refused: the one that rests is cancelled, and no cash is held any more."""
    exchange = Scripted("rest", "reject")

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        result = await trading.place_legs(PAIR)
        assert not result.is_complete
        assert [leg.is_missing for leg in result.legs] == [False, True]
        assert isinstance(result.missing[0].error, OrderRejected)
        assert [order.venue_id for order in result.cancelled] == ["0xorder1"]
        assert exchange.cancelled == ["0xorder1"]
        assert stage.env.account.reserved == 0
        assert result.unhedged == {UP: 0, DOWN: 0}
        assert result.failures == ()
        assert stage.env.counters.reasons(Count.LEGS) == {"missing": 1}

    play(act, exchange=exchange)


def test_keep_leaves_the_other_legs() -> None:
    """With "keep" nothing is cancelled or sold, and the result tells the exposure."""
    exchange = Scripted("fill", "kill", "rest")

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        result = await trading.place_legs([*FAKS, buy(price="0.20")], "keep")
        assert [leg.is_missing for leg in result.legs] == [False, True, False]
        assert [leg.filled for leg in result.legs] == [TEN, ZERO, ZERO]
        assert result.unhedged == {UP: TEN, DOWN: ZERO}
        assert exchange.cancelled == []
        assert len(exchange.placed) == 3
        assert len(trading.open_orders()) == 1

    play(act, exchange=exchange)


def test_unwind_sells_back_what_was_bought() -> None:
    """The filled leg is sold as FAK at the best bid; nothing of the set is left."""
    exchange = Scripted("fill", "kill", "fill")

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        bid = trading.price(UP).bid
        result = await trading.place_legs(FAKS, "unwind")
        (sale,) = result.sold
        assert (sale.side, sale.order_type, sale.price, sale.filled) == (Side.SELL, FAK, bid, TEN)
        assert trading.position(UP).size == 0
        assert result.unsold == {}
        assert result.unhedged == {UP: 0, DOWN: 0}
        assert stage.env.account.reserved == 0

    play(act, exchange=exchange)


def test_unwind_with_a_floor() -> None:
    """A leg is sold at its floor and not below; what nobody takes is reported."""
    exchange = Scripted("fill", "kill", "part")

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        result = await trading.place_legs(FAKS, "unwind", unwind_floor=[Decimal("0.33"), None])
        assert [sale.price for sale in result.sold] == [Decimal("0.33")]
        assert result.unsold == {UP: Decimal(6)}
        assert result.unhedged == {UP: Decimal(6), DOWN: ZERO}
        assert result.failures == ("6 Up are not sold back",)
        assert stage.env.counters.reasons(Count.LEGS) == {"failed": 1}

    play(act, exchange=exchange)


def test_shares_that_the_venue_does_not_sell_yet_are_reported() -> None:
    """The venue refuses to sell what it has not delivered: reported with its words, tried once."""
    exchange = Scripted("fill", "kill", "reject")

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        result = await trading.place_legs(FAKS, "unwind")
        assert result.unsold == {UP: TEN}
        assert len(result.failures) == 2
        assert "not_enough_balance" in result.failures[0]
        assert len(exchange.placed) == 3

    play(act, exchange=exchange)


def test_too_few_shares_to_sell_are_reported() -> None:
    """Four shares are below the venue's minimum of five: they stay, and it is said."""
    exchange = Scripted("part", "kill")

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        result = await trading.place_legs(FAKS, "unwind")
        # Killed with a rest, so it is missing, too.
        assert [leg.is_missing for leg in result.legs] == [True, True]
        assert result.unsold == {UP: Decimal(4)}
        assert result.failures[0] == "4.00 Up are less than can be sold"
        assert len(exchange.placed) == 2

    play(act, exchange=exchange)


def test_nothing_is_sold_into_an_unknown_book() -> None:
    """Without a bid and without a floor the shares stay, and it is said."""
    exchange = Scripted("fill", "kill")

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.tell = stage.env.router.on_user_message
        trading = stage.trading.handle("me")
        exchange.streams[FIRST.slug].push(snapshot(FIRST, UP, 0, 500))
        result = await trading.place_legs(FAKS, "unwind")
        assert "no known bid" in result.failures[0]
        assert result.unsold == {UP: TEN}

    play(act, exchange=exchange)


def test_a_halt_of_the_risk_guard_holds_for_unwinding() -> None:
    """The sale goes through the guard: while it halts nothing is sold, and that is reported."""
    exchange = Scripted("fill", "kill")

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        placing = asyncio.create_task(trading.place_legs(FAKS, "unwind"))
        await settle()
        stage.env.risk.halt("test")
        result = await placing
        assert "risk_halted" in result.failures[0]
        assert result.unsold == {UP: TEN}

    play(act, exchange=exchange)


def test_a_pause_of_the_risk_guard_lets_unwinding_pass() -> None:
    """Selling what is held reduces a risk: it passes while entries do not."""
    exchange = Scripted("fill", "kill", "fill")

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        placing = asyncio.create_task(trading.place_legs(FAKS, "unwind"))
        await settle()
        stage.env.risk.pause("test")
        assert (await placing).unsold == {}

    play(act, exchange=exchange)


# ------------------------------------------------------------------ lost answers


def test_a_lost_leg_that_exists_is_not_missing() -> None:
    """An answer was lost: the venue is asked, the leg is found, and nothing is sent again."""
    exchange = Scripted("lost", "rest")
    result, _ = placed(exchange, PAIR)
    assert result.is_complete
    assert isinstance(result.legs[0].error, OrderOutcomeUnknown)
    assert result.legs[0].order.status is OrderStatus.LIVE
    assert len(exchange.placed) == 2


def test_a_lost_leg_that_never_came_to_be_is_missing() -> None:
    """The venue does not know it: missing, and the other leg is cancelled."""
    exchange = Scripted("vanish", "rest")
    result, _ = placed(exchange, PAIR)
    assert [leg.order.status for leg in result.legs] == [
        OrderStatus.REJECTED,
        OrderStatus.CANCELLED,
    ]
    assert len(exchange.placed) == 2


def test_a_leg_that_stays_unknown_is_missing_and_cancelled() -> None:
    """If nothing can be learned of a leg in time it counts as missing, and a cancel is tried on it."""
    exchange = Scripted("lost", "rest")
    exchange.query_error = exchange.look_error = ExchangeUnavailable("down")

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        before = asyncio.get_running_loop().time()
        result = await trading.place_legs(PAIR, missing_timeout=3.0)
        assert 3 <= asyncio.get_running_loop().time() - before < 7
        assert [leg.is_missing for leg in result.legs] == [True, False]
        assert sorted(exchange.cancelled) == ["0xorder1", "0xorder2"]
        assert stage.env.account.reserved == 0

    play(act, exchange=exchange)


def test_what_cannot_be_cancelled_is_reported() -> None:
    """The venue answers no cancel: it is tried until the time is over, and said by name."""
    exchange = Scripted("rest", "reject", cancels=["error"] * 50)

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        result = await trading.place_legs(PAIR, missing_timeout=3.0)
        (text,) = result.failures
        assert "could not be cancelled, it is live (no answer)" in text
        assert result.cancelled == ()
        exchange.cancels = []

    play(act, exchange=exchange)


def test_a_cancel_that_got_no_answer_is_repeated() -> None:
    """The first cancel is lost: it is tried again, and nothing is left to report."""
    exchange = Scripted("rest", "reject", cancels=["error"])
    result, _ = placed(exchange, PAIR)
    assert [order.venue_id for order in result.cancelled] == ["0xorder1"]
    assert result.failures == ()


def test_what_was_filled_before_the_cancel_is_sold_back() -> None:
    """A leg that seemed to rest had six shares that nobody told of: they are found and sold."""
    exchange = Scripted("hush", "reject", "fill")
    result, _ = placed(exchange, PAIR, "unwind")
    assert [order.filled for order in result.cancelled] == [6]
    assert [sale.filled for sale in result.sold] == [6]
    assert result.unsold == {}


def test_a_venue_that_does_not_tell_what_was_filled() -> None:
    """If the fills cannot be asked for before the sale, the result says that there may be more."""
    exchange = Scripted("rest", "reject")
    exchange.look_error = ExchangeUnavailable("down")
    result, _ = placed(exchange, PAIR, "unwind", missing_timeout=2.0)
    assert result.failures == ("the venue did not tell what was filled; there may be more",)


def test_shares_that_other_orders_offer_are_not_sold_back() -> None:
    """What the strategy offers meanwhile stays offered: only the rest is sold, and it is said."""
    exchange = Scripted("fill", "fill", "vanish", "rest", "fill")
    legs = [buy(order_type=FAK), buy(order_type=FAK, price="0.41"), buy(DOWN)]

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        placing = asyncio.create_task(trading.place_legs(legs, "unwind"))
        await stage.env.clock.sleep(1)
        await trading.sell(UP, price=Decimal("0.90"), size=Decimal(12))
        result = await placing
        assert [sale.filled for sale in result.sold] == [8]
        assert result.unsold == {UP: Decimal(12)}
        assert result.failures[0] == "0.00 Up are less than can be sold"

    play(act, exchange=exchange)


# ------------------------------------------------------------------ callers and cycles


def test_a_cancelled_caller_does_not_stop_the_policy() -> None:
    """The hook that placed the legs is cancelled: the policy is carried out all the same."""
    exchange = Scripted("rest", "reject")

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        placing = asyncio.create_task(trading.place_legs(PAIR))
        await settle()
        placing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await placing
        await stage.trading.wait_idle()
        assert [order.status for order in trading.orders()] == [
            OrderStatus.CANCELLED,
            OrderStatus.REJECTED,
        ]

    play(act, exchange=exchange)


@pytest.mark.parametrize("on_missing", ["cancel", "keep", "unwind"])
def test_legs_of_a_cycle_that_ends_meanwhile(on_missing: Any) -> None:
    """The cycle ends while a leg is looked for: what rests is cancelled unless it is to be kept."""
    exchange = Scripted("vanish", "rest")

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        placing = asyncio.create_task(trading.place_legs(PAIR, on_missing))
        await stage.env.clock.sleep(1)
        assert [order.status for order in trading.open_orders()] == [
            OrderStatus.UNKNOWN,
            OrderStatus.LIVE,
        ]
        await stage.open_cycle(START + 900)
        with pytest.raises(StaleCycleError, match="it was sent"):
            await placing
        assert ("0xorder2" in exchange.cancelled) is (on_missing != "keep")
        with pytest.raises(StaleCycleError):
            await stage.trading.handle("me")._service.place_legs(START, "me", _plan())
        assert stage.trading.snapshot().orders == ()

    play(act, exchange=exchange)


def _plan() -> Any:
    from polyframe.trading.legs import LegsPlan

    return LegsPlan(requests=PAIR)
