"""For every count of the runtime and the engine: something that makes it happen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
from attrs import define

from polyframe.counters import Count, Counters
from polyframe.errors import ExchangeUnavailable, OrderError, StaleCycleError
from polyframe.exchange.base import PlaceAnswer, PreparedOrder
from polyframe.marketbooks import MISMATCH_LIMIT
from polyframe.model.events import (
    BestQuote,
    BookSnapshot,
    MarketTraded,
    StreamState,
    TickSizeChange,
    TradePrint,
    TradeReport,
)
from polyframe.model.market import Market, Outcome
from polyframe.model.order import Order, OrderRequest, OrderType, PlaceResult, Side
from polyframe.model.trade import TradeLeg, TradeStatus
from polyframe.session import ExchangeSession
from polyframe.strategy import Strategy
from tests.support.fake import (
    START,
    FakeExchange,
    delta,
    make_market,
    order_report,
    snapshot,
    trade_report,
)
from tests.support.stage import Recorder, Stage, play, settle

Producer = Callable[[], Counters]
Act = Callable[[Stage], Awaitable[Any]]

UP, DOWN = Outcome.UP, Outcome.DOWN
FIRST, SECOND = make_market(start=START), make_market(start=START + 900)
OTHER = make_market("eth-updown-15m")
TEN, FORTY = Decimal(10), Decimal("0.40")
BUY = OrderRequest(UP, Side.BUY, FORTY, TEN)


def staged(act: Act, *strategies: Strategy, exchange: FakeExchange | None = None) -> Counters:
    """Return the counters after `act` was played in an open cycle."""

    async def main(stage: Stage) -> Counters:
        await stage.open_cycle()
        await act(stage)
        return stage.env.counters

    return play(main, *strategies, exchange=exchange)


# ------------------------------------------------------------------ market channel


async def push(stage: Stage, *messages: Any, market: Market = FIRST) -> None:
    """Send messages on the market's stream."""
    for message in messages:
        stage.exchange.streams[market.slug].push(message)
    await settle()


def market_case(*messages: Any) -> Producer:
    """Return a producer that sends messages of the market channel in an open cycle."""
    return partial(staged, lambda stage: push(stage, *messages))


def connection_case(*states: StreamState) -> Producer:
    """Return a producer in which the market connection changes."""

    async def act(stage: Stage) -> None:
        for state in states:
            stage.exchange.streams[FIRST.slug].state(state, "test")

    return partial(staged, act)


def change(message: Any, **changes: Any) -> Any:
    """Return a copy of a message with other fields."""
    return msgspec.structs.replace(message, **changes)


def _before_snapshot() -> Counters:
    async def act(stage: Stage) -> None:
        stage.exchange.auto_books = False
        session = ExchangeSession(
            SECOND,
            clock=stage.env.clock,
            counters=stage.env.counters,
            user_gate=stage.trading,
        )
        session.open(stage.exchange)
        await push(stage, delta(SECOND, UP, 4000, 5, is_bid=True), market=SECOND)
        await session.close()

    return staged(act)


def quote(outcome: Outcome, bid: int = 4800) -> BestQuote:
    """Return a top of book that is not the one that `snapshot` shows."""
    return BestQuote(FIRST.condition_id, FIRST.token(outcome), bid, 5100)


PRINT = TradePrint(FIRST.condition_id, FIRST.up_token, 5000, TEN, Side.BUY)
BAD_LEVEL = BookSnapshot(FIRST.condition_id, FIRST.up_token, ((0, TEN),), ())
SNAPSHOT = snapshot(FIRST, UP)

MARKET: dict[tuple[Count, str], Producer] = {
    (Count.BOOK_UNKNOWN, "lost"): connection_case(StreamState.LOST),
    (Count.BOOK_UNKNOWN, "reconnect"): connection_case(StreamState.CONNECTED),
    (Count.BOOK_UNKNOWN, "tick"): market_case(
        TickSizeChange(FIRST.condition_id, FIRST.up_token, 10)
    ),
    (Count.BOOK_UNKNOWN, "mismatch"): market_case(*[quote(UP)] * MISMATCH_LIMIT),
    (Count.BOOK_SKIPPED, "before_snapshot"): _before_snapshot,
    (Count.BOOK_SKIPPED, "stale_snapshot"): market_case(
        change(SNAPSHOT, timestamp_ms=2), change(SNAPSHOT, timestamp_ms=1)
    ),
    (Count.BOOK_SKIPPED, "bad_level"): market_case(BAD_LEVEL),
    (Count.BOOK_SKIPPED, "bad_tick"): market_case(
        TickSizeChange(FIRST.condition_id, FIRST.up_token, 0)
    ),
    (Count.BOOK_MISMATCH, "Up"): market_case(quote(UP)),
    (Count.BOOK_MISMATCH, "Down"): market_case(quote(DOWN)),
    (Count.GATE_PASSED, "book"): market_case(),
    (Count.GATE_PASSED, "market_trade"): market_case(PRINT),
    (Count.GATE_PASSED, "market_other"): market_case(quote(UP)),
    (Count.GATE_DROPPED, "foreign_market"): market_case(snapshot(OTHER, UP)),
    (Count.GATE_DROPPED, "no_market"): market_case(change(SNAPSHOT, market="")),
    (Count.GATE_DROPPED, "foreign_token"): market_case(change(SNAPSHOT, token=OTHER.up_token)),
    (Count.GATE_DROPPED, "no_asset"): market_case(change(SNAPSHOT, token="")),
}

# ------------------------------------------------------------------ account events


