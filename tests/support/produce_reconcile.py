"""For every count of comparing with the venue, and of orders found too late: what makes it happen."""

from __future__ import annotations

import asyncio
from functools import partial

from attrs import define

from polyframe.counters import Count, Counters
from polyframe.errors import ExchangeUnavailable
from polyframe.exchange.base import PlaceAnswer
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, PlaceResult, Side
from polyframe.strategy import Strategy
from polyframe.trading.reconcile import ReconcileSettings
from tests.support.fake import START, FakeExchange, make_market, order_report, trade_report
from tests.support.produce_events import Producer
from tests.support.stage import Recorder, Stage, play, settle

FIRST = make_market(start=START)
BUY = OrderRequest(Outcome.UP, Side.BUY, "0.40", 10)
QUIET = ReconcileSettings(open_interval=1e6, idle_interval=1e6)
LEAVE = ReconcileSettings(late_orders="leave")


@define
class Hanging(Recorder):
    """A strategy that hears of comparisons, and never comes to it."""

    async def on_cycle_start(self) -> None:
        await asyncio.Event().wait()


def missed(*, order: bool = False, trade: bool = False, end: bool = False) -> Counters:
    """Return the counters after something was missed and a comparison found it."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> Counters:
        await stage.open_cycle()
        if order:
            exchange.known["0xforeign"] = order_report(FIRST, "0xforeign")
        if trade:
            exchange.trades = [trade_report(FIRST, "t1", "0xforeign")]
        await stage.trading.reconcile()
        if end:
            stage.scheduler.switch(None)
            await settle()
        return stage.env.counters

    strategies: tuple[Strategy, ...] = (Hanging(),) if end else ()
    return play(act, *strategies, exchange=exchange, reconcile=QUIET)


def _failed() -> Counters:
    exchange = FakeExchange()
    exchange.look_error = ExchangeUnavailable("away")

    async def act(stage: Stage) -> Counters:
        await stage.open_cycle()
        await stage.trading.reconcile()
        return stage.env.counters

    return play(act, exchange=exchange)


def _never_existed() -> Counters:
    exchange = FakeExchange()
    exchange.answers = [PlaceAnswer(PlaceResult.UNKNOWN)]

    async def act(stage: Stage) -> Counters:
        await stage.open_cycle()
        await asyncio.gather(stage.trading.place(START, "me", BUY), return_exceptions=True)
        await stage.env.clock.sleep(6)
        return stage.env.counters

    return play(act, exchange=exchange)


def late(settings: ReconcileSettings | None = None, *, refused: bool = False) -> Counters:
    """Return the counters after an order was accepted when its cycle was over."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> Counters:
        await stage.open_cycle()
        exchange.hold_place = asyncio.get_running_loop().create_future()
        if refused:
            exchange.cancel_refused = {"0xorder1": "no"}
        placing = asyncio.create_task(stage.trading.place(START, "me", BUY))
        await settle()
        await stage.open_cycle(START + 900)
        exchange.hold_place.set_result(None)
        await asyncio.gather(placing, return_exceptions=True)
        return stage.env.counters

    return play(act, exchange=exchange, reconcile=settings)


RECONCILE: dict[tuple[Count, str], Producer] = {
    (Count.GATE_PASSED, "asked_order"): partial(missed, order=True),
    (Count.GATE_PASSED, "asked_trade"): partial(missed, trade=True),
    (Count.RECONCILES, "same"): missed,
    (Count.RECONCILES, "differs"): partial(missed, order=True),
    (Count.RECONCILES, "failed"): _failed,
    (Count.RECONCILE_REPAIRS, "order"): partial(missed, order=True),
    (Count.RECONCILE_REPAIRS, "trade"): partial(missed, trade=True),
    (Count.RECONCILE_REPAIRS, "not_found"): _never_existed,
    (Count.LATE_ORDERS, "cancelled"): late,
    (Count.LATE_ORDERS, "not_cancelled"): partial(late, refused=True),
    (Count.LATE_ORDERS, "left"): partial(late, LEAVE),
    (Count.EVENTS_DISCARDED, "reconcile"): partial(missed, order=True, end=True),
}
