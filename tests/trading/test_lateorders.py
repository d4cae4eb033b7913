"""Orders whose fate was open when their cycle ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Literal

import pytest

from polyframe.counters import Count
from polyframe.errors import ExchangeUnavailable, OrderOutcomeUnknown
from polyframe.exchange.base import PlaceAnswer
from polyframe.model.market import Outcome
from polyframe.model.order import Order, OrderStatus, PlaceResult
from polyframe.trading.deadcycles import KEPT
from polyframe.trading.reconcile import ReconcileSettings
from polyframe.trading.state import CycleState
from tests.support.fake import START, FakeExchange, make_market, order_report, trade_report
from tests.support.stage import Stage, play, settle

FIRST = make_market(start=START)
UP, TEN, PRICE = Outcome.UP, Decimal(10), Decimal("0.50")
LOST = PlaceAnswer(PlaceResult.UNKNOWN, text="read timed out")
LATE_IN_THE_CYCLE = START + 899.5
"""So late that nothing finds out about a lost answer before the switch."""


def dead(stage: Stage) -> CycleState:
    """Return the state of the cycle that is over."""
    state = stage.env.settlement.state(FIRST.slug)
    assert state is not None
    return state


def the_order(stage: Stage) -> Order:
    """Return the only order of the cycle that is over."""
    (order,) = dead(stage).orders.values()
    return order


def counted(stage: Stage) -> dict[str, int]:
    """Return what was done with late orders."""
    return stage.env.counters.reasons(Count.LATE_ORDERS)


def after_a_lost_answer(
    act: Callable[[Stage], Awaitable[None]],
    exchange: FakeExchange,
    late_orders: Literal["cancel", "leave"] = "cancel",
    idle_interval: float = 30.0,
) -> None:
    """Run `act` right after a switch before which the answer to an order was lost."""

    async def main(stage: Stage) -> None:
        await stage.env.clock.sleep_until(LATE_IN_THE_CYCLE)
        await stage.open_cycle()
        exchange.answers.append(LOST)
        with pytest.raises(OrderOutcomeUnknown):
            await stage.trading.handle("me").buy(UP, price=PRICE, size=TEN)
        await stage.open_cycle(START + 900)
        assert OrderStatus.UNKNOWN is the_order(stage).status
        await act(stage)
        assert () == stage.trading.snapshot().orders
        assert 1 == len(exchange.placed)

    settings = ReconcileSettings(late_orders=late_orders, idle_interval=idle_interval)
    play(main, exchange=exchange, reconcile=settings)


def test_a_lost_order_found_open_after_its_cycle_is_cancelled() -> None:
    """A second after the answer was lost it is found, and cancelled, because nobody expects it."""
    exchange = FakeExchange()
    exchange.accepts_lost = True

    async def act(stage: Stage) -> None:
        await stage.env.clock.sleep(1.5)
        assert OrderStatus.CANCELLED is the_order(stage).status
        assert ["0xorder1"] == exchange.cancelled
        assert {"cancelled": 1} == counted(stage)
        assert 0 == stage.env.account.reserved

    after_a_lost_answer(act, exchange)


def test_a_lost_order_can_be_left_to_itself() -> None:
    """With the policy "leave" it stays, is counted, and is not asked for again and again."""
    exchange = FakeExchange()
    exchange.accepts_lost = True

    async def act(stage: Stage) -> None:
        await stage.env.clock.sleep(60)
        assert OrderStatus.LIVE is the_order(stage).status
        assert [] == exchange.cancelled
        assert {"left": 1} == counted(stage)
        assert ["0xorder1"] == exchange.queried

    after_a_lost_answer(act, exchange, "leave")


def test_a_lost_order_that_never_existed_is_given_up() -> None:
    """After the grace it is refused, its cash is free, and nothing was cancelled."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.env.clock.sleep(3)
        assert OrderStatus.UNKNOWN is the_order(stage).status
        await stage.env.clock.sleep(3)
        assert OrderStatus.REJECTED is the_order(stage).status
        assert 0 == stage.env.account.reserved
        assert {} == counted(stage)
        assert [] == exchange.batches

    after_a_lost_answer(act, exchange)