async def tell(stage: Stage, *messages: Any) -> None:
    """Send messages on the account's stream."""
    assert stage.exchange.user is not None
    for message in messages:
        stage.exchange.user.push(message)
    await settle()


def user_case(*messages: Any) -> Producer:
    """Return a producer that sends account events in an open cycle."""
    return partial(staged, lambda stage: tell(stage, *messages))


def late_case(*messages: Any) -> Producer:
    """Return a producer that sends account events of a dead cycle."""

    async def act(stage: Stage) -> None:
        await stage.open_cycle(START + 900)
        await tell(stage, *messages)

    return partial(staged, act)


def _closed() -> Counters:
    async def act(stage: Stage) -> None:
        session = stage.session
        stage.scheduler.switch(None)
        session.on_market_message(SNAPSHOT)

    return staged(act)


def _while_switching() -> Counters:
    async def act(stage: Stage) -> None:
        session = await stage.prepare(START + 900)
        for step in stage.scheduler.switch_steps(session):
            if step == "gate":
                await tell(stage, order_report(FIRST, "0xlate"))

    return staged(act)


def _while_prepared() -> Counters:
    async def act(stage: Stage) -> None:
        session = await stage.prepare(START + 900)
        await tell(stage, order_report(SECOND, "0xearly"))
        stage.scheduler.switch(session)

    return staged(act)


def _abandoned() -> Counters:
    async def act(stage: Stage) -> None:
        await stage.prepare(START + 900)
        await tell(stage, order_report(SECOND, "0xearly"))
        await stage.scheduler.stop()

    return staged(act)


def through_replaced_session(emit: Callable[[ExchangeSession], None]) -> Producer:
    """Return a producer that sends an event through the old session after the engine's reset."""

    async def act(stage: Stage) -> None:
        old = stage.session
        session = await stage.prepare(START + 900)
        for step in stage.scheduler.switch_steps(session):
            if step == "reset":
                emit(old)

    return partial(staged, act)


def trade_of(*tokens: str, market: Market = FIRST, size: Decimal = TEN) -> TradeReport:
    """Return a trade with one part per token."""
    legs = tuple(
        TradeLeg(f"0x{i}", token, Side.BUY, FORTY, size, True) for i, token in enumerate(tokens)
    )
    return TradeReport("t", market.condition_id, market.up_token, TradeStatus.MATCHED, legs)


TRADE = trade_report(FIRST, "t", "0xsomebody")

ACCOUNT: dict[tuple[Count, str], Producer] = {
    (Count.GATE_PASSED, "order"): user_case(order_report(FIRST, "0xa")),
    (Count.GATE_PASSED, "trade"): user_case(TRADE),
    (Count.GATE_DROPPED, "closed"): _closed,
    (Count.GATE_DROPPED, "foreign_leg"): user_case(trade_of(FIRST.up_token, OTHER.up_token)),
    (Count.ROUTER_PARKED, "switching"): _while_switching,
    (Count.ROUTER_PARKED, "prepared"): _while_prepared,
    (Count.ROUTER_DROPPED, "abandoned"): _abandoned,
    (Count.ROUTER_DROPPED, "foreign"): user_case(order_report(OTHER, "0xa")),
    (Count.ROUTER_DROPPED, "no_asset"): user_case(change(order_report(FIRST, "0xa"), token="")),
    (Count.ROUTER_SETTLEMENT, "order"): late_case(order_report(FIRST, "0xa")),
    (Count.ROUTER_SETTLEMENT, "trade"): late_case(TRADE),
    (Count.ENGINE_IGNORED, "duplicate"): user_case(TRADE, TRADE),
    (Count.ENGINE_IGNORED, "incomplete"): user_case(change(order_report(FIRST, "0xa"), side=None)),
    (Count.ENGINE_IGNORED, "foreign_token"): late_case(trade_of(OTHER.up_token)),
    (Count.ENGINE_IGNORED, "no_legs"): user_case(trade_of(OTHER.up_token)),
    (Count.ENGINE_STALE, "ApplyOrderReport"): through_replaced_session(
        lambda old: old.emit_order_update(order_report(FIRST, "0xa"))
    ),
    (Count.ENGINE_STALE, "ApplyTradeReport"): through_replaced_session(
        lambda old: old.emit_trade_update(TRADE)
    ),
}

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


ORDERS: dict[tuple[Count, str], Producer] = {
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
    (Count.ORDERS_DENIED, "post_only"): order_case(buy(order_type=OrderType.FOK, post_only=True)),
    (Count.ORDERS_DENIED, "cash"): order_case(buy(size="100000")),
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

    wants_books = False

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


CYCLES: dict[tuple[Count, str], Producer] = {
    (Count.SWITCHES, "opened"): market_case(),
    (Count.SWITCHES, "paused"): _paused,
    (Count.MARKET_WAITS, "error"): _venue_does_not_answer,
    (Count.STRATEGY_ERRORS, "<hook>"): partial(staged, lambda _: settle(), Raises()),
    (Count.STRATEGY_ERRORS, "subscriber"): _failing_subscriber,
    (Count.TASKS_OVERDUE, "<strategy>"): _overdue,
    (Count.EVENTS_DISCARDED, "order"): discarded(
        lambda stage: tell(stage, order_report(FIRST, "0xa"))
    ),
    (Count.EVENTS_DISCARDED, "trade"): discarded(lambda stage: tell(stage, TRADE)),
    (Count.EVENTS_DISCARDED, "market_trade"): discarded(lambda stage: push(stage, PRINT)),
}

RUNTIME = MARKET | ACCOUNT | ORDERS | CYCLES
