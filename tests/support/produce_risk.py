"""For every refusal of the risk guard: something that makes it happen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any

from polyframe.counters import Count, Counters
from polyframe.errors import OrderError
from polyframe.exchange.base import PlaceAnswer
from polyframe.model.events import StreamState
from polyframe.model.order import OrderRequest, PlaceResult, Side
from polyframe.trading.limits import RiskLimits
from tests.support.fake import START, FakeExchange, snapshot, trade_report
from tests.support.produce_events import DOWN, FIRST, UP, Producer
from tests.support.stage import Stage, play

Act = Callable[[Stage], Awaitable[None]]

BUY = OrderRequest(UP, Side.BUY, Decimal("0.40"), Decimal(10), intent="")


async def place(stage: Stage, *requests: OrderRequest) -> None:
    """Place orders, whatever becomes of them."""
    for request in requests:
        with suppress(OrderError):
            await stage.trading.handle("me").place(request)


async def buy_and_hold(stage: Stage) -> None:
    """Buy ten shares that lose, 5.175 USD in all."""
    stage.exchange.winner = DOWN
    await place(stage, BUY)
    stage.env.router.on_user_message(trade_report(FIRST, "t1", "0xorder1"))


def limited(act: Act, exchange: FakeExchange | None = None, **limits: Any) -> Counters:
    """Return the counters after `act` and one more order, in an open cycle."""

    async def main(stage: Stage) -> Counters:
        await stage.open_cycle()
        await act(stage)
        await place(stage, BUY)
        return stage.env.counters

    return play(main, exchange=exchange, risk=RiskLimits(**limits))


async def _nothing(_: Stage) -> None:
    """Do nothing before."""


async def _halt(stage: Stage) -> None:
    stage.env.risk.halt("test")


async def _pause(stage: Stage) -> None:
    stage.env.risk.pause("test")


async def _sell_low(stage: Stage) -> None:
    await buy_and_hold(stage)
    await place(stage, OrderRequest(UP, Side.SELL, Decimal("0.10"), Decimal(10)))
    low = {"price": Decimal("0.10"), "side": Side.SELL}
    stage.env.router.on_user_message(trade_report(FIRST, "t2", "0xorder2", **low))  # type: ignore[arg-type]


async def _lose(stage: Stage) -> None:
    await buy_and_hold(stage)
    await stage.open_cycle(START + 900)
    await stage.env.clock.sleep_until(START + 1000)


async def _wait(stage: Stage) -> None:
    await stage.env.clock.sleep(61)


async def _lose_connection(stage: Stage) -> None:
    stage.exchange.streams[FIRST.slug].state(StreamState.LOST, "test")


async def _show_nothing(stage: Stage) -> None:
    stage.exchange.streams[FIRST.slug].push(snapshot(FIRST, UP, 0, 10_000))


async def _order_before(stage: Stage) -> None:
    await place(stage, BUY)


async def _intent_before(stage: Stage) -> None:
    named = OrderRequest(UP, Side.BUY, Decimal("0.40"), Decimal(10), intent="dip")
    await place(stage, named, named)


def _in_trouble() -> FakeExchange:
    exchange = FakeExchange()
    exchange.answers = [PlaceAnswer(PlaceResult.REJECTED, "restarting", "wait")]
    return exchange


FIVE = Decimal(5)

_RULES: dict[str, Producer] = {
    "risk_halted": partial(limited, _halt),
    "risk_reducing": partial(limited, _pause),
    "risk_order_notional": partial(limited, _nothing, max_order_notional=Decimal(3)),
    "risk_order_shares": partial(limited, _nothing, max_order_shares=FIVE),
    "risk_cycle_notional": partial(limited, _order_before, max_cycle_notional=FIVE),
    "risk_run_notional": partial(limited, _order_before, max_run_notional=FIVE),
    "risk_position": partial(limited, _order_before, max_position=Decimal(15)),
    "risk_open_orders": partial(limited, _order_before, max_open_orders=1),
    "risk_cycle_loss": partial(limited, _sell_low, max_cycle_loss=Decimal(2)),
    "risk_run_loss": partial(limited, _lose, max_run_loss=FIVE),
    "risk_losing_cycles": partial(limited, _lose, max_losing_cycles=1),
    "risk_rate": partial(limited, _order_before, order_burst=1),
    "risk_entry_window": partial(limited, _nothing, entry_after=10.0),
    "risk_book_unknown": partial(limited, _lose_connection),
    "risk_book_age": partial(limited, _wait),
    "risk_spread": partial(limited, _show_nothing),
    "risk_breaker": lambda: limited(_order_before, _in_trouble(), breaker_errors=1),
    "duplicate_intent": partial(limited, _intent_before),
}

RISK = {(Count.ORDERS_DENIED, rule): producer for rule, producer in _RULES.items()}