def test_a_lost_order_that_was_filled_is_not_given_up() -> None:
    """The venue knows it no more by its id, but a trade names it."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        exchange.trades = [trade_report(FIRST, "t1", "0xorder1")]
        await stage.env.clock.sleep(6)
        assert OrderStatus.FILLED is the_order(stage).status
        assert TEN == dead(stage).position(UP).size

    after_a_lost_answer(act, exchange)


def test_the_fills_of_a_lost_order_are_fetched_with_it() -> None:
    """What the venue says is matched of it comes with its trades at once, before it is cancelled."""
    exchange = FakeExchange()
    exchange.accepts_lost = True

    async def act(stage: Stage) -> None:
        exchange.change("0xorder1", size_matched=Decimal(4))
        exchange.trades = [trade_report(FIRST, "t1", "0xorder1", size=Decimal(4))]
        await stage.env.clock.sleep(1.5)
        order = the_order(stage)
        assert (OrderStatus.CANCELLED, Decimal(4)) == (order.status, order.filled)

    after_a_lost_answer(act, exchange)


def test_a_venue_that_does_not_answer_is_asked_again() -> None:
    """Neither a failed question nor failed trades decide anything; later ones do."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        exchange.query_error = ExchangeUnavailable("away")
        await stage.env.clock.sleep(20)
        assert OrderStatus.UNKNOWN is the_order(stage).status
        exchange.query_error = None
        exchange.trades_error = ExchangeUnavailable("away")
        await stage.env.clock.sleep(20)
        assert OrderStatus.UNKNOWN is the_order(stage).status
        exchange.trades_error = None
        await stage.env.clock.sleep(30)
        assert OrderStatus.REJECTED is the_order(stage).status

    after_a_lost_answer(act, exchange)


def test_an_event_that_proves_a_lost_order_has_it_cancelled_too() -> None:
    """If the account's stream tells of it first, it is not asked for, but treated by the same policy."""
    exchange = FakeExchange()
    exchange.accepts_lost = True

    async def act(stage: Stage) -> None:
        stage.env.router.on_user_message(order_report(FIRST, "0xorder1"))
        assert OrderStatus.LIVE is the_order(stage).status
        await stage.env.clock.sleep(1.5)
        assert OrderStatus.CANCELLED is the_order(stage).status
        assert [] == exchange.queried

    after_a_lost_answer(act, exchange)


def test_the_resolution_ends_the_asking() -> None:
    """When the market is resolved nothing is open any more, and nobody waits for the next question."""
    exchange = FakeExchange()
    exchange.query_error = ExchangeUnavailable("away")

    async def act(stage: Stage) -> None:
        await stage.env.clock.sleep(120)
        asked = len(exchange.queried)
        assert OrderStatus.EXPIRED is the_order(stage).status
        assert FIRST.slug not in stage.env.settlement.pending
        await settle()
        assert not [t for t in asyncio.all_tasks() if "find out" in t.get_name()]
        await stage.env.clock.sleep(100)
        assert asked == len(exchange.queried)

    after_a_lost_answer(act, exchange, idle_interval=1e6)


def test_an_order_that_is_being_cancelled_is_not_cancelled_again() -> None:
    """While a cancel of the strategy is on its way, its answer is waited for."""
    exchange = FakeExchange()
    exchange.accepts_lost = True

    async def act(stage: Stage) -> None:
        exchange.hold_cancel = asyncio.get_running_loop().create_future()
        client_id = the_order(stage).client_id
        cancelling = asyncio.create_task(stage.trading.cancel(FIRST, client_id))
        await stage.env.clock.sleep(6)
        assert OrderStatus.CANCELLING is the_order(stage).status
        exchange.hold_cancel.set_result(None)
        assert OrderStatus.CANCELLED is (await cancelling).status
        await stage.env.clock.sleep(60)
        assert [["0xorder1"]] == exchange.batches
        assert {} == counted(stage)

    after_a_lost_answer(act, exchange)


def test_nothing_is_kept_of_orders_whose_cycle_is_let_go() -> None:
    """The notes of lost answers go with their cycles."""
    exchange = FakeExchange()

    async def main(stage: Stage) -> None:
        for number in range(KEPT + 5):
            await stage.env.clock.sleep_until(START + 900 * number)
            await stage.open_cycle(START + 900 * number)
            exchange.answers.append(LOST)
            with pytest.raises(OrderOutcomeUnknown):
                await stage.trading.handle("me").buy(UP, price=PRICE, size=TEN)
        assert KEPT <= len(stage.env.settlement.own._lost) <= KEPT + 2

    play(main, exchange=exchange)


