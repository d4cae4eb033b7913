"""For every count of orders, strategies and cycles: something that makes it happen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any

from attrs import define, evolve

from polyframe.counters import Count, Counters
from polyframe.errors import (
    ConfigError,
    ExchangeUnavailable,
    OrderDenied,
    OrderError,
    StaleCycleError,
)
from polyframe.exchange.base import PlaceAnswer, PreparedOrder
from polyframe.model.events import (
    MarketTraded,
)
from polyframe.model.market import Market, Outcome
from polyframe.model.order import Order, OrderRequest, OrderType, PlaceResult, Side
from polyframe.strategy import Strategy
from polyframe.trading.handle import StrategyTrading
from tests.support.fake import (
    START,
    FakeExchange,
    order_report,
    snapshot,
    trade_report,
)
from tests.support.produce_events import (
    EVENTS,
    FIRST,
    PRINT,
    SECOND,
    TEN,
    TRADE,
    UP,
    Act,
    Producer,
    market_case,
    push,
    staged,
    tell,
)
from tests.support.produce_guards import GUARDS
from tests.support.produce_ledger import LEDGER
from tests.support.produce_loop import LOOP
from tests.support.produce_reconcile import RECONCILE
from tests.support.produce_risk import RISK
from tests.support.produce_snapshots import SNAPSHOTS
from tests.support.stage import Recorder, Stage, play, settle

BUY = OrderRequest(UP, Side.BUY, Decimal("0.40"), TEN)

# ------------------------------------------------------------------ orders


async def place(stage: Stage, request: OrderRequest = BUY) -> Order | None:
    """Place an order; ``None`` if it was refused."""
    with suppress(OrderError):
        return await stage.trading.handle("me").place(request)
    return None


def order_case(request: OrderRequest, *before: Any) -> Producer:
    """Return a producer that places one order, after messages of the market channel."""

    async def act(stage: Stage) -> None:
        await push(stage, *before)
        await place(stage, request)

    return partial(staged, act)


def _answered(result: PlaceResult) -> Counters:
    exchange = FakeExchange()
    exchange.answers = [PlaceAnswer(result, "code", "words")]
    return staged(place, exchange=exchange)


def answered_late(result: PlaceResult) -> Counters:
    """Let the answer to an order come after the switch."""
    exchange = FakeExchange()
    exchange.answers = [PlaceAnswer(result, "code", "words")]

    async def act(stage: Stage) -> None:
        exchange.hold_place = asyncio.get_running_loop().create_future()
        placing = asyncio.create_task(place(stage))
        await settle()
        await stage.open_cycle(START + 900)
        exchange.hold_place.set_result(None)
        with suppress(StaleCycleError):
            await placing

    return staged(act, exchange=exchange)


async def cancel(stage: Stage) -> None:
    """Place an order and cancel it."""
    order = await place(stage)
    assert order is not None
    with suppress(ExchangeUnavailable):
        await stage.trading.cancel(FIRST, order.client_id)


def _cancel_refused() -> Counters:
    exchange = FakeExchange()
    exchange.cancel_refused = {"0xorder1": "not found"}
    return staged(cancel, exchange=exchange)


def _cancel_failed() -> Counters:
    exchange = FakeExchange()
    exchange.cancel_error = ExchangeUnavailable("no connection")
    return staged(cancel, exchange=exchange)


def _cancel_answered_late() -> Counters:
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        exchange.hold_cancel = asyncio.get_running_loop().create_future()
        cancelling = asyncio.create_task(cancel(stage))
        await settle()
        await stage.open_cycle(START + 900)
        exchange.hold_cancel.set_result(None)
        await cancelling

    return staged(act, exchange=exchange)


def _stale_place() -> Counters:
    async def act(stage: Stage) -> None:
        await stage.open_cycle(START + 900)
        with suppress(StaleCycleError):
            await stage.trading.place(START, "me", BUY)

    return staged(act)


def _stale_query() -> Counters:
    async def act(stage: Stage) -> None:
        stage.scheduler.switch(None)
        with suppress(StaleCycleError):
            stage.trading.snapshot()

    return staged(act)


def _late_word_of_an_ended_order() -> Counters:
    async def act(stage: Stage) -> None:
        await cancel(stage)
        await tell(stage, order_report(FIRST, "0xorder1"))

    return staged(act)


def _refusal_of_an_order_that_exists() -> Counters:
    exchange = FakeExchange()
    exchange.answers = [PlaceAnswer(PlaceResult.REJECTED, "code", "words")]

    async def act(stage: Stage) -> None:
        exchange.hold_place = asyncio.get_running_loop().create_future()
        placing = asyncio.create_task(place(stage))
        await settle()
        await tell(stage, order_report(FIRST, "0xorder1"))
        exchange.hold_place.set_result(None)
        await placing

    return staged(act, exchange=exchange)


def _fill_of_the_wrong_side() -> Counters:
    async def act(stage: Stage) -> None:
        await place(stage)
        await tell(stage, trade_report(FIRST, "t", "0xorder1", side=Side.SELL))

    return staged(act)


class SameId(FakeExchange):
    """Gives all orders one id."""

    def prepare_order(self, market: Market, request: OrderRequest) -> PreparedOrder:
        return PreparedOrder("0xsame", market, request)


def _same_id_twice() -> Counters:
    async def act(stage: Stage) -> None:
        await place(stage)
        await place(stage)

    return staged(act, exchange=SameId())


def _cancel_of_nothing() -> Counters:
    async def act(stage: Stage) -> None:
        with suppress(OrderError):
            await stage.trading.cancel(FIRST, "nothing")

    return staged(act)


def buy(price: str = "0.40", size: str = "10", **more: Any) -> OrderRequest:
    """Return a request for Up shares."""
    return OrderRequest(UP, Side.BUY, Decimal(price), Decimal(size), **more)


async def _place_through(handle: StrategyTrading) -> None:
    await handle.place(buy())


async def _place_many_through(handle: StrategyTrading) -> None:
    await handle.place_many([buy()])


async def _place_legs_through(handle: StrategyTrading) -> None:
    await handle.place_legs([buy(), buy()])


async def _cancel_through(handle: StrategyTrading) -> None:
    await handle.cancel("x")


async def _read_through(handle: StrategyTrading, what: str) -> None:
    getattr(handle, what)(*([UP] if what == "price" else []))


async def _cash_through(handle: StrategyTrading) -> None:
    _ = handle.cash


def _through_a_dead_handle(call: Callable[[StrategyTrading], Awaitable[object]]) -> Producer:
    async def act(stage: Stage) -> None:
        handle = stage.trading.handle("me")
        handle.kill()
        with suppress(StaleCycleError):
            await call(handle)

    return partial(staged, act)


def _paused_handle() -> Counters:
    async def act(stage: Stage) -> None:
        stage.scheduler.switch(None)
        with suppress(OrderDenied):
            stage.trading.handle("me")

    return staged(act)


def _legs(*answers: PlaceAnswer, rollover: bool = False) -> Counters:
    """Place two legs, the second of which is answered so."""
    exchange = FakeExchange()
    exchange.answers = [PlaceAnswer(PlaceResult.LIVE), *answers]
    exchange.query_error = ExchangeUnavailable("down")
    if rollover:
        exchange.look_error = ExchangeUnavailable("down")

    async def act(stage: Stage) -> None:
        legs = stage.trading.handle("me").place_legs([BUY, buy("0.30")], missing_timeout=1.0)
        placing = asyncio.create_task(legs)
        await settle()
        if rollover:
            await stage.open_cycle(START + 900)
        elif answers and answers[0].result is PlaceResult.UNKNOWN:
            exchange.cancel_error = ExchangeUnavailable("down")
        with suppress(StaleCycleError):
            await placing
        exchange.cancel_error = None

    return staged(act, exchange=exchange)


_LOST = PlaceAnswer(PlaceResult.UNKNOWN, "no_answer", "time-out")
_NO = PlaceAnswer(PlaceResult.REJECTED, "not_enough_balance", "no money")


def _withdrawn() -> Counters:
    class CannotSign(FakeExchange):
        def prepare_order(self, market: Market, request: OrderRequest) -> PreparedOrder:
            if self._ids:
                msg = "signer: no key"
                raise ConfigError(msg)
            return super().prepare_order(market, request)

    async def act(stage: Stage) -> None:
        with suppress(ConfigError):
            await stage.trading.handle("me").place_many([BUY, BUY])

    return staged(act, exchange=CannotSign())


ORDERS: dict[tuple[Count, str], Producer] = {
    (Count.STALE_CALLS, "place"): _through_a_dead_handle(_place_through),
    (Count.STALE_CALLS, "place_many"): _through_a_dead_handle(_place_many_through),
    (Count.STALE_CALLS, "place_legs"): _through_a_dead_handle(_place_legs_through),
    (Count.STALE_CALLS, "cancel"): _through_a_dead_handle(_cancel_through),
    (Count.STALE_CALLS, "cancel_all"): _through_a_dead_handle(lambda h: h.cancel_all()),
    (Count.STALE_CALLS, "cancel_exchange_open_orders"): _through_a_dead_handle(
        lambda h: h.cancel_exchange_open_orders()
    ),
    (Count.STALE_CALLS, "reconcile"): _through_a_dead_handle(lambda h: h.reconcile()),
    (Count.STALE_CALLS, "price"): _through_a_dead_handle(lambda h: _read_through(h, "price")),
    (Count.STALE_CALLS, "cash"): _through_a_dead_handle(_cash_through),
    (Count.STALE_CALLS, "trading"): _through_a_dead_handle(lambda h: _read_through(h, "orders")),
    (Count.LEGS, "complete"): _legs,
    (Count.LEGS, "missing"): partial(_legs, _NO),
    (Count.LEGS, "failed"): partial(_legs, _LOST),
    (Count.LEGS, "ended"): partial(_legs, _LOST, rollover=True),
    (Count.ORDERS_DENIED, "paused"): _paused_handle,
    (Count.ORDERS_DENIED, "withdrawn"): _withdrawn,
    (Count.ENGINE_STALE, "PlaceOrder"): _stale_place,
    (Count.ENGINE_STALE, "Query"): _stale_query,
    (Count.ENGINE_STALE, "ApplyPlaceAnswer"): partial(answered_late, PlaceResult.LIVE),
    (Count.ENGINE_STALE, "ApplyCancelAnswer"): _cancel_answered_late,
    (Count.ENGINE_IGNORED, "final"): _late_word_of_an_ended_order,
    (Count.ENGINE_IGNORED, "exists"): _refusal_of_an_order_that_exists,
    (Count.ENGINE_IGNORED, "leg_mismatch"): _fill_of_the_wrong_side,
    (Count.ORDERS_DENIED, "price"): order_case(buy("0.995")),
    (Count.ORDERS_DENIED, "tick"): order_case(buy("0.405")),
    (Count.ORDERS_DENIED, "size"): order_case(buy(size="10.001")),
    (Count.ORDERS_DENIED, "min_size"): order_case(buy(size="4.99")),
    (Count.ORDERS_DENIED, "min_notional"): order_case(
        buy("0.10", "5"), snapshot(FIRST, UP, 500, 1000)
    ),
    (Count.ORDERS_DENIED, "cents"): order_case(buy(size="10.01", order_type=OrderType.FAK)),
    (Count.ORDERS_DENIED, "usd"): order_case(buy(usd=Decimal(5))),
    (Count.ORDERS_DENIED, "expires"): order_case(buy(order_type=OrderType.GTD)),
    (Count.ORDERS_DENIED, "post_only"): order_case(buy(order_type=OrderType.FOK, post_only=True)),
    (Count.ORDERS_DENIED, "cash"): order_case(buy(size="2450")),
    (Count.ORDERS_DENIED, "shares"): order_case(OrderRequest(UP, Side.SELL, Decimal("0.60"), TEN)),
    (Count.ORDERS_DENIED, "duplicate"): _same_id_twice,
    (Count.ORDERS_DENIED, "unknown_order"): _cancel_of_nothing,
    (Count.CANCELS_SENT, "cancelled"): partial(staged, cancel),
    (Count.CANCELS_SENT, "refused"): _cancel_refused,
    (Count.CANCELS_SENT, "error"): _cancel_failed,
    (Count.LATE_ANSWERS, "cancel"): _cancel_answered_late,
}
for _result in PlaceResult:
    ORDERS[Count.ORDERS_SENT, _result.value] = partial(_answered, _result)
    ORDERS[Count.LATE_ANSWERS, _result.value] = partial(answered_late, _result)

# ------------------------------------------------------------------ strategies and cycles


@define
class Raises(Strategy):
    """Fails at once."""

    async def on_cycle_start(self) -> None:
        msg = "a mistake"
        raise RuntimeError(msg)


@define
class Swallows(Strategy):
    """Ignores its first cancellation."""

    async def run(self) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()


@define
class Hangs(Strategy):
    """Never comes to its events."""

    async def on_cycle_start(self) -> None:
        await asyncio.Event().wait()

    async def on_market_trade(self, event: MarketTraded) -> None:
        """Want them."""


class Deaf(Recorder):
    """A subscriber that fails."""

    wants_books = is_sated = False

    def price_changed(self, outcome: Outcome) -> None:
        msg = "a mistake"
        raise RuntimeError(msg)


def _overdue() -> Counters:
    async def act(stage: Stage) -> None:
        stage.scheduler.switch(None)
        await stage.env.clock.sleep(10)

    return staged(act, Swallows())


def discarded(act: Act) -> Producer:
    """Return a producer of events that a hanging strategy never comes to."""

    async def main(stage: Stage) -> None:
        await act(stage)
        stage.scheduler.switch(None)
        await settle()

    return partial(staged, main, Hangs())


def _failing_subscriber() -> Counters:
    async def act(stage: Stage) -> None:
        stage.session.subscribe(Deaf())  # type: ignore[arg-type]

    return staged(act)


def _paused() -> Counters:
    async def act(stage: Stage) -> None:
        stage.scheduler.switch(None)

    return staged(act)


def _venue_does_not_answer() -> Counters:
    exchange = FakeExchange()
    exchange.failing = {FIRST.slug}

    async def main(stage: Stage) -> Counters:
        with suppress(TimeoutError):
            async with asyncio.timeout(30):
                await stage.trader.run(cycles=1)
        return stage.env.counters

    return play(main, exchange=exchange)


def _ids_are_taken() -> Counters:
    exchange = FakeExchange()

    async def main(stage: Stage) -> Counters:
        await stage.open_cycle()
        exchange.instead[SECOND.slug] = evolve(SECOND, up_token=FIRST.up_token)
        await stage.scheduler._find(SECOND.window)
        return stage.env.counters

    return play(main, exchange=exchange)


CYCLES: dict[tuple[Count, str], Producer] = {
    (Count.SWITCHES, "opened"): market_case(),
    (Count.SWITCHES, "paused"): _paused,
    (Count.MARKET_WAITS, "error"): _venue_does_not_answer,
    (Count.MARKET_WAITS, "taken_ids"): _ids_are_taken,
    (Count.STRATEGY_ERRORS, "<hook>"): partial(staged, lambda _: settle(), Raises()),
    (Count.STRATEGY_ERRORS, "subscriber"): _failing_subscriber,
    (Count.TASKS_OVERDUE, "<strategy>"): _overdue,
    (Count.EVENTS_DISCARDED, "order"): discarded(
        lambda stage: tell(stage, order_report(FIRST, "0xa"))
    ),
    (Count.EVENTS_DISCARDED, "trade"): discarded(lambda stage: tell(stage, TRADE)),
    (Count.EVENTS_DISCARDED, "market_trade"): discarded(lambda stage: push(stage, PRINT)),
}

RUNTIME = EVENTS | GUARDS | ORDERS | CYCLES | LEDGER | LOOP | RECONCILE | RISK | SNAPSHOTS
