"""For every count of splits, merges and redemptions: something that makes it happen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from decimal import Decimal
from functools import partial

from polyframe.counters import Count, Counters
from polyframe.errors import OrderDenied, StaleCycleError
from polyframe.model.conversion import Receipt, ReceiptState
from polyframe.model.market import Outcome
from polyframe.trading.handle import StrategyTrading
from tests.support.contracts import ConvertingExchange
from tests.support.fake import START, trade_report
from tests.support.produce_events import FIRST, Producer
from tests.support.stage import Stage, play, settle

Act = Callable[[Stage, StrategyTrading, ConvertingExchange], Awaitable[None]]


def _played(act: Act) -> Counters:
    exchange, found = ConvertingExchange(), list[Counters]()

    async def main(stage: Stage) -> None:
        await stage.open_cycle()
        found.append(stage.env.counters)
        await act(stage, stage.trading.handle("me"), exchange)

    play(main, exchange=exchange)
    return found[0]


async def _split(trading: StrategyTrading, usd: int = 5) -> None:
    with suppress(OrderDenied):
        await trading.split(Decimal(usd))
    await settle()


def _ends(state: ReceiptState) -> Producer:
    async def act(_: Stage, trading: StrategyTrading, exchange: ConvertingExchange) -> None:
        exchange.answers_to_convert = [Receipt(state, "0xtx9")]
        await _split(trading)

    return partial(_played, act)


def _twice() -> Counters:
    async def act(_: Stage, trading: StrategyTrading, __: ConvertingExchange) -> None:
        await _split(trading)
        await _split(trading)

    return _played(act)


def _nothing() -> Counters:
    return _played(lambda _, trading, __: _split(trading, 0))


def _no_pairs() -> Counters:
    async def act(_: Stage, trading: StrategyTrading, __: ConvertingExchange) -> None:
        with suppress(OrderDenied):
            await trading.merge(Decimal(5))

    return _played(act)


def _no_contracts() -> Counters:
    async def act(stage: Stage) -> Counters:
        await stage.open_cycle()
        await _split(stage.trading.handle("me"))
        return stage.env.counters

    return play(act)


def _stale_split() -> Counters:
    async def act(stage: Stage, trading: StrategyTrading, _: ConvertingExchange) -> None:
        await stage.open_cycle(START + 900)
        with suppress(StaleCycleError):
            await trading.split(Decimal(5))

    return _played(act)


def _through_a_dead_handle(call: Callable[[StrategyTrading], Awaitable[object]]) -> Producer:
    async def act(_: Stage, trading: StrategyTrading, __: ConvertingExchange) -> None:
        trading.kill()
        with suppress(StaleCycleError):
            await call(trading)

    return partial(_played, act)


def _redeems(state: ReceiptState) -> Producer:
    async def act(stage: Stage, trading: StrategyTrading, exchange: ConvertingExchange) -> None:
        exchange.redeems = False
        order = await trading.buy(Outcome.UP, price=Decimal("0.50"), size=Decimal(10))
        stage.env.router.on_user_message(trade_report(FIRST, "t1", order.venue_id))
        await stage.open_cycle(START + 900)
        await asyncio.sleep(900 + 120)
        exchange.on_chain[FIRST.slug] = {Outcome.UP: Decimal(10)}
        exchange.answers_to_convert = [Receipt(state, "0xtx9")]
        exchange.receipts["0xtx9"] = Receipt(state, "0xtx9")
        await stage.env.redeem(FIRST.slug)

    return partial(_played, act)


CONVERSIONS: dict[tuple[Count, str], Producer] = {
    **{(Count.CONVERSIONS, state.value): _ends(state) for state in ReceiptState},
    **{(Count.REDEMPTIONS, state.value): _redeems(state) for state in ReceiptState},
    (Count.ORDERS_DENIED, "contracts"): _no_contracts,
    (Count.ORDERS_DENIED, "busy"): _twice,
    (Count.ORDERS_DENIED, "amount"): _nothing,
    (Count.ORDERS_DENIED, "pairs"): _no_pairs,
    (Count.ENGINE_STALE, "BeginConversion"): _stale_split,
    (Count.STALE_CALLS, "split"): _through_a_dead_handle(lambda h: h.split(Decimal(1))),
    (Count.STALE_CALLS, "merge"): _through_a_dead_handle(lambda h: h.merge(Decimal(1))),
    (Count.STALE_CALLS, "wait_conversion"): _through_a_dead_handle(
        lambda h: h.wait_conversion("k1")
    ),
}