# ------------------------------------------------------------------ answers that come too late


def answered_late(
    answer: PlaceAnswer,
    act: Callable[[Stage], Awaitable[None]],
    exchange: FakeExchange,
    late_orders: Literal["cancel", "leave"] = "cancel",
) -> None:
    """Run `act` after an order of a dead cycle was answered."""

    async def main(stage: Stage) -> None:
        await stage.open_cycle()
        exchange.hold_place = asyncio.get_running_loop().create_future()
        exchange.answers.append(answer)
        placing = asyncio.create_task(stage.trading.handle("me").buy(UP, price=PRICE, size=TEN))
        await settle()
        await stage.open_cycle(START + 900)
        exchange.hold_place.set_result(None)
        await asyncio.gather(placing, return_exceptions=True)
        await act(stage)

    play(main, exchange=exchange, reconcile=ReconcileSettings(late_orders=late_orders))


@pytest.mark.parametrize("result", [PlaceResult.LIVE, PlaceResult.MATCHED, PlaceResult.DELAYED])
def test_what_is_accepted_too_late_is_cancelled_by_default(result: PlaceResult) -> None:
    """An order that the venue accepts after the switch is cancelled at once, and counted."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        assert OrderStatus.CANCELLED is the_order(stage).status
        assert {"cancelled": 1} == counted(stage)

    answered_late(PlaceAnswer(result), act, exchange)


@pytest.mark.parametrize("code", ["fok_not_filled", "fak_not_filled"])
def test_an_order_that_was_killed_is_over_after_the_switch_too(code: str) -> None:
    """A FOK or FAK that found nothing ends cancelled in its own cycle, and nobody cancels it again."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        assert (OrderStatus.CANCELLED, "killed") == (
            the_order(stage).status,
            the_order(stage).reason,
        )
        assert 0 == stage.env.account.reserved
        assert [] == exchange.cancelled
        assert {} == counted(stage)
        assert {} == dead(stage).refusals
        assert {"ApplyCancelAnswer": 1} == stage.env.counters.reasons(Count.ENGINE_STALE)
        assert () == stage.trading.snapshot().orders

    answered_late(PlaceAnswer(PlaceResult.REJECTED, code, "killed"), act, exchange)


def test_what_is_accepted_too_late_can_be_left() -> None:
    """With the policy "leave" it rests on."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        assert OrderStatus.LIVE is the_order(stage).status
        assert {"left": 1} == counted(stage)
        assert [] == exchange.batches

    answered_late(PlaceAnswer(PlaceResult.LIVE), act, exchange, "leave")


def test_a_late_order_that_cannot_be_cancelled_is_counted() -> None:
    """It stays as the venue says, and the counter says so."""
    exchange = FakeExchange()
    exchange.cancel_refused = {"0xorder1": "already matched"}

    async def act(stage: Stage) -> None:
        assert OrderStatus.LIVE is the_order(stage).status
        assert {"not_cancelled": 1} == counted(stage)

    answered_late(PlaceAnswer(PlaceResult.LIVE), act, exchange)


def test_a_late_answer_that_was_lost_is_cancelled_on_suspicion_and_found_out() -> None:
    """It may be live, so it is cancelled at once; if that is refused, it is asked for until known."""
    exchange = FakeExchange()
    exchange.cancel_refused = {"0xorder1": "not found"}

    async def act(stage: Stage) -> None:
        assert [["0xorder1"]] == exchange.batches
        assert OrderStatus.UNKNOWN is the_order(stage).status
        assert {} == counted(stage)
        await stage.env.clock.sleep(6)
        assert OrderStatus.REJECTED is the_order(stage).status
        assert 0 == stage.env.account.reserved

    answered_late(LOST, act, exchange)


def test_a_late_answer_that_was_lost_is_only_asked_for_when_orders_are_left() -> None:
    """With the policy "leave" nothing is cancelled on suspicion."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.env.clock.sleep(6)
        assert [] == exchange.batches
        assert OrderStatus.REJECTED is the_order(stage).status

    answered_late(LOST, act, exchange, "leave")
