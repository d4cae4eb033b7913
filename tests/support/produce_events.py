"""For every count of events that come in: something that makes it happen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec

from polyframe.counters import Count, Counters
from polyframe.marketbooks import MISMATCH_LIMIT
from polyframe.model.events import (
    BestQuote,
    BookSnapshot,
    StreamState,
    TickSizeChange,
    TradePrint,
    TradeReport,
)
from polyframe.model.market import Market, Outcome
from polyframe.model.order import Side
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
from tests.support.stage import Stage, play, settle

Producer = Callable[[], Counters]
Act = Callable[[Stage], Awaitable[Any]]

UP, DOWN = Outcome.UP, Outcome.DOWN
FIRST, SECOND = make_market(start=START), make_market(start=START + 900)
OTHER = make_market("eth-updown-15m")
TEN, FORTY = Decimal(10), Decimal("0.40")


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

EVENTS = MARKET | ACCOUNT
